//! For whoever writes programs: tokens for the gate in the shape of Meta's Cloud API, and where it tells. What is secret is
//! shown once, in the answer to the form that made it.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use console::{Frame, Tone, page, see_other};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::{Answered, base};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::gate::subscription::{self, NewSubscription, Shown, SubscribeError};
use crate::flows::gate::token::{self, TokenError};
use crate::store::gate_tokens::TokenRow;
use crate::ui::errors::PageError;
use crate::ui::frame::Said;
use crate::ui::visit::{TenantPosted, TenantVisit};

/// Longest address, and longest token that a receiver knows us by.
const LONGEST_URL: usize = 2_000;
const LONGEST_VERIFY_TOKEN: usize = 256;

const SAID: &[Said] = &[
    (
        "revoked",
        Tone::Ok,
        "The token opens nothing any more.",
        "Token itu tidak berlaku lagi.",
    ),
    (
        "unsubscribed",
        Tone::Ok,
        "Nothing is told there any more.",
        "Tidak ada lagi yang dikirim ke sana.",
    ),
];

pub(super) fn routes(config: &mut ServiceConfig) {
    let at = |path: &str| format!("/t/{{tenant}}/settings/programs{path}");
    config
        .route(&at(""), web::get().to(show))
        .route(&at("/tokens"), web::post().to(make_token))
        .route(&at("/tokens/revoke"), web::post().to(revoke_token))
        .route(&at("/subscriptions"), web::post().to(subscribe))
        .route(&at("/subscriptions/end"), web::post().to(unsubscribe));
}

/// What was just made and is shown this once.
#[derive(Default)]
struct Fresh {
    token: Option<String>,
    app_secret: Option<String>,
}

/// What was filled in and not taken.
#[derive(Default)]
struct Refused {
    name: String,
    name_error: String,
    url: String,
    url_error: String,
    number: String,
    number_error: String,
    verify_error: String,
}

#[derive(Template)]
#[template(path = "settings/programs.html")]
struct ProgramsPage {
    frame: Frame,
    base: String,
    tokens: Vec<TokenRow>,
    subscriptions: Vec<Shown>,
    fresh: Fresh,
    refused: Refused,
}

async fn show(visit: TenantVisit, state: Data<State>) -> Answered {
    let frame = visit.frame_saying("settings", SAID);
    let (fresh, refused) = (Fresh::default(), Refused::default());
    programs_page(&visit, &state, frame, StatusCode::OK, fresh, refused).await
}

async fn programs_page(
    visit: &TenantVisit,
    state: &State,
    frame: Frame,
    status: StatusCode,
    fresh: Fresh,
    refused: Refused,
) -> Answered {
    Ok(page(
        status,
        &ProgramsPage {
            frame,
            base: base(&visit.scope),
            tokens: token::list(&state.db, &visit.scope).await?,
            subscriptions: subscription::list(&state.db, &visit.scope).await?,
            fresh,
            refused,
        },
    ))
}

async fn make_token(posted: TenantPosted, state: Data<State>) -> Answered {
    let TenantPosted { visit, fields } = posted;
    let l = visit.l();
    let name = fields.text("name")?.unwrap_or_default().trim();
    let frame = visit.frame("settings");
    let refuse = |error: &str| Refused {
        name: name.to_owned(),
        name_error: error.to_owned(),
        ..Refused::default()
    };
    if name.is_empty() || name.chars().count() > token::LONGEST_NAME || name.chars().any(char::is_control) {
        let refused = refuse(l.t(
            "Say in 1 to 100 characters what the token is for.",
            "Sebutkan kegunaan token dalam 1 sampai 100 karakter.",
        ));
        return programs_page(
            &visit,
            &state,
            frame,
            StatusCode::BAD_REQUEST,
            Fresh::default(),
            refused,
        )
        .await;
    }
    match token::create(&state.db, &visit.scope, name, &visit.actor()).await {
        Ok(made) => {
            let fresh = Fresh {
                token: Some(made.token.expose_secret().to_owned()),
                ..Fresh::default()
            };
            programs_page(&visit, &state, frame, StatusCode::OK, fresh, Refused::default()).await
        }
        Err(TokenError::TooMany) => {
            let refused = refuse(l.t(
                "There are as many tokens as there may be. Take one back first.",
                "Jumlah token sudah mencapai batas. Cabut salah satu dulu.",
            ));
            programs_page(
                &visit,
                &state,
                frame,
                StatusCode::CONFLICT,
                Fresh::default(),
                refused,
            )
            .await
        }
        Err(TokenError::NoTenant) => Err(PageError::NotFound),
        Err(TokenError::Database(error)) => Err(error.into()),
    }
}

