//! The pages of `/admin`: made here, for browsers without scripts. Forms are posted to `/admin/panel` and answered with
//! the next page.

mod forms;
mod pages;

use ::web::openapi::{Api, Doc, text};
use ::web::{ApiError, Query};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{self, Data};
use askama::Template;
use database::DatabaseError;

use self::pages::{ActView, DeliveryView, Home, Message, RoutePage, RouteView, SeenView, SetupPage};
use crate::api::basic_auth::Operator;
use crate::api::{self, Admin, group};
use crate::error::answer;
use crate::flows::edit_route;
use crate::store::routes::OwnedRoute;

/// Routes of one page.
const PAGE: i64 = 100;
/// Other rows that are shown.
const SOME: i64 = 50;

/// No script, nothing from elsewhere, and in nobody's frame.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What is said after something was done. Only these can be, so a link can put no words into our mouth.
const SAID: &[(&str, &str)] = &[
    ("created", "The route is there."),
    ("saved", "Saved."),
    ("deleted", "The route is gone."),
    ("replayed", "It is sent again."),
    ("nothing", "There was nothing to send again."),
];

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Pages"));
    let page = |summary| Doc::new(summary).answers_as(200, "The page", "text/html", text());
    let form = |summary| {
        let doc = Doc::new(summary).takes_as(
            "application/x-www-form-urlencoded",
            serde_json::json!({"type": "object"}),
        );
        doc.answers_without_body(303, "Done; the page that shows it")
            .or_refused()
    };
    let shown = |summary| page(summary).or_refused();
    let style = Doc::new("How the pages look").answers_as(200, "CSS", "text/css", text());
    api.get("", page("The panel"), home)
        .get("/style.css", style, self::style)
        .get("/panel/routes/{id}", page("One route"), route)
        .get("/panel/setup", page("The form that connects an inbox"), setup)
        .post("/panel/setup", shown("Connect an inbox"), forms::set_up_inbox)
        .post("/panel/routes", form("Make a route"), forms::create)
        .post("/panel/routes/{id}", form("Change a route"), forms::update)
        .post(
            "/panel/routes/{id}/delete",
            form("Take a route away"),
            forms::delete,
        )
        .post("/panel/routes/{id}/test", shown("Try a route out"), forms::test)
        .post(
            "/panel/routes/{id}/check",
            form("Look where Chatwoot sends a route's events"),
            forms::check,
        )
        .post(
            "/panel/deliveries/{id}/replay",
            form("Pass an event on again"),
            forms::replay,
        )
        .post(
            "/panel/deliveries/replay",
            form("Pass on again what a route has put aside"),
            forms::replay_all,
        )
        .post(
            "/panel/routes/{id}/restore",
            form("Make Chatwoot send a route's events here again"),
            forms::restore,
        );
}

trait OrRefused {
    fn or_refused(self) -> Self;
}

impl OrRefused for Doc {
    /// A page, too.
    fn or_refused(self) -> Self {
        [
            (409, "Taken"),
            (422, "A field is not what it has to be"),
            (502, "Chatwoot did not do it"),
        ]
        .into_iter()
        .fold(self, |doc, (status, meaning)| {
            doc.answers_as(status, meaning, "text/html", text())
        })
    }
}

async fn home(_operator: Operator, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let after = query.get("after").and_then(|text| text.parse().ok());
    let found = async {
        let routes = edit_route::list(&admin.tools, after, PAGE).await?;
        let reports = api::routes::reports(&admin).await?;
        let seen = api::seen::seen(&admin, SOME).await?;
        let aside = api::deliveries::anywhere(&admin, SOME).await?;
        let acts = api::log::newest(&admin, SOME).await?;
        Ok::<_, DatabaseError>((routes, reports, seen, aside, acts))
    };
    let (routes, reports, seen, aside, acts) = found.await.map_err(|error| answer(&error))?;
    let full = i64::try_from(routes.len()).unwrap_or(i64::MAX) >= PAGE;
    let next = routes.last().filter(|_| full).map(|owned| owned.route.number);
    let of = |owned: &OwnedRoute| RouteView::new(owned, reports.get(&owned.route.id));
    page(
        StatusCode::OK,
        &Home {
            said: said(&query),
            routes: routes.iter().map(of).collect(),
            next,
            seen: seen.iter().map(SeenView::from).collect(),
            deliveries: aside.iter().map(DeliveryView::from).collect(),
            acts: acts.iter().map(ActView::from).collect(),
            routes_tenant: admin.routes_tenant.to_string(),
        },
    )
}

async fn route(
    _operator: Operator,
    id: web::Path<String>,
    query: Query,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    let found = async {
        let report = api::routes::report(&admin, &owned).await?;
        let (aside, counts) = api::deliveries::of_route(&admin, &owned, SOME).await?;
        Ok::<_, DatabaseError>((report, aside, counts))
    };
    let (report, aside, counts) = found.await.map_err(|error| answer(&error))?;
    let aside = aside.iter().map(DeliveryView::from).collect();
    page(
        StatusCode::OK,
        &RoutePage::new((&owned, report.as_ref()), said(&query), (aside, counts.as_ref())),
    )
}

async fn setup(_operator: Operator, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    page(
        StatusCode::OK,
        &SetupPage {
            routes_tenant: admin.routes_tenant.to_string(),
        },
    )
}

async fn style(_operator: Operator) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .insert_header((CACHE_CONTROL, "private, max-age=300"))
        .body(include_str!("style.css"))
}

fn said(query: &Query) -> Option<&'static str> {
    let code = query.get("said")?;
    SAID.iter()
        .find(|(known, _)| *known == code)
        .map(|(_, words)| *words)
}

fn page(status: StatusCode, template: &impl Template) -> Result<HttpResponse, ApiError> {
    let html = template.render().map_err(|error| {
        tracing::error!(%error, "a page cannot be made");
        ApiError::internal()
    })?;
    Ok(HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("content-security-policy", POLICY))
        .insert_header(("x-content-type-options", "nosniff"))
        // A form's page must be known as ours, and nobody else has to know it.
        .insert_header(("referrer-policy", "same-origin"))
        .body(html))
}

fn message(
    status: StatusCode,
    heading: &str,
    lines: Vec<String>,
    back: String,
) -> Result<HttpResponse, ApiError> {
    page(
        status,
        &Message {
            heading: heading.to_owned(),
            lines,
            back,
        },
    )
}

fn see_other(to: String) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, to)).finish()
}
