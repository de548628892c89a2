//! `/v1/sessions/{session_id}/contacts`: the people a session knows (contract §7.8, §7.9).

use ::web::openapi::{Api, Doc, flag, list, nullable, object, text, time, whole};
use ::web::{ApiError, Query, wire_time};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::customer::Customer;
use crate::error::Error;
use crate::flows::contacts::SyncError;
use crate::state::Gateway;
use crate::store::contacts::{Contact, Owner, Wanted};
use crate::wa_server::ContactsError;

/// Contacts on a page when nobody says how many, and the most there are on one.
const PAGE: (i64, i64) = (1_000, 10_000);
/// Longest text that is looked for, in characters.
const LONGEST_SEARCH: usize = 100;

pub(crate) fn routes(api: &mut Api) {
    let contact = object([
        ("id", whole()),
        ("user_id", text()),
        ("session_id", text()),
        ("jid", text()),
        ("name", text()),
        ("phone", text()),
        ("raw", json!({"type": "object"})),
        ("removed_at", nullable(time())),
        ("last_synced_at", time()),
        ("created_at", time()),
        ("updated_at", time()),
    ]);
    let meta = object([("page", whole()), ("limit", whole()), ("total", whole())]);
    let page = object([("contacts", list(contact)), ("meta", meta)]);
    let get = Doc::new("A page of the session's contacts, by name")
        .query(
            "sync",
            text(),
            "`true`, as without it: ask the WA server first; if it cannot say, what is known is shown",
        )
        .query("page", whole(), "1 and up")
        .query(
            "limit",
            whole(),
            "contacts on a page: 1000 without it, at most 10000",
        )
        .query("search", text(), "part of a name, a number or an address")
        .query(
            "include_removed",
            flag(),
            "`true`: also those whom the WA server does not list any more",
        )
        .answers(200, "The page", page)
        .refuses(&[(404, "No such session")]);
    api.get("/sessions/{session_id}/contacts", get, show);
    let sync = Doc::new("Takes over what the WA server lists")
        .answers(200, "How many it lists", object([("synced", whole())]))
        .refuses(&[
            (404, "No such session"),
            (
                500,
                "The WA server's own refusal, such as `no session`, or a list that cannot be read",
            ),
            (502, "The WA server cannot be reached"),
            (504, "The WA server does not answer"),
        ]);
    api.post("/sessions/{session_id}/contacts/sync", sync, synchronise);
}

async fn show(
    customer: Customer,
    session_id: Path<String>,
    query: Query,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let session_id = session_id.into_inner();
    let syncs = query
        .all("sync")
        .next()
        .is_none_or(|word| word.eq_ignore_ascii_case("true"))
        // What costs the WA server something is for who has paid.
        && customer.standing.entitled().is_ok();
    let number = |name: &str, default: i64| {
        let given = query.get(name).and_then(|text| text.parse::<i64>().ok());
        given.filter(|number| *number > 0).unwrap_or(default)
    };
    let limit = number("limit", PAGE.0).min(PAGE.1);
    let page = number("page", 1);
    let search = query.get("search").map(searched).filter(|text| !text.is_empty());
    let wanted = Wanted {
        search,
        removed: query
            .get("include_removed")
            .is_some_and(|word| word.eq_ignore_ascii_case("true")),
        limit,
        offset: (page - 1).saturating_mul(limit),
    };
    let (contacts, scope, asked) = (
        gateway.traffic.contacts.clone(),
        customer.scope.clone(),
        session_id.clone(),
    );
    let (page_of, total) = gateway
        .on_process(async move {
            let owner = contacts.owner(&scope, &asked).await?;
            if syncs && let Err(error) = contacts.sync(scope.clone(), owner.clone()).await {
                tracing::info!(error = %error, "contacts are shown as they are known");
            }
            contacts.page(&scope, owner.id, &wanted).await
        })
        .await?;
    let shown: Vec<Value> = page_of
        .iter()
        .map(|contact| wire(contact, customer.scope.tenant().as_str(), &session_id))
        .collect();
    Ok(HttpResponse::Ok().json(json!({
        "contacts": shown,
        "meta": {"page": page, "limit": limit, "total": total},
    })))
}

async fn synchronise(
    customer: Customer,
    session_id: Path<String>,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let contacts = gateway.traffic.contacts.clone();
    let synced = gateway
        .on_process(async move {
            let owner: Owner = contacts.owner(&customer.scope, &session_id).await?;
            customer.standing.entitled()?;
            contacts
                .sync(customer.scope, owner)
                .await
                .map_err(Error::NotSynced)
        })
        .await;
    match synced {
        Ok(synced) => Ok(HttpResponse::Ok().json(json!({"synced": synced}))),
        Err(Error::NotSynced(error)) => match &*error {
            // Clients look for the WA server's own words, such as `no session`.
            SyncError::WaServer(ContactsError::Refused { status, body }) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
                Ok(HttpResponse::build(status)
                    .content_type(ContentType::json())
                    .body(body.clone()))
            }
            _ => Err(Error::NotSynced(error).into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn searched(text: &str) -> String {
    let text = text.replace('\0', "");
    text.trim().chars().take(LONGEST_SEARCH).collect()
}

fn wire(contact: &Contact, user_id: &str, session_id: &str) -> Value {
    json!({
        "id": contact.number,
        "user_id": user_id,
        "session_id": session_id,
        "jid": contact.jid,
        "name": contact.name,
        "phone": contact.phone,
        "raw": contact.raw,
        "removed_at": contact.removed_at.map(wire_time),
        "last_synced_at": wire_time(contact.last_synced_at),
        "created_at": wire_time(contact.created_at),
        "updated_at": wire_time(contact.updated_at),
    })
}
