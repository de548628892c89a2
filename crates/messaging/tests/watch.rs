//! What is shown of the outbox and the lanes, against a real Postgres. A process of its own: what is counted is the process'.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::HashSet;
use std::time::Duration;

use database::Database;
use diesel_async::SimpleAsyncConnection as _;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use domain::ids::TenantId;
use messaging::lanes::{
    HandleTask, LaneError, Lease, NewTask, Next, Task, WorkerSettings, claim_and_work, discard, enqueue,
    expire_parked, replay,
};
use messaging::ledger;
use messaging::watch::{COUNTED, look};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction, rows};
use test_support::TestDatabase;
use uuid::Uuid;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/channel");

const SETTINGS: WorkerSettings = WorkerSettings {
    concurrency: 100,
    lease: Duration::from_secs(30),
};

/// Gauges are the process': one test at a time.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Does what the payload says.
struct Willing(Database);

impl HandleTask for Willing {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.0, lease.scope(), "test").await?;
        if task.payload == "park" {
            lease.park(&mut tx, task, "test").await?;
        } else {
            lease.done(&mut tx, task).await?;
        }
        tx.commit().await?;
        Ok(Next::Continue)
    }
}

fn scope(tenant: &str) -> TenantScope {
    TenantScope::named_by_operator(TenantId::parse(tenant).unwrap())
}

async fn add(db: &Database, tenant: &str, payload: &str, commit: bool) -> Uuid {
    let mut tx = TenantTransaction::begin(db, &scope(tenant), "test")
        .await
        .unwrap();
    let task = NewTask {
        lane: payload.to_owned(),
        id: Uuid::now_v7(),
        kind: "test",
        payload: payload.to_owned(),
    };
    assert!(enqueue(&mut tx, &task).await.unwrap());
    if commit {
        tx.commit().await.unwrap();
    }
    task.id
}

