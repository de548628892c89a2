//! Publishing what the outbox holds.
//!
//! Several relays may run; a lease in the table `leases` lets one of them work while the others wait for it to
//! fall. Within a lane the next row is published only when the one before it is confirmed, so a refusal cannot swap
//! two messages; lanes go side by side. A row leaves the table when every publication made from it is confirmed.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use database::{Database, DatabaseError};
use diesel::sql_types::{Array, BigInt, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::table::Signal;
use crate::broker::{Broker, Pauses};
use crate::envelope::Envelope;
use crate::events::govconnect;
use crate::publisher::{Publication, PublishError, Publisher, error_chain};

/// Rows looked at in one pass.
const BATCH: i64 = 500;
/// How long a relay that fell silent keeps the others waiting.
const LEASE: Duration = Duration::from_secs(5);
/// How often to look without being called: for rows of other processes.
const POLL: Duration = Duration::from_millis(200);
/// The pause after a row that the broker would not take.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Publishes the outbox of one service.
#[derive(Debug)]
pub struct Relay {
    db: Database,
    broker: Broker,
    signal: Signal,
    govconnect: bool,
    holder: Uuid,
    held_until: Option<Instant>,
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
        /// Lanes that wait for the next pass.
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
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = Text)]
    lane: String,
    #[diesel(sql_type = Text)]
    envelope: String,
}

