//! What becomes of a webhook that was verified, whichever provider it came from: message, receipt and the rest each go
//! their way, and the answer is given after the commit.

use std::borrow::Cow;

use actix_web::{HttpRequest, HttpResponse};
use database::DatabaseError;
use domain::ids::{AccountId, MessageId};
use domain::message::InboundMessage;
use serde_json::json;
use tenant_isolation::TenantScope;
use whatsapp::error::Unusable;
use whatsapp::event::{InboundEvent, ReceiptKind, SkipReason};

use crate::app::State;
use crate::error::ServiceError;
use crate::flows::ingest_message::{IngestJob, Ingested};
use crate::flows::media::InlineFile;
use crate::flows::route_account::AccountRoute;
use crate::flows::{early_receipt, record_event};
use crate::store::provider_event::KeptEvent;
use crate::traffic::Counted;

/// A webhook that its account accepts.
pub(super) struct Arrived<'a> {
    /// What it tells.
    pub(super) event: Result<InboundEvent, Unusable>,
    /// What the provider calls it.
    pub(super) type_name: &'a str,
    /// Its bytes, for what cannot be used.
    pub(super) payload: &'a str,
    /// The file inside of it.
    pub(super) inline: Option<InlineFile<'a>>,
    /// Who makes the ids of messages.
    pub(super) ids: Ids,
}

/// Who makes the ids of the messages that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// We: a receipt never comes before the message is known.
    Ours,
    /// The provider: a receipt may be faster than the answer to the send.
    OfProvider,
}

/// What became of one thing that a webhook told.
#[derive(Debug)]
pub(super) enum Taken {
    /// A message is kept.
    Message(MessageId),
    /// It is dealt with.
    Done(Cow<'static, str>),
}

impl Taken {
    pub(super) const fn done(what: &'static str) -> Self {
        Self::Done(Cow::Borrowed(what))
    }
}

/// Takes the one event of a webhook, and answers it.
pub(super) async fn accept(
    state: &State,
    route: &AccountRoute,
    arrived: Arrived<'_>,
) -> Result<HttpResponse, ServiceError> {
    Ok(
        match take(state, &route.scope(), route.account(), arrived).await? {
            Taken::Message(id) => HttpResponse::Ok().json(json!({"status": "ok", "message_id": id})),
            Taken::Done(what) => done(&what),
        },
    )
}

/// Takes one event. It is dealt with, or durable, when this returns.
///
/// # Errors
/// Then the provider has to bring it again.
pub(super) async fn take(
    state: &State,
    scope: &TenantScope,
    account: AccountId,
    arrived: Arrived<'_>,
) -> Result<Taken, ServiceError> {
    state.sessions.hearing().heard(scope, account);
    let event = match arrived.event {
        Ok(event) => event,
        Err(unusable) => {
            let reason = Some(unusable.code());
            keep(state, scope, account, arrived.type_name, reason, arrived.payload).await?;
            return Ok(Taken::done("No message to process"));
        }
    };
    match event {
        InboundEvent::Message(message) => {
            let job = job_of(state, scope, account, *message, arrived.inline).await?;
            let taken_in = job.media.clone();
            match state.ingest.submit(job).await {
                Ok(Ingested::New(id)) => Ok(Taken::Message(id)),
                Ok(Ingested::Duplicate) => {
                    if let Some(file) = taken_in {
                        state.media.take_back(&file).await;
                    }
                    Ok(Taken::done("Duplicate message"))
                }
                Err(error) => Err(error.into()),
            }
        }
        InboundEvent::Receipt(receipt) => {
            let (db, relay) = (&state.db, &state.relay);
            let moved = match arrived.ids {
                Ids::Ours => record_event::receipt(db, relay, scope, account, &receipt).await?,
                Ids::OfProvider => early_receipt::receipt(db, relay, scope, account, &receipt).await?,
            };
            let reached = match receipt.kind {
                ReceiptKind::Delivered => Counted::Delivered,
                ReceiptKind::Read | ReceiptKind::Played | ReceiptKind::ReadSelf => Counted::Read,
            };
            state.traffic.count(scope.tenant(), reached, moved);
            Ok(Taken::done("Receipt recorded"))
        }
        InboundEvent::Sent(echo) => {
            // A send is counted when its answer is here.
            record_event::sent_echo(&state.db, &state.relay, scope, account, &echo).await?;
            Ok(Taken::done("Echo recorded"))
        }
        InboundEvent::Session(event) => {
            record_event::session(&state.db, scope, account, &event).await?;
            state.sessions.changed(scope, account).await;
            Ok(Taken::done("Session state recorded"))
        }
        InboundEvent::Skipped(reason) => {
            metrics::counter!("kanal_messages_skipped_total", "reason" => reason.as_str()).increment(1);
            Ok(Taken::done(skipped(reason)))
        }
        InboundEvent::Ignored { type_name } => {
            metrics::counter!("kanal_events_ignored_total", "type" => type_name).increment(1);
            Ok(Taken::Done(format!("Ignored event type: {type_name}").into()))
        }
        InboundEvent::Unknown(event) => {
            metrics::counter!("kanal_events_unknown_total").increment(1);
            if !record_event::unknown(&state.db, scope, account, &event).await? {
                return Err(ServiceError::KeptTooMany);
            }
            Ok(Taken::done("Event kept"))
        }
    }
}

/// A message on its way to the committers, with its file where that came along.
pub(super) async fn job_of(
    state: &State,
    scope: &TenantScope,
    account: AccountId,
    message: InboundMessage,
    inline: Option<InlineFile<'_>>,
) -> Result<IngestJob, DatabaseError> {
    let media = state.media.take_in(scope, account, &message, inline).await?;
    Ok(IngestJob {
        scope: scope.clone(),
        account,
        request_id: web::request_id(),
        traceparent: trace_context::current(),
        message,
        media,
    })
}

/// Keeps what cannot be used. It is the tenant's, so it is kept with the tenant's things and not among strangers'.
pub(super) async fn keep(
    state: &State,
    scope: &TenantScope,
    account: AccountId,
    type_name: &str,
    reason: Option<&'static str>,
    payload: &str,
) -> Result<(), ServiceError> {
    let event = KeptEvent {
        account,
        type_name,
        reason,
        payload,
    };
    if record_event::keep(&state.db, scope, &event).await? {
        Ok(())
    } else {
        Err(ServiceError::KeptTooMany)
    }
}

const fn skipped(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Group => "Group message ignored",
        SkipReason::Broadcast => "Broadcast message ignored",
        SkipReason::Status => "Status update ignored",
        SkipReason::Newsletter => "Newsletter message ignored",
        SkipReason::Bot => "Bot message ignored",
    }
}

pub(super) fn done(message: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok", "message": message}))
}

pub(super) fn text_header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}
