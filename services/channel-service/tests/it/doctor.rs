//! `doctor` over the real stack: nothing is said of an installation that is well, and each fault is named with its cure.

use std::process::Command;

use channel_service::config::{EndpointSettings, Known, ProviderSettings};
use channel_service::doctor;
use diesel_async::SimpleAsyncConnection as _;
use domain::check::{Check, Verdict};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use messaging::topology::Queue;
use runtime::config::{BaseUrl, Setting as _};
use runtime::encryption::KeyRing;
use test_support::TestProcessDatabase;
use web::doctor::Report;

use crate::harness::{Maker, TestApp, Wishes};

/// Of a running application, as it is configured.
async fn known(app: &TestApp) -> Known {
    let mut known = Known::from(&app.settings);
    known.process.as_mut().unwrap().address = app.address;
    known
}

async fn examine(app: &TestApp, known: &Known) -> Report {
    doctor::examine(Ok(()), known, app.database.names.clone()).await
}

async fn spawn() -> TestApp {
    TestApp::with(Wishes {
        maker: Maker::Server,
        events_come_here: true,
        ..Wishes::default()
    })
    .await
}

/// What is worse than ok, with skipped ones left out.
fn complaints(report: &Report) -> Vec<&Check> {
    let bad = |check: &&Check| check.verdict >= Verdict::Warn;
    report.checks.iter().filter(bad).collect()
}

