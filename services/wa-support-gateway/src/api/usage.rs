//! `/v1/usage`: what a customer's sessions have sent, by day of business and kind (contract §11).

use ::web::openapi::{Api, Doc, list, nullable, object, text, whole};
use ::web::{ApiError, Query};
use actix_web::HttpResponse;
use actix_web::web::Data;
use chrono::{Days, NaiveDate};
use serde_json::{Value, json};

use super::customer::Customer;
use crate::state::Gateway;
use crate::store::usage::UsageRow;

/// Days that are shown when nobody says which.
const DAYS: u64 = 30;
/// Most days that are shown at once.
const MOST_DAYS: i64 = 366;

pub(crate) fn routes(api: &mut Api) {
    let date = || json!({"type": "string", "format": "date"});
    let count = object([
        ("date", date()),
        ("type", text()),
        ("sent", whole()),
        ("failed", whole()),
    ]);
    let session = object([
        ("session_id", nullable(text())),
        ("session_name", text()),
        ("sent", whole()),
        ("failed", whole()),
        ("days", list(count)),
    ]);
    let usage = object([
        ("from", date()),
        ("to", date()),
        ("sent", whole()),
        ("failed", whole()),
        ("sessions", list(session)),
    ]);
    let doc = Doc::new("What the customer's sessions have sent, at most a second old")
        .query("from", date(), "the first day; 30 days without it")
        .query("to", date(), "the last day; today without it")
        .answers(200, "Sends by session, day and kind", usage)
        .refuses(&[(400, "No days, or more than 366")]);
    api.get("/usage", doc, show);
}

async fn show(customer: Customer, query: Query, gateway: Data<Gateway>) -> Result<HttpResponse, ApiError> {
    let usage = gateway.traffic.usage.clone();
    let to = day(&query, "to")?.unwrap_or_else(|| usage.today());
    let from = match day(&query, "from")? {
        Some(from) => from,
        None => to.checked_sub_days(Days::new(DAYS - 1)).unwrap_or(to),
    };
    if !(0..MOST_DAYS).contains(&(to - from).num_days()) {
        return Err(ApiError::bad_request(
            "invalid_period",
            "`from` must not be after `to`, and at most 366 days are shown",
        ));
    }
    let scope = customer.scope;
    let rows = gateway
        .on_process(async move { usage.between(&scope, from, to).await })
        .await?;
    let sessions: Vec<Value> = rows
        .chunk_by(|one, other| one.session_name == other.session_name)
        .map(session)
        .collect();
    Ok(HttpResponse::Ok().json(json!({
        "from": from,
        "to": to,
        "sent": sum(&rows, |row| row.sent),
        "failed": sum(&rows, |row| row.failed),
        "sessions": sessions,
    })))
}

fn day(query: &Query, name: &'static str) -> Result<Option<NaiveDate>, ApiError> {
    let given = query
        .get(name)
        .map(|text| NaiveDate::parse_from_str(text, "%Y-%m-%d"));
    given.transpose().map_err(|_| {
        ApiError::bad_request(
            "invalid_date",
            format!("`{name}` must be a day such as 2026-02-17"),
        )
    })
}

fn session(rows: &[UsageRow]) -> Value {
    let days: Vec<Value> = rows
        .iter()
        .map(|row| json!({"date": row.day, "type": row.message_type, "sent": row.sent, "failed": row.failed}))
        .collect();
    let first = rows.first();
    json!({
        "session_id": first.and_then(|row| row.session_id.as_deref()),
        "session_name": first.map(|row| row.session_name.as_str()),
        "sent": sum(rows, |row| row.sent),
        "failed": sum(rows, |row| row.failed),
        "days": days,
    })
}

fn sum(rows: &[UsageRow], of: fn(&UsageRow) -> i64) -> i64 {
    rows.iter().map(of).sum()
}
