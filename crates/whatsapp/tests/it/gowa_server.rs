//! A GoWA that answers as told: its endpoint, a device of it, and its answers.

use std::time::Duration;

use domain::ids::ProviderMessageId;
use serde_json::{Value, json};
use whatsapp::credentials::{BasicAuth, SessionToken};
use whatsapp::gowa::GowaEndpoint;

use crate::server::{Manner, answer};

pub(crate) const PASSWORD: &str = "very-secret";

pub(crate) fn endpoint(base: &str) -> GowaEndpoint {
    // Another test of this process may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let auth = BasicAuth::parse(&format!("kanal:{PASSWORD}")).unwrap();
    GowaEndpoint::new(base.parse().unwrap(), Some(&auth))
        .unwrap()
        .with_connect_timeout(Duration::from_millis(500))
        .with_total_timeout(Duration::from_secs(2))
}

pub(crate) fn device() -> SessionToken {
    SessionToken::new("toko/1").unwrap()
}

pub(crate) fn id(text: &str) -> ProviderMessageId {
    ProviderMessageId::parse(text).unwrap()
}

pub(crate) fn results(results: Value) -> Manner {
    Manner::Say(answer(
        200,
        "",
        &json!({"code": "SUCCESS", "results": results}).to_string(),
    ))
}

pub(crate) fn refuses(status: u16, code: &str) -> Manner {
    Manner::Say(answer(
        status,
        "",
        &json!({"code": code, "message": "no"}).to_string(),
    ))
}

pub(crate) fn first_lines(asked: &[String]) -> Vec<String> {
    asked
        .iter()
        .map(|asked| asked.lines().next().unwrap_or_default().replace(" HTTP/1.1", ""))
        .collect()
}
