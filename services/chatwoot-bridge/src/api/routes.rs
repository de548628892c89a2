//! `/admin/routes` (contract 1.3): the predecessor's paths, keys and words, and what ours has beyond them.

use std::collections::HashMap;

use ::web::openapi::{Api, Doc, Schema, fields, flag, list, nullable, object, one_of, text, time, whole};
use ::web::{ApiError, Query, note_tenant, wire_time};
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use database::DatabaseError;
use serde_json::{Value, json};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::basic_auth::Operator;
use super::fields::Body;
use super::{Admin, group, not_edited, route_not_found};
use crate::error::answer;
use crate::flows::edit_route::{self, NewTarget, RouteChange};
use crate::store::drift_reports::{self, DriftReport};
use crate::store::routes::{OwnedRoute, Target};

/// Longest name, in characters, as the predecessor's form had it.
const LONGEST_NAME: usize = 100;
/// Most events a route may name.
const MOST_EVENTS: usize = 32;
/// Most routes of one page, and of a list that asks for no page.
const MOST: i64 = 10_000;

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Routes"));
    let all = Doc::new("Every route, newest first; all of them where no page is asked for")
        .query("limit", whole(), "how many")
        .query("after", whole(), "only those behind the route of this id")
        .answers(200, "The routes", object([("routes", list(route_schema()))]));
    let one = Doc::new("One route").answers(200, "It", object([("route", route_schema())]));
    let new = Doc::new("Make a route")
        .takes(change_schema())
        .answers(201, "It is there", object([("route", route_schema())]))
        .refuses(INVALID)
        .refuses(TAKEN);
    let changed = Doc::new("Change what is given of a route")
        .takes(change_schema())
        .answers(200, "As it is now", object([("route", route_schema())]))
        .refuses(INVALID)
        .refuses(TAKEN);
    let gone = Doc::new("Take a route away, and with it the connection of an inbox to an account").answers(
        200,
        "It is gone",
        object([("success", flag())]),
    );
    api.get("/routes", all, list_all)
        .post("/routes", new, create)
        .get("/routes/{id}", one, show)
        .put("/routes/{id}", changed, update)
        .delete("/routes/{id}", gone, delete);
}

const INVALID: &[(u16, &str)] = &[(422, "A field is not what it has to be; `fields` names each")];
const TAKEN: &[(u16, &str)] = &[(409, "The inbox has a route, or one that takes its events")];

fn route_schema() -> Schema {
    let counts = object([("inbox", whole()), ("account", whole())]);
    object([
        ("id", whole()),
        ("inboxId", whole()),
        ("webhookUrl", nullable(text())),
        ("name", nullable(text())),
        ("createdAt", time()),
        ("updatedAt", time()),
        ("tenantId", text()),
        ("installation", text()),
        ("accountId", nullable(whole())),
        ("enabled", flag()),
        ("target", one_of(&["url", "account"])),
        ("inboxLinkId", nullable(text())),
        ("events", list(text())),
        ("private", flag()),
        ("retryUnknown", flag()),
        ("hasSigningSecret", flag()),
        ("hasPathToken", flag()),
        ("webhookSecrets", counts),
        ("autoRestore", flag()),
        (
            "drift",
            nullable(object([
                ("state", text()),
                ("found", nullable(text())),
                ("checkedAt", time()),
                ("since", time()),
            ])),
        ),
    ])
}

fn change_schema() -> Schema {
    fields([
        ("inboxId", whole()),
        ("webhookUrl", text()),
        ("name", text()),
        ("tenantId", text()),
        ("installation", text()),
        ("accountId", whole()),
        ("enabled", flag()),
        ("target", one_of(&["url", "account"])),
        ("whatsappAccountId", text()),
        (
            "credentials",
            object([("username", text()), ("password", text())]),
        ),
        ("events", list(text())),
        ("private", flag()),
        ("signingSecret", text()),
        (
            "webhookSecrets",
            fields([("inbox", list(text())), ("account", list(text()))]),
        ),
        ("pathToken", text()),
        ("retryUnknown", flag()),
        ("autoRestore", flag()),
    ])
}

