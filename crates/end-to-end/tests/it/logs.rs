//! What the three services write down of a message's way, and what they must not.

use end_to_end::Process;
use serde_json::Value;
use test_support::{ENCRYPTION_KEYS, eventually_within};
use url::Url;

use crate::round_trip::{ANSWER, PUSH_NAME, QUESTION, round_trip};
use crate::world::{PATIENCE, Setup, Tenant, World};

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
    // The session paired before anybody knew whose it is. A webhook is kept when its answer goes, and in the log when it
    // was sent: one is behind the other.
    let strangers = eventually_within(PATIENCE, "quarantine and logs agree", || async {
        let strangers = world.tables.count("channel.quarantine").await;
        let logged = of_nobody(&requests(&world.channel, "/webhook"));
        (logged == strangers).then_some(strangers)
    })
    .await;
    for (service, path, strangers) in [
        (&world.channel, "/webhook", strangers),
        // The bridge knows whose an inbox is, whatever comes of it.
        (&world.bridge, "/webhook", 0),
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
    let done = requests(service, path);
    for line in &done {
        let id = line["span"]["request_id"].as_str().unwrap_or_default();
        assert!(id.len() >= 32, "{name}: no request id in {line}");
        if let Some(named) = line["span"]["tenant"].as_str() {
            assert_eq!(named, tenant.id, "{name}: {line}");
        }
    }
    let of_nobody = of_nobody(&done);
    assert_eq!(
        of_nobody, strangers,
        "{name}: requests to {path} without a tenant"
    );
    assert!(
        done.len() as i64 > of_nobody,
        "{name} logged no request to {path}"
    );
}

/// The lines about finished requests to `path`. The last line may be half written.
fn requests(service: &Process, path: &str) -> Vec<Value> {
    let log = service.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["span"]["path"] == path && line["message"] == "request done")
        .collect()
}

fn of_nobody(requests: &[Value]) -> i64 {
    let unnamed = requests.iter().filter(|line| line["span"]["tenant"].is_null());
    unnamed.count() as i64
}

pub(crate) fn secrets(world: &World, tenant: &Tenant) -> Vec<(&'static str, String)> {
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
