//! Publishing what the outbox holds.
//!
//! Several relays may run; a lease in the table `leases` lets one of them work while the others wait for it to
//! fall. Within a lane the next row is published only when the one before it is confirmed, so a refusal cannot swap
//! two messages; lanes go side by side. A row leaves the table when its publication is confirmed.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use database::{Database, DatabaseError};
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use tokio_util::sync::CancellationToken;

use super::lease::{LeaseLost, RelayLease};
use super::refused::{RefusedLanes, lane_key};
use super::table::Signal;
use crate::broker::{Broker, Pauses};
use crate::envelope::{Envelope, Event as _};
use crate::events::govconnect::WhatsappMessage;
use crate::ledger::{Book, Step, note};
use crate::publisher::{Publication, PublishError, Publisher, error_chain};

/// Rows that are read at once.
const BATCH: i64 = 500;
/// Most rows of one lane in a pass. A deeper lane goes on in the next one, so that it keeps nobody else waiting.
const DEPTH: usize = 20;
/// How often a pass reads on behind lanes that are deeper than that.
const READS: usize = 4;
/// Most bytes of envelopes that are read at once.
const BATCH_BYTES: i64 = 16 * 1024 * 1024;
/// An envelope above this is never published: brokers, and whoever listens, have their limits.
const LARGEST: i64 = 8 * 1024 * 1024;
/// What stands in a row's `parked` then.
const TOO_LARGE: &str = "too_large";
/// A pass that takes longer than this goes no further: others have come meanwhile.
const PASS_TIME: Duration = Duration::from_millis(200);
/// How often to look without being called: for rows of other processes.
const POLL: Duration = Duration::from_millis(200);

/// Publishes the outbox of one service.
#[derive(Debug)]
pub struct Relay {
    db: Database,
    broker: Broker,
    signal: Signal,
    govconnect: bool,
    lease: RelayLease,
    refused: RefusedLanes,
}

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayPass {
    /// Another relay holds the lease.
    StandingBy,
    /// Nothing to publish.
    Empty,
    /// This many rows left the table; `stuck` lanes had a row that the broker would not take.
    Published {
        /// Rows that are safe now.
        rows: usize,
        /// Lanes that are left out for a while.
        stuck: usize,
    },
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("the outbox cannot be read")]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    LeaseLost(#[from] LeaseLost),
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = Text)]
    lane: String,
    #[diesel(sql_type = BigInt)]
    size: i64,
    /// Empty when it is too large.
    #[diesel(sql_type = Text)]
    envelope: String,
}

/// Rows by lane, each lane from its head.
type Lanes = BTreeMap<String, VecDeque<Row>>;

/// What a pass has achieved so far; still true when the pass is cut short.
#[derive(Default)]
struct Progress {
    done: Vec<i64>,
    stuck: usize,
}

