//! Work in order within a lane, by one worker at a time, whatever happens to the workers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use database::Database;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl as _;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use messaging::lanes::{
    HandleTask, LaneChoice, LaneError, Lease, NewTask, Next, Task, Waits, WorkerSettings, Workers,
    claim_and_work, delete_idle, discard, enqueue, enqueue_group, put_aside, replay,
};
use messaging::outbox::Signal;
use tenant_isolation::{GroupTransaction, PlatformScope, PlatformTransaction, TenantTransaction};
use test_support::{TestDatabase, eventually};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::world::{MIGRATIONS, Running, scope};

const SETTINGS: WorkerSettings = WorkerSettings {
    concurrency: 4,
    lease: Duration::from_secs(5),
};

/// What to do with a task; the rest of the bookkeeping is the logbook's.
enum Outcome {
    Done,
    Retry(Duration),
    Wait(Duration),
    Park,
}

type Work = dyn Fn(Database, Lease, String) -> BoxFuture<'static, Result<Outcome, LaneError>> + Send + Sync;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    lane: String,
    payload: String,
    failures: i32,
    begun: i32,
}

#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
    running: HashSet<String>,
    most_at_once: usize,
    overlaps: usize,
}

/// Does tasks, notes them and who met whom.
#[derive(Clone)]
struct Logbook {
    db: Database,
    log: Arc<Mutex<Log>>,
    work: Arc<Work>,
}

impl Logbook {
    fn doing<F>(db: &Database, work: impl Fn(Database, Lease, String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Outcome, LaneError>> + Send + 'static,
    {
        Self {
            db: db.clone(),
            log: Arc::default(),
            work: Arc::new(move |db, lease, payload| work(db, lease, payload).boxed()),
        }
    }

    fn willing(db: &Database) -> Self {
        Self::doing(db, |_, _, _| async { Ok(Outcome::Done) })
    }

    fn entries(&self) -> Vec<Entry> {
        self.log.lock().unwrap().entries.clone()
    }

    fn payloads(&self, lane: &str) -> Vec<String> {
        let entries = self.entries().into_iter();
        entries
            .filter(|entry| entry.lane == lane)
            .map(|entry| entry.payload)
            .collect()
    }

    async fn until(&self, what: &str, enough: impl Fn(&[Entry]) -> bool) {
        eventually(what, || async { enough(&self.entries()).then_some(()) }).await;
    }
}

impl HandleTask for Logbook {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        {
            let mut log = self.log.lock().unwrap();
            let fresh = log.running.insert(lease.lane().to_owned());
            log.overlaps += usize::from(!fresh);
            log.most_at_once = log.most_at_once.max(log.running.len());
            log.entries.push(Entry {
                lane: lease.lane().to_owned(),
                payload: task.payload.clone(),
                failures: task.failures,
                begun: task.begun,
            });
        }
        let outcome = (self.work)(self.db.clone(), lease.clone(), task.payload.clone()).await;
        // Before the outcome is written: from then on the lane may be somebody else's.
        self.log.lock().unwrap().running.remove(lease.lane());
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "outcome").await?;
        let next = match outcome? {
            Outcome::Done => lease.done(&mut tx, task).await.map(|()| Next::Continue)?,
            Outcome::Retry(wait) => {
                lease.retry(&mut tx, task, wait, Waits::Failed, "not now").await?;
                Next::Wait
            }
            Outcome::Wait(wait) => {
                lease
                    .retry(&mut tx, task, wait, Waits::NotBegun, "too fast")
                    .await?;
                Next::Wait
            }
            Outcome::Park => lease
                .park(&mut tx, task, "never")
                .await
                .map(|()| Next::Continue)?,
        };
        tx.commit().await?;
        Ok(next)
    }
}

struct World {
    test: TestDatabase,
    signal: Signal,
}

impl World {
    async fn new() -> Self {
        Self {
            test: TestDatabase::create("channel", MIGRATIONS).await,
            signal: Signal::default(),
        }
    }

    fn db(&self) -> &Database {
        &self.test.db
    }

    async fn enqueue(&self, lane: &str, payloads: impl IntoIterator<Item = &str>) {
        for payload in payloads {
            assert!(add(self.db(), lane, payload, Uuid::now_v7()).await);
        }
        self.signal.ring();
    }

