//! `doctor`: nothing is said of a gateway that is well, and each fault is named with its cure.

use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use domain::check::{Check, Verdict};
use runtime::config::{Setting as _, SettingsReader};
use runtime::encryption::KeyRing;
use simulator::{Simulator, SimulatorConfig};
use test_support::{
    CuttableProxy, ENCRYPTION_KEYS, TestDatabase, TestProcessDatabase, install_crypto_provider, rabbitmq_url,
    redis_url, unique_prefix,
};
use wa_support_gateway::config::Known;
use wa_support_gateway::{MIGRATIONS, doctor};
use web::doctor::Report;

use crate::process::Process;
use crate::support::FakeWaServer;

const ADMIN_TOKEN: &str = "simulator-admin-token";

struct Installation {
    database: TestDatabase,
    simulator: Simulator,
    redis: CuttableProxy,
    known: Known,
}

impl Installation {
    async fn start() -> Self {
        install_crypto_provider();
        let database = TestDatabase::create("wa_support", MIGRATIONS).await;
        let simulator = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
        let redis = CuttableProxy::in_front_of(&redis_url(), 6379).await;
        let mut known = Known::read(SettingsReader::from_map([
            ("PORT", "1"),
            ("DATABASE_URL", "postgres://u:p@h/d"),
            ("REDIS_URL", redis.url(&redis_url()).as_str()),
            ("REDIS_PREFIX", unique_prefix("doctor").as_str()),
            ("ENCRYPTION_KEYS", ENCRYPTION_KEYS),
            ("WA_SERVER_URL", format!("{}/wa", simulator.base_url()).as_str()),
            ("WA_ADMIN_TOKEN", ADMIN_TOKEN),
            ("PUBLIC_GATEWAY_BASE_URL", "http://gateway.example"),
        ]));
        known.database.as_mut().unwrap().url = database.url.clone();
        Self {
            database,
            simulator,
            redis,
            known,
        }
    }

    async fn examine(&self, known: &Known) -> Report {
        doctor::examine(Ok(()), known, self.database.names.clone()).await
    }
}

fn complaints(report: &Report) -> Vec<&Check> {
    let bad = |check: &&Check| check.verdict >= Verdict::Warn;
    report.checks.iter().filter(bad).collect()
}

