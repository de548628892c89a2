//! `/admin/inboxes`: connected inboxes, and what was chosen for them.

use ::web::openapi::{Api, Doc, Schema, fields, flag, list, object, one_of, text, whole};
use ::web::{ApiError, note_tenant};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use database::DatabaseError;
use domain::ids::TenantId;
use serde_json::{Value, json};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::basic_auth::Operator;
use super::fields::Body;
use super::{Admin, group};
use crate::error::answer;
use crate::store::audit_log::{self, Actor};
use crate::store::inbound_rules::{self, ConversationPolicy, InboundRules};
use crate::store::inboxes::{self, Inbox};
use crate::store::outbound_options::{self, OutboundOptions};

/// Most people and kinds of addresses that an inbox leaves out.
const MOST_IGNORED: usize = 200;
const POLICIES: [&str; 4] = ["reopen", "new", "pending", "single"];

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Inboxes"));
    let all = Doc::new("Every connected inbox").answers(
        200,
        "The inboxes",
        object([("inboxes", list(object(place_fields())))]),
    );
    let one = Doc::new("A connected inbox and what was chosen for it").answers(
        200,
        "It",
        object([("inbox", chosen_schema())]),
    );
    let changed = Doc::new("Choose something else for an inbox")
        .takes(fields([
            ("conversationPolicy", one_of(&POLICIES)),
            ("ignored", list(text())),
            ("signAgents", flag()),
            ("signDelimiter", text()),
            (
                "templates",
                one_of(&[OutboundOptions::AS_TEXT, OutboundOptions::AS_WHATSAPP]),
            ),
            ("sendAutomatic", flag()),
        ]))
        .answers(200, "As it is now", object([("inbox", chosen_schema())]))
        .refuses(&[(422, "A field is not what it has to be; `fields` names each")]);
    api.get("/inboxes", all, list_all)
        .get("/inboxes/{id}", one, show)
        .put("/inboxes/{id}", changed, change);
}

