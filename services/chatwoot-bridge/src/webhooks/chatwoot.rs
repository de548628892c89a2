//! `POST /webhook` and `POST /webhook/{installation}` (contract 1.2, 2.5): durable, then answered, and nothing more.
//!
//! Where there is nothing to accept, there is nothing to prove and nothing to refuse: Chatwoot marks a message failed for
//! any answer but 2xx, also when the event was irrelevant (contract 2.6; 6, 3).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ::web::source::{Networks, caller_or_peer};
use ::web::{ApiError, note_delivery, note_tenant, read_body, request_id};
use actix_web::web::{self, Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use database::DatabaseError;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use super::book::{Found, KnownRoute, RouteBook};
use super::event::{Class, Event, Incoming, Malformed};
use super::forward::{ForwardEvents, Forwarding, NotForwarded};
use super::signature::{SignatureError, Signed, verify};
use super::strangers::Strangers;
use super::unrouted::Unrouted;
use crate::error::answer;
use crate::flows::Tools;
use crate::flows::accept_reply::{Acceptance, Signals};
use crate::flows::{agent_event, self_test};
use crate::store::inboxes::InboxKey;
use crate::store::quarantine;
use crate::store::routes::{Route, Target};

/// The installation of webhooks whose path names none.
pub const DEFAULT_INSTALLATION: &str = "default";
/// When what could not be stored may come again.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// What the webhook works with.
#[derive(Clone)]
pub struct Ingress {
    /// Tables, keys, the way out.
    pub tools: Tools,
    /// The routes at hand.
    pub book: RouteBook,
    /// What counts events of inboxes that have none.
    pub unrouted: Unrouted,
    /// How often somebody may send what cannot be believed.
    pub strangers: Strangers,
    /// Proxies that are believed about who calls.
    pub proxies: Networks,
    /// What takes events that go to a URL. Without it, they are refused for now.
    pub forward: Option<Arc<dyn ForwardEvents>>,
    /// What is rung after a commit.
    pub signals: Signals,
    /// Longest accepted body.
    pub body_limit: usize,
    /// How far a signature's time may be off.
    pub tolerance: Duration,
    /// Set when the database's defences have been checked; before that nothing is accepted.
    pub open: Arc<AtomicBool>,
}

impl fmt::Debug for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingress").finish_non_exhaustive()
    }
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
    if let Some(delivery) = header(&request, "x-chatwoot-delivery") {
        note_delivery(delivery);
    }
    let body = read_body(&request, body, ingress.body_limit)
        .await
        .map_err(in_the_predecessors_words)?;
    let event = match Event::read(&body, Utc::now()) {
        Ok(event) => event,
        Err(error) => {
            stranger(ingress, &request)?;
            keep_aside(ingress, installation, error, &body).await;
            return Ok(received("malformed"));
        }
    };
    if !InboxKey::is_installation(installation) {
        return Ok(received("unknown_installation"));
    }
    if event.inbox_id.is_none() {
        return Ok(received("no_inbox_id"));
    }
    if !ingress.open.load(Ordering::Acquire) {
        return unknown_whose(&event, ApiError::unavailable(COME_AGAIN));
    }
    match ingress.book.find(installation, &event).await {
        Ok(Found::Route(to)) => take(ingress, &to, installation, &request, event, body).await,
        Ok(Found::Ambiguous) => {
            ingress.unrouted.note(installation, &event).await;
            Ok(received("ambiguous_inbox"))
        }
        Ok(Found::Nobody) => {
            ingress.unrouted.note(installation, &event).await;
            Ok(received("unknown_inbox"))
        }
        Err(error) => unknown_whose(&event, answer(&error)),
    }
}

/// An event that may be anybody's while nothing can be looked up: what an agent did has to come again.
fn unknown_whose(event: &Event, refusal: ApiError) -> Result<HttpResponse, ApiError> {
    if matches!(event.class, Class::AgentMessage | Class::Deleted) {
        Err(refusal)
    } else {
        Ok(received("unknown_whose"))
    }
}

