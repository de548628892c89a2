//! Events for the URLs of routes become durable: what waits at the same moment shares a commit. The caller notices nothing
//! of it, it is answered when its own event is safe.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use database::{Database, DatabaseError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use messaging::ledger::{Book, Step};
use tenant_isolation::{GroupTransaction, ScopeSet, TenantScope};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::ledger::Ledger;
use super::{Bell, Loads, route_label};
use crate::store::forward_events::{self, NewEvent};
use crate::store::forward_lanes::LaneKey;
use crate::store::routes::{Route, Target};
use crate::webhooks::book::KnownRoute;
use crate::webhooks::event::{Class, Event, Incoming};
use crate::webhooks::forward::{ForwardEvents, Forwarding, NotForwarded};

/// Events that may wait for their commit.
const QUEUE: usize = 2_048;
/// Commits at once.
const COMMITTERS: usize = 2;
/// Longest wait for room; Chatwoot gives up after five seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// An event, for whom it is kept, and where the answer goes.
#[derive(Debug)]
pub struct Waiting {
    scope: TenantScope,
    event: NewEvent,
    answer: oneshot::Sender<Result<Forwarding, DatabaseError>>,
}

/// The way into the queues of the committers. Cheap to clone.
///
/// All events of one conversation go to one committer, so that they are kept in the order in which they came.
#[derive(Debug, Clone)]
pub struct ForwardQueue {
    queues: Arc<[mpsc::Sender<Waiting>]>,
    spread: RandomState,
    loads: Loads,
    ledger: Ledger,
}

impl ForwardQueue {
    /// Queues; each receiver goes to a committer.
    #[must_use]
    pub fn new(loads: Loads, ledger: Ledger) -> (Self, Vec<mpsc::Receiver<Waiting>>) {
        let (queues, jobs): (Vec<_>, Vec<_>) =
            (0..COMMITTERS).map(|_| mpsc::channel(QUEUE / COMMITTERS)).unzip();
        let queue = Self {
            queues: queues.into(),
            spread: RandomState::new(),
            loads,
            ledger,
        };
        (queue, jobs)
    }

    async fn take(&self, to: &KnownRoute, incoming: Incoming) -> Result<Forwarding, NotForwarded> {
        if !wants(&to.route, &incoming.event) {
            return Ok(Forwarding::Unwanted);
        }
        let event = new_event(to, incoming)?;
        let Some(room) = self.loads.add(to.route.id, event.size()) else {
            metrics::counter!("kanal_bridge_route_full_total", "route" => route_label(to.route.number))
                .increment(1);
            return Err(NotForwarded::Full);
        };
        let outcome = self.queue(to, event).await;
        if matches!(outcome, Ok(Forwarding::Queued)) {
            drop(room);
            let route = route_label(to.route.number);
            metrics::counter!("kanal_bridge_route_accepted_total", "route" => route).increment(1);
            messaging::ledger::count(Book::Forwards, Step::Accepted, 1);
            self.ledger.accepted(to.scope.tenant(), to.route.id);
        } else {
            room.give_back();
        }
        outcome
    }

    async fn queue(&self, to: &KnownRoute, event: NewEvent) -> Result<Forwarding, NotForwarded> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            scope: to.scope.clone(),
            event,
            answer,
        };
        let queues = u64::try_from(self.queues.len()).unwrap_or(1).max(1);
        let number = usize::try_from(self.spread.hash_one(&waiting.event.lane) % queues).unwrap_or_default();
        let queue = self.queues.get(number).ok_or(NotForwarded::Full)?;
        match tokio::time::timeout(PATIENCE, queue.send(waiting)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(NotForwarded::Full),
        }
        // Without an answer the committers are gone: the process ends.
        Ok(answered.await.map_err(|_| NotForwarded::Full)??)
    }
}

impl ForwardEvents for ForwardQueue {
    fn accept<'a>(
        &'a self,
        to: &'a KnownRoute,
        event: Incoming,
    ) -> BoxFuture<'a, Result<Forwarding, NotForwarded>> {
        self.take(to, event).boxed()
    }
}

