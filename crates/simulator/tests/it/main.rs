//! The simulator seen from outside, over HTTP, the way our services and tests see it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop with the line it stopped at"
)]

mod chatwoot;
mod chatwoot_acts;
mod chatwoot_files;
mod faults;
mod gowa;
mod gowa_receiver;
mod graph;
mod receiver;
mod round_trip;
mod small_servers;
mod support;
mod wa_api;
mod wa_webhook;

use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::{NewSession, Simulator, SimulatorConfig, WaUser};

/// Starts a simulator on a free port with a retry schedule in milliseconds.
async fn start() -> Simulator {
    Simulator::start(SimulatorConfig::for_tests()).await.unwrap()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

const HMAC_KEY: &str = "0123456789abcdef0123456789abcdef";

fn session(simulator: &Simulator, webhook: &str) -> WaUser {
    simulator
        .create_wa_session(NewSession {
            name: "desa-contoh".to_owned(),
            webhook: webhook.to_owned(),
            hmac_key: Some(HMAC_KEY.to_owned()),
            ..NewSession::default()
        })
        .unwrap()
}

/// Waits until the condition holds, and fails the test after half a minute.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "did not happen: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A call on the WA server with a user's token; status and JSON of the answer.
async fn wa_post(simulator: &Simulator, token: &str, path: &str, body: Value) -> (u16, Value) {
    let response = client()
        .post(format!("{}/wa{path}", simulator.base_url()))
        .header("token", token)
        .json(&body)
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}