fn place_fields() -> [(&'static str, Schema); 6] {
    [
        ("inboxLinkId", text()),
        ("tenantId", text()),
        ("installation", text()),
        ("accountId", whole()),
        ("inboxId", whole()),
        ("whatsappAccountId", text()),
    ]
}

fn chosen_schema() -> Schema {
    let mut chosen = object(place_fields());
    for (name, schema) in [
        ("conversationPolicy", one_of(&POLICIES)),
        ("ignored", list(text())),
        ("signAgents", flag()),
        ("signDelimiter", text()),
        ("templates", text()),
        ("sendAutomatic", flag()),
    ] {
        chosen["properties"][name] = schema;
    }
    chosen
}

async fn list_all(_operator: Operator, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let all = all(&admin).await.map_err(|error| answer(&error))?;
    let inboxes: Vec<Value> = all.iter().map(|(tenant, inbox)| place(tenant, inbox)).collect();
    Ok(HttpResponse::Ok().json(json!({"inboxes": inboxes})))
}

async fn all(admin: &Admin) -> Result<Vec<(String, Inbox)>, DatabaseError> {
    let platform = PlatformScope::for_purpose("list inboxes");
    let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
    let all = inboxes::all(&mut tx).await?;
    tx.commit().await?;
    Ok(all)
}

async fn show(
    _operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let (scope, inbox) = find(&admin, &id).await?;
    let chosen = chosen(&admin, &scope, &inbox).await;
    let (rules, options) = chosen.map_err(|error| answer(&error))?;
    Ok(shown(&scope, &inbox, &rules, &options))
}

async fn change(
    operator: Operator,
    id: web::Path<String>,
    request: HttpRequest,
    body: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let body = Body::read(&request, body).await?;
    let (scope, inbox) = find(&admin, &id).await?;
    let (rules, options) = choose(&admin, &scope, &inbox, body, &operator.0).await?;
    Ok(shown(&scope, &inbox, &rules, &options))
}

/// Writes what a body chooses for an inbox, and tells what is chosen now.
pub(crate) async fn choose(
    admin: &Admin,
    scope: &TenantScope,
    inbox: &Inbox,
    mut body: Body,
    actor: &Actor,
) -> Result<(InboundRules, OutboundOptions), ApiError> {
    let chosen = chosen(admin, scope, inbox).await;
    let (mut rules, mut options) = chosen.map_err(|error| answer(&error))?;
    if let Some(word) = body.text("conversationPolicy", 20) {
        match word.parse::<ConversationPolicy>() {
            Ok(policy) => rules.policy = policy,
            Err(error) => body.wrong("conversationPolicy", error.to_string()),
        }
    }
    if let Some(ignored) = body.texts("ignored", MOST_IGNORED) {
        rules.ignored = ignored;
    }
    if let Some(delimiter) = body.text("signDelimiter", OutboundOptions::MAX_DELIMITER) {
        options.sign_delimiter = delimiter;
    }
    match body.text("templates", 20).as_deref() {
        Some(way @ (OutboundOptions::AS_TEXT | OutboundOptions::AS_WHATSAPP)) => {
            way.clone_into(&mut options.templates);
        }
        Some(_) => body.wrong("templates", "must be text or whatsapp"),
        None => {}
    }
    options.sign_agents = body.flag("signAgents").unwrap_or(options.sign_agents);
    options.send_automatic = body.flag("sendAutomatic").unwrap_or(options.send_automatic);
    body.finish()?;
    let written = async {
        let mut tx = TenantTransaction::begin(&admin.tools.db, scope, "change inbox").await?;
        inbound_rules::put(&mut tx, inbox.id, &rules).await?;
        outbound_options::put(&mut tx, inbox.id, &options).await?;
        let act = actor.act("inbox.update", Some(inbox.id.to_string()));
        audit_log::note(&mut tx, &act).await?;
        tx.commit().await
    };
    written.await.map_err(|error| answer(&error))?;
    Ok((rules, options))
}

/// The inbox of this id, whoever's.
async fn find(admin: &Admin, id: &str) -> Result<(TenantScope, Inbox), ApiError> {
    let id: Uuid = id.parse().map_err(|_| gone())?;
    let all = all(admin).await.map_err(|error| answer(&error))?;
    let (tenant, inbox) = all
        .into_iter()
        .find(|(_, inbox)| inbox.id == id)
        .ok_or_else(gone)?;
    let tenant = TenantId::parse(tenant).map_err(|_| ApiError::internal())?;
    let scope = TenantScope::named_by_operator(tenant);
    note_tenant(&scope);
    Ok((scope, inbox))
}

/// What is chosen for an inbox.
pub(crate) async fn chosen(
    admin: &Admin,
    scope: &TenantScope,
    inbox: &Inbox,
) -> Result<(InboundRules, OutboundOptions), DatabaseError> {
    let mut tx = TenantTransaction::begin(&admin.tools.db, scope, "show inbox").await?;
    let rules = inbound_rules::find(&mut tx, inbox.id).await?;
    let options = outbound_options::find(&mut tx, inbox.id).await?;
    tx.commit().await?;
    Ok((rules, options.unwrap_or_default()))
}

fn gone() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_inbox",
        "No such inbox is connected",
    )
}

fn place(tenant: &str, inbox: &Inbox) -> Value {
    json!({
        "inboxLinkId": inbox.id, "tenantId": tenant, "installation": inbox.installation,
        "accountId": inbox.chatwoot_account_id, "inboxId": inbox.chatwoot_inbox_id,
        "whatsappAccountId": inbox.account_id,
    })
}

fn shown(
    scope: &TenantScope,
    inbox: &Inbox,
    rules: &InboundRules,
    options: &OutboundOptions,
) -> HttpResponse {
    let mut shown = place(scope.tenant().as_str(), inbox);
    shown["conversationPolicy"] = json!(rules.policy.as_str());
    shown["ignored"] = json!(rules.ignored);
    shown["signAgents"] = json!(options.sign_agents);
    shown["signDelimiter"] = json!(options.sign_delimiter);
    shown["templates"] = json!(options.templates);
    shown["sendAutomatic"] = json!(options.send_automatic);
    HttpResponse::Ok().json(json!({"inbox": shown}))
}
