//! `/api/whatsapp/templates`: approved texts of the business accounts that a village has numbers in.

use ::web::openapi::{Api, Doc, list, nullable, object, text, time, whole};
use ::web::{ApiError, Query, wire_time};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::dashboard_group;
use super::signed_in::User;
use super::whatsapp_messages::village_of;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::templates::Listed;

pub(crate) fn routes(api: &mut Api) {
    api.group(dashboard_group("WhatsApp templates"));
    let template = object([
        ("waba_id", text()),
        ("name", text()),
        ("language", text()),
        ("status", text()),
        ("category", text()),
        ("quality", nullable(text())),
        ("template", json!({"type": "object"})),
        ("updated_at", time()),
    ]);
    let state = object([
        ("waba_id", text()),
        ("synced_at", nullable(time())),
        ("failure", nullable(text())),
        ("failures", whole()),
        ("next_try_at", nullable(time())),
    ]);
    let known = object([
        ("templates", list(template)),
        ("count", whole()),
        ("synced_at", nullable(time())),
        ("accounts", list(state)),
    ]);
    let mut account = object([("waba_id", text()), ("count", nullable(whole()))]);
    account["properties"]["failure"] = text();
    let synced = object([("accounts", list(account))]);
    let doc = |summary| {
        Doc::new(summary)
            .query("village_id", text(), "the tenant, for a superadmin")
            .query("tenant_id", text(), "the same by another name")
    };
    api.get(
        "/whatsapp/templates",
        doc("The templates as they were last listed").answers(200, "By name", known),
        show,
    )
    .post(
        "/whatsapp/templates/sync",
        doc("List the templates of the village's business accounts anew")
            .answers(200, "What came of each account", synced)
            .refuses(&[
                (
                    409,
                    "The village has no number in a business account that is known",
                ),
                (502, "None of the accounts could be listed"),
            ]),
        sync,
    );
}

async fn show(
    user: User,
    request: HttpRequest,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = user.scope(village_of(&request, &query, None)?)?;
    let known = state.templates.known(&scope).await?;
    let templates: Vec<Value> = known
        .templates
        .iter()
        .map(|row| {
            let raw: Value = serde_json::from_str(&row.raw).unwrap_or_default();
            json!({
                "waba_id": row.waba_id, "name": row.name, "language": row.language, "status": row.status,
                "category": row.category, "quality": Some(&row.quality).filter(|quality| !quality.is_empty()), "template": raw, "updated_at": wire_time(row.updated_at),
            })
        })
        .collect();
    let accounts: Vec<Value> = known
        .syncs
        .iter()
        .map(|sync| {
            json!({
                "waba_id": sync.waba_id, "synced_at": sync.synced_at.map(wire_time), "failure": sync.failure,
                "failures": sync.failures, "next_try_at": sync.next_try_at.map(wire_time),
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({
        "count": templates.len(), "synced_at": known.as_of().map(wire_time), "templates": templates, "accounts": accounts,
    })))
}

async fn sync(
    user: User,
    request: HttpRequest,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = user.scope(village_of(&request, &query, None)?)?;
    let listed = state.templates.list_anew(&scope).await?;
    if listed.is_empty() {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "no_business_account",
            "The village has no number of the WhatsApp Cloud API whose business account is known",
        )
        .with("success", false)
        .into());
    }
    let accounts: Vec<Value> = listed.iter().map(wire).collect();
    if listed.iter().all(|one| one.count.is_err()) {
        return Err(ApiError::new(
            StatusCode::BAD_GATEWAY,
            "templates_not_listed",
            "Meta did not list the templates",
        )
        .with("success", false)
        .with("accounts", accounts)
        .into());
    }
    Ok(HttpResponse::Ok().json(json!({"accounts": accounts})))
}

fn wire(listed: &Listed) -> Value {
    match listed.count {
        Ok(count) => json!({"waba_id": listed.waba, "count": count}),
        Err(why) => json!({"waba_id": listed.waba, "count": null, "failure": why}),
    }
}