    fn start(&self, logbook: &Logbook, settings: WorkerSettings) -> Running {
        self.start_on(LaneChoice::All, logbook, settings)
    }

    fn start_on(&self, choice: LaneChoice, logbook: &Logbook, settings: WorkerSettings) -> Running {
        let stop = CancellationToken::new();
        let workers = Workers::new(
            self.db().clone(),
            Arc::new(logbook.clone()),
            settings,
            self.signal.clone(),
        )
        .choosing(choice);
        Running {
            task: tokio::spawn(workers.run(stop.clone())),
            stop,
        }
    }

    async fn count(&self, query: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            count: i64,
        }
        diesel::sql_query(query)
            .get_result::<Count>(&mut self.test.admin().await)
            .await
            .unwrap()
            .count
    }

    async fn tasks(&self) -> i64 {
        self.count("SELECT count(*) FROM lane_tasks").await
    }

    async fn until_empty(&self) {
        eventually("every task is done", || async {
            (self.tasks().await == 0).then_some(())
        })
        .await;
    }
}

async fn add(db: &Database, lane: &str, payload: &str, id: Uuid) -> bool {
    add_for("desa-satu", db, lane, payload, id).await
}

async fn add_for(tenant: &str, db: &Database, lane: &str, payload: &str, id: Uuid) -> bool {
    let mut tx = TenantTransaction::begin(db, &scope(tenant), "enqueue")
        .await
        .unwrap();
    let added = enqueue(&mut tx, &task(lane, payload, id)).await.unwrap();
    tx.commit().await.unwrap();
    added
}

