//! Work in order within a lane, however lanes are filled and let go, and what is put aside or taken away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use messaging::lanes::{
    HandleTask, LaneError, Lease, NewTask, Next, Task, WorkerSettings, Workers, claim_and_work, delete_idle,
    discard, enqueue, enqueue_group, put_aside, replay,
};
use messaging::outbox::Signal;
use tenant_isolation::{GroupTransaction, PlatformScope, PlatformTransaction, TenantTransaction};
use test_support::eventually;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lane_world::{Logbook, Outcome, SETTINGS, World, add, task};
use super::world::{Running, scope};

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
    until_one_waits_for_a_lock(&world).await;
    assert_eq!(places().await, 1);
    open.commit().await.unwrap();
    assert!(waiting.await.unwrap());
    assert_eq!(places().await, 2);
}

/// The narrow moment itself: the last task is done, another one arrives, the lane is let go of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_arrives_while_its_lane_is_let_go_is_seen() {
    let world = Arc::new(World::new().await);
    world.enqueue("a", ["1"]).await;
    let arriving = Arc::clone(&world);
    let logbook = Logbook::doing(world.db(), move |db, _, payload| {
        let world = Arc::clone(&arriving);
        async move {
            if payload != "1" {
                return Ok(Outcome::Done);
            }
            let mut open = TenantTransaction::begin(&db, &scope("desa-satu"), "enqueue").await?;
            enqueue(&mut open, &task("a", "late", Uuid::now_v7())).await?;
            // It has the lane's row until whoever wants to let go of the lane waits for it.
            tokio::spawn(async move {
                until_one_waits_for_a_lock(&world).await;
                open.commit().await.unwrap();
            });
            Ok(Outcome::Done)
        }
    });
    assert_eq!(claim_and_work(world.db(), &logbook, SETTINGS).await.unwrap(), 1);
    assert_eq!(logbook.payloads("a"), ["1", "late"]);
    let leased = "SELECT count(*) FROM lanes WHERE leased_until IS NOT NULL OR ready_at IS NOT NULL";
    assert_eq!(world.count(leased).await, 0);
}

async fn until_one_waits_for_a_lock(world: &World) {
    eventually("somebody waits for a lock", || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        (world.count(waiting).await > 0).then_some(())
    })
    .await;
}

/// Notes after each task whether its lane is still leased, and whether the lease can still write.
struct Watching {
    world: World,
    logbook: Logbook,
    seen: Mutex<Vec<(i64, bool)>>,
}

impl HandleTask for Watching {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let next = self.logbook.handle(lease, task).await?;
        let leased = "SELECT count(*) FROM lanes WHERE leased_until IS NOT NULL AND ready_at IS NOT NULL";
        let leased = self.world.count(leased).await;
        let mut tx = TenantTransaction::begin(self.world.db(), lease.scope(), "write").await?;
        let writes = match lease.guard(&mut tx).await {
            Ok(()) => true,
            Err(LaneError::LeaseLost) => false,
            Err(error) => return Err(error),
        };
        self.seen.lock().unwrap().push((leased, writes));
        Ok(next)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_is_let_go_of_with_its_last_task() {
    let world = World::new().await;
    world.enqueue("a", ["1", "2"]).await;
    let watching = Watching {
        logbook: Logbook::willing(world.db()),
        world,
        seen: Mutex::default(),
    };
    let db = watching.world.db();
    assert_eq!(claim_and_work(db, &watching, SETTINGS).await.unwrap(), 1);
    assert_eq!(*watching.seen.lock().unwrap(), [(1, true), (0, false)]);
    watching.world.enqueue("a", ["3"]).await;
    assert_eq!(claim_and_work(db, &watching, SETTINGS).await.unwrap(), 1);
    assert_eq!(watching.logbook.payloads("a"), ["1", "2", "3"]);
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
