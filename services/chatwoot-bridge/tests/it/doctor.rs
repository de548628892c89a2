//! `doctor`: nothing is said of a bridge that is well, and each fault is named with its cure.

use std::process::Command;

use chatwoot_bridge::config::{Known, Settings};
use chatwoot_bridge::doctor;
use diesel_async::SimpleAsyncConnection as _;
use domain::check::{Check, Verdict};
use lapin::{Connection, ConnectionProperties};
use messaging::topology::Topology;
use reqwest::Method;
use runtime::config::{BaseUrl, Setting as _, SettingsReader};
use runtime::encryption::KeyRing;
use serde_json::{Value, json};
use simulator::{ChatwootConfigChange, FaultKind, FaultSpec, Simulator};
use test_support::{CuttableProxy, ENCRYPTION_KEYS, rabbitmq_url, redis_url, unique_prefix};
use web::doctor::Report;

use crate::channel_service::{ChannelStub, KEY};
use crate::world::{Place, World, start_chatwoot};

const PUBLIC: &str = "https://bridge.test";

struct Installation {
    world: World,
    chatwoot: Simulator,
    place: Place,
    redis: CuttableProxy,
    known: Known,
}

impl Installation {
    async fn start() -> Self {
        let (world, chatwoot) = (World::start().await, start_chatwoot().await);
        let place = world
            .connect(&chatwoot, "desa-a", "kota", &format!("{PUBLIC}/webhook/kota"))
            .await;
        let redis = CuttableProxy::in_front_of(&redis_url(), 6379).await;
        let prefix = unique_prefix("doctor");
        let mut known = Known::read(SettingsReader::from_map([
            ("PORT", "1"),
            ("DATABASE_URL", "postgres://u:p@h/d"),
            ("RABBITMQ_URL", rabbitmq_url().as_str()),
            ("BROKER_PREFIX", prefix.as_str()),
            ("REDIS_URL", redis.url(&redis_url()).as_str()),
            ("REDIS_PREFIX", prefix.as_str()),
            ("ENCRYPTION_KEYS", ENCRYPTION_KEYS),
            ("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "127.0.0.1:*"),
            ("CHANNEL_FILES_URL", "http://127.0.0.1:1/uploads"),
            ("PUBLIC_BRIDGE_URL", PUBLIC),
        ]));
        known.database_url = Some(world.database.url.clone());
        known.names = world.database.names.clone();
        let storage = known.storage.as_mut().unwrap();
        storage.database_url = world.database.url.clone();
        storage.names = world.database.names.clone();
        let amqp = Connection::connect(&rabbitmq_url(), ConnectionProperties::default())
            .await
            .unwrap();
        let channel = amqp.create_channel().await.unwrap();
        known.topology.declare(&channel, false).await.unwrap();
        Self {
            world,
            chatwoot,
            place,
            redis,
            known,
        }
    }

    /// Where Chatwoot has the inbox.
    fn at_inbox(&self) -> String {
        let place = &self.place;
        let (account, inbox) = (place.chatwoot_account, place.inbox);
        format!("/chatwoot/api/v1/accounts/{account}/inboxes/{inbox}")
    }

    /// Somebody changes the inbox in Chatwoot.
    async fn change(&self, method: Method, path: &str, body: &Value) {
        let at = format!("{}{}{path}", self.chatwoot.base_url(), self.at_inbox());
        let token = self.token().await;
        let request = reqwest::Client::new()
            .request(method, at)
            .header("api_access_token", token);
        let answer = request.json(body).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    async fn point(&self, webhook_url: &str) {
        let body = json!({"channel": {"webhook_url": webhook_url}});
        self.change(Method::PATCH, "", &body).await;
    }

    /// Chatwoot answers a look at the inbox like this.
    fn answers_with(&self, status: u16) {
        let kind = FaultKind::Status {
            status,
            body: None,
            retry_after: None,
        };
        self.chatwoot.clear_faults();
        let fault = FaultSpec::on_path(self.at_inbox(), kind);
        self.chatwoot.add_fault(fault).unwrap();
    }

    async fn token(&self) -> String {
        use secrecy::ExposeSecret as _;
        let mut tx =
            tenant_isolation::TenantTransaction::begin(&self.world.database.db, &self.place.scope, "test")
                .await
                .unwrap();
        let inbox = chatwoot_bridge::store::inboxes::find(&mut tx, self.place.link)
            .await
            .unwrap()
            .unwrap();
        let place = chatwoot_bridge::store::inboxes::Inbox::token_place("desa-a", inbox.id);
        let token = self
            .world
            .tools
            .keys
            .open(&inbox.api_token_sealed, &place)
            .unwrap();
        token.expose_secret().to_owned()
    }
}

fn complaints(report: &Report) -> Vec<&Check> {
    let bad = |check: &&Check| check.verdict >= Verdict::Warn;
    report.checks.iter().filter(bad).collect()
}

#[track_caller]
fn only(report: &Report, about: &str, found: &str, cure: &str) {
    let complaints = complaints(report);
    assert_eq!(
        complaints.len(),
        1,
        "one complaint about {about} was expected: {report}"
    );
    let check = complaints[0];
    assert!(check.about.starts_with(about), "{report}");
    assert!(check.found.contains(found), "{check}");
    assert!(check.cure.as_ref().unwrap().contains(cure), "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_is_well_gives_no_complaint_and_what_chatwoot_has_otherwise_is_named() {
    let here = Installation::start().await;
    let well = doctor::examine(Ok(()), &here.known).await;
    assert_eq!(complaints(&well), Vec::<&Check>::new(), "{well}");
    assert_eq!(well.exit_code(), 0);
    assert!(
        well.to_string().contains("webhooks of routes: 1 of 1 lead here"),
        "{well}"
    );

    here.point("https://s3cret.elsewhere.example/hook?token=s3cret")
        .await;
    let report = doctor::examine(Ok(()), &here.known).await;
    only(&report, "webhook of route ", "somewhere else", "`restore`");
    assert!(!report.to_string().contains("s3cret"), "{report}");
    let noted = here.world.count("SELECT count(*) AS n FROM drift_reports").await;
    assert_eq!(noted, 0, "looking writes nothing");
    here.point("").await;
    let report = doctor::examine(Ok(()), &here.known).await;
    only(&report, "webhook of route ", "nowhere", "`restore`");
    here.point(&format!("{PUBLIC}/webhook/kota")).await;

    for (status, found, cure) in [
        (401, "does not take the token", "underscores_in_headers"),
        (404, "no such inbox", "switch the route off"),
        (500, "does not answer", "OUTBOUND_ALLOWED_PRIVATE_HOSTS"),
    ] {
        here.answers_with(status);
        let report = doctor::examine(Ok(()), &here.known).await;
        only(&report, "webhook of route ", found, cure);
        assert_eq!(report.exit_code(), u8::from(status != 500), "{report}");
    }
    here.chatwoot.clear_faults();

    here.chatwoot.configure_chatwoot(ChatwootConfigChange {
        shows_secrets: Some(true),
        ..ChatwootConfigChange::default()
    });
    let report = doctor::examine(Ok(()), &here.known).await;
    assert_eq!(complaints(&report), Vec::<&Check>::new(), "{report}");
    here.change(Method::POST, "/reset_secret", &json!({})).await;
    let report = doctor::examine(Ok(()), &here.known).await;
    only(
        &report,
        "webhook of route ",
        "signs with a secret",
        "store the inbox's secret",
    );
    here.chatwoot.configure_chatwoot(ChatwootConfigChange {
        shows_secrets: Some(false),
        ..ChatwootConfigChange::default()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bridge_depends_on_is_named_when_it_is_away_or_wrong() {
    let here = Installation::start().await;
    here.redis.cut();
    let report = doctor::examine(Ok(()), &here.known).await;
    only(&report, "redis", "does not answer", "REDIS_URL");
    here.redis.restore();

    let mut known = here.known.clone();
    let nowhere = BaseUrl::from_text("http://127.0.0.1:9").unwrap();
    known.channel.as_mut().unwrap().service = Some((nowhere, "s3cret".into()));
    let report = doctor::examine(Ok(()), &known).await;
    only(
        &report,
        "channel-service",
        "does not answer",
        "CHANNEL_SERVICE_URL",
    );

    let channel = ChannelStub::start();
    channel.accounts_are(json!([]));
    let mut at_stub = async |base: &str, key: &str| {
        let base = BaseUrl::from_text(base).unwrap();
        known.channel.as_mut().unwrap().service = Some((base, key.into()));
        doctor::examine(Ok(()), &known).await
    };
    let base = channel.base.as_str();
    let report = at_stub(base, KEY).await;
    assert_eq!(complaints(&report), Vec::<&Check>::new(), "{report}");
    assert!(
        report.to_string().contains("channel-service: answers, and takes"),
        "{report}"
    );
    let report = at_stub(base, "s3cret").await;
    only(
        &report,
        "channel-service",
        "does not take our key for the tenant desa-a",
        "CHANNEL_SERVICE_KEY",
    );
    assert!(!report.to_string().contains("s3cret"), "{report}");
    let report = at_stub(&format!("{base}/elsewhere"), KEY).await;
    only(
        &report,
        "channel-service",
        "something else",
        "CHANNEL_SERVICE_URL",
    );

    let mut known = here.known.clone();
    known.topology = Topology::with_prefix(&unique_prefix("nobody"));
    let report = doctor::examine(Ok(()), &known).await;
    let all = complaints(&report);
    let missing = |check: &&Check| check.found == "is missing" && check.verdict == Verdict::Wrong;
    assert!(all.len() > 5 && all.iter().all(missing), "{report}");

    let mut known = here.known.clone();
    known.router.as_mut().unwrap().public_url = None;
    known.storage.as_mut().unwrap().router.public_url = None;
    known.files.as_mut().unwrap().files_url = BaseUrl::from_text(PUBLIC);
    let report = doctor::examine(Ok(()), &known).await;
    only(
        &report,
        "PUBLIC_BRIDGE_URL",
        "is not set",
        "where Chatwoot reaches",
    );
    assert_eq!(report.exit_code(), 0);

    let mut known = here.known.clone();
    let other = format!("other:{}", ENCRYPTION_KEYS.split_once(':').unwrap().1);
    known.keys = KeyRing::from_text(&other);
    let report = doctor::examine(Ok(()), &known).await;
    only(
        &report,
        "encryption keys",
        "the key test, which ENCRYPTION_KEYS lacks",
        "put that key back",
    );

    let mut admin = here.world.database.admin().await;
    admin
        .batch_execute("ALTER TABLE inboxes NO FORCE ROW LEVEL SECURITY")
        .await
        .unwrap();
    let report = doctor::examine(Ok(()), &here.known).await;
    only(
        &report,
        "tenants apart",
        "table inboxes has no forced",
        "keep_tenants_apart",
    );
    assert_eq!(report.exit_code(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_any_setting_is_not_shown_by_the_command() {
    let run = |settings: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatwoot-bridge"));
        command.env_clear().arg("doctor").args(arguments);
        let output = command.envs(settings.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(
            !said.contains("s3cret") && !errors.contains("s3cret"),
            "{said}{errors}"
        );
        (output.status.code(), said)
    };
    let variables = Settings::variables();
    let planted: Vec<(&str, &str)> = variables
        .iter()
        .map(|variable| (variable.name, "s3cret"))
        .collect();
    assert!(planted.len() > 30);
    let (code, said) = run(&planted, &[]);
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("setting DATABASE_URL") && said.contains("setting PORT"),
        "{said}"
    );
    let right = [
        ("PORT", "1"),
        (
            "DATABASE_URL",
            "postgres://u:s3cret@127.0.0.1:9/s3cret?password=s3cret",
        ),
        ("RABBITMQ_URL", "amqp://u:s3cret@127.0.0.1:9/s3cret"),
        ("REDIS_URL", "redis://u:s3cret@127.0.0.1:9/0"),
        ("ENCRYPTION_KEYS", ENCRYPTION_KEYS),
        ("CHANNEL_SERVICE_URL", "http://127.0.0.1:9/s3cret"),
        ("CHANNEL_SERVICE_KEY", "s3cret"),
        ("PUBLIC_BRIDGE_URL", "http://127.0.0.1:9/s3cret"),
    ];
    let (code, said) = run(&right, &["--json"]);
    assert_eq!(code, Some(1), "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&report["service"], &report["verdict"]),
        (&json!("chatwoot-bridge"), &json!("wrong"))
    );
}
