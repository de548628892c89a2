//! Lanes in a schema of their own, and work on them that is noted down.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use database::Database;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl as _;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use messaging::lanes::{
    HandleTask, LaneChoice, LaneError, Lease, NewTask, Next, Task, Waits, WorkerSettings, Workers, enqueue,
};
use messaging::outbox::Signal;
use tenant_isolation::TenantTransaction;
use test_support::{TestDatabase, eventually};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::world::{MIGRATIONS, Running, scope};

pub(crate) const SETTINGS: WorkerSettings = WorkerSettings {
    concurrency: 4,
    lease: Duration::from_secs(5),
};

/// What to do with a task; the rest of the bookkeeping is the logbook's.
pub(crate) enum Outcome {
    Done,
    Retry(Duration),
    Wait(Duration),
    Park,
}

type Work = dyn Fn(Database, Lease, String) -> BoxFuture<'static, Result<Outcome, LaneError>> + Send + Sync;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) lane: String,
    pub(crate) payload: String,
    pub(crate) failures: i32,
    pub(crate) begun: i32,
}

#[derive(Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    running: HashSet<String>,
    pub(crate) most_at_once: usize,
    pub(crate) overlaps: usize,
}

/// Does tasks, notes them and who met whom.
#[derive(Clone)]
pub(crate) struct Logbook {
    db: Database,
    pub(crate) log: Arc<Mutex<Log>>,
    work: Arc<Work>,
}

impl Logbook {
    pub(crate) fn doing<F>(
        db: &Database,
        work: impl Fn(Database, Lease, String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Outcome, LaneError>> + Send + 'static,
    {
        Self {
            db: db.clone(),
            log: Arc::default(),
            work: Arc::new(move |db, lease, payload| work(db, lease, payload).boxed()),
        }
    }

    pub(crate) fn willing(db: &Database) -> Self {
        Self::doing(db, |_, _, _| async { Ok(Outcome::Done) })
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.log.lock().unwrap().entries.clone()
    }

    pub(crate) fn payloads(&self, lane: &str) -> Vec<String> {
        let entries = self.entries().into_iter();
        entries
            .filter(|entry| entry.lane == lane)
            .map(|entry| entry.payload)
            .collect()
    }

    pub(crate) async fn until(&self, what: &str, enough: impl Fn(&[Entry]) -> bool) {
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

pub(crate) struct World {
    pub(crate) test: TestDatabase,
    pub(crate) signal: Signal,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self {
            test: TestDatabase::create("channel", MIGRATIONS).await,
            signal: Signal::default(),
        }
    }

    pub(crate) fn db(&self) -> &Database {
        &self.test.db
    }

    pub(crate) async fn enqueue(&self, lane: &str, payloads: impl IntoIterator<Item = &str>) {
        for payload in payloads {
            assert!(add(self.db(), lane, payload, Uuid::now_v7()).await);
        }
        self.signal.ring();
    }

    pub(crate) fn start(&self, logbook: &Logbook, settings: WorkerSettings) -> Running {
        self.start_on(LaneChoice::All, logbook, settings)
    }

    pub(crate) fn start_on(
        &self,
        choice: LaneChoice,
        logbook: &Logbook,
        settings: WorkerSettings,
    ) -> Running {
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

    pub(crate) async fn count(&self, query: &str) -> i64 {
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

    pub(crate) async fn tasks(&self) -> i64 {
        self.count("SELECT count(*) FROM lane_tasks").await
    }

    pub(crate) async fn until_empty(&self) {
        eventually("every task is done", || async {
            (self.tasks().await == 0).then_some(())
        })
        .await;
    }
}

pub(crate) async fn add(db: &Database, lane: &str, payload: &str, id: Uuid) -> bool {
    add_for("desa-satu", db, lane, payload, id).await
}

pub(crate) async fn add_for(tenant: &str, db: &Database, lane: &str, payload: &str, id: Uuid) -> bool {
    let mut tx = TenantTransaction::begin(db, &scope(tenant), "enqueue")
        .await
        .unwrap();
    let added = enqueue(&mut tx, &task(lane, payload, id)).await.unwrap();
    tx.commit().await.unwrap();
    added
}

pub(crate) fn task(lane: &str, payload: &str, id: Uuid) -> NewTask {
    NewTask {
        lane: lane.to_owned(),
        id,
        kind: "test",
        payload: payload.to_owned(),
    }
}