impl Relay {
    /// A relay over the outbox in `db`. Without `govconnect`, there is no exchange of GovConnect's, and what was meant
    /// for it is let go.
    #[must_use]
    pub fn new(db: Database, broker: Broker, signal: Signal, govconnect: bool) -> Self {
        let db = db.keeping_plans();
        Self {
            lease: RelayLease::new(db.clone()),
            db,
            broker,
            signal,
            govconnect,
            refused: RefusedLanes::default(),
        }
    }

    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut publisher = None;
        let mut pauses = Pauses::default();
        while !stop.is_cancelled() {
            let pause = match self.pass(&mut publisher, &stop).await {
                Ok(RelayPass::Published { .. }) => {
                    pauses.reset();
                    continue;
                }
                Ok(RelayPass::Empty | RelayPass::StandingBy) => {
                    pauses.reset();
                    POLL
                }
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "the outbox has to wait");
                    pauses.next()
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.signal.rung(), if pause == POLL => {}
            }
        }
        if let Err(error) = self.lease.release().await {
            tracing::debug!(
                error = error_chain(&error),
                "the relay's lease runs out by itself"
            );
        }
    }

    /// One pass over what is there. `publisher` is empty afterwards if it cannot be used any more.
    async fn pass(
        &mut self,
        publisher: &mut Option<Publisher>,
        stop: &CancellationToken,
    ) -> Result<RelayPass, RelayError> {
        // Connect before anything is read, so that the topology stands and readiness knows about the broker.
        let mut connected = match publisher.take() {
            Some(publisher) => publisher,
            None => tokio::select! {
                () = stop.cancelled() => return Ok(RelayPass::Empty),
                connected = Publisher::connect(&self.broker) => connected?,
            },
        };
        if !self.lease.hold().await? {
            *publisher = Some(connected);
            return Ok(RelayPass::StandingBy);
        }
        let lanes = self.lanes().await?;
        if lanes.is_empty() {
            *publisher = Some(connected);
            return Ok(RelayPass::Empty);
        }
        let mut progress = Progress::default();
        let mut batch = Batch {
            broker: &self.broker,
            govconnect: self.govconnect,
            refused: &mut self.refused,
            progress: &mut progress,
        };
        // A deep lane or a slow broker may take longer than the lease lasts.
        let published = tokio::select! {
            published = batch.publish(&mut connected, lanes, stop) => published.map_err(RelayError::from),
            lost = self.lease.keep::<RelayError>() => Err(lost),
        };
        // What is confirmed is forgotten however the pass ended.
        self.forget(&progress.done).await?;
        metrics::counter!("kanal_outbox_published_total").increment(progress.done.len() as u64);
        published?;
        *publisher = Some(connected);
        Ok(RelayPass::Published {
            rows: progress.done.len(),
            stuck: progress.stuck,
        })
    }

    /// The oldest rows by lane. What can never be published is parked on the way; its lane goes on, for no other event
    /// would change its place, and a chat that stands still for ever would be the greater loss.
    async fn lanes(&mut self) -> Result<Lanes, DatabaseError> {
        // Lanes that wait are not even read: a batch full of them would leave no place for anybody else.
        let mut left_out = self.refused.waiting();
        let (mut lanes, mut behind) = (Lanes::new(), 0);
        let mut tx = self.platform().await?;
        for _ in 0..READS {
            let rows = read(&mut tx, behind, &left_out).await?;
            let full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= BATCH);
            behind = rows.last().map_or(behind, |row| row.seq);
            let deep_before = left_out.len();
            for row in rows {
                if row.size > LARGEST {
                    park(&mut tx, &row).await?;
                    continue;
                }
                let key = lane_key(&row.tenant_id, &row.lane);
                let lane = lanes.entry(key.clone()).or_default();
                if lane.len() < DEPTH {
                    lane.push_back(row);
                } else if left_out.last() != Some(&key) && !left_out.contains(&key) {
                    left_out.push(key);
                }
            }
            if !full || left_out.len() == deep_before {
                break;
            }
        }
        tx.commit().await?;
        Ok(lanes)
    }

    async fn forget(&self, done: &[i64]) -> Result<(), DatabaseError> {
        if done.is_empty() {
            return Ok(());
        }
        let mut tx = self.platform().await?;
        let gone = database::sql("DELETE FROM outbox WHERE seq = ANY ($1)")
            .bind::<Array<BigInt>, _>(done)
            .execute(tx.connection())
            .await?;
        note(&mut tx, Book::Outbox, Step::Delivered, gone);
        tx.commit().await
    }

    async fn platform(&self) -> Result<PlatformTransaction, DatabaseError> {
        PlatformTransaction::begin(&self.db, PlatformScope::for_purpose("outbox relay")).await
    }
}

/// The oldest rows behind a number, without those of some lanes.
async fn read(
    tx: &mut PlatformTransaction,
    behind: i64,
    left_out: &[String],
) -> Result<Vec<Row>, DatabaseError> {
    let rows = database::sql(
        "SELECT seq, tenant_id, lane, size, CASE WHEN size <= $5 THEN envelope ELSE '' END AS envelope \
         FROM (SELECT *, sum(CASE WHEN size <= $5 THEN size ELSE 0 END) OVER (ORDER BY seq) - size AS before \
               FROM (SELECT seq, tenant_id, lane, envelope, octet_length(envelope)::bigint AS size FROM outbox \
                     WHERE parked IS NULL AND seq > $3 AND tenant_id || ' ' || lane <> ALL ($2) \
                     ORDER BY seq LIMIT $1) AS oldest) AS summed \
         WHERE before < $4 ORDER BY seq",
    )
    .bind::<BigInt, _>(BATCH)
    .bind::<Array<Text>, _>(left_out)
    .bind::<BigInt, _>(behind)
    .bind::<BigInt, _>(BATCH_BYTES)
    .bind::<BigInt, _>(LARGEST)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Leaves a row to people.
async fn park(tx: &mut PlatformTransaction, row: &Row) -> Result<(), DatabaseError> {
    database::sql("UPDATE outbox SET parked = $2 WHERE seq = $1")
        .bind::<BigInt, _>(row.seq)
        .bind::<Text, _>(TOO_LARGE)
        .execute(tx.connection())
        .await?;
    tx.when_committed(|| metrics::counter!("kanal_outbox_parked_total").increment(1));
    tracing::error!(
        tenant = row.tenant_id,
        seq = row.seq,
        size = row.size,
        "an event is too large to be published"
    );
    Ok(())
}

/// The rows of one pass on their way.
struct Batch<'a> {
    broker: &'a Broker,
    govconnect: bool,
    refused: &'a mut RefusedLanes,
    progress: &'a mut Progress,
}