/// The value of a series, by the beginning of its line; nothing while there is none.
fn value(series: &str) -> f64 {
    let page = runtime::telemetry::render_metrics();
    let line = page.lines().find(|line| line.starts_with(series));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn step(step: &str) -> f64 {
    value(&format!("kanal_ledger_total{{book=\"tasks\",step=\"{step}\"}}"))
}

fn held(state: &str) -> f64 {
    value(&format!("kanal_ledger_held{{book=\"tasks\",state=\"{state}\"}}"))
}

fn is_even() -> bool {
    (step("accepted") - step("delivered") - step("expired") - held("live") - held("parked")).abs() < 0.5
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_even_whatever_becomes_of_a_task_and_uneven_when_one_vanishes() {
    let _one = ONE.lock().await;
    runtime::telemetry::start_metrics();
    let test = TestDatabase::create("channel", MIGRATIONS).await;
    let db = &test.db;
    let mut shown = HashSet::new();
    let parked = add(db, "desa-satu", "park", true).await;
    add(db, "desa-satu", "done", true).await;
    add(db, "desa-dua", "done", true).await;
    add(db, "desa-dua", "never committed", false).await;
    look(db, &mut shown).await.unwrap();
    assert_eq!((step("accepted"), held("live"), held("parked")), (3.0, 3.0, 0.0));
    assert_eq!(value("kanal_lanes_due"), 3.0);
    assert!(is_even());

    assert_eq!(
        claim_and_work(db, &Willing(db.clone()), SETTINGS).await.unwrap(),
        3
    );
    look(db, &mut shown).await.unwrap();
    assert_eq!((step("delivered"), held("live"), held("parked")), (2.0, 0.0, 1.0));
    assert_eq!(
        value("kanal_tenant_tasks{tenant=\"desa-satu\",state=\"parked\"}"),
        1.0
    );
    assert_eq!(
        value("kanal_tenant_tasks{tenant=\"desa-dua\",state=\"live\"}"),
        0.0
    );
    assert_eq!(value("kanal_lanes_due"), 0.0);
    // A lane that was let go of with its last task is not taken for one that somebody else has taken.
    assert_eq!(value("kanal_leases_lost_total"), 0.0);
    assert!(is_even());

    // Taken up again, and discarded with its lane.
    let mut tx = TenantTransaction::begin(db, &scope("desa-satu"), "test")
        .await
        .unwrap();
    assert!(replay(&mut tx, parked).await.unwrap());
    assert_eq!(discard(&mut tx, "park").await.unwrap(), 1);
    tx.commit().await.unwrap();
    look(db, &mut shown).await.unwrap();
    assert_eq!((step("expired"), held("parked")), (1.0, 0.0));
    assert!(is_even());

    // Put aside for too long, and erased with all that is its tenant's.
    add(db, "desa-satu", "park", true).await;
    claim_and_work(db, &Willing(db.clone()), SETTINGS).await.unwrap();
    add(db, "desa-dua", "done", true).await;
    let mut admin = test.admin().await;
    admin
        .batch_execute("UPDATE lane_tasks SET created_at = now() - interval '40 days' WHERE parked")
        .await
        .unwrap();
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("test"))
        .await
        .unwrap();
    assert_eq!(
        expire_parked(&mut tx, Some("another"), 30.0, 10).await.unwrap(),
        0
    );
    assert_eq!(expire_parked(&mut tx, None, 30.0, 10).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let mut tx = TenantTransaction::begin(db, &scope("desa-dua"), "test")
        .await
        .unwrap();
    for table in ["lanes", "lane_tasks"] {
        let deleted = rows::delete(&mut tx, table, 10).await.unwrap();
        ledger::note_deleted(&mut tx, table, deleted);
    }
    tx.commit().await.unwrap();
    look(db, &mut shown).await.unwrap();
    assert_eq!((step("expired"), held("live"), held("parked")), (3.0, 0.0, 0.0));
    assert!(is_even());

    // Nobody says what became of it.
    add(db, "desa-satu", "done", true).await;
    admin.batch_execute("DELETE FROM lane_tasks").await.unwrap();
    look(db, &mut shown).await.unwrap();
    assert!(!is_even());

    // A lease that ran out is seen when somebody takes the lane, and a lane that nobody takes grows late.
    add(db, "desa-satu", "late", true).await;
    admin
        .batch_execute(
            "UPDATE lanes SET ready_at = now() - interval '90 seconds', leased_until = now() - interval '1 second' \
             WHERE lane = 'late'",
        )
        .await
        .unwrap();
    look(db, &mut shown).await.unwrap();
    assert!(value("kanal_lanes_oldest_due_seconds") >= 90.0);
    assert_eq!(value("kanal_leases_expired_total"), 0.0);
    claim_and_work(db, &Willing(db.clone()), SETTINGS).await.unwrap();
    assert_eq!(value("kanal_leases_expired_total"), 1.0);
    assert!(
        value("kanal_pool_most") == 0.0,
        "the worker shows the pool, not a look"
    );
    assert!(value("kanal_clock_skew_seconds") < 60.0);
}

/// No more is read of a table that is full than of one that is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_reads_no_more_than_its_bound() {
    let _one = ONE.lock().await;
    let test = TestDatabase::create("channel", MIGRATIONS).await;
    let mut admin = test.admin().await;
    admin
        .batch_execute(
            "INSERT INTO lanes (tenant_id, lane, ready_at) \
             SELECT 't' || n % 50, 'l' || n, CASE WHEN n % 2 = 0 THEN now() END FROM generate_series(1, 60000) n; \
             INSERT INTO lane_tasks (tenant_id, lane, id, kind, payload, parked) \
             SELECT 't' || n % 50, 'l' || n, gen_random_uuid(), 'test', repeat('x', 100), n % 3 = 0 \
             FROM generate_series(1, 120000) n; \
             INSERT INTO outbox (tenant_id, lane, event_id, event_type, envelope) \
             SELECT 't' || n % 50, 'l' || n, gen_random_uuid(), 'test', repeat('x', 200) \
             FROM generate_series(1, 120000) n; ANALYZE lanes, lane_tasks, outbox",
        )
        .await
        .unwrap();
    let plan = |rows: &str| {
        format!("EXPLAIN (ANALYZE, TIMING OFF) SELECT count(*) FROM ({rows} LIMIT 10001) counted")
    };
    for rows in [
        "SELECT created_at AS at FROM outbox WHERE parked IS NULL ORDER BY seq",
        "SELECT created_at AS at FROM outbox WHERE parked IS NOT NULL ORDER BY seq",
        "SELECT created_at AS at FROM lane_tasks WHERE NOT parked",
        "SELECT created_at AS at FROM lane_tasks WHERE parked",
        "SELECT ready_at AS at FROM lanes WHERE ready_at <= now() AND (leased_until IS NULL OR leased_until < now()) \
         ORDER BY ready_at",
    ] {
        let lines = explained(&mut admin, &plan(rows)).await;
        let most = lines
            .iter()
            .filter_map(|line| {
                line.rsplit_once("actual rows=")?
                    .1
                    .split([' ', ')'])
                    .next()?
                    .parse::<f64>()
                    .ok()
            })
            .fold(0.0, f64::max);
        let removed = lines
            .iter()
            .filter_map(|line| line.split_once("Rows Removed by Filter: ")?.1.parse::<f64>().ok())
            .fold(0.0, f64::max);
        assert!(
            most + removed <= 4.0 * 10_001.0,
            "{rows} reads too much:\n{}",
            lines.join("\n")
        );
    }
    assert_eq!(COUNTED + 1, 10_001);
    let mut shown = HashSet::new();
    look(&test.db, &mut shown).await.unwrap();
    assert_eq!(shown.len(), 10, "no more tenants than have a series");
}

async fn explained(admin: &mut diesel_async::AsyncPgConnection, statement: &str) -> Vec<String> {
    #[derive(diesel::QueryableByName)]
    struct Line {
        #[diesel(sql_type = diesel::sql_types::Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let rows: Vec<Line> = diesel_async::RunQueryDsl::load(diesel::sql_query(statement), admin)
        .await
        .unwrap();
    rows.into_iter().map(|row| row.line).collect()
}
