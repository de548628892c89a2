//! Routes are tried out, and where Chatwoot sends their events is looked at and put right.

use ::web::ApiError;
use ::web::openapi::Api;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use askama::Template;
use console::{Frame, Language};

use super::route_forms::page_of;
use super::visit::Visit;
use super::words::{self, State};
use super::{form, shown};
use crate::api::{self, Admin, not_done};
use crate::flows::drift;
use crate::flows::self_test::{Leg, Warning};
use crate::flows::test_route::{RouteTest, test_route};

#[derive(Template)]
#[template(path = "routes/test.html")]
struct TestPage {
    frame: Frame,
    number: i64,
    works: bool,
    who: String,
    is_url: bool,
    answer: Option<State>,
    sent: String,
    chatwoot: Option<Legs>,
    drift: Option<State>,
    warnings: Vec<String>,
}

/// Both ways of a test.
struct Legs {
    into: State,
    from: State,
}

pub(super) fn routes(api: &mut Api) {
    api.post("/panel/routes/{id}/test", shown("Try a route out"), test)
        .post(
            "/panel/routes/{id}/check",
            form("Look where Chatwoot sends a route's events"),
            check,
        )
        .post(
            "/panel/routes/{id}/restore",
            form("Make Chatwoot send a route's events here again"),
            restore,
        );
}

async fn test(visit: Visit, id: Path<String>, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    let with = (&admin.tools, &admin.targets);
    let tested = test_route(with, &owned, &visit.actor, admin.patience).await;
    let tested = tested.map_err(|error| not_done(&error))?;
    Ok(console::page(
        StatusCode::OK,
        &test_page(&visit, owned.route.number, &tested),
    ))
}

fn test_page(visit: &Visit, number: i64, tested: &RouteTest) -> TestPage {
    let l = visit.l();
    let answer = tested.target.answer.as_ref().map(|answer| match &answer.reason {
        None => State::new(
            "ok",
            match l {
                Language::En => format!("It took the event, after {} ms", l.number(answer.took_ms)),
                Language::Id => format!("Menerima peristiwa, setelah {} ms", l.number(answer.took_ms)),
            },
        ),
        Some(code) => State::new(
            "bad",
            format!(
                "{}: {}",
                l.t("It did not take the event", "Tidak menerima peristiwa"),
                words::reason(l, code)
            ),
        ),
    });
    TestPage {
        frame: visit.frame("routes"),
        number,
        works: tested.works,
        who: tested.target.who.clone(),
        is_url: tested.target.kind == "url",
        answer,
        sent: tested.target.sent.clone().unwrap_or_default(),
        chatwoot: tested.chatwoot.as_ref().map(|both| Legs {
            into: leg(l, &both.to_chatwoot),
            from: leg(l, &both.from_chatwoot),
        }),
        drift: tested.drift.map(|state| words::drift(l, state)),
        warnings: tested.warnings.iter().map(|one| warning(l, one)).collect(),
    }
}

/// One way of a test.
pub(super) fn leg(l: Language, leg: &Leg) -> State {
    match (&leg.reason, leg.took_ms) {
        (Some(code), _) => State::new(
            "bad",
            format!("{}: {}", l.t("no", "tidak"), words::reason(l, code)),
        ),
        (None, Some(took)) => State::new(
            "ok",
            match l {
                Language::En => format!("yes, after {} ms", l.number(took)),
                Language::Id => format!("ya, setelah {} ms", l.number(took)),
            },
        ),
        (None, None) => State::new("ok", l.t("yes", "ya")),
    }
}

/// Something that may not work, in words.
pub(super) fn warning(l: Language, warning: &Warning) -> String {
    let en = match warning.code {
        "no_api_token" => {
            "No API token of this Chatwoot account is known, so its side was not tried. Store one under “API tokens”."
        }
        "unsigned" => {
            "Chatwoot shows no signing secret to the API, so webhooks are believed without a signature until it is pasted from the inbox's settings into the form of the route."
        }
        _ => warning.text.as_str(),
    };
    let id = match warning.code {
        "bridge_url_unknown" => {
            "PUBLIC_BRIDGE_URL belum diatur, sehingga tidak diketahui ke mana Chatwoot harus mengirim webhook."
        }
        "bridge_url_private" => {
            "PUBLIC_BRIDGE_URL adalah alamat privat. Chatwoot mulai 4.14 tidak mengirim ke sana, kecuali SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true diatur di lingkungannya."
        }
        "target_url_private" => {
            "Tujuan adalah alamat privat. Peristiwa hanya sampai selama OUTBOUND_ALLOWED_PRIVATE_HOSTS memuat host dan portnya."
        }
        "route_disabled" => "Rute nonaktif: peristiwanya tidak diproses.",
        "no_api_token" => {
            "Token API akun Chatwoot ini tidak diketahui, sehingga sisi Chatwoot tidak diuji. Simpan di “Token API”."
        }
        "unsigned" => {
            "Chatwoot tidak memperlihatkan rahasia penandatanganan lewat API, jadi webhook dipercaya tanpa tanda tangan sampai rahasia itu ditempelkan di rute, dari pengaturan inbox."
        }
        _ => warning.text.as_str(),
    };
    l.t(en, id).to_owned()
}

async fn check(_visit: Visit, id: Path<String>, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    let found = drift::check(&admin.tools, &owned).await;
    match found.map_err(|error| not_done(&error))? {
        Some(_) => Ok(console::see_other(format!(
            "{}?said=checked",
            page_of(owned.route.number)
        ))),
        None => Err(no_token()),
    }
}

async fn restore(visit: Visit, id: Path<String>, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    let found = drift::restore(&admin.tools, &owned, &visit.actor).await;
    match found.map_err(|error| not_done(&error))? {
        Some(found) => {
            let is_right = found.state == drift::DriftState::Right;
            let said = if is_right { "restored" } else { "checked" };
            Ok(console::see_other(format!(
                "{}?said={said}",
                page_of(owned.route.number)
            )))
        }
        None => Err(no_token()),
    }
}

fn no_token() -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "no_api_token",
        "No API token of this Chatwoot account is known, or PUBLIC_BRIDGE_URL is not set",
    )
}
