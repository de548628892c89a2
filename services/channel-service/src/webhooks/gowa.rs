//! `POST /webhook/gowa/{endpoint}`: the events of a GoWA's devices (chatwoot-bridge contract 4.6).
//!
//! Which account an event is for is told by the device's id, or by the device's number where the server does not know
//! the id; either counts only with a signature by one of the account's keys or of its endpoint's. What is nobody's is kept
//! in quarantine and answered 200, because sending it again would not help.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use domain::endpoint::Provider;
use web::{ApiError, note_tenant};
use whatsapp::gowa::{SIGNATURE_HEADER, Unverified, Verified};

use super::accept::{Arrived, Ids, accept, done, text_header};
use super::body::{self, Body, BodyLimits};
use super::source;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::route_account::AccountRoute;
use crate::flows::{quarantine, register_device, route_device};

pub(crate) async fn receive(
    request: HttpRequest,
    endpoint: Path<String>,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    if !state.is_open() {
        return Err(ServiceError::Overloaded);
    }
    source::check(&request, &state.webhook)?;
    // Files never come inside these webhooks, so what does not fit into memory is none.
    let limits = BodyLimits {
        disk: state.body_limits.memory as u64,
        ..state.body_limits
    };
    let Body::Short(body) = body::read(&request, payload, limits, &state.long_bodies).await? else {
        return Err(ApiError::too_large().into());
    };
    let webhook = Unverified::read(text_header(&request, CONTENT_TYPE.as_str()), body)?;
    let own = webhook.own_address();
    let found = route_device::find(&state.routes, &endpoint, webhook.session_id(), own.as_ref()).await;
    let found = found.map_err(|error| {
        tracing::warn!(error = %crate::error::chain(error.as_ref()), "an account could not be looked up");
        ServiceError::Overloaded
    })?;
    let Some(route) = found else {
        let device = webhook.session_id().map(str::to_owned);
        quarantine::keep(
            &state.db,
            Provider::Gowa,
            "unknown_device",
            device.as_deref(),
            webhook.payload().as_bytes(),
        )
        .await?;
        return Ok(done("Unknown device"));
    };
    note_tenant(&route.scope());
    let keys = state
        .routes
        .webhook_keys(&route, &state.keys, &state.endpoints)
        .await?;
    let signature = text_header(&request, SIGNATURE_HEADER);
    let verified = webhook.verify(signature, &keys).inspect_err(|error| {
        metrics::counter!("kanal_webhooks_refused_total", "reason" => error.code()).increment(1);
    })?;
    learn_number(&state, &route, &endpoint, &verified).await;
    let arrived = Arrived {
        event: verified.parse_with(Utc::now(), route.keep()),
        type_name: verified.event_type(),
        payload: verified.payload(),
        inline: None,
        ids: Ids::OfProvider,
    };
    accept(&state, &route, arrived).await
}

/// Keeps in mind which number the device has. Nothing of the event depends on it.
async fn learn_number(state: &State, route: &AccountRoute, endpoint: &str, webhook: &Verified) {
    let (Some(own), Some(_)) = (webhook.own_address(), webhook.session_id()) else {
        return;
    };
    // A hidden id is no number.
    let Some(own) = own.phone() else {
        return;
    };
    if !webhook.is_signed() || route_device::is_known(&state.routes, endpoint, own, route).await {
        return;
    }
    let learned = register_device::learn_number(&state.db, &state.routes, route, endpoint, own).await;
    match learned {
        Ok(()) => state.sessions.changed(&route.scope(), route.account()).await,
        Err(error) => {
            tracing::warn!(error = %crate::error::chain(&error), "a device's number could not be noted");
        }
    }
}