fn task(lane: &str, payload: &str, id: Uuid) -> NewTask {
    NewTask {
        lane: lane.to_owned(),
        id,
        kind: "test",
        payload: payload.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_is_worked_in_the_order_in_which_it_was_filled() {
    let world = World::new().await;
    let logbook = Logbook::willing(world.db());
    world.enqueue("a", ["1", "2", "3"]).await;
    world.enqueue("b", ["1", "2"]).await;
    world.enqueue("a", ["4"]).await;
    let workers = world.start(&logbook, SETTINGS);
    world.until_empty().await;
    assert_eq!(logbook.payloads("a"), ["1", "2", "3", "4"]);
    assert_eq!(logbook.payloads("b"), ["1", "2"]);
    world.enqueue("a", ["5"]).await;
    world.until_empty().await;
    assert_eq!(logbook.payloads("a").last().unwrap(), "5");
    workers.end().await;
    assert_eq!(
        world
            .count("SELECT count(*) FROM lanes WHERE ready_at IS NOT NULL")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_enqueued_once() {
    let world = World::new().await;
    let id = Uuid::now_v7();
    assert!(add(world.db(), "a", "1", id).await);
    assert!(!add(world.db(), "a", "1", id).await);
    let logbook = Logbook::willing(world.db());
    let workers = world.start(&logbook, SETTINGS);
    world.until_empty().await;
    assert_eq!(logbook.payloads("a"), ["1"]);
    workers.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_waits_delays_no_other_and_is_overtaken_by_nobody() {
    let world = World::new().await;
    let failed = Mutex::new(false);
    let logbook = Logbook::doing(world.db(), move |_, _, payload| {
        let first_time = payload == "stuck" && !std::mem::replace(&mut *failed.lock().unwrap(), true);
        async move {
            if first_time {
                return Ok(Outcome::Retry(Duration::from_secs(8)));
            }
            Ok(Outcome::Done)
        }
    });
    let settings = WorkerSettings {
        concurrency: 1,
        ..SETTINGS
    };
    let workers = world.start(&logbook, settings);
    let started = Instant::now();
    world.enqueue("a", ["stuck", "behind"]).await;
    logbook
        .until("the head was tried", |entries| !entries.is_empty())
        .await;
    world.enqueue("b", ["1", "2"]).await;
    // What comes later does not wake a lane that waits.
    world.enqueue("a", ["last"]).await;
    logbook
        .until("the other lane", |entries| {
            entries.iter().filter(|entry| entry.lane == "b").count() == 2
        })
        .await;
    assert_eq!(logbook.payloads("a"), ["stuck"]);
    world.until_empty().await;
    assert!(started.elapsed() >= Duration::from_secs(8));
    assert_eq!(logbook.payloads("a"), ["stuck", "stuck", "behind", "last"]);
    let again = logbook
        .entries()
        .into_iter()
        .filter(|entry| entry.payload == "stuck")
        .nth(1)
        .unwrap();
    assert_eq!((again.failures, again.begun), (1, 1));
    workers.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_task_is_kept_and_its_lane_goes_on() {
    let world = World::new().await;
    let logbook = Logbook::doing(world.db(), |_, _, payload| async move {
        Ok(if payload == "bad" {
            Outcome::Park
        } else {
            Outcome::Done
        })
    });
    world.enqueue("a", ["1", "bad", "2"]).await;
    let workers = world.start(&logbook, SETTINGS);
    logbook
        .until("the lane goes on", |entries| entries.len() == 3)
        .await;
    workers.end().await;
    assert_eq!(logbook.payloads("a"), ["1", "bad", "2"]);
    assert_eq!(world.tasks().await, 1);
    assert_eq!(
        world
            .count(
                "SELECT count(*) FROM lane_tasks WHERE parked AND last_error = 'never' AND payload = 'bad'"
            )
            .await,
        1
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM lanes WHERE ready_at IS NOT NULL")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_task_can_be_taken_up_again_by_its_own_tenant() {
    let world = World::new().await;
    let id = Uuid::now_v7();
    assert!(add(world.db(), "a", "bad", id).await);
    let parking = Logbook::doing(world.db(), |_, _, _| async { Ok(Outcome::Park) });
    assert_eq!(claim_and_work(world.db(), &parking, SETTINGS).await.unwrap(), 1);
    let again = async |tenant: &str, id| {
        let mut tx = TenantTransaction::begin(world.db(), &scope(tenant), "replay")
            .await
            .unwrap();
        let taken = replay(&mut tx, id).await.unwrap();
        tx.commit().await.unwrap();
        taken
    };
    assert!(!again("desa-dua", id).await, "it is another tenant's");
    assert!(!again("desa-satu", Uuid::now_v7()).await);
    let willing = Logbook::willing(world.db());
    assert_eq!(claim_and_work(world.db(), &willing, SETTINGS).await.unwrap(), 0);
    assert!(again("desa-satu", id).await);
    assert!(!again("desa-satu", id).await, "it is in its lane already");
    assert_eq!(claim_and_work(world.db(), &willing, SETTINGS).await.unwrap(), 1);
    let entry = willing.entries().remove(0);
    assert_eq!(
        (entry.payload.as_str(), entry.failures, entry.begun),
        ("bad", 0, 0)
    );
    assert_eq!(world.tasks().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_worker_dies_another_one_takes_over_and_the_dead_one_can_write_nothing() {
    let world = World::new().await;
    world.enqueue("a", ["1"]).await;
    let length = Duration::from_secs(3);
    // In a runtime of its own, which ends like a process does.
    let dying = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let stuck = Logbook::doing(world.db(), move |_, lease, _| {
        begun.send(lease).unwrap();
        std::future::pending()
    });
    let settings = WorkerSettings {
        concurrency: 1,
        lease: length,
    };
    let workers = Workers::new(world.db().clone(), Arc::new(stuck), settings, Signal::default());
    dying.spawn(workers.run(CancellationToken::new()));
    let old: Lease = eventually("the head is in hand", || async { has_begun.try_recv().ok() }).await;
    let logbook = Logbook::willing(world.db());
    let workers = world.start(&logbook, SETTINGS);
    // As long as it lives it keeps the lane, far beyond the length of a lease.
    tokio::time::sleep(length * 2).await;
    assert_eq!(logbook.entries(), [], "the lease was not renewed");
    dying.shutdown_background();
    world.until_empty().await;
    let taken = logbook.entries().remove(0);
    assert_eq!((taken.failures, taken.begun), (0, 1), "somebody had begun it");

    // The dead one wakes up.
    world.enqueue("a", ["2"]).await;
    world.until_empty().await;
    let task = Task {
        id: Uuid::now_v7(),
        kind: "test".to_owned(),
        payload: "1".to_owned(),
        failures: 0,
        begun: 0,
        is_begun: true,
        created_at: chrono::Utc::now(),
    };
    let mut tx = TenantTransaction::begin(world.db(), old.scope(), "late")
        .await
        .unwrap();
    assert!(matches!(
        old.done(&mut tx, &task).await,
        Err(LaneError::LeaseLost)
    ));
    assert!(matches!(
        old.park(&mut tx, &task, "late").await,
        Err(LaneError::LeaseLost)
    ));
    let retried = old
        .retry(&mut tx, &task, Duration::ZERO, Waits::Failed, "late")
        .await;
    assert!(matches!(retried, Err(LaneError::LeaseLost)));
    assert!(matches!(old.guard(&mut tx).await, Err(LaneError::LeaseLost)));
    workers.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_taken_over_writes_nothing_of_its_task() {
    let world = World::new().await;
    world.enqueue("a", ["1"]).await;
    // The database forgets the lease while the work goes on, as after a long outage.
    let logbook = Logbook::doing(world.db(), |db, _, _| async move {
        let mut tx = tenant_isolation::PlatformTransaction::begin(
            &db,
            tenant_isolation::PlatformScope::for_purpose("test"),
        )
        .await?;
        diesel::sql_query("UPDATE lanes SET fence = fence + 1, leased_until = now() + interval '1 hour'")
            .execute(tx.connection())
            .await?;
        tx.commit().await?;
        Ok(Outcome::Done)
    });
    assert_eq!(claim_and_work(world.db(), &logbook, SETTINGS).await.unwrap(), 1);
    assert_eq!(logbook.payloads("a"), ["1"]);
    assert_eq!(
        world.tasks().await,
        1,
        "the task was removed by somebody who had lost it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_is_discarded_is_gone_for_whoever_works_on_it() {
    let world = World::new().await;
    world.enqueue("a", ["1", "2"]).await;
    world.enqueue("b", ["1"]).await;
    let discarding = Logbook::doing(world.db(), |db, lease, _| async move {
        if lease.lane() == "a" {
            for (tenant, held) in [("desa-dua", 0), ("desa-satu", 2)] {
                let mut tx = TenantTransaction::begin(&db, &scope(tenant), "discard").await?;
                assert_eq!(discard(&mut tx, "a").await?, held, "{tenant}");
                tx.commit().await?;
            }
        }
        Ok(Outcome::Done)
    });
    assert_eq!(
        claim_and_work(world.db(), &discarding, SETTINGS).await.unwrap(),
        2
    );
    assert_eq!(
        discarding.payloads("a"),
        ["1"],
        "the second is not begun any more"
    );
    assert_eq!(world.tasks().await, 0);
    // The same name can be used again.
    world.enqueue("a", ["3"]).await;
    let willing = Logbook::willing(world.db());
    assert_eq!(claim_and_work(world.db(), &willing, SETTINGS).await.unwrap(), 1);
    assert_eq!(willing.payloads("a"), ["3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_are_put_aside_are_taken_out_of_the_hands_of_whoever_has_them() {
    let world = World::new().await;
    let ids: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
    for (id, (lane, payload)) in ids
        .iter()
        .zip([("a", "1"), ("a", "2"), ("a", "stays"), ("b", "1")])
    {
        assert!(add(world.db(), lane, payload, *id).await);
    }
    let (first, second, other) = (ids[0], ids[1], ids[3]);
    let taking = Logbook::doing(world.db(), move |db, lease, payload| async move {
        if (lease.lane(), payload.as_str()) == ("a", "1") {
            for (tenant, taken) in [("desa-dua", 0), ("desa-satu", 3)] {
                let mut tx = TenantTransaction::begin(&db, &scope(tenant), "put aside").await?;
                let mut aside = put_aside(&mut tx, &[first, second, other, Uuid::now_v7()], "moved").await?;
                tx.commit().await?;
                aside.sort_by_key(|task| task.id);
                assert_eq!(aside.len(), taken, "{tenant}");
                let in_hand = aside.iter().find(|task| task.in_hand).map(|task| task.id);
                assert_eq!(in_hand, (taken > 0).then_some(first));
            }
        }
        Ok(Outcome::Done)
    });
    // One lane at a time: the other one is not begun.
    let alone = WorkerSettings {
        concurrency: 1,
        ..SETTINGS
    };
    assert_eq!(claim_and_work(world.db(), &taking, alone).await.unwrap(), 1);
    assert_eq!(
        taking.payloads("a"),
        ["1"],
        "its outcome was not written, and the lane was lost"
    );
    let parked = "SELECT count(*) FROM lane_tasks WHERE parked AND last_error = 'moved'";
    assert_eq!(world.count(parked).await, 3);
    let willing = Logbook::willing(world.db());
    assert_eq!(claim_and_work(world.db(), &willing, SETTINGS).await.unwrap(), 1);
    assert_eq!(
        willing.payloads("a"),
        ["stays"],
        "the lane goes on with what it holds besides"
    );
    assert_eq!(world.tasks().await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_transaction_of_the_work_does_not_meet_its_own_renewal() {
    let world = World::new().await;
    world.enqueue("a", ["1"]).await;
    let logbook = Logbook::doing(world.db(), |db, lease, _| async move {
        // Holds the lane's row over several renewals.
        let mut tx = TenantTransaction::begin(&db, lease.scope(), "long").await?;
        lease.guard(&mut tx).await?;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        tx.commit().await?;
        Ok(Outcome::Done)
    });
    // Renewed every second; with another's lock in the way it would run out.
    let settings = WorkerSettings {
        concurrency: 1,
        lease: Duration::from_secs(3),
    };
    let workers = world.start(&logbook, settings);
    world.until_empty().await;
    assert_eq!(logbook.entries().len(), 1);
    workers.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_finish_what_is_in_hand_and_begin_nothing_more() {
    let world = World::new().await;
    let logbook = Logbook::doing(world.db(), |_, _, _| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(Outcome::Done)
    });
    world.enqueue("a", ["1", "2"]).await;
    world.enqueue("b", ["1", "2"]).await;
    world.enqueue("c", ["1"]).await;
    let settings = WorkerSettings {
        concurrency: 2,
        ..SETTINGS
    };
    let workers = world.start(&logbook, settings);
    logbook
        .until("two are in hand", |entries| entries.len() == 2)
        .await;
    workers.end().await;
    assert_eq!(logbook.entries().len(), 2);
    assert_eq!(world.tasks().await, 3);
    // Nobody has to wait for a lease to end.
    assert_eq!(
        world
            .count("SELECT count(*) FROM lanes WHERE ready_at <= now() AND leased_until IS NULL")
            .await,
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_lanes_are_worked_on_at_once_than_allowed() {
    let world = World::new().await;
    let met = Arc::new(AtomicUsize::new(0));
    let logbook = Logbook::doing(world.db(), move |_, _, _| {
        let met = Arc::clone(&met);
        async move {
            // The first ones wait for each other, so that all places are taken at least once.
            met.fetch_add(1, Ordering::SeqCst);
            eventually("three are at work", || async {
                (AtomicUsize::load(&met, Ordering::SeqCst) >= 3).then_some(())
            })
            .await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok(Outcome::Done)
        }
    });
    for lane in 0..12 {
        world.enqueue(&format!("lane-{lane}"), ["1", "2"]).await;
    }
    let settings = WorkerSettings {
        concurrency: 3,
        ..SETTINGS
    };
    let workers = world.start(&logbook, settings);
    world.until_empty().await;
    assert_eq!(logbook.log.lock().unwrap().most_at_once, 3);
    workers.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_whose_work_hangs_leaves_places_for_the_others() {
    let world = World::new().await;
    let hanging = Arc::new(AtomicUsize::new(0));
    let (met, open) = (Arc::clone(&hanging), CancellationToken::new());
    let opened = open.clone();
    let logbook = Logbook::doing(world.db(), move |_, _, payload| {
        let (met, opened) = (Arc::clone(&met), opened.clone());
        async move {
            if payload == "hangs" {
                met.fetch_add(1, Ordering::SeqCst);
                opened.cancelled().await;
            }
            Ok(Outcome::Done)
        }
    });
    for lane in 0..20 {
        assert!(add(world.db(), &format!("lane-{lane}"), "hangs", Uuid::now_v7()).await);
    }
    let settings = WorkerSettings {
        concurrency: 8,
        ..SETTINGS
    };
    let workers = world.start(&logbook, settings);
    eventually("its share hangs", || async {
        (AtomicUsize::load(&hanging, Ordering::SeqCst) == 2).then_some(())
    })
    .await;
    for lane in 0..20 {
        let lane = format!("other-{lane}");
        assert!(add_for("desa-dua", world.db(), &lane, "goes", Uuid::now_v7()).await);
    }
    logbook
        .until("the other tenant's work is done", |entries| {
            entries.iter().filter(|entry| entry.payload == "goes").count() == 20
        })
        .await;
    assert_eq!(
        AtomicUsize::load(&hanging, Ordering::SeqCst),
        2,
        "more than its share"
    );
    open.cancel();
    world.until_empty().await;
    workers.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_does_not_count_is_no_sign_of_a_dead_worker() {
    let world = World::new().await;
    world.enqueue("a", ["1"]).await;
    let waited = AtomicUsize::new(0);
    let logbook = Logbook::doing(world.db(), move |_, _, _| {
        let outcome = match waited.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Outcome::Wait(Duration::ZERO),
            2 => Outcome::Retry(Duration::ZERO),
            _ => Outcome::Done,
        };
        async move { Ok(outcome) }
    });
    let workers = world.start(&logbook, SETTINGS);
    world.until_empty().await;
    workers.end().await;
    let counts: Vec<(i32, i32)> = logbook
        .entries()
        .iter()
        .map(|entry| (entry.failures, entry.begun))
        .collect();
    assert_eq!(counts, [(0, 0), (0, 0), (0, 0), (1, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panicking_task_costs_no_worker() {
    let world = World::new().await;
    let logbook = Logbook::doing(world.db(), |_, _, payload| async move {
        assert_ne!(payload, "panic", "on purpose");
        Ok(Outcome::Done)
    });
    world.enqueue("a", ["panic"]).await;
    let settings = WorkerSettings {
        concurrency: 1,
        lease: Duration::from_secs(60),
    };
    let workers = world.start(&logbook, settings);
    logbook.until("the panic", |entries| !entries.is_empty()).await;
    world.enqueue("b", ["1"]).await;
    logbook
        .until("the other lane", |entries| entries.len() == 2)
        .await;
    workers.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_come_back_after_the_database_was_away() {
    let url = test_support::environment("CHANNEL_DATABASE_URL");
    let proxy = test_support::CuttableProxy::in_front_of(&url, 5432).await;
    let test = TestDatabase::create_behind("channel", MIGRATIONS, |url| proxy.url(url)).await;
    let world = World {
        test,
        signal: Signal::default(),
    };
    let logbook = Logbook::willing(world.db());
    let workers = world.start(&logbook, SETTINGS);
    world.enqueue("a", ["1"]).await;
    world.until_empty().await;
    proxy.cut();
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.restore();
    world.enqueue("a", ["2"]).await;
    world.until_empty().await;
    assert_eq!(logbook.payloads("a"), ["1", "2"]);
    workers.end().await;
}

/// Lanes that are filled at the very moment they are let go, by many, under two sets of workers. Every task is done, in order, and no lane is ever in two hands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_forgotten_however_lanes_are_filled_and_let_go() {
    const LANES: usize = 8;
    const FILLERS: usize = 3;
    const EACH: usize = 25;
    let world = Arc::new(World::new().await);
    let work = |_, _, payload: String| async move {
        // Long enough to be met by whoever should not be there.
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..25))).await;
        // Some tasks have to wait once in a while.
        if payload.ends_with('7') && rand::random_ratio(1, 2) {
            return Ok(Outcome::Retry(Duration::from_millis(20)));
        }
        Ok(Outcome::Done)
    };
    let logbook = Logbook::doing(world.db(), work);
    // The second set hears no bell and finds its work by looking.
    let deaf = Workers::new(
        world.db().clone(),
        Arc::new(logbook.clone()),
        SETTINGS,
        Signal::default(),
    );
    let stop = CancellationToken::new();
    let deaf = Running {
        task: tokio::spawn(deaf.run(stop.clone())),
        stop,
    };
    let workers = world.start(&logbook, SETTINGS);
    let mut filling = Vec::new();
    for lane in 0..LANES {
        for filler in 0..FILLERS {
            let world = Arc::clone(&world);
            filling.push(tokio::spawn(async move {
                for number in 0..EACH {
                    let payload = format!("{filler}:{number}");
                    assert!(add(world.db(), &format!("lane-{lane}"), &payload, Uuid::now_v7()).await);
                    if rand::random_bool(0.5) {
                        world.signal.ring();
                    }
                    let pause = rand::random_range(0..8_u64);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            }));
        }
    }
    for filler in filling {
        filler.await.unwrap();
    }
    world.until_empty().await;
    workers.end().await;
    deaf.end().await;

    assert_eq!(logbook.log.lock().unwrap().overlaps, 0, "a lane was in two hands");
    let mut done: HashMap<(String, String), Vec<usize>> = HashMap::new();
    for entry in logbook.entries() {
        let (filler, number) = entry.payload.split_once(':').unwrap();
        let numbers = done.entry((entry.lane, filler.to_owned())).or_default();
        let number = number.parse().unwrap();
        // A task that waited is met again, as the very next one of its filler.
        if numbers.last() != Some(&number) {
            numbers.push(number);
        }
    }
    assert_eq!(done.len(), LANES * FILLERS);
    for (who, numbers) in done {
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>(), "{who:?}");
    }
}

/// Else the later of two that wait for the lane may have the earlier place, and be done while the earlier is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_has_no_place_in_its_lane_before_it_has_the_lane() {
    let world = World::new().await;
    let places = || world.count("SELECT last_value AS count FROM lane_tasks_seq_seq");
    let mut open = TenantTransaction::begin(world.db(), &scope("desa-satu"), "enqueue")
        .await
        .unwrap();
    enqueue(&mut open, &task("a", "1", Uuid::now_v7())).await.unwrap();
    let waiting = {
        let db = world.db().clone();
        tokio::spawn(async move { add(&db, "a", "2", Uuid::now_v7()).await })
    };
    eventually("the second waits for the lane", || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        (world.count(waiting).await == 1).then_some(())
    })
    .await;
    assert_eq!(places().await, 1);
    open.commit().await.unwrap();
    assert!(waiting.await.unwrap());
    assert_eq!(places().await, 2);
}

/// The narrow moment itself: the lane was looked at and is empty, a task arrives, the lane is let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_arrives_while_its_lane_is_let_go_is_seen() {
    let world = World::new().await;
    world.enqueue("a", ["1"]).await;
    let logbook = Logbook::willing(world.db());
    // The newcomer's transaction is open, with the lane's row locked, while the worker wants to let go.
    for round in 0..10 {
        let mut open = TenantTransaction::begin(world.db(), &scope("desa-satu"), "enqueue")
            .await
            .unwrap();
        let late = task("a", &format!("late {round}"), Uuid::now_v7());
        enqueue(&mut open, &late).await.unwrap();
        let working = {
            let (db, logbook) = (world.db().clone(), logbook.clone());
            tokio::spawn(async move { claim_and_work(&db, &logbook, SETTINGS).await })
        };
        tokio::time::sleep(Duration::from_millis(30)).await;
        open.commit().await.unwrap();
        working.await.unwrap().unwrap();
    }
    while world.tasks().await > 0 {
        assert!(
            claim_and_work(world.db(), &logbook, SETTINGS).await.unwrap() > 0,
            "a task was forgotten"
        );
    }
    assert_eq!(logbook.payloads("a").len(), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_take_the_lanes_of_their_choice_only() {
    let world = World::new().await;
    let (files, others) = (Logbook::willing(world.db()), Logbook::willing(world.db()));
    for lane in ["a", "file:1", "files", "b:file:"] {
        world.enqueue(lane, ["1"]).await;
    }
    let of_files = world.start_on(LaneChoice::Only("file:"), &files, SETTINGS);
    files
        .until("the files' lane is worked", |entries| entries.len() == 1)
        .await;
    of_files.end().await;
    assert_eq!(files.payloads("file:1"), ["1"]);
    world.enqueue("file:2", ["1"]).await;
    let of_others = world.start_on(LaneChoice::AllBut(&["file:"]), &others, SETTINGS);
    others
        .until("the others are worked", |entries| entries.len() == 3)
        .await;
    of_others.end().await;
    assert!(others.payloads("file:2").is_empty());
    assert_eq!(world.tasks().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_enqueues_for_several_tenants_and_idle_lanes_are_deleted() {
    let world = World::new().await;
    let scopes = [scope("desa-satu"), scope("desa-dua")];
    let tasks: Vec<_> = scopes
        .iter()
        .map(|scope| {
            let task = NewTask {
                lane: "file:1".to_owned(),
                id: Uuid::now_v7(),
                kind: "test",
                payload: scope.tenant().to_string(),
            };
            (scope.tenant().clone(), task)
        })
        .collect();
    for _ in 0..2 {
        let mut tx = GroupTransaction::begin(world.db(), scopes.iter().collect(), "enqueue")
            .await
            .unwrap();
        enqueue_group(&mut tx, &tasks).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(world.tasks().await, 2, "the same id is enqueued once");
    let delete = || async {
        let platform = PlatformScope::for_purpose("delete idle lanes");
        let mut tx = PlatformTransaction::begin(world.db(), platform).await.unwrap();
        let deleted = delete_idle(&mut tx, "file:", 10).await.unwrap();
        tx.commit().await.unwrap();
        deleted
    };
    assert_eq!(delete().await, 0, "there is work on them");
    world.enqueue("other", ["1"]).await;
    let logbook = Logbook::doing(world.db(), |_, _, payload| async move {
        Ok(if payload == "desa-dua" {
            Outcome::Park
        } else {
            Outcome::Done
        })
    });
    let workers = world.start(&logbook, SETTINGS);
    logbook
        .until("all were tried", |entries| entries.len() == 3)
        .await;
    workers.end().await;
    assert_eq!(delete().await, 1, "a task that was put aside keeps its lane");
    assert_eq!(world.count("SELECT count(*) FROM lanes").await, 2);
}

/// Notes by itself that a task was begun, or does not.
struct Careful {
    db: Database,
    /// What it does at each look: does it begin, and what comes of it? `None`: the database breaks.
    plan: Mutex<Vec<(bool, Option<Waits>)>>,
    seen: Mutex<Vec<(i32, i32)>>,
}

impl Careful {
    fn new(db: &Database, plan: &[(bool, Option<Waits>)]) -> Self {
        Self {
            db: db.clone(),
            plan: Mutex::new(plan.iter().rev().copied().collect()),
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> Vec<(i32, i32)> {
        self.seen.lock().unwrap().clone()
    }
}

impl HandleTask for Careful {
    const BEGINS_ITSELF: bool = true;

    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        self.seen.lock().unwrap().push((task.failures, task.begun));
        let step = self.plan.lock().unwrap().pop();
        let begun = match step {
            Some((true, _)) => Some(lease.begin(&self.db, task).await?),
            _ => None,
        };
        let task = begun.as_ref().unwrap_or(task);
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "outcome").await?;
        let next = match step {
            None => lease.done(&mut tx, task).await.map(|()| Next::Continue)?,
            Some((_, None)) => return Err(database::DatabaseError::NotFound.into()),
            Some((_, Some(waits))) => {
                lease
                    .retry(&mut tx, task, Duration::ZERO, waits, "not now")
                    .await?;
                Next::Wait
            }
        };
        tx.commit().await?;
        Ok(next)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_before_a_task_is_begun_leaves_it_as_it_was() {
    let world = World::new().await;
    world.enqueue("a", ["1"]).await;
    let careful = Arc::new(Careful::new(world.db(), &[(false, None), (true, None)]));
    let settings = WorkerSettings {
        concurrency: 1,
        lease: Duration::from_millis(500),
    };
    eventually("it is done", || async {
        claim_and_work(world.db(), &*careful, settings).await.unwrap();
        (world.tasks().await == 0).then_some(())
    })
    .await;
    assert_eq!(careful.seen(), [(0, 0), (0, 0), (0, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_counts_as_begun_and_no_wait_hides_a_worker_that_died() {
    let world = World::new().await;
    world.enqueue("a", ["1"]).await;
    let careful = Careful::new(
        world.db(),
        &[
            (false, Some(Waits::NotBegun)),
            (true, Some(Waits::NotBegun)),
            (false, Some(Waits::Failed)),
            (true, Some(Waits::Failed)),
            (true, Some(Waits::PutOff)),
            (false, Some(Waits::NotBegun)),
        ],
    );
    eventually("it is done", || async {
        claim_and_work(world.db(), &careful, SETTINGS).await.unwrap();
        (world.tasks().await == 0).then_some(())
    })
    .await;
    assert_eq!(
        careful.seen(),
        [(0, 0), (0, 0), (0, 0), (1, 1), (2, 2), (2, 3), (2, 3)]
    );
}
