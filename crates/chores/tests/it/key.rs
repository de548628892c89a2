//! Secrets move from one key to the next, those of all tenants, and nothing is lost on the way.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chores::key::{Fared, KeyError, Resealed, reencrypt};
use diesel_async::SimpleAsyncConnection as _;
use runtime::config::Setting as _;
use runtime::encryption::KeyRing;
use secrecy::{ExposeSecret as _, SecretString};
use tenant_isolation::sealed_rows::{SealedColumn, SealedRow, SealedTable, Secrets};
use tenant_isolation::{PlatformScope, PlatformTransaction};
use test_support::{ENCRYPTION_KEYS, NEWER_ENCRYPTION_KEY, TestDatabase, eventually};

use crate::MIGRATIONS;

/// The whole key, and a column outside it, are part of what a secret is bound to.
const TABLES: &[SealedTable] = &[SealedTable {
    name: "drawers",
    key: &[("name", "text"), ("number", "bigint")],
    bound: &["place"],
    columns: &[
        SealedColumn {
            name: "one_sealed",
            binding: |row| binding(row, "one"),
        },
        SealedColumn {
            name: "several_sealed",
            binding: |row| binding(row, "several"),
        },
    ],
}];

const LOST: &str = "lost:Pz8/Pz8/Pz8/Pz8/Pz8/Pz8/Pz8/Pz8/Pz8/Pz8/Pz8=";

fn binding(row: &SealedRow, column: &str) -> Option<String> {
    let (name, number, place) = (row.text("name")?, row.text("number")?, row.text("place")?);
    Some(bound_to(
        row.scope().tenant().as_str(),
        name,
        number,
        place,
        column,
    ))
}

fn bound_to(tenant: &str, name: &str, number: &str, place: &str, column: &str) -> String {
    format!("drawers/{tenant}/{name}/{number}/{place}/{column}")
}

fn ring(text: &str) -> KeyRing {
    KeyRing::from_text(text).unwrap()
}

fn both() -> KeyRing {
    ring(&format!("{NEWER_ENCRYPTION_KEY},{ENCRYPTION_KEYS}"))
}

struct World {
    test: TestDatabase,
}

impl World {
    async fn new() -> Self {
        let test = TestDatabase::create("channel", MIGRATIONS).await;
        let world = Self { test };
        world
            .sql(
                "CREATE TABLE drawers (tenant_id text NOT NULL, name text NOT NULL, number bigint NOT NULL, \
                     place text NOT NULL, one_sealed text, several_sealed text[] NOT NULL DEFAULT '{}', \
                     PRIMARY KEY (tenant_id, name, number)); \
                 SELECT keep_tenants_apart('drawers'); \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON drawers TO channel_tenant, channel_platform",
            )
            .await;
        world
    }

    async fn sql(&self, text: &str) {
        self.test.admin().await.batch_execute(text).await.unwrap();
    }

    /// Drawers with a secret in one column and two in the other, under `keys`.
    async fn fill(&self, keys: &KeyRing, tenant: &str, numbers: RangeInclusive<u32>) {
        let rows: Vec<String> = numbers
            .map(|number| {
                let seal = |text: &str, column| {
                    let binding = bound_to(tenant, "left", &number.to_string(), "hall", column);
                    keys.seal(&SecretString::from(text), &binding).unwrap()
                };
                format!(
                    "('{tenant}', 'left', {number}, 'hall', '{}', ARRAY['{}', '{}'])",
                    seal(&format!("{tenant} {number}"), "one"),
                    seal("first", "several"),
                    seal("second", "several")
                )
            })
            .collect();
        self.sql(&format!(
            "INSERT INTO drawers (tenant_id, name, number, place, one_sealed, several_sealed) VALUES {}",
            rows.join(", ")
        ))
        .await;
    }

    async fn reencrypt(&self, keys: &KeyRing) -> Resealed {
        reencrypt(&self.test.db, keys, TABLES).await.unwrap()
    }