async fn list_all(_operator: Operator, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let number = |name: &'static str| match query.get(name) {
        None => Ok(None),
        Some(text) => super::fields::digits(text)
            .map(Some)
            .ok_or_else(|| ApiError::bad_request("invalid_page", format!("{name} must be a whole number"))),
    };
    let (limit, after) = (number("limit")?, number("after")?);
    let most = limit.unwrap_or(MOST).clamp(1, MOST);
    let found = async {
        let routes = edit_route::list(&admin.tools, after, most).await?;
        Ok::<_, DatabaseError>((routes, reports(&admin).await?))
    };
    let (routes, reports) = found.await.map_err(|error| answer(&error))?;
    let routes: Vec<Value> = routes
        .iter()
        .map(|owned| wire(owned, reports.get(&owned.route.id)))
        .collect();
    Ok(HttpResponse::Ok().json(json!({"routes": routes})))
}

async fn show(
    _operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let found = find(&admin, &id).await?;
    answered(&admin, actix_web::http::StatusCode::OK, &found).await
}

async fn create(
    operator: Operator,
    request: HttpRequest,
    body: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let mut body = Body::read(&request, body).await?;
    let to_account = body.given("target").and_then(Value::as_str) == Some("account");
    if body.is_nothing("inboxId") || (body.is_nothing("webhookUrl") && !to_account) {
        return Err(ApiError::bad_request(
            "fields_missing",
            "inboxId and webhookUrl are required",
        ));
    }
    let change = read_change(&mut body)?;
    let scope = admin.scope(body.tenant("tenantId"));
    body.finish()?;
    note_tenant(&scope);
    let made = edit_route::create(admin.editor(), &scope, &change, &operator.0).await;
    let made = made.map_err(|error| not_edited(&error))?;
    answered(&admin, actix_web::http::StatusCode::CREATED, &made).await
}

async fn update(
    operator: Operator,
    id: web::Path<String>,
    request: HttpRequest,
    body: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let number = number_of(&id)?;
    let mut body = Body::read(&request, body).await?;
    let change = read_change(&mut body)?;
    let tenant = body.tenant("tenantId");
    body.finish()?;
    let known = find(&admin, &id).await?;
    if tenant.is_some_and(|tenant| tenant != known.tenant) {
        return Err(super::fields::invalid([(
            "tenantId",
            "stays what it is; make another route".to_owned(),
        )]));
    }
    let changed = edit_route::update(admin.editor(), number, &change, &operator.0).await;
    let changed = changed.map_err(|error| not_edited(&error))?;
    answered(&admin, actix_web::http::StatusCode::OK, &changed).await
}

async fn delete(
    operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let deleted = edit_route::delete(&admin.tools, number_of(&id)?, &operator.0).await;
    deleted.map_err(|error| not_edited(&error))?;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

/// What a body asks for. `inboxId` is refused in the predecessor's words before anything else is looked at.
pub(crate) fn read_change(body: &mut Body) -> Result<RouteChange, ApiError> {
    let inbox = match body.given("inboxId") {
        None => None,
        Some(value) => Some(
            super::fields::whole(value)
                .ok_or_else(|| ApiError::bad_request("invalid_inbox_id", "inboxId must be a valid number"))?,
        ),
    };
    let url = match body.given("webhookUrl") {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null) => None,
        Some(_) => {
            body.wrong("webhookUrl", "must be a text");
            None
        }
    };
    let account = body.account("whatsappAccountId");
    let target = match body.text("target", 20).as_deref() {
        Some("account") => {
            if account.is_none() {
                body.wrong("whatsappAccountId", "is needed where the target is an account");
            }
            account.map(NewTarget::Account)
        }
        Some("url") | None => url.map(NewTarget::Url),
        Some(_) => {
            body.wrong("target", "must be url or account");
            None
        }
    };
    let of_chatwoot = match body.given("accountId") {
        None => None,
        Some(Value::Null) => Some(None),
        Some(_) => body.id("accountId").map(Some),
    };
    if body
        .given("webhookSecrets")
        .is_some_and(|value| !value.is_object() && !value.is_null())
    {
        body.wrong(
            "webhookSecrets",
            "must have inbox and account, each with one or two texts",
        );
    }
    Ok(RouteChange {
        installation: body.installation("installation"),
        account: of_chatwoot,
        inbox,
        name: body.text_or_nothing("name", LONGEST_NAME),
        enabled: body.flag("enabled"),
        target,
        credentials: body.credentials("credentials"),
        events: body.texts("events", MOST_EVENTS),
        private: body.flag("private"),
        signing_secret: body.secret_or_nothing("signingSecret", 1),
        inbox_secrets: body.secrets("webhookSecrets", "inbox"),
        account_secrets: body.secrets("webhookSecrets", "account"),
        path_token: body.secret_or_nothing("pathToken", 16),
        retry_unknown: body.flag("retryUnknown"),
        auto_restore: body.flag("autoRestore"),
        rotates: false,
    })
}

