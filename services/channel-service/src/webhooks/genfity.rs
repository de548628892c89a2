//! `POST /webhook`: the genfity WhatsApp server's events, form and JSON mode (contract channel-service 2).
//!
//! Answered 200 only after the commit. A body that is no webhook is answered 4xx and kept nowhere; a webhook that is
//! nobody's is kept in quarantine and answered 200 as the contract says, because sending it again would not help. One of a
//! known account that cannot be used is kept with the tenant's things, or answered 503.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use serde_json::json;
use web::note_tenant;
use whatsapp::event::{InboundEvent, SkipReason};
use whatsapp::genfity::{SIGNATURE_HEADER, SignatureCheck, Unverified, Verified};

use super::body::{self, Body, LongBody};
use super::source;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::ingest_message::{IngestError, IngestJob, Ingested};
use crate::flows::media::InlineFile;
use crate::flows::route_account::AccountRoute;
use crate::flows::{quarantine, record_event};
use crate::store::provider_event::KeptEvent;

pub(crate) async fn receive(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    if !state.is_open() {
        return Err(ServiceError::Overloaded);
    }
    source::check(&request, &state.webhook)?;
    let body = body::read(&request, payload, state.body_limits, &state.long_bodies).await?;
    let (body, mut long) = match body {
        Body::Short(body) => (body, None),
        Body::Long(mut long) => (std::mem::take(&mut long.rest), Some(long)),
    };
    let content_type = text_header(&request, CONTENT_TYPE.as_str());
    let signature = text_header(&request, SIGNATURE_HEADER);
    let webhook = Unverified::read(content_type, body)?;
    let found = state
        .routes
        .find(webhook.instance_name(), webhook.session_id())
        .await;
    let Some(route) = found.map_err(|error| {
        tracing::warn!(error = %crate::error::chain(error.as_ref()), "an account could not be looked up");
        ServiceError::Overloaded
    })?
    else {
        quarantine::keep(
            &state.db,
            "unknown_instance",
            webhook.instance_name(),
            webhook.payload().as_bytes(),
        )
        .await?;
        return Ok(done("Unknown instance"));
    };
    note_tenant(&route.scope());
    let keys = route.webhook_keys(&state.keys, &state.endpoints)?;
    let verified = match &mut long {
        None => webhook.verify(signature, &keys),
        Some(long) => {
            let mut check = SignatureCheck::new(&keys);
            long.sign(&mut check).await?;
            webhook.verify_long(signature, check)
        }
    }
    .inspect_err(|error| {
        metrics::counter!("kanal_webhooks_refused_total", "reason" => error.code()).increment(1);
    })?;
    accept(&state, &route, &verified, long).await
}

async fn accept(
    state: &State,
    route: &AccountRoute,
    webhook: &Verified,
    mut long: Option<LongBody>,
) -> Result<HttpResponse, ServiceError> {
    let (scope, account) = (route.scope(), route.account());
    state.sessions.hearing().heard(&scope, account);
    let event = match webhook.parse_with(Utc::now(), route.keep()) {
        Ok(event) => event,
        Err(unusable) => {
            // It is the tenant's, so it is kept with the tenant's things and not among strangers'.
            let event = KeptEvent {
                account,
                type_name: webhook.event_type(),
                reason: Some(unusable.code()),
                payload: webhook.payload(),
            };
            if !record_event::keep(&state.db, &scope, &event).await? {
                return Err(ServiceError::Overloaded);
            }
            return Ok(done("No message to process"));
        }
    };
    match event {
        InboundEvent::Message(message) => {
            let inline = match &mut long {
                None => webhook.inline_file().map(InlineFile::of_text),
                Some(long) => long.film().map(InlineFile::of_stream),
            };
            let media = state.media.take_in(&scope, account, &message, inline).await?;
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
            record_event::receipt(&state.db, &state.relay, &scope, account, &receipt).await?;
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

fn done(message: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok", "message": message}))
}

fn text_header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}
