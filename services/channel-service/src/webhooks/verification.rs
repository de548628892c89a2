//! `GET /webhook`: whoever is about to post asks whether we are here (contract channel-service 1.3).

use ::web::Query;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::web::Data;
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use crate::app::State;

/// Longest challenge that is repeated.
const MAX_CHALLENGE: usize = 1024;

pub(crate) async fn answer(query: Query, state: Data<State>) -> HttpResponse {
    let subscribes = query.get("hub.mode") == Some("subscribe");
    let challenge = query
        .get("hub.challenge")
        .filter(|challenge| challenge.len() <= MAX_CHALLENGE);
    match (&state.webhook.verify_token, challenge) {
        (Some(token), challenge) => {
            let shown = query.get("hub.verify_token").unwrap_or_default();
            let equal = bool::from(token.expose_secret().as_bytes().ct_eq(shown.as_bytes()));
            if subscribes && equal {
                plain(StatusCode::OK, challenge.unwrap_or_default())
            } else {
                plain(StatusCode::FORBIDDEN, "Forbidden")
            }
        }
        (None, Some(challenge)) if state.webhook.verify_anybody && subscribes => {
            plain(StatusCode::OK, challenge)
        }
        (None, _) if state.webhook.verify_anybody => plain(StatusCode::OK, "OK"),
        (None, _) => plain(StatusCode::INTERNAL_SERVER_ERROR, "Webhook not configured"),
    }
}

fn plain(status: StatusCode, text: &str) -> HttpResponse {
    HttpResponse::build(status)
        .content_type(ContentType::plaintext())
        // What is repeated is never taken for a page.
        .insert_header(("x-content-type-options", "nosniff"))
        .body(text.to_owned())
}
