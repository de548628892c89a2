//! `/admin/deliveries`: events that could not be passed on to the URL of a route, and passing them on again. Nobody is shown
//! what is in them.

use ::web::openapi::{Api, Doc, Schema, flag, list, nullable, object, text, time, whole};
use ::web::{ApiError, Query, note_tenant, wire_time};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use database::DatabaseError;
use domain::ids::TenantId;
use serde_json::{Value, json};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::basic_auth::Operator;
use super::fields::{digits, invalid};
use super::{Admin, group, routes};
use crate::error::answer;
use crate::flows::forward::parked::{self, ForwardCounts, ParkedEvent};
use crate::store::audit_log::{self, Actor};
use crate::store::routes::OwnedRoute;

const USUAL: i64 = 100;
const MOST: i64 = 1_000;

pub(crate) fn routes_of(api: &mut Api) {
    api.group(group("Deliveries"));
    let all = Doc::new(
        "Events that are put aside, oldest first, without what is in them; of one route with its counts",
    )
    .query("routeId", whole(), "only of this route")
    .query("limit", whole(), "how many, 100 where nobody says")
    .answers(
        200,
        "The events",
        object([
            ("deliveries", list(event_schema())),
            ("counts", nullable(counts_schema())),
        ]),
    );
    let one = Doc::new("What is known of an event that is not delivered yet")
        .query(
            "tenantId",
            text(),
            "whose it is; the usual tenant's where nobody says",
        )
        .answers(200, "It", object([("delivery", event_schema())]));
    let again =
        Doc::new("Pass an event on again, in its old place before all later ones of its conversation")
            .query(
                "tenantId",
                text(),
                "whose it is; the usual tenant's where nobody says",
            )
            .answers(200, "It is on its way", object([("replayed", whole())]));
    let all_again =
        Doc::new("Pass on again all of a route that are put aside, but those that the target may have")
            .query("routeId", whole(), "the route")
            .answers(200, "They are on their way", object([("replayed", whole())]));
    api.get("/deliveries", all, list_all)
        .post("/deliveries/replay", all_again, replay_all)
        .get("/deliveries/{id}", one, show)
        .post("/deliveries/{id}/replay", again, replay);
}

fn event_schema() -> Schema {
    object([
        ("id", text()),
        ("tenantId", text()),
        ("routeId", nullable(whole())),
        ("conversationId", whole()),
        ("messageId", nullable(whole())),
        ("event", text()),
        ("bytes", whole()),
        ("failures", whole()),
        ("putAside", flag()),
        ("mayHaveArrived", flag()),
        ("reason", nullable(text())),
        ("receivedAt", time()),
    ])
}

fn counts_schema() -> Schema {
    object([
        ("accepted", whole()),
        ("delivered", whole()),
        ("dropped", whole()),
        ("expired", whole()),
        ("held", whole()),
        ("heldBytes", whole()),
    ])
}

async fn list_all(_operator: Operator, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let most = match query.get("limit") {
        None => USUAL,
        Some(text) => digits(text)
            .ok_or_else(|| ApiError::bad_request("invalid_page", "limit must be a whole number"))?
            .clamp(1, MOST),
    };
    let (events, counts) = match query.get("routeId") {
        Some(id) => of_route(&admin, &routes::find(&admin, id).await?, most).await,
        None => anywhere(&admin, most).await.map(|events| (events, None)),
    }
    .map_err(|error| answer(&error))?;
    let events: Vec<Value> = events.iter().map(wire).collect();
    let counts = counts.map(|counts| {
        json!({
            "accepted": counts.accepted, "delivered": counts.delivered, "dropped": counts.dropped,
            "expired": counts.expired, "held": counts.held, "heldBytes": counts.held_bytes,
        })
    });
    Ok(HttpResponse::Ok().json(json!({"deliveries": events, "counts": counts})))
}

pub(crate) async fn anywhere(admin: &Admin, most: i64) -> Result<Vec<ParkedEvent>, DatabaseError> {
    parked::parked_anywhere(&admin.tools.db, most).await
}