pub(crate) fn number_of(id: &str) -> Result<i64, ApiError> {
    super::fields::digits(id).ok_or_else(|| ApiError::bad_request("invalid_route_id", "Invalid route ID"))
}

/// The route of this id, for the handlers of what is below it.
pub(crate) async fn find(admin: &Admin, id: &str) -> Result<OwnedRoute, ApiError> {
    let found = edit_route::find(&admin.tools, number_of(id)?).await;
    let found = found
        .map_err(|error| answer(&error))?
        .ok_or_else(route_not_found)?;
    note_tenant(&TenantScope::named_by_operator(found.tenant.clone()));
    Ok(found)
}

async fn answered(
    admin: &Admin,
    status: actix_web::http::StatusCode,
    owned: &OwnedRoute,
) -> Result<HttpResponse, ApiError> {
    let report = report(admin, owned).await.map_err(|error| answer(&error))?;
    let route = wire(owned, report.as_ref());
    Ok(HttpResponse::build(status).json(json!({"route": route})))
}

/// What is known of every route's webhook, by the route's id.
pub(crate) async fn reports(admin: &Admin) -> Result<HashMap<Uuid, DriftReport>, DatabaseError> {
    let platform = PlatformScope::for_purpose("list drift reports");
    let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
    let reports = drift_reports::all(&mut tx).await?;
    tx.commit().await?;
    let reports = reports.into_iter();
    Ok(reports.map(|report| (report.route_id, report)).collect())
}

/// What is known of a route's webhook.
pub(crate) async fn report(admin: &Admin, owned: &OwnedRoute) -> Result<Option<DriftReport>, DatabaseError> {
    let scope = TenantScope::named_by_operator(owned.tenant.clone());
    let mut tx = TenantTransaction::begin(&admin.tools.db, &scope, "show drift report").await?;
    let report = drift_reports::find(&mut tx, owned.route.id).await?;
    tx.commit().await?;
    Ok(report)
}

/// A route as it is answered: no secret, sealed or not, is in it.
pub(crate) fn wire(owned: &OwnedRoute, report: Option<&DriftReport>) -> Value {
    let route = &owned.route;
    let (target, url, link, signs, retry) = match &route.target {
        Target::Account { link } => ("account", None, Some(link), false, false),
        Target::Url {
            url_shown,
            signing_secret_sealed,
            retry_unknown,
            ..
        } => (
            "url",
            Some(url_shown),
            None,
            signing_secret_sealed.is_some(),
            *retry_unknown,
        ),
    };
    let drift = report.and_then(|report| {
        let (state, checked, since) = (report.state.as_ref()?, report.checked_at?, report.since?);
        Some(json!({"state": state, "found": report.found, "checkedAt": wire_time(checked), "since": wire_time(since)}))
    });
    json!({
        "id": route.number, "inboxId": route.inbox_id, "webhookUrl": url, "name": route.name,
        "createdAt": wire_time(route.created_at), "updatedAt": wire_time(route.updated_at),
        "tenantId": owned.tenant, "installation": route.installation, "accountId": route.account_id,
        "enabled": route.enabled, "target": target, "inboxLinkId": link, "events": route.wants.events,
        "private": route.wants.private, "retryUnknown": retry, "hasSigningSecret": signs,
        "hasPathToken": route.path_token_sha256.is_some(),
        "webhookSecrets": {"inbox": route.inbox_secrets_sealed.len(), "account": route.account_secrets_sealed.len()},
        "autoRestore": report.is_some_and(|report| report.auto_restore), "drift": drift,
    })
}
