//! `POST /webhook` and `POST /webhook/{installation}` (contract 1.2, 2.5): durable, then answered, and nothing more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::web::{ApiError, note_tenant, read_body, request_id};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use database::DatabaseError;
use secrecy::SecretString;
use serde_json::json;
use tenant_isolation::resolve::{Resolved, resolve};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};

use super::payload::{self, AgentReply, Notice};
use super::signature::{Signed, verify};
use crate::error::answer;
use crate::flows::Tools;
use crate::flows::accept_reply::{Acceptance, Signals, accept_reply};
use crate::store::inboxes::{self, Inbox, InboxKey};
use crate::store::unrouted_inboxes;

/// The installation of webhooks whose path names none.
pub const DEFAULT_INSTALLATION: &str = "default";

/// What the webhook works with.
#[derive(Debug, Clone)]
pub struct Ingress {
    /// Tables, keys, the way out.
    pub tools: Tools,
    /// What is rung after a commit.
    pub signals: Signals,
    /// Longest accepted body.
    pub body_limit: usize,
    /// How far a signature's time may be off.
    pub tolerance: Duration,
    /// Set when the database's defences have been checked; before that nothing is accepted.
    pub open: Arc<AtomicBool>,
}

/// `POST /webhook`.
pub async fn receive_default(
    ingress: web::Data<Ingress>,
    request: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, ApiError> {
    receive(&ingress, DEFAULT_INSTALLATION, request, body).await
}

/// `POST /webhook/{installation}`.
pub async fn receive_named(
    ingress: web::Data<Ingress>,
    installation: web::Path<String>,
    request: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, ApiError> {
    receive(&ingress, &installation, request, body).await
}

async fn receive(
    ingress: &Ingress,
    installation: &str,
    request: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read_body(&request, body, ingress.body_limit)
        .await
        .map_err(in_the_predecessors_words)?;
    let notice = payload::read(&body).map_err(|error| {
        count("malformed");
        ApiError::bad_request(error.code(), error.to_string())
    })?;
    // Nothing to accept, so nothing to prove: Chatwoot marks a message failed for any other answer, and our own
    // status updates come back this way while the database may be away (contract 2.6; 6, 3).
    let written = match notice {
        Notice::Ignored(why) => return Ok(received(why)),
        Notice::Reply(written) => written,
    };
    if !ingress.open.load(Ordering::Acquire) {
        return Err(ApiError::unavailable(Duration::from_secs(5)));
    }
    if !InboxKey::is_installation(installation) {
        return Ok(received("unknown_installation"));
    }
    let key = InboxKey {
        installation: installation.to_owned(),
        account_id: written.account_id,
        inbox_id: written.inbox_id,
    };
    let resolved = match key.external_id() {
        Some(external) => resolve(&ingress.tools.db, &external)
            .await
            .map_err(|error| answer(&error))?,
        None => None,
    };
    match resolved {
        Some(resolved) => take(ingress, &resolved, &request, &body, &written).await,
        None => {
            note_unrouted(ingress, &key).await;
            Ok(received("unknown_inbox"))
        }
    }
}

async fn take(
    ingress: &Ingress,
    resolved: &Resolved,
    request: &HttpRequest,
    body: &[u8],
    written: &AgentReply,
) -> Result<HttpResponse, ApiError> {
    let scope = resolved.scope();
    note_tenant(&scope);
    let db = &ingress.tools.db;
    let found = async {
        let mut tx = TenantTransaction::begin(db, &scope, "find inbox").await?;
        let inbox = inboxes::find(&mut tx, resolved.subject()).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>(inbox)
    };
    let Some(inbox) = found.await.map_err(|error| answer(&error))? else {
        // Disconnected between the two looks.
        return Ok(received("unknown_inbox"));
    };
    let secrets = secrets(ingress, scope.tenant().as_str(), &inbox)?;
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let signed = Signed {
        timestamp: header("x-chatwoot-timestamp"),
        signature: header("x-chatwoot-signature"),
    };
    verify(&secrets, signed, body, Utc::now(), ingress.tolerance).map_err(|error| {
        count(error.code());
        ApiError::unauthorized(error.code(), error.to_string())
    })?;
    let accepted = accept_reply(db, &scope, &inbox, &written.reply, request_id(), &ingress.signals).await;
    let outcome = match accepted.map_err(|error| answer(&error))? {
        Acceptance::Forwarded => "forwarded",
        Acceptance::Repeated => "repeated",
        Acceptance::Refused => return Ok(received("refused")),
        Acceptance::Echo => return Ok(received("echo")),
    };
    count(outcome);
    Ok(HttpResponse::Ok().json(json!({"received": true, "forwarded": true})))
}

fn secrets(ingress: &Ingress, tenant: &str, inbox: &Inbox) -> Result<Vec<SecretString>, ApiError> {
    let place = Inbox::secret_place(tenant, inbox.id);
    let opened = inbox
        .webhook_secrets_sealed
        .iter()
        .map(|sealed| ingress.tools.keys.open(sealed, &place));
    opened.collect::<Result<_, _>>().map_err(|error| {
        tracing::error!(inbox = %inbox.id, %error, "a webhook secret cannot be used");
        ApiError::internal()
    })
}

/// Best effort: a webhook that is nobody's needs no durability, only visibility.
async fn note_unrouted(ingress: &Ingress, key: &InboxKey) {
    let noted = async {
        let platform = PlatformScope::for_purpose("note unrouted inbox");
        let mut tx = PlatformTransaction::begin(&ingress.tools.db, platform).await?;
        unrouted_inboxes::note(&mut tx, key).await?;
        tx.commit().await
    };
    if let Err(error) = noted.await {
        tracing::warn!(%error, "an unknown inbox could not be noted");
    }
}

fn in_the_predecessors_words(error: ApiError) -> ApiError {
    if error.code() == "payload_too_large" {
        count("too_large");
        return ApiError::new(
            actix_web::http::StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            "Payload too large",
        );
    }
    error
}

fn received(outcome: &'static str) -> HttpResponse {
    count(outcome);
    HttpResponse::Ok().json(json!({"received": true}))
}

fn count(outcome: &'static str) {
    metrics::counter!("kanal_bridge_webhooks_total", "outcome" => outcome).increment(1);
}