#[track_caller]
fn only(report: &Report, about: &str, found: &str, cure: &str) {
    let complaints = complaints(report);
    let [check] = complaints.as_slice() else {
        panic!("one complaint about {about} was expected: {report}");
    };
    assert_eq!(check.about, about, "{report}");
    assert!(check.found.contains(found), "{check}");
    assert!(check.cure.as_ref().unwrap().contains(cure), "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_well_gives_no_complaint_and_each_fault_is_named() {
    let here = Installation::start().await;
    let well = here.examine(&here.known).await;
    assert_eq!(complaints(&well), Vec::<&Check>::new(), "{well}");
    assert_eq!(well.exit_code(), 0);
    assert!(well.to_string().contains("WA server: answers"), "{well}");
    assert!(
        well.to_string().contains("webhooks of sessions: 0 of 0"),
        "{well}"
    );

    here.redis.cut();
    only(
        &here.examine(&here.known).await,
        "redis",
        "does not answer",
        "REDIS_URL",
    );
    here.redis.restore();

    let mut known = here.known.clone();
    known.admin_token = Some("s3cret-of-another".into());
    let report = here.examine(&known).await;
    let about: Vec<&str> = complaints(&report)
        .iter()
        .map(|check| check.about.as_str())
        .collect();
    assert_eq!(about, ["WA server"], "{report}");
    assert!(report.to_string().contains("compare WA_ADMIN_TOKEN"), "{report}");
    assert!(!report.to_string().contains("s3cret"));
    assert_eq!(report.exit_code(), 1);

    let mut known = here.known.clone();
    let relay = known.relay.as_mut().unwrap();
    (relay.public_base, relay.missing_base) = (None, true);
    let report = here.examine(&known).await;
    only(
        &report,
        "PUBLIC_GATEWAY_BASE_URL",
        "is not set",
        "WEBHOOK_RELAY=off",
    );
    assert_eq!(report.exit_code(), 0, "it works without");

    let mut known = here.known.clone();
    known.broker = Known::read(SettingsReader::from_map([
        ("RABBITMQ_URL", rabbitmq_url().as_str()),
        ("BROKER_PREFIX", unique_prefix("doctor").as_str()),
    ]))
    .broker;
    let report = here.examine(&known).await;
    let missing = |check: &&Check| check.found == "is missing" && check.verdict == Verdict::Wrong;
    let all = complaints(&report);
    assert!(
        all.len() > 5 && all.iter().all(missing),
        "nobody declared anything: {report}"
    );

    let mut admin = here.database.admin().await;
    admin
        .batch_execute("ALTER TABLE sessions DISABLE ROW LEVEL SECURITY")
        .await
        .unwrap();
    only(
        &here.examine(&here.known).await,
        "tenants apart",
        "table sessions has no forced row-level security",
        "keep_tenants_apart",
    );
    drop(here.simulator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_names_sessions_that_drifted_and_keys_that_are_missing_and_shows_no_secret() {
    install_crypto_provider();
    let (database, wa) = (TestProcessDatabase::create().await, FakeWaServer::start());
    let (process, _) = Process::serving(&database, &wa);
    let process = process.with("METRICS_TOKEN", "metrics-s3cret");
    process.json(&["migrate", "--bootstrap"]).await;
    let create = [
        "session",
        "create",
        "--customer",
        "desa-satu",
        "--name",
        "desa-satu",
    ];
    process.json(&create).await;
    let mut admin = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
    admin
        .batch_execute("UPDATE wa_support.sessions SET phase_since = now() - interval '1 hour'")
        .await
        .unwrap();
    let examined = async |process: &Process, arguments: &[&str]| {
        let output = process.run(arguments).await;
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(
            !said.contains("s3cret") && !errors.contains("s3cret"),
            "{said}{errors}"
        );
        (output.status.code(), said)
    };
    let (code, said) = examined(&process, &["doctor"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("webhooks of sessions: 1 of 1 are as they should be"),
        "{said}"
    );
    assert!(said.contains("all under test"), "{said}");

    admin
        .batch_execute("UPDATE wa_support.sessions SET session_name = 'desa-dua'")
        .await
        .unwrap();
    let other = format!("other:{}", ENCRYPTION_KEYS.split_once(':').unwrap().1);
    assert!(KeyRing::from_text(&other).is_some());
    let (code, said) = examined(&process.with("ENCRYPTION_KEYS", &other), &["doctor", "--json"]).await;
    assert_eq!(code, Some(1), "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let found = |about: &str| {
        let checks = report["checks"].as_array().unwrap();
        let check = checks
            .iter()
            .find(|check| check["about"] == about && check["verdict"] != "ok");
        check.unwrap_or_else(|| panic!("{about}: {said}")).clone()
    };
    let session = found("session desa-dua of desa-satu");
    assert!(
        session["cure"].as_str().unwrap().contains("session reconcile"),
        "{session}"
    );
    let keys = found("encryption keys");
    assert!(keys["found"].as_str().unwrap().contains("the key test"), "{keys}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_any_setting_is_not_shown() {
    let names = wa_support_gateway::config::variables();
    let process = Process {
        variables: names
            .iter()
            .filter(|variable| variable.name != "WA_SERVER_URL")
            .map(|variable| (variable.name, "s3cret-of-this-test".to_owned()))
            .collect(),
    };
    let output = process.run(&["doctor"]).await;
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("setting DATABASE_URL") && said.contains("setting WA_SERVER_URL"),
        "{said}"
    );
    assert!(!said.contains("s3cret") && output.stderr.is_empty(), "{said}");
    let process = Process {
        variables: vec![
            ("PORT", "1".to_owned()),
            (
                "DATABASE_URL",
                "postgres://u:s3cret@127.0.0.1:9/s3cret?password=s3cret".to_owned(),
            ),
            ("REDIS_URL", "redis://u:s3cret@127.0.0.1:9/0".to_owned()),
            ("RABBITMQ_URL", "amqp://u:s3cret@127.0.0.1:9/s3cret".to_owned()),
            ("ENCRYPTION_KEYS", ENCRYPTION_KEYS.to_owned()),
            ("WA_SERVER_URL", "http://127.0.0.1:9/s3cret".to_owned()),
            ("WA_ADMIN_TOKEN", "s3cret".to_owned()),
        ],
    };
    let output = process.run(&["doctor"]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("s3cret") && output.stderr.is_empty(), "{said}");
    assert!(said.contains("wrong    rabbitmq: does not answer"), "{said}");
}
