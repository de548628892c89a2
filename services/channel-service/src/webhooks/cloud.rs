//! `GET|POST /api/whatsapp/webhook` and `…/{endpoint}`: Meta's Cloud API (contract meta-cloud-api 1, 2 and 6).
//!
//! Every POST is signed with a secret of an endpoint's app; there is no way around that. With an endpoint in the path it has
//! to be one of that endpoint's, else one of any. What was signed is answered 200 when it is durable, whether or not it is
//! understood or anybody's: Meta repeats everything else for a week, the good parts with the bad one.

use std::collections::BTreeSet;

use ::web::ApiError;
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use chrono::Utc;
use domain::endpoint::Provider;
use whatsapp::cloud::{SIGNATURE_HEADER, Signed, answer_challenge, check_shape, verify};
use whatsapp::credentials::WebhookKey;
use whatsapp::error::SignatureError;
use whatsapp::event::Keep;

use super::accept::{done, text_header};
use super::body::{self, Body, BodyLimits};
use super::cloud_updates;
use super::source;
use crate::app::State;
use crate::endpoints::Endpoints;
use crate::error::ServiceError;
use crate::flows::quarantine;

/// What a tenant does not keep is left out when it is known whose it is.
pub(super) const EVERYWHERE: Keep = Keep {
    groups: true,
    broadcasts: true,
    status: true,
};

/// Meta posts up to 3 MB.
const MOST_BYTES: usize = 4 * 1024 * 1024;

pub(crate) async fn receive_any(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    receive(&request, None, payload, &state).await
}

pub(crate) async fn receive_of(
    request: HttpRequest,
    endpoint: Path<String>,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    receive(&request, Some(&endpoint), payload, &state).await
}

pub(crate) async fn verify_any(request: HttpRequest, state: Data<State>) -> HttpResponse {
    answer(&request, None, &state)
}

pub(crate) async fn verify_of(
    request: HttpRequest,
    endpoint: Path<String>,
    state: Data<State>,
) -> HttpResponse {
    answer(&request, Some(&endpoint), &state)
}

async fn receive(
    request: &HttpRequest,
    endpoint: Option<&str>,
    payload: Payload,
    state: &State,
) -> Result<HttpResponse, ServiceError> {
    if !state.is_open() {
        return Err(ServiceError::Overloaded);
    }
    source::check(request, &state.webhook)?;
    let apps = Apps::of(&state.endpoints);
    let secrets = apps.secrets(endpoint);
    let refused = |error: &SignatureError| {
        metrics::counter!("kanal_webhooks_refused_total", "reason" => error.code()).increment(1);
    };
    // Nothing is read of what nobody claims to have signed, in the way in which it is claimed.
    let signature = text_header(request, SIGNATURE_HEADER).filter(|_| !secrets.is_empty());
    let signature = signature.ok_or(SignatureError::Missing).inspect_err(refused)?;
    let is_one = request.headers().get_all(SIGNATURE_HEADER).count() == 1;
    check_shape(signature)
        .and(is_one.then_some(()).ok_or(SignatureError::Malformed))
        .inspect_err(refused)?;
    let limits = BodyLimits {
        memory: MOST_BYTES,
        disk: MOST_BYTES as u64,
    };
    let Body::Short(body) = body::read(request, payload, limits, &state.long_bodies).await? else {
        return Err(ApiError::too_large().into());
    };
    let signed = verify(body, Some(signature), &secrets).inspect_err(refused)?;
    let signed_by = apps.having(secrets.get(signed.secret()));
    take(state, &signed, &signed_by).await
}