async fn revoke_token(posted: TenantPosted, state: Data<State>) -> Answered {
    let TenantPosted { visit, fields } = posted;
    let id = id_in(fields.text("id")?)?;
    if !token::revoke(&state.db, &visit.scope, id, &visit.actor()).await? {
        return Err(PageError::NotFound);
    }
    Ok(see_other(format!("{}/programs?said=revoked", base(&visit.scope))))
}

async fn subscribe(posted: TenantPosted, state: Data<State>) -> Answered {
    let TenantPosted { visit, fields } = posted;
    let l = visit.l();
    let text = |name| fields.text(name).map(|text| text.unwrap_or_default().trim());
    let (url, number, verify) = (text("url")?, text("number")?, text("verify")?);
    let mut refused = Refused {
        url: url.to_owned(),
        number: number.to_owned(),
        ..Refused::default()
    };
    let frame = visit.frame("settings");
    let fits = |text: &str, most: usize| (1..=most).contains(&text.chars().count()) && !text.contains('\0');
    if !fits(url, LONGEST_URL) {
        refused.url_error = l
            .t(
                "Type the address that shall be told.",
                "Ketik alamat yang akan diberi tahu.",
            )
            .to_owned();
    }
    if !fits(verify, LONGEST_VERIFY_TOKEN) {
        refused.verify_error = l
            .t(
                "Type the word that the receiver knows us by.",
                "Ketik kata yang dikenal penerima.",
            )
            .to_owned();
    }
    if !refused.url_error.is_empty() || !refused.verify_error.is_empty() {
        return programs_page(
            &visit,
            &state,
            frame,
            StatusCode::BAD_REQUEST,
            Fresh::default(),
            refused,
        )
        .await;
    }
    let new = NewSubscription {
        callback_url: url.to_owned(),
        verify_token: SecretString::from(verify),
        number: Some(number)
            .filter(|number| !number.is_empty())
            .map(str::to_owned),
    };
    let (gate, actor) = (&state.gate, visit.actor());
    let made = subscription::subscribe(
        &state.db,
        &state.keys,
        &gate.receivers,
        &visit.scope,
        &new,
        &actor,
    )
    .await;
    let status = match made {
        Ok(made) => {
            // From the answer on nothing is missed, whichever process takes it in.
            gate.subscribers.known_everywhere().await;
            let fresh = Fresh {
                app_secret: Some(made.app_secret.expose_secret().to_owned()),
                ..Fresh::default()
            };
            return programs_page(&visit, &state, frame, StatusCode::OK, fresh, Refused::default()).await;
        }
        Err(SubscribeError::NoTenant) => return Err(PageError::NotFound),
        Err(SubscribeError::Encryption(error)) => return Err(ServiceError::from(error).into()),
        Err(SubscribeError::Database(error)) => return Err(error.into()),
        Err(SubscribeError::NoNumber) => {
            refused.number_error = l
                .t(
                    "This tenant has no number with this id. Leave it empty for all numbers.",
                    "Tenant ini tidak punya nomor dengan id itu. Kosongkan untuk semua nomor.",
                )
                .to_owned();
            StatusCode::BAD_REQUEST
        }
        Err(SubscribeError::Receiver(_)) => {
            refused.url_error = l
                .t(
                    "This address did not answer the verification (hub.challenge), or may not be called. See that it runs and knows the word below.",
                    "Alamat ini tidak menjawab verifikasi (hub.challenge), atau tidak boleh dihubungi. Pastikan alamat berjalan dan mengenal kata di bawah.",
                )
                .to_owned();
            StatusCode::UNPROCESSABLE_ENTITY
        }
    };
    programs_page(&visit, &state, frame, status, Fresh::default(), refused).await
}

async fn unsubscribe(posted: TenantPosted, state: Data<State>) -> Answered {
    let TenantPosted { visit, fields } = posted;
    let id = id_in(fields.text("id")?)?;
    if !subscription::unsubscribe(&state.db, &visit.scope, id, &visit.actor()).await? {
        return Err(PageError::NotFound);
    }
    Ok(see_other(format!(
        "{}/programs?said=unsubscribed",
        base(&visit.scope)
    )))
}

fn id_in(text: Option<&str>) -> Result<Uuid, PageError> {
    Uuid::parse_str(text.unwrap_or_default()).map_err(|_| PageError::NotFound)
}
