//! Clients of Meta's Cloud API as they are published, against a gate with accounts of every provider. Run by
//! `deploy/dev/gate-check`, which has them installed.

use std::process::Stdio;

use reqwest::Method;
use serde_json::json;
use simulator::{GowaConfigChange, GraphCallback, GraphInbound, NewGraphNumber};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::cloud_world::{self, SATU, SECRET};
use crate::gate_world::{Client, admin_of};
use crate::gowa_world;
use crate::harness::{TestApp, Wishes, text};

const RARA: &str = "6281290000011";
const LIB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/dev/lib");

/// A GoWA and Meta beside the first endpoint.
const ENDPOINTS: (&str, &str) = (
    "WHATSAPP_ENDPOINTS",
    r#"[{"name":"Primary","apiUrl":"{simulator}/wa","apiKey":"simulator-admin-token"},
        {"name":"Toko","provider":"gowa","apiUrl":"{simulator}/gowa","apiKey":"kanal:password-of-gowa",
         "webhookSecret":"secret-of-the-endpoint"},
        {"name":"Meta","provider":"cloud","apiUrl":"{simulator}/graph","apiKey":"token-of-meta",
         "appSecret":"secret-of-meta-now","verifyToken":"verify-of-meta","phoneNumberIds":["110987650000222"]}]"#,
);

async fn run(
    client: &Client<'_>,
    provider: &str,
    admin: &str,
    program: &str,
    script: &str,
    person_writes: impl AsyncFnOnce(),
) {
    let mut child = Command::new(program)
        .arg(format!("{LIB}/{script}"))
        .env("GATE_BASE", &client.app.url)
        .env("GATE_NUMBER", &client.number)
        .env("GATE_TOKEN", &client.token)
        .env("GATE_ADMIN", admin)
        .env("GATE_PERSON", RARA)
        .env("GATE_PROVIDER", provider)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = lines.next_line().await.unwrap();
    if said.as_deref() == Some("ready") {
        person_writes().await;
        said = lines.next_line().await.unwrap();
    }
    assert_eq!(said.as_deref(), Some("done"), "{script} behind {provider}");
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs published clients: deploy/dev/gate-check"]
async fn published_clients_work_with_every_provider() {
    let python = std::env::var("GATE_CHECK_PYTHON").unwrap();
    let node = std::env::var("GATE_NODE_CLIENT").is_ok_and(|client| !client.is_empty());
    let app = TestApp::with(Wishes {
        settings: &[ENDPOINTS],
        ..Wishes::default()
    })
    .await;
    app.simulator.configure_gowa(GowaConfigChange {
        basic_auth: Some("kanal:password-of-gowa".to_owned()),
        ..GowaConfigChange::default()
    });
    let genfity = app.tenant("desa-satu").await;
    let device = gowa_world::device(&app, "toko-satu", "dev-1", "6281290000001").await;
    app.simulator.create_graph_number(NewGraphNumber {
        id: SATU.0.to_owned(),
        waba: SATU.1.to_owned(),
        phone: "6221550001111".to_owned(),
        token: "token-of-meta".to_owned(),
        app_secret: Some(SECRET.to_owned()),
        webhook: Some(GraphCallback {
            url: format!("{}/api/whatsapp/webhook", app.url),
            verify_token: "verify-of-meta".to_owned(),
        }),
        ..NewGraphNumber::default()
    });
    cloud_world::number(&app, "kantor-satu", "Meta", SATU).await;
    let clients = [
        (Client::of(&app, "desa-satu").await, "genfity"),
        (Client::of(&app, "toko-satu").await, "gowa"),
        (Client::of(&app, "kantor-satu").await, "cloud"),
    ];
    for (client, provider) in &clients {
        let tenant = match *provider {
            "genfity" => "desa-satu",
            "gowa" => "toko-satu",
            _ => "kantor-satu",
        };
        let admin = admin_of(&app, tenant).await;
        let words = "Halo dari orang";
        let person_writes = async || match *provider {
            "genfity" => {
                app.post(&genfity.json(&text(RARA, "3EB0A1", words)))
                    .await
                    .assert_kept();
            }
            "gowa" => {
                let event = device.event("3EB0A2", words);
                let answer = gowa_world::post(&app, "Toko", &event, Some(&device.key)).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
            }
            _ => {
                let inbound = GraphInbound {
                    number: SATU.0.to_owned(),
                    from: RARA.to_owned(),
                    text: Some(words.to_owned()),
                    ..GraphInbound::default()
                };
                app.simulator.graph_inbound(&inbound).unwrap();
            }
        };
        run(client, provider, &admin, &python, "gate_check.py", person_writes).await;
        if node {
            run(client, provider, &admin, "node", "gate_check.mjs", async || {}).await;
        }
    }
    let known = clients[0].0.call(Method::GET, &clients[0].0.number, None).await;
    assert_eq!(known.json()["id"], json!(clients[0].0.number));
    app.finish().await;
}