async fn take(
    ingress: &Ingress,
    to: &Arc<KnownRoute>,
    installation: &str,
    request: &HttpRequest,
    event: Event,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    note_tenant(&to.scope);
    let to = &if to.route.enabled {
        Arc::clone(to)
    } else {
        // It may have been put on this moment.
        match ingress.book.refresh().await {
            Ok(()) => {}
            Err(error) => return unknown_whose(&event, answer(&error)),
        }
        match ingress.book.remembered(installation, &event) {
            Some(now) if now.route.enabled => now,
            _ => return Ok(received("route_disabled")),
        }
    };
    if let Some(why) = unwanted(&to.route, &event) {
        return Ok(received(why));
    }
    let to = &believe(ingress, to, installation, request, &event, &body).await?;
    if event.class == Class::Echo {
        note_test(ingress, to, &body).await;
    }
    let event = Incoming {
        event,
        body,
        headers: passed_on(request),
        request_id: request_id(),
    };
    match &to.route.target {
        Target::Account { .. } => take_natively(ingress, to, &event).await,
        Target::Url { .. } => hand_on(ingress, to, event).await,
    }
}

/// Why nothing would be done with the event, whoever sent it.
fn unwanted(route: &Route, event: &Event) -> Option<&'static str> {
    match (&route.target, event.class) {
        (_, Class::Activity) => Some("activity"),
        (Target::Account { .. }, Class::Private) => Some("private"),
        (Target::Account { .. }, Class::Incoming) => Some("incoming"),
        (Target::Account { .. }, Class::Typing | Class::Other) => Some("other_event"),
        (Target::Account { .. }, Class::AgentMessage | Class::Deleted | Class::Updated | Class::Echo) => None,
        (Target::Url { .. }, Class::Private) if !route.wants.private => Some("private"),
        (Target::Url { .. }, _) => {
            let events = &route.wants.events;
            let wanted = events.is_empty() || events.contains(&event.name);
            (!wanted).then_some("unwanted_event")
        }
    }
}

/// What was sent cannot be believed or read: so much of it and no more, before Postgres is asked about it.
fn stranger(ingress: &Ingress, request: &HttpRequest) -> Result<(), ApiError> {
    let Some(from) = caller_or_peer(request, &ingress.proxies) else {
        return Ok(());
    };
    ingress.strangers.take(from, Instant::now()).map_err(|wait| {
        count("throttled");
        ApiError::too_many(wait)
    })
}

/// Checks token and signature, and gives the route as it is now: what does not fit the one at hand may fit a newer one.
async fn believe(
    ingress: &Ingress,
    to: &Arc<KnownRoute>,
    installation: &str,
    request: &HttpRequest,
    event: &Event,
    body: &[u8],
) -> Result<Arc<KnownRoute>, ApiError> {
    if check(ingress, to, request, body)?.is_ok() {
        return Ok(Arc::clone(to));
    }
    stranger(ingress, request)?;
    ingress.book.refresh().await.map_err(|error| answer(&error))?;
    let now = ingress.book.remembered(installation, event);
    let to = now.as_ref().unwrap_or(to);
    check(ingress, to, request, body)?.map_err(|error| {
        count(error.code());
        ApiError::unauthorized(error.code(), error.to_string())
    })?;
    Ok(Arc::clone(to))
}

fn check(
    ingress: &Ingress,
    to: &KnownRoute,
    request: &HttpRequest,
    body: &[u8],
) -> Result<Result<(), SignatureError>, ApiError> {
    if let Some(digest) = &to.route.path_token_sha256
        && !has_token(request.query_string(), digest)
    {
        return Ok(Err(SignatureError::Token));
    }
    let secrets = ingress
        .tools
        .webhook_secrets(&to.scope, &to.route, to.link.as_ref())
        .map_err(|error| {
            tracing::error!(route = to.route.number, %error, "a webhook secret cannot be used");
            ApiError::internal()
        })?;
    let signed = Signed {
        timestamp: header(request, "x-chatwoot-timestamp"),
        signature: header(request, "x-chatwoot-signature"),
    };
    Ok(verify(&secrets, signed, body, Utc::now(), ingress.tolerance))
}