impl Batch<'_> {
    /// Publishes in rounds: in each the head of every lane, all at once. Between two rounds it may be stopped.
    async fn publish(
        &mut self,
        publisher: &mut Publisher,
        mut lanes: Lanes,
        stop: &CancellationToken,
    ) -> Result<(), PublishError> {
        let started = Instant::now();
        while !lanes.is_empty() && !stop.is_cancelled() && started.elapsed() < PASS_TIME {
            self.round(publisher, &mut lanes).await?;
        }
        Ok(())
    }

    async fn round(&mut self, publisher: &mut Publisher, lanes: &mut Lanes) -> Result<(), PublishError> {
        let mut publications = Vec::with_capacity(lanes.len());
        let mut plans = Vec::with_capacity(lanes.len());
        for rows in lanes.values() {
            let plan = rows.front().map_or(Plan::Unreadable, |row| self.plan(row));
            plans.push(plan.kind());
            if let Plan::Publish(publication) = plan {
                publications.push(publication);
            }
        }
        let taken = publisher.publish_all(&publications).await?;
        let (mut taken, mut plans) = (taken.into_iter(), plans.into_iter());
        let (mut stuck, mut example) = (0_usize, None);
        lanes.retain(|lane, rows| {
            let (Some(row), Some(plan)) = (rows.pop_front(), plans.next()) else {
                return false;
            };
            let is_safe = match plan {
                PlanKind::Publish => taken.next().unwrap_or_default(),
                PlanKind::LetGo => true,
                // A row that is no envelope stays for people, and its lane with it.
                PlanKind::Unreadable => false,
            };
            if is_safe {
                self.progress.done.push(row.seq);
                self.refused.accept(lane);
                return !rows.is_empty();
            }
            self.refused.refuse(lane, row.seq);
            stuck += 1;
            let request_id = Envelope::read(row.envelope.as_bytes())
                .ok()
                .and_then(|envelope| envelope.request_id);
            example = Some((row.tenant_id, row.seq, request_id));
            false
        });
        if let Some((tenant, seq, request_id)) = example {
            tracing::error!(lanes = stuck, %tenant, seq, request_id, "the broker does not take an event, its lane waits");
            metrics::counter!("kanal_outbox_refused_total").increment(stuck as u64);
            self.progress.stuck += stuck;
        }
        Ok(())
    }

    /// What is to be done with a row: each is published once, to the exchange it is for.
    fn plan(&self, row: &Row) -> Plan {
        let topology = self.broker.topology();
        let Ok(envelope) = Envelope::read(row.envelope.as_bytes()) else {
            return Plan::Unreadable;
        };
        if envelope.kind != WhatsappMessage::TYPE {
            return Plan::Publish(Publication {
                exchange: topology.events_exchange(),
                routing_key: envelope.kind,
                event_id: envelope.id,
                body: row.envelope.clone().into_bytes(),
            });
        }
        if !self.govconnect {
            tracing::warn!(tenant = %envelope.tenant_id, "GovConnect is not served any more, a message for it is let go");
            return Plan::LetGo;
        }
        // Theirs knows no envelope: the event travels bare.
        Plan::Publish(Publication {
            exchange: topology.govconnect_exchange(),
            routing_key: topology.govconnect_message_key().to_owned(),
            event_id: envelope.id,
            body: envelope.data.get().as_bytes().to_vec(),
        })
    }
}

enum Plan {
    Publish(Publication),
    LetGo,
    Unreadable,
}

/// A [`Plan`] without its publication.
#[derive(Clone, Copy)]
enum PlanKind {
    Publish,
    LetGo,
    Unreadable,
}

impl Plan {
    const fn kind(&self) -> PlanKind {
        match self {
            Self::Publish(_) => PlanKind::Publish,
            Self::LetGo => PlanKind::LetGo,
            Self::Unreadable => PlanKind::Unreadable,
        }
    }
}
