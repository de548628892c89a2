//! `/admin/inboxes`: connected inboxes, what was chosen for them, and what is brought along of before.

use ::web::openapi::{Api, Doc, Schema, fields, flag, list, nullable, object, one_of, text, time, whole};
use ::web::{ApiError, note_tenant, wire_time};
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
use crate::flows::history::{self, NotMet, Wish};
use crate::store::audit_log::{self, Act, Actor};
use crate::store::history_jobs::HistoryJob;
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
    let report = Doc::new("Where the newest import of an inbox's history stands").answers(
        200,
        "The import",
        object([("history", nullable(history_schema()))]),
    );
    let wish = Doc::new("Begin, stop or go on with an import of what was written before")
        .takes(fields([
            ("wish", one_of(&["start", "stop", "resume"])),
            ("days", whole()),
        ]))
        .answers(200, "Where it stands", object([("history", history_schema())]))
        .refuses(&[
            (409, "There is none, or one already"),
            (422, "A field is not what it has to be; `fields` names each"),
        ]);
    api.get("/inboxes", all, list_all)
        .get("/inboxes/{id}", one, show)
        .put("/inboxes/{id}", changed, change)
        .get("/inboxes/{id}/history", report, show_history)
        .post("/inboxes/{id}/history", wish, wish_history);
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

fn history_schema() -> Schema {
    object([
        ("state", one_of(&["running", "stopped", "done", "failed"])),
        ("since", nullable(time())),
        ("seen", whole()),
        ("imported", whole()),
        ("known", whole()),
        ("putAside", whole()),
        ("reason", nullable(text())),
        ("createdAt", time()),
    ])
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
    let mut body = Body::read(&request, body).await?;
    let (scope, inbox) = find(&admin, &id).await?;
    let chosen = chosen(&admin, &scope, &inbox).await;
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
        let mut tx = TenantTransaction::begin(&admin.tools.db, &scope, "change inbox").await?;
        inbound_rules::put(&mut tx, inbox.id, &rules).await?;
        outbound_options::put(&mut tx, inbox.id, &options).await?;
        audit_log::note(&mut tx, &operator.0, &act("inbox.update", &inbox, None)).await?;
        tx.commit().await
    };
    written.await.map_err(|error| answer(&error))?;
    Ok(shown(&scope, &inbox, &rules, &options))
}

async fn show_history(
    _operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let (scope, inbox) = find(&admin, &id).await?;
    let job = history::report(&admin.tools.db, &scope, inbox.id).await;
    let job = job.map_err(|error| answer(&error))?;
    Ok(HttpResponse::Ok().json(json!({"history": job.as_ref().map(told)})))
}

async fn wish_history(
    operator: Operator,
    id: web::Path<String>,
    request: HttpRequest,
    body: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let mut body = Body::read(&request, body).await?;
    let days = body.id("days").map(u32::try_from);
    if days.is_some_and(|days| !days.is_ok_and(|days| days <= 36_500)) {
        body.wrong("days", "must be at most 36500");
    }
    let wish = match body.text("wish", 20).as_deref() {
        Some("start") => Some(Wish::Start {
            days: days.and_then(Result::ok),
        }),
        Some("stop") => Some(Wish::Stop),
        Some("resume") => Some(Wish::Resume),
        _ => {
            body.wrong("wish", "must be start, stop or resume");
            None
        }
    };
    body.finish()?;
    let (scope, inbox) = find(&admin, &id).await?;
    let wish = wish.ok_or_else(ApiError::internal)?;
    let job = history::wish(&admin.tools.db, &scope, inbox.id, wish).await;
    let job = job.map_err(|error| not_met(&error))?;
    let act = act("inbox.history", &inbox, Some(&job.state));
    let noted = note(&admin, &scope, &operator.0, &act).await;
    noted.map_err(|error| answer(&error))?;
    Ok(HttpResponse::Ok().json(json!({"history": told(&job)})))
}

fn not_met(error: &NotMet) -> ApiError {
    match error {
        NotMet::NoInbox => gone(),
        NotMet::NoJob(_) | NotMet::UnderWay => {
            ApiError::new(StatusCode::CONFLICT, "history_state", error.to_string())
        }
        NotMet::Database(error) => answer(error),
    }
}

async fn note(admin: &Admin, scope: &TenantScope, actor: &Actor, act: &Act) -> Result<(), DatabaseError> {
    let mut tx = TenantTransaction::begin(&admin.tools.db, scope, "note act").await?;
    audit_log::note(&mut tx, actor, act).await?;
    tx.commit().await
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

async fn chosen(
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

fn act(action: &'static str, inbox: &Inbox, detail: Option<&str>) -> Act {
    Act {
        action,
        subject: Some(inbox.id.to_string()),
        detail: detail.map(str::to_owned),
    }
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

fn told(job: &HistoryJob) -> Value {
    json!({
        "state": job.state, "since": job.since.map(wire_time), "seen": job.seen, "imported": job.imported,
        "known": job.known, "putAside": job.put_aside, "reason": job.reason,
        "createdAt": wire_time(job.created_at),
    })
}
