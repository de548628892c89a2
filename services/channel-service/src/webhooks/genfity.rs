//! `POST /webhook`: the genfity WhatsApp server's events, form and JSON mode (contract channel-service 2).
//!
//! Answered 200 only after the commit. A body that is no webhook is answered 4xx and kept nowhere; a webhook that is
//! nobody's is kept in quarantine and answered 200 as the contract says, because sending it again would not help. One of a
//! known account that cannot be used is kept with the tenant's things, or answered 503.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use domain::endpoint::Provider;
use web::note_tenant;
use whatsapp::genfity::{SIGNATURE_HEADER, SignatureCheck, Unverified};

use super::accept::{Arrived, Ids, accept, done, text_header};
use super::body::{self, Body};
use super::source;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::media::InlineFile;
use crate::flows::quarantine;

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
            Provider::Genfity,
            "unknown_instance",
            webhook.instance_name(),
            webhook.payload().as_bytes(),
        )
        .await?;
        return Ok(done("Unknown instance"));
    };
    note_tenant(&route.scope());
    let keys = state
        .routes
        .webhook_keys(&route, &state.keys, &state.endpoints)
        .await?;
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
    let inline = match &mut long {
        None => verified.inline_file().map(InlineFile::of_text),
        Some(long) => long.film().map(InlineFile::of_stream),
    };
    let arrived = Arrived {
        event: verified.parse_with(Utc::now(), route.keep()),
        type_name: verified.event_type(),
        payload: verified.payload(),
        inline,
        ids: Ids::Ours,
    };
    accept(&state, &route, arrived).await
}
