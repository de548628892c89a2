//! What becomes of a webhook that was verified, whichever provider it came from: message, receipt and the rest each go
//! their way, and the answer is given after the commit.

use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use whatsapp::error::Unusable;
use whatsapp::event::{InboundEvent, SkipReason};

use crate::app::State;
use crate::error::ServiceError;
use crate::flows::ingest_message::{IngestError, IngestJob, Ingested};
use crate::flows::media::InlineFile;
use crate::flows::route_account::AccountRoute;
use crate::flows::{early_receipt, record_event};
use crate::store::provider_event::KeptEvent;

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

pub(super) async fn accept(
    state: &State,
    route: &AccountRoute,
    arrived: Arrived<'_>,
) -> Result<HttpResponse, ServiceError> {
    let (scope, account) = (route.scope(), route.account());
    state.sessions.hearing().heard(&scope, account);
    let event = match arrived.event {
        Ok(event) => event,
        Err(unusable) => {
            // It is the tenant's, so it is kept with the tenant's things and not among strangers'.
            let event = KeptEvent {
                account,
                type_name: arrived.type_name,
                reason: Some(unusable.code()),
                payload: arrived.payload,
            };
            if !record_event::keep(&state.db, &scope, &event).await? {
                return Err(ServiceError::Overloaded);
            }
            return Ok(done("No message to process"));
        }
    };
    match event {
        InboundEvent::Message(message) => {
            let media = state
                .media
                .take_in(&scope, account, &message, arrived.inline)
                .await?;
            let taken_in = media.clone();
            let job = IngestJob {
                scope,
                account,
                request_id: web::request_id(),
                message: *message,
                media,
            };
            match state.ingest.submit(job).await {
                Ok(Ingested::New(id)) => {
                    Ok(HttpResponse::Ok().json(json!({"status": "ok", "message_id": id})))
                }
                Ok(Ingested::Duplicate) => {
                    if let Some(file) = taken_in {
                        state.media.take_back(&file).await;
                    }
                    Ok(done("Duplicate message"))
                }
                Err(IngestError::Overloaded) => Err(ServiceError::Overloaded),
                Err(IngestError::Database(error)) => Err(error.into()),
            }
        }
        InboundEvent::Receipt(receipt) => {
            let (db, relay) = (&state.db, &state.relay);
            match arrived.ids {
                Ids::Ours => record_event::receipt(db, relay, &scope, account, &receipt).await?,
                Ids::OfProvider => early_receipt::receipt(db, relay, &scope, account, &receipt).await?,
            };
            Ok(done("Receipt recorded"))
        }
        InboundEvent::Sent(echo) => {
            record_event::sent_echo(&state.db, &state.relay, &scope, account, &echo).await?;
            Ok(done("Echo recorded"))
        }
        InboundEvent::Session(event) => {
            record_event::session(&state.db, &scope, account, &event).await?;
            state.sessions.changed(&scope, account).await;
            Ok(done("Session state recorded"))
        }
        InboundEvent::Skipped(reason) => {
            metrics::counter!("kanal_messages_skipped_total", "reason" => reason.as_str()).increment(1);
            Ok(done(skipped(reason)))
        }
        InboundEvent::Ignored { type_name } => {
            metrics::counter!("kanal_events_ignored_total", "type" => type_name).increment(1);
            Ok(done(&format!("Ignored event type: {type_name}")))
        }
        InboundEvent::Unknown(event) => {
            metrics::counter!("kanal_events_unknown_total").increment(1);
            if !record_event::unknown(&state.db, &scope, account, &event).await? {
                return Err(ServiceError::Overloaded);
            }
            Ok(done("Event kept"))
        }
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
