//! `/admin/log`: who did what.

use ::web::openapi::{Api, Doc, list, nullable, object, text, time, whole};
use ::web::{ApiError, Query, wire_time};
use actix_web::HttpResponse;
use actix_web::web::Data;
use database::DatabaseError;
use serde_json::{Value, json};
use tenant_isolation::{PlatformScope, PlatformTransaction};

use super::basic_auth::Operator;
use super::{Admin, group};
use crate::error::answer;
use crate::store::audit_log::{self, AnyActRow, Wanted};

const USUAL: i64 = 100;
const MOST: i64 = 1_000;

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Log"));
    let act = object([
        ("tenantId", nullable(text())),
        ("at", time()),
        ("actor", text()),
        ("action", text()),
        ("subject", nullable(text())),
        ("detail", nullable(text())),
        ("source", nullable(text())),
    ]);
    let all = Doc::new("Who did what, the newest first")
        .query("limit", whole(), "how many, 100 where nobody says")
        .answers(200, "The acts", object([("acts", list(act))]));
    api.get("/log", all, list_acts);
}

async fn list_acts(_operator: Operator, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let most = match query.get("limit") {
        None => USUAL,
        Some(text) => super::fields::digits(text)
            .ok_or_else(|| ApiError::bad_request("invalid_page", "limit must be a whole number"))?,
    };
    let acts = newest(&admin, most.clamp(1, MOST)).await;
    let acts: Vec<Value> = acts.map_err(|error| answer(&error))?.iter().map(wire).collect();
    Ok(HttpResponse::Ok().json(json!({"acts": acts})))
}

pub(crate) async fn newest(admin: &Admin, most: i64) -> Result<Vec<AnyActRow>, DatabaseError> {
    let platform = PlatformScope::for_purpose("list acts");
    let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
    let acts = audit_log::page(&mut tx, &Wanted::default(), most).await?;
    tx.commit().await?;
    Ok(acts)
}

fn wire(AnyActRow { tenant_id, act }: &AnyActRow) -> Value {
    json!({
        "tenantId": tenant_id, "at": wire_time(act.at), "actor": act.actor, "action": act.action,
        "subject": act.subject, "detail": act.detail, "source": act.source,
    })
}
