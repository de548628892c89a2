//! Workers of lanes: how many work at once and for whom, and what becomes of a task whose worker dies or loses its lease.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use database::Database;
use diesel_async::RunQueryDsl as _;
use messaging::lanes::{
    HandleTask, LaneChoice, LaneError, Lease, Next, Task, Waits, WorkerSettings, Workers, claim_and_work,
};
use messaging::outbox::Signal;
use tenant_isolation::TenantTransaction;
use test_support::{TestDatabase, eventually};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lane_world::{Logbook, Outcome, SETTINGS, World, add, add_for};
use super::world::MIGRATIONS;

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
