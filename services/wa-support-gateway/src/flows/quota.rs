//! How many sends a customer has left, exactly (contract §11, W-17).
//!
//! A send is charged before it goes out and given back when it certainly did not happen: the WA server said no, or was
//! never reached. What nobody knows stays charged. Charges of one process share transactions: while one is under way
//! the next ones gather, so a customer's row is locked once for all that wait, and not once for each. Whoever sends without
//! a pause finds its next ones charged already (`quota_ahead.rs`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use tenant_isolation::{GroupTransaction, ScopeSet, TenantScope};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::quota_ahead::{Ahead, Charges};
use crate::error::Error;
use crate::store::quota::{self, Refund, Wish};

/// Sends that may wait for their charge. More are turned away, as the database is not keeping up.
const WAITING: usize = 4096;
/// Most sends that share one transaction.
const TOGETHER: usize = 512;
/// How long what could not be given back rests before the next try.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often charges that nobody asked for are looked for.
const LOOK_FOR_STALE: Duration = Duration::from_millis(50);

/// The quota of all customers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Quota {
    charges: mpsc::Sender<Wanted>,
    ahead: Arc<Ahead>,
    refunds: Arc<Refunds>,
}

/// A charged send. Dropped without a word it is given back if it never went out, and stays charged if it did.
#[derive(Debug)]
pub(crate) struct Charge {
    scope: TenantScope,
    period: DateTime<Utc>,
    refunds: Arc<Refunds>,
    stays: bool,
}

#[derive(Debug)]
struct Wanted {
    scope: TenantScope,
    /// Nobody waits for what is charged ahead.
    answer: Option<oneshot::Sender<Result<Charge, NotCharged>>>,
}

#[derive(Debug)]
enum NotCharged {
    Exceeded,
    Failed(Arc<DatabaseError>),
}

/// What is to be given back. As large as there are customers whose sends fail.
#[derive(Debug, Default)]
struct Refunds {
    owed: Mutex<HashMap<(TenantScope, DateTime<Utc>), i64>>,
    news: Notify,
}

impl Quota {
    /// The quota, and the work that has to be run for it.
    pub(crate) fn new(db: Database) -> (Self, QuotaWork) {
        let (charges, waiting) = mpsc::channel(WAITING);
        let (ahead, refunds) = <(Arc<Ahead>, Arc<Refunds>)>::default();
        let work = QuotaWork {
            db,
            waiting,
            ahead: Arc::clone(&ahead),
            refunds: Arc::clone(&refunds),
        };
        let quota = Self {
            charges,
            ahead,
            refunds,
        };
        (quota, work)
    }

    /// Charges a send to the customer.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]; a database that cannot be asked refuses the send and never lets it pass uncounted.
    pub(crate) async fn charge(&self, scope: &TenantScope) -> Result<Charge, Error> {
        if let Some(taken) = self.ahead.take(scope, Instant::now()) {
            if taken.runs_out && self.ask(scope, None).is_err() {
                self.ahead.not_filled(scope);
            }
            return Ok(Charge::new(scope, taken.period, &self.refunds));
        }
        let (answer, answered) = oneshot::channel();
        self.ask(scope, Some(answer))?;
        match answered.await {
            Ok(Ok(charge)) => Ok(charge),
            Ok(Err(NotCharged::Exceeded)) => Err(Error::QuotaExceeded),
            Ok(Err(NotCharged::Failed(error))) => Err(Error::NotCharged(error)),
            Err(_) => Err(Error::NotReady),
        }
    }

    fn ask(
        &self,
        scope: &TenantScope,
        answer: Option<oneshot::Sender<Result<Charge, NotCharged>>>,
    ) -> Result<(), Error> {
        let scope = scope.clone();
        let asked = self.charges.try_send(Wanted { scope, answer });
        asked.map_err(|_| Error::NotReady)
    }
}

impl Charge {
    fn new(scope: &TenantScope, period: DateTime<Utc>, refunds: &Arc<Refunds>) -> Self {
        Self {
            scope: scope.clone(),
            period,
            refunds: Arc::clone(refunds),
            stays: false,
        }
    }

    /// The send is on its way now: unless somebody says that it did not happen, it is taken as done.
    pub(crate) const fn goes_out(&mut self) {
        self.stays = true;
    }

    /// The send did not happen.
    pub(crate) fn give_back(mut self) {
        self.stays = false;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.stays {
            self.refunds.owe(self.scope.clone(), self.period, 1);
        }
    }
}

