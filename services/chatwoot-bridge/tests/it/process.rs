//! The executable: its exit codes, its chores, and the schema up and down.

use std::process::{Command, Output};

use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};
use serde_json::Value;
use test_support::{ENCRYPTION_KEYS, TestProcessDatabase};

use crate::world::World;

fn bridge(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatwoot-bridge"));
    command.args(arguments).env_clear();
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn wrong_settings_end_the_process_before_it_listens() {
    let output = bridge(&[], &[("DATABASE_URL", "mysql://u:s3cret@h/d"), ("PORT", "many")]);
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stderr);
    for name in ["DATABASE_URL", "RABBITMQ_URL", "ENCRYPTION_KEYS", "PORT"] {
        assert!(said.contains(name), "{name} is not in {said}");
    }
    assert!(!said.contains("s3cret"));
    assert_eq!(bridge(&["migrate", "--bootstrap"], &[]).status.code(), Some(78));
    assert_eq!(bridge(&["healthcheck"], &[("PORT", "1")]).status.code(), Some(1));
}

#[test]
fn the_table_of_settings_names_them_all() {
    let output = bridge(&["config"], &[]);
    assert!(output.status.success());
    let table = text(&output.stdout);
    for name in [
        "PORT",
        "DATABASE_URL",
        "RABBITMQ_URL",
        "MIGRATE_DATABASE_URL",
        "OUTBOUND_ALLOWED_PRIVATE_HOSTS",
    ] {
        assert!(table.contains(&format!("| `{name}` |")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_migrates_and_connects_twice() {
    let database = TestProcessDatabase::create().await;
    let (url, admin) = (database.service_url("chatwoot_bridge"), database.admin_url());
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("MIGRATE_DATABASE_URL", admin.as_str()),
        ("ENCRYPTION_KEYS", ENCRYPTION_KEYS),
        ("CHATWOOT_API_TOKEN", "token-not-real"),
        ("CHATWOOT_WEBHOOK_SECRET", "one-not-real,two-not-real"),
    ];
    for first in [true, false] {
        let output = bridge(&["migrate", "--bootstrap"], &variables);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        // However many there are: all of them, and then none.
        assert_ne!(answer["migrations_run"].as_array().unwrap().is_empty(), first);
    }
    let account = "0190a1b2-0000-7000-8000-000000000001";
    let connect = |tenant, url| {
        let place = ["--chatwoot-url", url, "--chatwoot-account", "3", "--inbox", "42"];
        bridge(
            &[
                &["inbox", "connect", "--tenant", tenant, "--account", account],
                &place[..],
            ]
            .concat(),
            &variables,
        )
    };
    let mut ids = Vec::new();
    for _ in 0..2 {
        let output = connect("desa-a", "https://chat.example/");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["tenant_id"], "desa-a");
        ids.push(answer["inbox_link_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    let tasks = |arguments: &[&str]| bridge(&[&["task"], arguments].concat(), &variables);
    let listed = tasks(&["parked", "--tenant", "desa-a"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(
        (
            listed["tenant_id"].as_str(),
            listed["parked"].as_array().map(Vec::len)
        ),
        (Some("desa-a"), Some(0))
    );
    let replayed = tasks(&["replay", "--tenant", "desa-a", "--all"]);
    let replayed: Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert_eq!(replayed["replayed"], 0);
    let missing = tasks(&["replay", "--tenant", "desa-a", "--task", account]);
    assert!(
        text(&missing.stderr).contains("no such task"),
        "{}",
        text(&missing.stderr)
    );
    assert_eq!(tasks(&["replay", "--tenant", "desa-a"]).status.code(), Some(2));
    let person = |arguments: &[&str]| bridge(&[&["person"], arguments].concat(), &variables);
    let erase = ["erase", "--tenant", "desa-a", "--phone", "081290000011"];
    let confirm = "--i-know-that-everything-will-be-gone";
    let nobody = person(&[&erase[..], &[confirm, "+62 812-9000-0011"]].concat());
    assert!(nobody.status.success(), "{}", text(&nobody.stderr));
    let nobody: Value = serde_json::from_slice(&nobody.stdout).unwrap();
    assert_eq!(nobody["erased"]["contacts"], 0);
    let another = person(&[&erase[..], &[confirm, "081290000012"]].concat());
    assert_eq!(another.status.code(), Some(1));
    assert!(text(&another.stderr).contains("nothing was erased"));
    assert_eq!(person(&erase).status.code(), Some(2));
    let exported = person(&["export", "--tenant", "desa-a", "--phone", "halo"]);
    assert_eq!(exported.status.code(), Some(1));

    let taken = connect("desa-b", "https://chat.example/");
    assert_eq!(taken.status.code(), Some(1));
    assert!(
        text(&taken.stderr).contains("connected already"),
        "{}",
        text(&taken.stderr)
    );
    let audit = |arguments: &[&str]| bridge(&[&["audit"], arguments].concat(), &variables);
    let verified = audit(&["verify"]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    assert!(text(&verified.stdout).contains("\"broken\":0"));
    let pruned = audit(&["prune", "--before", "2026-01-01T00:00:00Z"]);
    assert!(pruned.status.success(), "{}", text(&pruned.stderr));
    let mut owner = diesel_async::AsyncPgConnection::establish(&admin).await.unwrap();
    owner
        .batch_execute(
            "SET search_path TO chatwoot_bridge; ALTER TABLE platform_acts DISABLE TRIGGER USER; \
             UPDATE platform_acts SET detail = 'x' WHERE seq = 1",
        )
        .await
        .unwrap();
    let broken = audit(&["verify"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        text(&broken.stdout).contains("entry 1 was altered"),
        "{}",
        text(&broken.stdout)
    );
    let inward = connect("desa-a", "http://169.254.169.254/");
    assert!(
        text(&inward.stderr).contains("private address"),
        "{}",
        text(&inward.stderr)
    );
    let tenant = |arguments: &[&str]| bridge(&[&["tenant"], arguments].concat(), &variables);
    let lines = tenant(&["export", "--tenant", "desa-a"]);
    let lines = text(&lines.stdout);
    assert!(lines.contains(r#"{"table":"inboxes","row":{"#), "{lines}");
    assert!(lines.ends_with("{\"complete\":true,\"tenant_id\":\"desa-a\"}\n") && !lines.contains("sealed"));
    let erase = |confirmed| tenant(&["erase", "--tenant", "desa-a", confirm, confirmed]);
    assert_eq!(erase("desa-b").status.code(), Some(1));
    let erased = erase("desa-a");
    assert!(erased.status.success(), "{}", text(&erased.stderr));
    let erased: Value = serde_json::from_slice(&erased.stdout).unwrap();
    assert!(erased["rows_erased"].as_u64().unwrap() > 2, "{erased}");
    let again = erase("desa-a");
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("there is no such tenant"));
}

/// What takes the migrations back, the newest first.
pub(crate) const DOWNS: [&str; 18] = [
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-29-000046_erasures/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-29-000045_audit_chain/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-29-000043_watch/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000023_panel/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000022_contact_pictures/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000021_from_history/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000020_marked_failed/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000019_forward_load/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000018_history/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000017_outbound/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000016_inbound/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000015_admin/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000014_forward/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000013_routes/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000004_upkeep/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-21-000003_chatwoot/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-21-000002_outbox_and_lanes/down.sql"),
    include_str!("../../../../migrations/chatwoot_bridge/2026-11-21-000001_tenant_directory/down.sql"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_can_be_taken_back() {
    let world = World::start().await;
    let mut connection = world.database.admin().await;
    for down in DOWNS {
        connection.batch_execute(down).await.unwrap();
    }
    let left = "SELECT count(*) AS n FROM pg_tables WHERE schemaname = current_schema() \
                AND tablename NOT IN ('__diesel_schema_migrations', '__migrations_to_know')";
    assert_eq!(world.count(left).await, 0);
}
