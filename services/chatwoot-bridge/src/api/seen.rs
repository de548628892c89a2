//! What came and led nowhere: inboxes without a route, and bodies that are no webhooks.

use ::web::openapi::{Api, Doc, list, object, text, time, whole};
use ::web::{ApiError, wire_time};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use database::DatabaseError;
use serde_json::{Value, json};
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use super::basic_auth::Operator;
use super::{Admin, group};
use crate::error::answer;
use crate::store::quarantine;
use crate::store::unrouted_inboxes::{self, NO_ACCOUNT, UnroutedInbox};

/// Most of either that are listed.
const MOST: i64 = 500;

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Without a route"));
    let inbox = object([
        ("installation", text()),
        ("accountId", ::web::openapi::nullable(whole())),
        ("inboxId", whole()),
        ("seen", whole()),
        ("lastSeen", time()),
    ]);
    let body = object([
        ("id", text()),
        ("installation", text()),
        ("reason", text()),
        ("bytes", whole()),
        ("receivedAt", time()),
    ]);
    let seen = Doc::new("Inboxes that send events and have no route, those seen last first").answers(
        200,
        "The inboxes",
        object([("inboxes", list(inbox))]),
    );
    let aside =
        Doc::new("Bodies that came as webhooks and are none, the newest first, without what is in them")
            .answers(200, "The bodies", object([("bodies", list(body))]));
    let one = Doc::new("What is kept of such a body").answers_as(
        200,
        "Its first 64 KiB, as they came",
        "application/octet-stream",
        json!({"type": "string", "format": "binary"}),
    );
    api.get("/seen", seen, list_seen)
        .get("/quarantine", aside, list_quarantine)
        .get("/quarantine/{id}", one, show_quarantine);
}

async fn list_seen(_operator: Operator, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let seen = seen(&admin, MOST).await.map_err(|error| answer(&error))?;
    let inboxes: Vec<Value> = seen.iter().map(wire).collect();
    Ok(HttpResponse::Ok().json(json!({"inboxes": inboxes})))
}

pub(crate) async fn seen(admin: &Admin, most: i64) -> Result<Vec<UnroutedInbox>, DatabaseError> {
    let platform = PlatformScope::for_purpose("list unrouted inboxes");
    let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
    let seen = unrouted_inboxes::list(&mut tx, most).await?;
    tx.commit().await?;
    Ok(seen)
}

/// Chatwoot's account, where an event named it.
pub(crate) fn account_of(inbox: &UnroutedInbox) -> Option<i64> {
    Some(inbox.chatwoot_account_id).filter(|id| *id != NO_ACCOUNT)
}

fn wire(inbox: &UnroutedInbox) -> Value {
    json!({
        "installation": inbox.installation, "accountId": account_of(inbox), "inboxId": inbox.chatwoot_inbox_id,
        "seen": inbox.seen, "lastSeen": wire_time(inbox.last_seen),
    })
}

async fn list_quarantine(_operator: Operator, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let listed = async {
        let platform = PlatformScope::for_purpose("list quarantine");
        let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
        let listed = quarantine::newest(&mut tx, MOST).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>(listed)
    };
    let listed = listed.await.map_err(|error| answer(&error))?;
    let bodies: Vec<Value> = listed
        .iter()
        .map(|kept| {
            json!({
                "id": kept.id, "installation": kept.installation, "reason": kept.reason,
                "bytes": kept.body_size, "receivedAt": wire_time(kept.received_at),
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({"bodies": bodies})))
}

async fn show_quarantine(
    _operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let gone = || ApiError::new(StatusCode::NOT_FOUND, "no_such_body", "No such body is kept");
    let id: Uuid = id.parse().map_err(|_| gone())?;
    let found = async {
        let platform = PlatformScope::for_purpose("show quarantine");
        let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
        let found = quarantine::body(&mut tx, id).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>(found)
    };
    let body = found.await.map_err(|error| answer(&error))?.ok_or_else(gone)?;
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        // Anybody may have sent it: no browser is to show it as a page.
        .insert_header(("content-disposition", "attachment; filename=\"body\""))
        .insert_header(("x-content-type-options", "nosniff"))
        .body(body))
}