impl Refunds {
    fn owe(&self, scope: TenantScope, period: DateTime<Utc>, count: i64) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        *owed.entry((scope, period)).or_default() += count;
        drop(owed);
        self.news.notify_one();
    }

    fn take(&self) -> Vec<((TenantScope, DateTime<Utc>), i64)> {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let some: Vec<_> = owed.keys().take(TOGETHER).cloned().collect();
        some.into_iter()
            .filter_map(|key| owed.remove_entry(&key))
            .collect()
    }

    fn is_empty(&self) -> bool {
        self.owed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

/// Writes charges and refunds down.
#[derive(Debug)]
pub(crate) struct QuotaWork {
    db: Database,
    waiting: mpsc::Receiver<Wanted>,
    ahead: Arc<Ahead>,
    refunds: Arc<Refunds>,
}

impl QuotaWork {
    /// Works until `served`, when no request is left, and then gives back what is owed.
    pub(crate) async fn run(mut self, served: CancellationToken) {
        let mut group = Vec::with_capacity(TOGETHER);
        let mut failing = false;
        let mut look = tokio::time::interval(LOOK_FOR_STALE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // What is given back first may be charged again in the same round.
            tokio::select! {
                biased;
                taken = self.waiting.recv_many(&mut group, TOGETHER) => if taken == 0 { break },
                () = self.refunds.news.notified(), if !failing => {}
                () = tokio::time::sleep(AGAIN_AFTER), if failing => {}
                _ = look.tick(), if !self.ahead.is_empty() => {}
                () = served.cancelled() => break,
            }
            self.owe(self.ahead.stale(Instant::now()));
            failing = !self.give_back().await;
            if !group.is_empty() {
                self.charge(std::mem::take(&mut group)).await;
            }
            if !failing && !self.refunds.is_empty() {
                self.refunds.news.notify_one();
            }
        }
        self.owe(self.ahead.all());
        while !self.refunds.is_empty() && self.give_back().await {}
    }

    fn owe(&self, charges: impl IntoIterator<Item = Charges>) {
        for ((scope, period), count) in charges {
            self.refunds.owe(scope, period, count);
        }
    }

    async fn charge(&self, group: Vec<Wanted>) {
        let mut by_customer: BTreeMap<TenantScope, Vec<Wanted>> = BTreeMap::new();
        // Whoever left meanwhile needs no charge.
        let left = |wanted: &Wanted| wanted.answer.as_ref().is_some_and(oneshot::Sender::is_closed);
        for wanted in group.into_iter().filter(|wanted| !left(wanted)) {
            by_customer.entry(wanted.scope.clone()).or_default().push(wanted);
        }
        if by_customer.is_empty() {
            return;
        }
        match self.written(&by_customer).await {
            Ok(granted) => {
                for (scope, wanted) in by_customer {
                    let (mut count, period) =
                        granted.get(scope.tenant().as_str()).copied().unwrap_or_default();
                    for answer in wanted.into_iter().filter_map(|wanted| wanted.answer) {
                        let given = if count > 0 {
                            count -= 1;
                            Ok(Charge::new(&scope, period, &self.refunds))
                        } else {
                            Err(NotCharged::Exceeded)
                        };
                        // A caller that left gives its charge back by dropping it.
                        drop(answer.send(given));
                    }
                    self.owe(self.ahead.keep(&scope, count, period, Instant::now()));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for Wanted { scope, answer } in by_customer.into_values().flatten() {
                    match answer {
                        Some(answer) => drop(answer.send(Err(NotCharged::Failed(Arc::clone(&error))))),
                        None => self.ahead.not_filled(&scope),
                    }
                }
            }
        }
    }

    /// Charges in one transaction. When its commit fails nobody knows whether they are charged; then they are, and the
    /// sends are turned away all the same: a period ends early rather than late.
    async fn written(
        &self,
        by_customer: &BTreeMap<TenantScope, Vec<Wanted>>,
    ) -> Result<HashMap<String, (i64, DateTime<Utc>)>, DatabaseError> {
        let now = Instant::now();
        let wishes: Vec<Wish> = by_customer
            .iter()
            .map(|(scope, wanted)| {
                let waiting = wanted.iter().filter(|wanted| wanted.answer.is_some()).count();
                let count = i64::try_from(waiting).unwrap_or(i64::MAX);
                Wish {
                    tenant_id: scope.tenant().to_string(),
                    count,
                    ahead: self.ahead.wanted(scope, count, now),
                }
            })
            .collect();
        let scopes: ScopeSet = by_customer.keys().collect();
        let mut tx = GroupTransaction::begin(&self.db, scopes, "charge sends").await?;
        let granted = quota::charge(&mut tx, &wishes).await?;
        tx.commit().await?;
        Ok(granted
            .into_iter()
            .map(|row| (row.tenant_id, (row.granted, row.period_started_at)))
            .collect())
    }

    /// False when what is owed is owed still.
    async fn give_back(&self) -> bool {
        let owed = self.refunds.take();
        if owed.is_empty() {
            return true;
        }
        let refunds: Vec<Refund> = owed
            .iter()
            .map(|((scope, period), count)| Refund {
                tenant_id: scope.tenant().to_string(),
                period_started_at: *period,
                count: *count,
            })
            .collect();
        let scopes: ScopeSet = owed.iter().map(|((scope, _), _)| scope).collect();
        let prepared = async {
            let mut tx = GroupTransaction::begin(&self.db, scopes, "give sends back").await?;
            quota::give_back(&mut tx, &refunds).await?;
            Ok::<_, DatabaseError>(tx)
        };
        match prepared.await {
            Ok(tx) => {
                // Whether a commit that failed gave them back nobody knows; giving them back twice would be wrong.
                if let Err(error) = tx.commit().await {
                    tracing::warn!(error = ?error, "it is unknown whether sends were given back");
                }
                true
            }
            Err(error) => {
                tracing::warn!(error = ?error, "sends cannot be given back yet");
                for ((scope, period), count) in owed {
                    self.refunds.owe(scope, period, count);
                }
                false
            }
        }
    }
}