pub(crate) async fn of_route(
    admin: &Admin,
    owned: &OwnedRoute,
    most: i64,
) -> Result<(Vec<ParkedEvent>, Option<ForwardCounts>), DatabaseError> {
    let scope = TenantScope::named_by_operator(owned.tenant.clone());
    let (events, counts) = parked::parked(&admin.tools.db, &scope, Some(owned.route.id), most).await?;
    Ok((events, counts.into_iter().next()))
}

async fn show(
    _operator: Operator,
    id: web::Path<String>,
    query: Query,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let (scope, id) = (scope(&admin, query.get("tenantId"))?, id_of(&id)?);
    note_tenant(&scope);
    let found = parked::show(&admin.tools.db, &scope, id).await;
    let found = found.map_err(|error| answer(&error))?.ok_or_else(gone)?;
    Ok(HttpResponse::Ok().json(json!({"delivery": wire(&found)})))
}

async fn replay(
    operator: Operator,
    id: web::Path<String>,
    query: Query,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    if again(&admin, query.get("tenantId"), &id, &operator.0).await? {
        return Ok(HttpResponse::Ok().json(json!({"replayed": 1})));
    }
    Err(gone())
}

async fn replay_all(operator: Operator, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let id = query
        .get("routeId")
        .ok_or_else(|| invalid([("routeId", "is needed".to_owned())]))?;
    let replayed = all_again(&admin, id, &operator.0).await?;
    Ok(HttpResponse::Ok().json(json!({"replayed": replayed})))
}

/// Passes one on again. False when it is not put aside, or not this tenant's.
pub(crate) async fn again(
    admin: &Admin,
    tenant: Option<&str>,
    id: &str,
    actor: &Actor,
) -> Result<bool, ApiError> {
    let (scope, id) = (scope(admin, tenant)?, id_of(id)?);
    note_tenant(&scope);
    let replayed = async {
        let replayed = parked::replay_these(&admin.tools.db, &scope, &[id], actor).await? == 1;
        if replayed {
            note(admin, &scope, actor, (None, format!("event {id}"))).await?;
        }
        Ok::<_, DatabaseError>(replayed)
    };
    replayed.await.map_err(|error| answer(&error))
}

/// Passes on again what a route has put aside. Returns how many.
pub(crate) async fn all_again(admin: &Admin, route: &str, actor: &Actor) -> Result<usize, ApiError> {
    let owned = routes::find(admin, route).await?;
    let scope = TenantScope::named_by_operator(owned.tenant.clone());
    let replayed = async {
        let route = Some(owned.route.id);
        let replayed = parked::replay_all_by(&admin.tools.db, &scope, route, actor).await?;
        let subject = Some(owned.route.number.to_string());
        note(admin, &scope, actor, (subject, format!("{replayed} events"))).await?;
        Ok::<_, DatabaseError>(replayed)
    };
    replayed.await.map_err(|error| answer(&error))
}

async fn note(
    admin: &Admin,
    scope: &TenantScope,
    actor: &Actor,
    (subject, detail): (Option<String>, String),
) -> Result<(), DatabaseError> {
    let mut tx = TenantTransaction::begin(&admin.tools.db, scope, "note replay").await?;
    let act = actor.act("delivery.replay", subject).saying(detail);
    audit_log::note(&mut tx, &act).await?;
    tx.commit().await
}

fn scope(admin: &Admin, named: Option<&str>) -> Result<TenantScope, ApiError> {
    let named = named.map(TenantId::parse).transpose();
    let named = named.map_err(|_| invalid([("tenantId", "must be a tenant's id".to_owned())]))?;
    Ok(admin.scope(named))
}

fn id_of(text: &str) -> Result<Uuid, ApiError> {
    text.parse().map_err(|_| gone())
}

fn gone() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_delivery",
        "No such event of this tenant is put aside",
    )
}

fn wire(event: &ParkedEvent) -> Value {
    json!({
        "id": event.event_id, "tenantId": event.tenant_id, "routeId": event.route,
        "conversationId": event.conversation_id, "messageId": event.message_id, "event": event.event,
        "bytes": event.size, "failures": event.failures, "putAside": event.parked,
        "mayHaveArrived": event.unknown, "reason": event.reason, "receivedAt": wire_time(event.received_at),
    })
}