impl Relay {
    /// A relay over the outbox in `db`. With `govconnect`, received messages also go to GovConnect's exchange.
    #[must_use]
    pub fn new(db: Database, broker: Broker, signal: Signal, govconnect: bool) -> Self {
        Self {
            db,
            broker,
            signal,
            govconnect,
            holder: Uuid::now_v7(),
            held_until: None,
        }
    }

    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut publisher = None;
        let mut pauses = Pauses::default();
        while !stop.is_cancelled() {
            let pause = match self.pass(&mut publisher).await {
                Ok(RelayPass::Published { stuck: 0, .. }) => {
                    pauses.reset();
                    continue;
                }
                Ok(RelayPass::Published { .. }) => REFUSED_PAUSE,
                Ok(RelayPass::Empty | RelayPass::StandingBy) => {
                    pauses.reset();
                    POLL
                }
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "the outbox has to wait");
                    publisher = None;
                    pauses.next()
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.signal.rung(), if pause == POLL => {}
            }
        }
        if let Err(error) = self.release().await {
            tracing::debug!(
                error = error_chain(&error),
                "the relay's lease runs out by itself"
            );
        }
    }

    /// One pass: the step tests call until it says [`RelayPass::Empty`].
    pub(crate) async fn pass(&mut self, publisher: &mut Option<Publisher>) -> Result<RelayPass, RelayError> {
        // Connect before anything is read, so that the topology stands and readiness knows about the broker.
        let publisher = match publisher {
            Some(publisher) => publisher,
            empty => empty.insert(Publisher::connect(&self.broker).await?),
        };
        if !self.hold_lease().await? {
            return Ok(RelayPass::StandingBy);
        }
        let rows = self.rows().await?;
        if rows.is_empty() {
            return Ok(RelayPass::Empty);
        }
        let (done, stuck, lost) = self.publish(publisher, rows).await;
        self.forget(&done).await?;
        metrics::counter!("kanal_outbox_published_total").increment(done.len() as u64);
        match lost {
            Some(error) => Err(error.into()),
            None => Ok(RelayPass::Published {
                rows: done.len(),
                stuck,
            }),
        }
    }

    /// Publishes lane by lane: in each round the oldest row of every lane, all at once.
    async fn publish(
        &self,
        publisher: &Publisher,
        rows: Vec<Row>,
    ) -> (Vec<i64>, usize, Option<PublishError>) {
        let mut lanes: BTreeMap<(String, String), VecDeque<Row>> = BTreeMap::new();
        for row in rows {
            lanes
                .entry((row.tenant_id.clone(), row.lane.clone()))
                .or_default()
                .push_back(row);
        }
        let (mut done, mut stuck) = (Vec::new(), 0);
        while !lanes.is_empty() {
            let mut sent = Vec::with_capacity(lanes.len());
            let mut lost = None;
            for (key, lane) in &lanes {
                let Some(row) = lane.front() else { continue };
                let mut confirms = Vec::with_capacity(2);
                for publication in self.publications(row) {
                    match publisher.send(&publication).await {
                        Ok(pending) => confirms.push(pending),
                        Err(error) => lost = Some(error),
                    }
                }
                if lost.is_some() {
                    break;
                }
                sent.push((key.clone(), row.seq, confirms));
            }
            for (key, seq, confirms) in sent {
                let mut refused = confirms.is_empty();
                for confirm in confirms {
                    match publisher.confirmed(confirm).await {
                        Ok(()) => {}
                        Err(PublishError::NotTaken) => refused = true,
                        Err(error @ PublishError::Away) => lost = Some(error),
                    }
                }
                if lost.is_some() {
                    break;
                }
                if refused {
                    tracing::error!(tenant = %key.0, seq, "the broker does not take an event, its lane waits");
                    metrics::counter!("kanal_outbox_refused_total").increment(1);
                    stuck += 1;
                    lanes.remove(&key);
                } else {
                    done.push(seq);
                    if let Some(lane) = lanes.get_mut(&key) {
                        lane.pop_front();
                    }
                }
            }
            if lost.is_some() {
                return (done, stuck, lost);
            }
            lanes.retain(|_, lane| !lane.is_empty());
        }
        (done, stuck, None)
    }

    /// Everything that is published for one row. Empty only for a row that is no envelope, which stays for people.
    fn publications(&self, row: &Row) -> Vec<Publication> {
        let topology = self.broker.topology();
        let Ok(envelope) = Envelope::read(row.envelope.as_bytes()) else {
            return Vec::new();
        };
        let mut publications = vec![Publication {
            exchange: topology.events_exchange(),
            routing_key: envelope.kind.clone(),
            event_id: envelope.id,
            body: row.envelope.clone().into_bytes(),
        }];
        if self.govconnect {
            publications.extend(govconnect::publication(&envelope, topology));
        }
        publications
    }

    async fn rows(&self) -> Result<Vec<Row>, DatabaseError> {
        let mut tx = self.platform().await?;
        let rows =
            diesel::sql_query("SELECT seq, tenant_id, lane, envelope FROM outbox ORDER BY seq LIMIT $1")
                .bind::<BigInt, _>(BATCH)
                .load(tx.connection())
                .await?;
        tx.commit().await?;
        Ok(rows)
    }

    async fn forget(&self, done: &[i64]) -> Result<(), DatabaseError> {
        if done.is_empty() {
            return Ok(());
        }
        let mut tx = self.platform().await?;
        diesel::sql_query("DELETE FROM outbox WHERE seq = ANY ($1)")
            .bind::<Array<BigInt>, _>(done)
            .execute(tx.connection())
            .await?;
        tx.commit().await
    }

    async fn hold_lease(&mut self) -> Result<bool, DatabaseError> {
        if self.held_until.is_some_and(|until| until > Instant::now()) {
            return Ok(true);
        }
        let asked = Instant::now();
        let mut tx = self.platform().await?;
        let held = diesel::sql_query(
            "INSERT INTO leases AS l (name, holder, until) VALUES ('outbox relay', $1, now() + $2 * interval '1 second') \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until \
             WHERE l.holder = excluded.holder OR l.until < now()",
        )
        .bind::<SqlUuid, _>(self.holder)
        .bind::<Integer, _>(i32::try_from(LEASE.as_secs()).unwrap_or(5))
        .execute(tx.connection())
        .await?
            == 1;
        tx.commit().await?;
        // Renewed well before it ends by the database's clock.
        self.held_until = held.then(|| asked + LEASE / 3);
        Ok(held)
    }

    async fn release(&self) -> Result<(), DatabaseError> {
        let mut tx = self.platform().await?;
        diesel::sql_query("DELETE FROM leases WHERE name = 'outbox relay' AND holder = $1")
            .bind::<SqlUuid, _>(self.holder)
            .execute(tx.connection())
            .await?;
        tx.commit().await
    }

    async fn platform(&self) -> Result<PlatformTransaction, DatabaseError> {
        PlatformTransaction::begin(&self.db, PlatformScope::for_purpose("outbox relay")).await
    }
}