/// Compares digests, in constant time: how far a guess is right must not show.
fn has_token(query: &str, digest: &[u8]) -> bool {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == "token")
        .any(|(_, token)| Sha256::digest(token.as_bytes()).ct_eq(digest).into())
}

async fn take_natively(
    ingress: &Ingress,
    to: &KnownRoute,
    event: &Incoming,
) -> Result<HttpResponse, ApiError> {
    match agent_event::take(&ingress.tools, to, event, &ingress.signals).await {
        Ok(Acceptance::Forwarded) => Ok(forwarded("forwarded")),
        Ok(Acceptance::Repeated) => Ok(forwarded("repeated")),
        Ok(Acceptance::Refused) => Ok(received("refused")),
        Ok(Acceptance::Echo) => Ok(received("echo")),
        Ok(Acceptance::Ignored(why)) => Ok(received(why)),
        // Our own status updates come back this way while the database may be away.
        Err(error) => unknown_whose(&event.event, answer(&error)),
    }
}

async fn hand_on(ingress: &Ingress, to: &KnownRoute, event: Incoming) -> Result<HttpResponse, ApiError> {
    let Some(forward) = &ingress.forward else {
        return Err(ApiError::unavailable(COME_AGAIN));
    };
    match forward.accept(to, event).await {
        Ok(Forwarding::Queued) => Ok(forwarded("forwarded")),
        Ok(Forwarding::Repeated) => Ok(forwarded("repeated")),
        Ok(Forwarding::Unwanted) => Ok(received("unwanted_event")),
        Err(NotForwarded::Database(error)) => Err(answer(&error)),
        Err(NotForwarded::Full) => {
            count("full");
            Err(ApiError::unavailable(COME_AGAIN))
        }
    }
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// The headers that mean something to whoever gets the event.
fn passed_on(request: &HttpRequest) -> Vec<(String, String)> {
    let is_passed_on = |name: &str| {
        matches!(name, "content-type" | "traceparent" | "x-request-id") || name.starts_with("x-chatwoot-")
    };
    let headers = request.headers().iter();
    headers
        .filter(|(name, _)| is_passed_on(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// Best effort: what is no webhook needs no durability, only visibility.
async fn keep_aside(ingress: &Ingress, installation: &str, error: Malformed, body: &[u8]) {
    if !ingress.open.load(Ordering::Acquire) {
        return;
    }
    let installation = if InboxKey::is_installation(installation) {
        installation
    } else {
        ""
    };
    let kept = async {
        let platform = PlatformScope::for_purpose("keep a malformed webhook");
        let mut tx = PlatformTransaction::begin(&ingress.tools.db, platform).await?;
        let kept = quarantine::keep(&mut tx, installation, error.code(), body).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>(kept)
    };
    match kept.await {
        Ok(true) => {}
        Ok(false) => metrics::counter!("kanal_bridge_quarantine_full_total").increment(1),
        Err(error) => tracing::warn!(%error, "a malformed webhook could not be kept"),
    }
}

/// Best effort: somebody waits for it, or nobody does.
async fn note_test(ingress: &Ingress, to: &KnownRoute, body: &[u8]) {
    if let Err(error) = self_test::note_arrival(&ingress.tools, &to.scope, body).await {
        tracing::warn!(%error, "a test message could not be noted");
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

fn forwarded(outcome: &'static str) -> HttpResponse {
    count(outcome);
    HttpResponse::Ok().json(json!({"received": true, "forwarded": true}))
}

fn received(outcome: &'static str) -> HttpResponse {
    count(outcome);
    HttpResponse::Ok().json(json!({"received": true}))
}

fn count(outcome: &'static str) {
    metrics::counter!("kanal_bridge_webhooks_total", "outcome" => outcome).increment(1);
}