/// There is exactly one complaint, and it is this one.
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
async fn an_installation_that_is_well_gives_no_complaint() {
    let app = spawn().await;
    app.live_tenant("desa-satu").await;
    let report = examine(&app, &known(&app).await).await;
    assert_eq!(complaints(&report), Vec::<&Check>::new(), "{report}");
    assert_eq!(report.exit_code(), 0);
    let about = |name: &str| report.checks.iter().find(|check| check.about == name).unwrap();
    for name in [
        "service",
        "postgres",
        "clock, against postgres",
        "schema",
        "migrations",
        "tenants apart",
        "encryption keys",
        "redis",
        "redis key",
        "rabbitmq",
        "disk, MEDIA_STORAGE_PATH",
        "endpoint Primary",
        "webhooks of sessions",
    ] {
        // Whether a service's own role may read the list of migrations is the grants' business.
        assert!(about(name).verdict <= Verdict::Skipped, "{}", about(name));
    }
    assert!(about("service").found.contains("is ready"));
    assert!(
        about("encryption keys").found.contains("all under test"),
        "{report}"
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["service"], "channel-service");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_away_is_named_and_keeps_nothing_waiting() {
    let app = spawn().await;
    let mut known = known(&app).await;
    known.process = None;
    app.proxies.redis.cut();
    only(
        &examine(&app, &known).await,
        "redis",
        "does not answer",
        "REDIS_URL",
    );
    app.proxies.redis.restore();
    app.proxies.rabbitmq.cut();
    only(
        &examine(&app, &known).await,
        "rabbitmq",
        "does not answer",
        "RABBITMQ_URL",
    );
    app.proxies.rabbitmq.restore();
    app.proxies.postgres.cut();
    let report = examine(&app, &known).await;
    let about: Vec<&str> = complaints(&report)
        .iter()
        .map(|check| check.about.as_str())
        .collect();
    assert_eq!(about, ["postgres", "tenants apart"], "{report}");
    assert_eq!(report.exit_code(), 1);
    app.proxies.postgres.restore();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_in_the_databases_defences_are_named() {
    let app = spawn().await;
    let known = known(&app).await;
    let mut admin = app.database.admin().await;
    admin
        .batch_execute("ALTER TABLE chats NO FORCE ROW LEVEL SECURITY")
        .await
        .unwrap();
    let report = examine(&app, &known).await;
    only(
        &report,
        "tenants apart",
        "table chats has no forced row-level security",
        "keep_tenants_apart",
    );
    assert_eq!(report.exit_code(), 1);
    admin
        .batch_execute("ALTER TABLE chats FORCE ROW LEVEL SECURITY; CREATE VIEW peep AS SELECT * FROM chats")
        .await
        .unwrap();
    only(
        &examine(&app, &known).await,
        "tenants apart",
        "view peep",
        "keep_tenants_apart",
    );
    admin.batch_execute("DROP VIEW peep").await.unwrap();
    app.finish().await;
}

/// Roles belong to all databases and all tests, so these have one of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_a_right_too_many_and_migrations_that_did_not_run_are_named() {
    let app = spawn().await;
    let mut known = known(&app).await;
    known.process = None;
    let mut admin = app.database.admin().await;
    let role = format!("doctor_{}", uuid::Uuid::now_v7().simple());
    admin
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN NOINHERIT BYPASSRLS PASSWORD 's3cret'; \
             GRANT channel_tenant, channel_platform TO {role}"
        ))
        .await
        .unwrap();
    let as_role = |url: &str| {
        let mut url = url::Url::parse(url).unwrap();
        url.set_username(&role).unwrap();
        url.set_password(Some("s3cret")).unwrap();
        url.as_str().parse().unwrap()
    };
    known.database = Some(as_role(&app.database.direct_url()));
    let report = examine(&app, &known).await;
    only(
        &report,
        "tenants apart",
        &format!("role {role} is a superuser or may bypass row-level security"),
        "NOBYPASSRLS",
    );
    assert!(!report.to_string().contains("s3cret"));

    admin
        .batch_execute(&format!(
            "ALTER ROLE {role} NOBYPASSRLS; \
             DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)"
        ))
        .await
        .unwrap();
    known.admin = Some(app.database.admin_url().parse().unwrap());
    only(
        &examine(&app, &known).await,
        "migrations",
        "1 have not run",
        "run `migrate`",
    );
    admin
        .batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000001')")
        .await
        .unwrap();
    only(
        &examine(&app, &known).await,
        "migrations",
        "1 that this version does not know, and lacks 1",
        "newer version",
    );
    admin
        .batch_execute(&format!(
            "DELETE FROM __diesel_schema_migrations WHERE version = '29991231000001'; \
             REVOKE channel_tenant FROM {role}"
        ))
        .await
        .unwrap();
    let report = examine(&app, &known).await;
    let found = complaints(&report);
    assert!(
        found
            .iter()
            .any(|check| check.about == "schema" && check.found.contains("may not work as channel_tenant")),
        "{report}"
    );
    admin.batch_execute(&format!("DROP ROLE {role}")).await.unwrap();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_that_are_missing_or_otherwise_or_unread_are_named() {
    let app = spawn().await;
    let known = known(&app).await;
    // Messages that were put aside: nobody reads it, so it is told of as long as there are some.
    let parked = app.topology.queue(Queue::ParkedMessages);
    app.channel
        .basic_publish(
            "".into(),
            parked.as_str().into(),
            BasicPublishOptions::default(),
            b"{}",
            BasicProperties::default(),
        )
        .await
        .unwrap();
    test_support::eventually("it is in the queue", || async {
        let report = examine(&app, &known).await;
        complaints(&report)
            .iter()
            .any(|check| check.found.contains("1 were put aside"))
            .then_some(())
    })
    .await;
    let delete = async || {
        app.channel
            .queue_delete(parked.as_str().into(), QueueDeleteOptions::default())
            .await
            .unwrap();
    };
    delete().await;
    let about = format!("queue {parked}");
    only(
        &examine(&app, &known).await,
        &about,
        "is missing",
        "start a service",
    );
    app.channel
        .queue_declare(
            parked.as_str().into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    only(
        &examine(&app, &known).await,
        &about,
        "was declared otherwise: x-",
        "delete it",
    );
    delete().await;
    // Looking made none.
    only(
        &examine(&app, &known).await,
        &about,
        "is missing",
        "start a service",
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_names_directories_and_servers_that_are_wrong_are_named() {
    let app = spawn().await;
    let usual = known(&app).await;
    app.live_tenant("desa-satu").await;

    let mut known = usual.clone();
    known.keys = KeyRing::from_text(&format!(
        "other:{}",
        test_support::ENCRYPTION_KEYS.split_once(':').unwrap().1
    ));
    let report = examine(&app, &known).await;
    let complaint = complaints(&report)[0].to_string();
    assert!(
        complaint.contains("sealed under the key test, which ENCRYPTION_KEYS lacks"),
        "{report}"
    );
    assert!(complaint.contains("put that key back"), "{report}");

    let mut known = usual.clone();
    known.ai_service.base = BaseUrl::from_text("http://ai.invalid");
    only(
        &examine(&app, &known).await,
        "dns, AI_SERVICE_URL",
        "ai.invalid has no address",
        "resolv.conf",
    );

    let mut known = usual.clone();
    known.media.as_mut().unwrap().storage =
        channel_service::config::StorageSettings::Directory("/proc/doctor".into());
    only(
        &examine(&app, &known).await,
        "disk, MEDIA_STORAGE_PATH",
        "",
        "let MEDIA_STORAGE_PATH name another place",
    );

    let mut known = usual.clone();
    let endpoint = |settings: &mut Known, server: &str, key: &str| {
        let url = BaseUrl::from_text(server).unwrap();
        let first: &mut EndpointSettings = &mut settings.endpoints.as_mut().unwrap().list[0];
        first.provider = ProviderSettings::Genfity {
            gateway: None,
            server: Some((url, key.parse().unwrap())),
        };
    };
    let simulator = format!("{}/wa", app.simulator.base_url());
    endpoint(&mut known, &simulator, "another-admin-token");
    let report = examine(&app, &known).await;
    only(
        &report,
        "endpoint Primary",
        "it does not take our key",
        "compare our key",
    );
    assert!(!report.to_string().contains("another-admin-token"));
    endpoint(&mut known, "http://127.0.0.1:9", "simulator-admin-token");
    only(
        &examine(&app, &known).await,
        "endpoint Primary",
        "it cannot be reached",
        "is it running",
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_was_changed_at_the_server_is_named() {
    let app = spawn().await;
    let known = known(&app).await;
    let tenant = app.live_tenant("desa-satu").await;
    // As one that we made.
    app.run_sql("UPDATE accounts SET session_via = 'server'").await;
    let report = examine(&app, &known).await;
    assert_eq!(complaints(&report), Vec::<&Check>::new(), "{report}");
    let changed = app
        .http()
        .put(format!("{}/wa/webhook", app.simulator.base_url()))
        .header("token", &tenant.session.token)
        .json(&serde_json::json!({"webhook": "https://s3cret.elsewhere.example/", "events": ["All"], "active": true}))
        .send()
        .await
        .unwrap();
    assert!(changed.status().is_success());
    let report = examine(&app, &known).await;
    only(
        &report,
        &format!("webhook of a session of {} at Primary", tenant.id),
        "does not come here as it should (webhook_elsewhere)",
        "connect the session once more",
    );
    assert!(!report.to_string().contains("s3cret"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_shows_every_mistake_and_no_secret() {
    let database = TestProcessDatabase::create().await;
    let secret = "s3cret-of-this-test";
    let url = |scheme: &str| format!("{scheme}://u:{secret}@127.0.0.1:9/{secret}?password={secret}");
    let run = |arguments: &[&str], settings: &[(&str, String)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_channel-service"));
        command.env_clear().arg("doctor").args(arguments);
        for (name, value) in settings {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(
            !said.contains(secret) && !errors.contains(secret),
            "{said}\n{errors}"
        );
        (output.status.code().unwrap(), said)
    };
    // Planted in every setting there is, whatever its kind.
    let table = Command::new(env!("CARGO_BIN_EXE_channel-service"))
        .arg("config")
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let names = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name);
    let planted: Vec<(&str, String)> = names.map(|name| (name, secret.to_owned())).collect();
    assert!(planted.len() > 50);
    let (code, said) = run(&[], &planted);
    assert_eq!(code, 78);
    assert!(
        said.contains("setting DATABASE_URL") && said.contains("setting PORT"),
        "{said}"
    );

    let mut right = vec![
        ("PORT", "1".to_owned()),
        ("DATABASE_URL", url("postgres")),
        ("REDIS_URL", url("redis")),
        ("RABBITMQ_URL", format!("amqp://u:{secret}@127.0.0.1:9/{secret}")),
        ("ENCRYPTION_KEYS", test_support::ENCRYPTION_KEYS.to_owned()),
        ("INTERNAL_API_KEY", secret.to_owned()),
        ("WA_API_URL", format!("http://127.0.0.1:9/{secret}")),
        ("WA_SUPPORT_URL", format!("http://127.0.0.1:9/{secret}")),
        ("WA_SUPPORT_INTERNAL_API_KEY", secret.to_owned()),
        ("WA_ACCESS_TOKEN", secret.to_owned()),
        ("METRICS_TOKEN", secret.to_owned()),
        ("AI_SERVICE_URL", format!("http://127.0.0.1:9/{secret}")),
        ("PUBLIC_CHANNEL_BASE_URL", format!("http://127.0.0.1:9/{secret}")),
        ("MEDIA_S3_BUCKET", secret.to_owned()),
        ("MEDIA_S3_ENDPOINT", "http://127.0.0.1:9".to_owned()),
        ("MEDIA_S3_ACCESS_KEY_ID", secret.to_owned()),
        ("MEDIA_S3_SECRET_ACCESS_KEY", secret.to_owned()),
    ];
    let (code, said) = run(&["--json"], &right);
    assert_eq!(code, 1, "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["verdict"], "wrong");

    // And where there is a Postgres, what it says is not repeated either.
    right[1].1 = database.service_url("channel");
    let (_, said) = run(&[], &right);
    assert!(said.contains("there is no schema channel"), "{said}");
    assert!(said.contains("-> run `migrate`"), "{said}");
}
