//! What the three services write down of a message's way, and what they must not.

use end_to_end::Process;
use serde_json::Value;
use test_support::ENCRYPTION_KEYS;
use url::Url;

use crate::round_trip::{ANSWER, PUSH_NAME, QUESTION, round_trip};
use crate::world::{Setup, Tenant, World};

/// Chattier than in production, in everything that is ours.
const LEVEL: &str = "info,channel_service=trace,chatwoot_bridge=trace,wa_support_gateway=trace,messaging=trace,\
                     whatsapp=trace,web=trace,runtime=trace,database=trace,cache=trace,tenant_isolation=trace";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_json_with_request_and_tenant_and_without_secrets_or_words() {
    let world = World::start(Setup {
        log_level: LEVEL,
        ..Setup::named("logs")
    })
    .await;
    let tenant = world.add_tenant("desa-contoh").await;
    round_trip(&world, &tenant).await;
    let secrets = secrets(&world, &tenant);
    // The session paired before anybody knew whose it is, and the bridge does not ask whose a webhook is that it has
    // no use for.
    let strangers = world.tables.count("channel.quarantine").await;
    let deliveries = world.simulator.chatwoot_deliveries();
    let ignored = deliveries
        .iter()
        .filter(|delivery| !delivery.response.contains("forwarded"));
    let ignored = ignored.count() as i64;
    for (service, path, strangers) in [
        (&world.channel, "/webhook", strangers),
        (&world.bridge, "/webhook", ignored),
        (&world.gateway, "/v1/wa/chat/send/text", 0),
    ] {
        judge(service, path, &tenant, strangers, &secrets);
    }
    world.finish().await;
}

fn judge(service: &Process, path: &str, tenant: &Tenant, strangers: i64, secrets: &[(&str, String)]) {
    let (name, log) = (service.service(), service.log());
    for (what, secret) in secrets {
        // Which secret, not the secret: this message is a log, too.
        assert!(!log.contains(secret.as_str()), "{name}'s log holds {what}");
    }
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{name} wrote: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{name}: no {field} in {line}");
        }
    }
    let of_request = |line: &&Value| line["span"]["path"] == path && line["message"] == "request done";
    let done: Vec<&Value> = lines.iter().filter(of_request).collect();
    let mut of_nobody = 0;
    for line in &done {
        let id = line["span"]["request_id"].as_str().unwrap_or_default();
        assert!(id.len() >= 32, "{name}: no request id in {line}");
        match line["span"]["tenant"].as_str() {
            Some(named) => assert_eq!(named, tenant.id, "{name}: {line}"),
            None => of_nobody += 1,
        }
    }
    assert_eq!(
        of_nobody, strangers,
        "{name}: requests to {path} without a tenant"
    );
    assert!(
        done.len() as i64 > of_nobody,
        "{name} logged no request to {path}"
    );
}

fn secrets(world: &World, tenant: &Tenant) -> Vec<(&'static str, String)> {
    let mut secrets = vec![
        ("the question", QUESTION.to_owned()),
        ("the answer", ANSWER.to_owned()),
        ("the push name", PUSH_NAME.to_owned()),
        ("the encryption keys", ENCRYPTION_KEYS.to_owned()),
        (
            "the admin token",
            world.gateway.variable("WA_ADMIN_TOKEN").to_owned(),
        ),
    ];
    for (secret, what) in tenant.secrets.iter().zip([
        "the session's token",
        "the session's key",
        "Chatwoot's token",
        "the inbox's secret",
    ]) {
        secrets.push((what, secret.clone()));
    }
    for service in [&world.gateway, &world.channel, &world.bridge] {
        for variable in ["DATABASE_URL", "RABBITMQ_URL"] {
            let url = Url::parse(service.variable(variable)).ok();
            if let Some(password) = url.as_ref().and_then(Url::password) {
                secrets.push(("a password", password.to_owned()));
            }
        }
    }
    assert!(secrets.iter().filter(|(what, _)| *what == "a password").count() >= 5);
    secrets
}
