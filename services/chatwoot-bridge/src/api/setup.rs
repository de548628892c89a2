//! `POST /admin/setup`: an inbox is connected without anybody clicking in Chatwoot.

use ::web::openapi::{Api, Doc, Schema, fields, flag, list, object, one_of, text, whole};
use ::web::{ApiError, note_tenant};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use super::basic_auth::Operator;
use super::checks::{both_ways_schema, warning_schema};
use super::fields::Body;
use super::installations::base_url;
use super::{Admin, group};
use crate::flows::connect_inbox::NotConnected;
use crate::flows::set_up::{NotSetUp, Wanted, WantedInbox, sender, set_up};
use crate::store::inbound_rules::NoSuchPolicy;
use crate::webhooks::chatwoot::DEFAULT_INSTALLATION;

/// What a new inbox is called where nobody says.
pub(crate) const INBOX_NAME: &str = "WhatsApp";

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Set-up"));
    let connect = Doc::new("Connect an inbox to a tenant's account, and test both ways")
        .takes(fields([
            ("tenantId", text()),
            ("whatsappAccountId", text()),
            ("url", text()),
            ("apiToken", text()),
            ("installation", text()),
            ("accountId", whole()),
            ("inboxId", whole()),
            ("inboxName", text()),
            (
                "conversationPolicy",
                one_of(&["reopen", "new", "pending", "single"]),
            ),
        ]))
        .answers(200, "Connected; what the test says is in it", done_schema())
        .refuses(&[
            (
                409,
                "The inbox is connected elsewhere, or nobody said which one is meant",
            ),
            (422, "A field is not what it has to be; `fields` names each"),
            (502, "Chatwoot refused, or did not answer"),
        ]);
    api.post("/setup", connect, connect_one);
}

fn done_schema() -> Schema {
    let mut done = object([
        ("routeId", whole()),
        ("inboxLinkId", text()),
        ("installation", text()),
        ("accountId", whole()),
        ("inboxId", whole()),
        ("inboxCreated", flag()),
        ("webhookUrl", text()),
        ("signed", flag()),
        ("test", both_ways_schema()),
        ("warnings", list(warning_schema())),
    ]);
    done["properties"]["webhookWas"] = text();
    object([("setUp", done)])
}

async fn connect_one(
    operator: Operator,
    request: HttpRequest,
    body: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let (scope, wanted) = read(Body::read(&request, body).await?, &admin).await?;
    note_tenant(&scope);
    let done = set_up(&admin.tools, &scope, &wanted, &operator.0).await;
    let done = done.map_err(|error| not_set_up(&error))?;
    Ok(HttpResponse::Ok().json(json!({"setUp": done})))
}

/// What a body asks for.
pub(crate) async fn read(mut body: Body, admin: &Admin) -> Result<(TenantScope, Wanted), ApiError> {
    let account = body.account("whatsappAccountId");
    let policy = match body
        .text_or_nothing("conversationPolicy", 20)
        .flatten()
        .map(|word| word.parse())
    {
        Some(Ok(policy)) => Some(policy),
        Some(Err(NoSuchPolicy)) => {
            body.wrong("conversationPolicy", NoSuchPolicy.to_string());
            None
        }
        None => None,
    };
    let token = body.secret_or_nothing("apiToken", 1).flatten();
    if token.is_none() {
        body.wrong("apiToken", "is needed");
    }
    let url = base_url(&mut body, admin);
    let installation = body.installation("installation");
    let (chatwoot_account, inbox) = (body.id("accountId"), body.id("inboxId"));
    let name = body.text_or_nothing("inboxName", 100).flatten();
    let scope = admin.scope(body.tenant("tenantId"));
    body.finish()?;
    let (Some(api_token), Some(chatwoot_url)) = (token, url) else {
        return Err(ApiError::internal());
    };
    let account = sender(admin.channel.as_ref(), &scope, account).await;
    let account = account.map_err(|error| not_set_up(&error))?;
    let wanted = Wanted {
        account,
        chatwoot_url,
        api_token,
        installation: installation.unwrap_or_else(|| DEFAULT_INSTALLATION.to_owned()),
        chatwoot_account,
        inbox: match inbox {
            Some(id) => WantedInbox::Id(id),
            None => WantedInbox::Ours {
                name: name.unwrap_or_else(|| INBOX_NAME.to_owned()),
            },
        },
        policy,
        patience: admin.patience,
    };
    Ok((scope, wanted))
}

pub(crate) fn not_set_up(error: &NotSetUp) -> ApiError {
    let status = match error {
        NotSetUp::Database(error) | NotSetUp::Connect(NotConnected::Database(error)) => {
            return crate::error::answer(error);
        }
        NotSetUp::NotDone(error) => return super::not_done(error),
        NotSetUp::Encryption(error) | NotSetUp::Connect(NotConnected::Encryption(error)) => {
            tracing::error!(%error, "a secret cannot be sealed or opened");
            return ApiError::internal();
        }
        NotSetUp::WhichAccount(_)
        | NotSetUp::WhichInbox(_)
        | NotSetUp::WhichSender(_)
        | NotSetUp::Connect(_) => StatusCode::CONFLICT,
        NotSetUp::NoPublicUrl | NotSetUp::NoInbox(_) | NotSetUp::NotApi(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        NotSetUp::Token(_) | NotSetUp::Chatwoot(_) | NotSetUp::Channel(_) => StatusCode::BAD_GATEWAY,
    };
    let answer = ApiError::new(status, error.code(), error.to_string());
    match error {
        NotSetUp::WhichAccount(accounts) => {
            let all: Vec<Value> = accounts
                .iter()
                .map(|account| json!({"id": account.id, "name": account.name}))
                .collect();
            answer.with("accounts", all)
        }
        NotSetUp::WhichInbox(inboxes) => {
            let all: Vec<Value> = inboxes
                .iter()
                .map(|inbox| json!({"id": inbox.id, "name": inbox.name}))
                .collect();
            answer.with("inboxes", all)
        }
        NotSetUp::Chatwoot(error) => answer.with("reason", error.reason()),
        _ => answer,
    }
}
