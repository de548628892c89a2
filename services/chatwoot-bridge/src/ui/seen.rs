//! Inboxes that send events and have no route, each with a button that gives it one.

use ::web::ApiError;
use ::web::openapi::Api;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use chrono::{DateTime, Utc};
use console::Frame;

use super::visit::Visit;
use super::{in_query, page};
use crate::api::{self, Admin};
use crate::error::answer;

/// Most that are listed, those seen last first.
const MOST: i64 = 200;

#[derive(Template)]
#[template(path = "routes/seen.html")]
struct List {
    frame: Frame,
    rows: Vec<Row>,
}

struct Row {
    inbox: i64,
    account: String,
    installation: String,
    seen: i64,
    last: DateTime<Utc>,
    /// The form for a route, filled in.
    new: String,
    /// The wizard, filled in.
    connect: String,
}

pub(super) fn routes(api: &mut Api) {
    api.get("/panel/seen", page("Inboxes without a route"), list);
}

async fn list(visit: Visit, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let seen = api::seen::seen(&admin, MOST)
        .await
        .map_err(|error| answer(&error))?;
    let rows = seen.iter().map(|one| {
        let account = api::seen::account_of(one)
            .map(|id| id.to_string())
            .unwrap_or_default();
        let given = format!(
            "installation={}&accountId={account}&inboxId={}",
            in_query(&one.installation),
            one.chatwoot_inbox_id
        );
        Row {
            inbox: one.chatwoot_inbox_id,
            installation: one.installation.clone(),
            seen: one.seen,
            last: one.last_seen,
            new: format!("/admin/panel/routes/new?{given}"),
            connect: format!(
                "/admin/panel/connect?installation={}",
                in_query(&one.installation)
            ),
            account,
        }
    });
    Ok(console::page(
        StatusCode::OK,
        &List {
            rows: rows.collect(),
            frame: visit.frame("seen"),
        },
    ))
}