/// Takes everything that a signed body tells.
async fn take(state: &State, signed: &Signed, signed_by: &[String]) -> Result<HttpResponse, ServiceError> {
    let updates = match signed.updates_with(Utc::now(), EVERYWHERE) {
        Ok(updates) => updates,
        Err(error) => {
            let stray = quarantine::Stray {
                reason: error.code(),
                instance: None,
                body: signed.body(),
            };
            tracing::error!(reason = error.code(), "a signed webhook cannot be read");
            quarantine::keep_all(&state.db, Provider::Cloud, signed_by, &[stray]).await?;
            return Ok(done("Kept for people to look at"));
        }
    };
    metrics::histogram!("kanal_cloud_updates_in_webhook")
        .record(f64::from(u32::try_from(updates.len()).unwrap_or(u32::MAX)));
    let taken = cloud_updates::take_all(state, signed_by, updates).await;
    if taken.left > 0 {
        // What was kept is known when it comes again.
        tracing::warn!(
            left = taken.left,
            "a webhook was not kept as a whole and has to come again"
        );
        return Err(ServiceError::Overloaded);
    }
    Ok(done("Accepted"))
}

/// Whoever sets this address up at Meta asks whether we know the word that was agreed.
fn answer(request: &HttpRequest, endpoint: Option<&str>, state: &State) -> HttpResponse {
    let endpoints = state.endpoints.all();
    let named = endpoints
        .iter()
        .filter(|one| endpoint.is_none_or(|name| one.name.as_str() == name));
    let tokens = named.filter_map(|one| Some(one.cloud.as_ref()?.verify_token.secret()));
    let (status, text) = match answer_challenge(request.query_string(), tokens) {
        Ok(challenge) => (StatusCode::OK, challenge.into_string()),
        Err(_) => (StatusCode::FORBIDDEN, "Forbidden".to_owned()),
    };
    HttpResponse::build(status)
        .content_type(ContentType::plaintext())
        // What is repeated is never taken for a page.
        .insert_header(("x-content-type-options", "nosniff"))
        .body(text)
}

/// The apps whose webhooks come here: endpoints by name, with their secrets.
struct Apps(Vec<(String, Vec<WebhookKey>)>);

impl Apps {
    fn of(endpoints: &Endpoints) -> Self {
        let apps = endpoints.all().into_iter().filter_map(|endpoint| {
            let secrets = endpoint.cloud.as_ref()?.app_secrets.clone();
            Some((endpoint.name.to_string(), secrets))
        });
        Self(apps.collect())
    }

    /// Every secret, each once, of all of them or of this one.
    fn secrets(&self, endpoint: Option<&str>) -> Vec<WebhookKey> {
        let named = self
            .0
            .iter()
            .filter(|(name, _)| endpoint.is_none_or(|endpoint| endpoint == name));
        let mut secrets: Vec<WebhookKey> = Vec::new();
        for secret in named.flat_map(|(_, secrets)| secrets) {
            if !secrets.contains(secret) {
                secrets.push(secret.clone());
            }
        }
        secrets
    }

    /// The endpoints that have this secret: their accounts are whom a body that it signed may be about.
    fn having(&self, secret: Option<&WebhookKey>) -> Vec<String> {
        let named = self
            .0
            .iter()
            .filter(|(_, secrets)| secret.is_some_and(|secret| secrets.contains(secret)));
        let names: BTreeSet<&String> = named.map(|(name, _)| name).collect();
        names.into_iter().cloned().collect()
    }
}

/// A body that was kept, as signed as it was when it came. `None`: none of the endpoints that had signed it is there any
/// more.
pub(super) fn signed_before(
    endpoints: &Endpoints,
    kept_by: &[String],
    body: Bytes,
) -> Option<(Signed, Vec<String>)> {
    let apps = Apps::of(endpoints);
    let (_, secrets) = apps.0.iter().find(|(name, _)| kept_by.contains(name))?;
    let secret = secrets.first()?;
    let signature = whatsapp::cloud::sign(secret, &body);
    let signed = verify(body, Some(&signature), std::slice::from_ref(secret)).ok()?;
    // Not whoever has the secret now: whoever had it then.
    let known = kept_by
        .iter()
        .filter(|name| apps.0.iter().any(|(app, _)| app == *name));
    Some((signed, known.cloned().collect()))
}