    /// What each row's secrets say with these keys. `None`: one of them does not open.
    async fn opened(&self, keys: &KeyRing) -> BTreeMap<String, Option<Vec<String>>> {
        let purpose = PlatformScope::for_purpose("look at drawers");
        let mut tx = PlatformTransaction::begin(&self.test.db, purpose).await.unwrap();
        let rows = TABLES[0].page(&mut tx, None, 1000).await.unwrap();
        tx.commit().await.unwrap();
        let open = |(row, mut secrets): (SealedRow, Secrets)| {
            let mut all = Vec::new();
            for column in TABLES[0].columns {
                let binding = (column.binding)(&row).unwrap();
                for sealed in secrets.of(column.name) {
                    all.push(
                        keys.open(sealed, &binding)
                            .map(|secret| secret.expose_secret().to_owned()),
                    );
                }
            }
            let whose = format!("{} {}", row.scope().tenant(), row.text("number").unwrap());
            (whose, all.into_iter().collect::<Result<_, _>>().ok())
        };
        rows.into_iter().map(open).collect()
    }
}

fn fared(resealed: u64, current: u64, unreadable: u64) -> Fared {
    Fared {
        resealed,
        current,
        unreadable,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tenants_secrets_move_to_the_newest_key_and_the_old_one_can_go() {
    let world = World::new().await;
    let old = ring(ENCRYPTION_KEYS);
    // More than are read at once, with equal names and numbers in two tenants.
    for tenant in ["desa-a", "desa-b"] {
        world.fill(&old, tenant, 1..=105).await;
    }
    world.fill(&both(), "desa-c", 1..=1).await;
    world
        .sql("INSERT INTO drawers (tenant_id, name, number, place) VALUES ('desa-d', 'left', 1, 'hall')")
        .await;

    let done = world.reencrypt(&both()).await;
    assert_eq!(done.key, "newer");
    assert_eq!(done.kinds["drawers.one_sealed"], fared(210, 1, 0));
    assert_eq!(done.kinds["drawers.several_sealed"], fared(420, 2, 0));
    assert!(
        done.unreadable.is_empty() && done.still_under.is_empty(),
        "{done:?}"
    );

    let opened = world.opened(&ring(NEWER_ENCRYPTION_KEY)).await;
    assert_eq!(opened.len(), 212);
    for (whose, secrets) in &opened {
        let expected = match whose.starts_with("desa-d") {
            true => Vec::new(),
            false => vec![whose.clone(), "first".to_owned(), "second".to_owned()],
        };
        assert_eq!(secrets.as_ref(), Some(&expected), "{whose}");
    }
    let touched = world.reencrypt(&ring(NEWER_ENCRYPTION_KEY)).await;
    assert_eq!(touched.kinds["drawers.one_sealed"], fared(0, 211, 0));
    assert_eq!(touched.kinds["drawers.several_sealed"], fared(0, 422, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_open_is_left_as_it_is_and_told_and_holds_up_nothing_else() {
    let world = World::new().await;
    let old = ring(ENCRYPTION_KEYS);
    let lost = ring(LOST);
    world.fill(&lost, "desa-a", 1..=1).await;
    world.fill(&old, "desa-a", 2..=2).await;
    world.fill(&old, "desa-b", 1..=1).await;
    // Another row's secret, and one of an array that was spoilt beside a good one.
    world
        .sql(
            "UPDATE drawers SET one_sealed = (SELECT one_sealed FROM drawers WHERE tenant_id = 'desa-a' AND number = 2) \
              WHERE tenant_id = 'desa-b'; \
             UPDATE drawers SET several_sealed[1] = 'test:spoilt' WHERE tenant_id = 'desa-a' AND number = 2",
        )
        .await;
    let done = world.reencrypt(&both()).await;
    assert_eq!(done.kinds["drawers.one_sealed"], fared(1, 0, 2));
    assert_eq!(done.kinds["drawers.several_sealed"], fared(3, 0, 3));
    let told: Vec<_> = done
        .unreadable
        .iter()
        .map(|one| (one.tenant_id.as_str(), one.kind.as_str(), one.secrets))
        .collect();
    assert_eq!(
        told,
        [
            ("desa-a", "drawers.one_sealed", 1),
            ("desa-a", "drawers.several_sealed", 3),
            ("desa-b", "drawers.one_sealed", 1),
        ]
    );
    let still = [("lost".to_owned(), 3), ("test".to_owned(), 2)];
    assert_eq!(done.still_under, BTreeMap::from(still));
    assert!(!format!("{done:?}").contains("spoilt"), "a value was shown");

    // The key that was missing is found again.
    let all = ring(&format!("{NEWER_ENCRYPTION_KEY},{ENCRYPTION_KEYS},{LOST}"));
    let done = world.reencrypt(&all).await;
    assert_eq!(done.kinds["drawers.one_sealed"], fared(1, 1, 1));
    assert_eq!(done.kinds["drawers.several_sealed"], fared(2, 3, 1));
    let opened = world.opened(&ring(NEWER_ENCRYPTION_KEY)).await;
    assert_eq!(opened["desa-a 1"].as_deref().unwrap()[0], "desa-a 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changes_meanwhile_is_not_overwritten() {
    let world = World::new().await;
    let old = ring(ENCRYPTION_KEYS);
    world.fill(&old, "desa-a", 1..=1).await;
    let changed = old
        .seal(
            &SecretString::from("changed meanwhile"),
            &bound_to("desa-a", "left", "1", "hall", "one"),
        )
        .unwrap();
    // Somebody who does not know the newest key, and is not through yet.
    let mut changing = world.test.admin().await;
    changing
        .batch_execute(&format!("BEGIN; UPDATE drawers SET one_sealed = '{changed}'"))
        .await
        .unwrap();
    let db = world.test.db.clone();
    let sealing = tokio::spawn(async move { reencrypt(&db, &both(), TABLES).await.unwrap() });
    eventually("the sealing waits for the change", || async {
        let waiting = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock' AND query LIKE '%FROM drawers%FOR NO KEY UPDATE') \
                       THEN RAISE 'nobody waits'; END IF; END $$";
        world.test.admin().await.batch_execute(waiting).await.ok()
    })
    .await;
    changing.batch_execute("COMMIT").await.unwrap();
    let done = sealing.await.unwrap();
    assert_eq!(done.kinds["drawers.one_sealed"], fared(1, 0, 0));
    let opened = world.opened(&ring(NEWER_ENCRYPTION_KEY)).await;
    assert_eq!(opened["desa-a 1"].as_deref().unwrap()[0], "changed meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_seal_in_a_column_that_nobody_named_keeps_the_command_from_saying_that_all_is_well() {
    let world = World::new().await;
    world.fill(&ring(ENCRYPTION_KEYS), "desa-a", 1..=1).await;
    let command = || chores::key::KeyCommand::Reencrypt;
    let run = chores::key::run(&world.test.db, &both(), TABLES, command()).await;
    assert!(run.is_ok(), "{run:?}");
    world
        .sql("ALTER TABLE drawers ADD COLUMN forgotten_sealed text; UPDATE drawers SET forgotten_sealed = 'test:x'")
        .await;
    let run = chores::key::run(&world.test.db, &both(), TABLES, command()).await;
    assert!(matches!(run, Err(KeyError::StillUnderOlder(1))), "{run:?}");
    world.sql("UPDATE drawers SET one_sealed = 'newer:x'").await;
    let run = chores::key::run(&world.test.db, &both(), TABLES, command()).await;
    assert!(matches!(run, Err(KeyError::Unreadable(1))), "{run:?}");
}