/// Everything about an inbox goes to its URL, as before (contract 1.2), but for what agents tell each other where nobody
/// asked for it.
fn wants(route: &Route, event: &Event) -> bool {
    let sort = match event.class {
        Class::Activity => false,
        Class::Private => route.wants.private,
        _ => true,
    };
    let names = &route.wants.events;
    matches!(route.target, Target::Url { .. }) && sort && (names.is_empty() || names.contains(&event.name))
}

fn new_event(to: &KnownRoute, incoming: Incoming) -> Result<NewEvent, DatabaseError> {
    let Incoming {
        event,
        body,
        headers,
        request_id,
    } = incoming;
    let headers = serde_json::to_string(&headers).map_err(|error| DatabaseError::Refused(Box::new(error)))?;
    Ok(NewEvent {
        id: Uuid::now_v7(),
        lane: LaneKey {
            tenant: to.scope.tenant().as_str().to_owned(),
            route: to.route.id,
            conversation: event.conversation_id.unwrap_or_default(),
        },
        key: event.key,
        // Chatwoot's jobs overtake each other; messages can be put right by their numbers (contract 2.4).
        ordered_by: event.message_id.filter(|_| event.name == "message_created"),
        class: event.class.as_str(),
        account: event.account_id,
        message: event.message_id,
        event: event.name.replace('\0', ""),
        headers,
        body,
        request_id,
    })
}

/// Commits a group. When it fails for another reason than Postgres being away, each event is tried alone, so that one that
/// Postgres does not like harms no other.
pub async fn commit(db: &Database, bell: &Bell, window: Duration, group: Vec<Waiting>) {
    let (events, answers): (Vec<_>, Vec<_>) = group
        .into_iter()
        .map(|waiting| ((waiting.scope, waiting.event), waiting.answer))
        .unzip();
    metrics::histogram!("kanal_bridge_forward_group_size")
        .record(f64::from(u32::try_from(events.len()).unwrap_or(u32::MAX)));
    match keep(db, window, &events).await {
        Ok(outcomes) => {
            bell.ring();
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // A caller that has left gets no answer; its event is kept all the same.
                drop(answer.send(Ok(outcome)));
            }
        }
        Err(error) if events.len() > 1 && !error.is_transient() => {
            for (event, answer) in events.iter().zip(answers) {
                let outcome = keep(db, window, std::slice::from_ref(event)).await;
                let outcome = outcome.and_then(|one| one.into_iter().next().ok_or(DatabaseError::NotFound));
                drop(answer.send(outcome));
            }
            bell.ring();
        }
        Err(error) => {
            tracing::warn!(waiting = events.len(), %error, "events were not kept");
            let is_transient = error.is_transient();
            let mut first = Some(error);
            for answer in answers {
                let error = first
                    .take()
                    .filter(|_| !is_transient)
                    .unwrap_or_else(|| DatabaseError::Unavailable("the group was not committed".into()));
                drop(answer.send(Err(error)));
            }
        }
    }
}

/// The transaction.
async fn keep(
    db: &Database,
    window: Duration,
    events: &[(TenantScope, NewEvent)],
) -> Result<Vec<Forwarding>, DatabaseError> {
    // Of two tellings of one event in the same group the first one counts.
    let mut keys = HashSet::new();
    let fresh: Vec<NewEvent> = events
        .iter()
        .map(|(_, event)| event)
        .filter(|event| {
            let LaneKey { tenant, route, .. } = &event.lane;
            event
                .key
                .is_none_or(|key| keys.insert((tenant.as_str(), *route, key)))
        })
        .cloned()
        .collect();
    let scopes: ScopeSet = events.iter().map(|(scope, _)| scope).collect();
    let mut tx = GroupTransaction::begin(db, scopes, "keep events").await?;
    let kept = forward_events::keep(&mut tx, &fresh, window).await?;
    tx.commit().await?;
    let outcome = |(_, event): &(TenantScope, NewEvent)| {
        if kept.contains(&event.id) {
            Forwarding::Queued
        } else {
            Forwarding::Repeated
        }
    };
    Ok(events.iter().map(outcome).collect())
}
