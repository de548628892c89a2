//! Passing one event on, and what is to become of it then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use domain::ids::TenantId;
use domain::retry::RetrySchedule;
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::SecretString;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::route_label;
use super::write_back::WriteBack;
use crate::store::forward_done::DoneEvent;
use crate::store::forward_lanes::{self, Hold, LaneKey, Outcome, Room, Taken, Verdict};
use crate::store::forward_steps::{NewStep, Step};
use crate::store::routes::{self, Route, Target as RouteTarget};
use crate::targets::places::Places;
use crate::targets::{Answer, InvalidTarget, Post, Target, Targets};
use crate::webhooks::event::Class;

/// Targets at hand.
const CACHED: usize = 10_000;
/// The wait when all places of a target are taken.
const CROWDED: Duration = Duration::from_secs(2);
/// How often it is looked whether a route is on again.
const SWITCHED_OFF: Duration = Duration::from_secs(15);
/// How often surplus lanes of full routes are put off, how many of each route are not, and how many are at once.
const PUT_OFF_EACH: Duration = Duration::from_millis(250);
const NOT_PUT_OFF: usize = 64;
const PUT_OFF: usize = 2_000;
/// Of all events in hand the share that one look takes for one route, within these bounds: what hangs must not fill all
/// places, and what is quick needs a few that wait.
const OF_ROUTE_SHARE: usize = 4;
const LEAST_OF_ROUTE: usize = 8;
const MOST_OF_ROUTE: usize = 64;
/// The wait when our own database does not answer.
const DATABASE_AWAY: Duration = Duration::from_secs(1);

/// Passes events on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deliveries {
    db: Database,
    keys: KeyRing,
    targets: Targets,
    places: Places,
    retry: RetrySchedule,
    window: Duration,
    lease: Duration,
    /// What one look takes for one route.
    most_of_route: usize,
    known: Arc<Mutex<HashMap<Uuid, Known>>>,
    /// When surplus lanes were put off last.
    put_off: Arc<Mutex<Option<Instant>>>,
}

/// A route's target, as it was at a time.
#[derive(Debug, Clone)]
struct Known {
    changed: DateTime<Utc>,
    route: String,
    target: Arc<Target>,
}

/// An event in hand.
#[derive(Debug)]
pub struct InHand {
    scope: TenantScope,
    taken: Taken,
    /// The lease began no earlier.
    since: Instant,
}

/// An event that was in hand: what becomes of it, and what follows from that.
#[derive(Debug)]
pub struct Finished {
    pub(super) scope: TenantScope,
    pub(super) outcome: Outcome,
    /// The route in the metrics.
    pub(super) route: String,
    /// Since it was accepted.
    pub(super) took: Duration,
    pub(super) write_back: Option<WriteBack>,
    pub(super) request_id: Option<String>,
    /// What sort of event it is, and about which message.
    pub(super) class: Option<String>,
    pub(super) message: Option<i64>,
    /// Failures before this time.
    pub(super) failures: i32,
    /// When it was accepted.
    pub(super) received_at: Option<DateTime<Utc>>,
}

impl Finished {
    /// The event, where it is over.
    pub(super) fn done(&self, now: DateTime<Utc>) -> Option<DoneEvent> {
        let outcome = match self.outcome.verdict {
            Verdict::Delivered => "delivered",
            Verdict::Dropped => "dropped",
            _ => return None,
        };
        Some(DoneEvent {
            tenant: self.outcome.lane.tenant.clone(),
            event: self.outcome.event,
            route: self.outcome.lane.route,
            conversation: self.outcome.lane.conversation,
            class: self.class.clone().unwrap_or_default(),
            message: self.message,
            request_id: self.request_id.clone(),
            outcome,
            failures: self.failures,
            received_at: self.received_at.unwrap_or(now),
            ended_at: now,
        })
    }

    /// What happened, where the event did not go through at once.
    pub(super) fn step(&self) -> Option<NewStep> {
        let (step, detail) = match &self.outcome.verdict {
            Verdict::Retry { reason, .. } => (Step::Failed, Some(reason.clone())),
            Verdict::Hold { how, reason, .. } => {
                let step = match how {
                    Hold::Parked => Step::Parked,
                    Hold::Unknown => Step::Unknown,
                };
                (step, Some(reason.clone()))
            }
            Verdict::Delivered if self.failures > 0 => (Step::Delivered, None),
            Verdict::Delivered | Verdict::Dropped | Verdict::PutOff { .. } | Verdict::Nothing => return None,
        };
        Some(NewStep {
            tenant: self.outcome.lane.tenant.clone(),
            event: self.outcome.event,
            step,
            detail,
        })
    }
}

/// Why there is no target.
enum NoTarget {
    Gone,
    NoUrl,
    Unusable(&'static str),
    Database(DatabaseError),
}

impl From<DatabaseError> for NoTarget {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<EncryptionError> for NoTarget {
    fn from(error: EncryptionError) -> Self {
        tracing::error!(%error, "a route's secrets cannot be opened");
        Self::Unusable("secret_does_not_open")
    }
}

impl From<InvalidTarget> for NoTarget {
    fn from(_: InvalidTarget) -> Self {
        Self::Unusable("invalid_url")
    }
}

impl Deliveries {
    /// Puts it together, for so many events `at_once`. New messages wait for their neighbours for `window`.
    #[must_use]
    pub fn new(
        db: Database,
        keys: KeyRing,
        targets: Targets,
        per_target: usize,
        at_once: usize,
        retry: RetrySchedule,
        window: Duration,
    ) -> Self {
        // Whoever waits for a place and then for an answer has time to say what came of it.
        let lease = targets.timeout() * 2 + Duration::from_secs(2);
        Self {
            db,
            keys,
            targets,
            places: Places::new(per_target),
            retry,
            window,
            lease,
            most_of_route: (at_once / OF_ROUTE_SHARE).clamp(LEAST_OF_ROUTE, MOST_OF_ROUTE),
            known: Arc::default(),
            put_off: Arc::default(),
        }
    }

    /// Loses events that are in hand after another time than what a place and an answer may take.
    #[must_use]
    pub const fn leasing_for(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The window of new messages.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// How long an event stays in hand without a word of what came of it.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        self.lease
    }

    /// Takes up to `most` events in hand whose turn has come, a part of them of one route, and of none that has enough under
    /// way.
    ///
    /// # Errors
    /// [`DatabaseError`]: nothing is in hand.
    pub async fn take(&self, most: usize) -> Result<Vec<InHand>, DatabaseError> {
        let full = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            self.places
                .full(known.iter().map(|(id, known)| (*id, known.target.origin())))
        };
        let platform = PlatformScope::for_purpose("take events in hand");
        let since = Instant::now();
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        if !full.is_empty() && self.may_put_off(since) {
            forward_lanes::put_off(&mut tx, &full, NOT_PUT_OFF, PUT_OFF).await?;
        }
        let room = Room {
            most,
            most_of_route: self.most_of_route,
            not_of: &full,
        };
        let taken = forward_lanes::take(&mut tx, room, self.lease, self.window).await?;
        tx.commit().await?;
        let in_hand = |taken: Taken| {
            let tenant = TenantId::parse(taken.tenant_id.as_str())
                .map_err(|error| DatabaseError::Refused(Box::new(error)))?;
            let scope = TenantScope::of_swept_row(&platform, tenant);
            Ok(InHand { scope, taken, since })
        };
        taken.into_iter().map(in_hand).collect()
    }

    fn may_put_off(&self, now: Instant) -> bool {
        let mut last = self.put_off.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= PUT_OFF_EACH);
        if is_due {
            *last = Some(now);
        }
        is_due
    }

    /// How long until the next event has its turn.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn next_turn(&self) -> Result<Option<Duration>, DatabaseError> {
        let platform = PlatformScope::for_purpose("look when events have their turn");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        let next = forward_lanes::next_turn(&mut tx).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// Passes on an event that is in hand, at most once.
    pub async fn deliver(&self, in_hand: InHand) -> Finished {
        let InHand {
            scope,
            mut taken,
            since,
        } = in_hand;
        let (body, headers) = (taken.body.take(), taken.headers.take());
        let known = self.known(&scope, &taken).await;
        // Whether a message that may be on its way can be posted again is for its target to say: until that is known, the
        // next one to have it in hand has to know that it was begun.
        let keeps_hand = known.is_err() && taken.interrupted && is_agents(&taken);
        let (route, verdict) = match (taken.id, known) {
            (None, _) => (String::new(), Verdict::Nothing),
            (Some(event), Ok(known)) => {
                let verdict = self
                    .attempt(&known.target, &taken, since, event, body, headers)
                    .await;
                (known.route, verdict)
            }
            (Some(_), Err(why)) => ("other".to_owned(), self.without_target(&taken, why)),
        };
        let age = taken.received_at.map(|at| Utc::now() - at).unwrap_or_default();
        Finished {
            route,
            took: age.to_std().unwrap_or_default(),
            write_back: write_back(&taken, &verdict),
            outcome: Outcome {
                lane: LaneKey {
                    tenant: taken.tenant_id,
                    route: taken.route_id,
                    conversation: taken.conversation,
                },
                fence: taken.fence,
                event: taken.id.unwrap_or_default(),
                verdict,
                keeps_hand,
            },
            scope,
            request_id: taken.request_id,
            class: taken.class,
            message: taken.message,
            failures: taken.failures.unwrap_or_default(),
            received_at: taken.received_at,
        }
    }

    async fn attempt(
        &self,
        target: &Target,
        taken: &Taken,
        since: Instant,
        event: Uuid,
        body: Option<Vec<u8>>,
        headers: Option<String>,
    ) -> Verdict {
        if taken.interrupted && must_not_repeat(taken, target) {
            return self.unsure(taken, target, "interrupted");
        }
        if taken.route_enabled == Some(false) {
            return Verdict::PutOff { wait: SWITCHED_OFF };
        }
        let Some(body) = body else {
            return Verdict::Nothing;
        };
        let Some(_place) = self.places.take(taken.route_id, target.origin()).await else {
            return Verdict::PutOff {
                wait: CROWDED.mul_f64(0.5 + rand::random::<f64>()),
            };
        };
        // Somebody else would have it in hand before the answer comes.
        if since.elapsed() + self.targets.timeout() > self.lease {
            return Verdict::PutOff { wait: Duration::ZERO };
        }
        let post = Post {
            event,
            attempt: times(taken.failures).saturating_add(u32::from(taken.interrupted)),
            headers: headers
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
            body: Bytes::from(body),
        };
        match self.targets.post(target, post).await {
            Answer::Taken => Verdict::Delivered,
            Answer::NotNow { reason, wait } => self.again(taken, reason, wait),
            Answer::Unsure { reason } => self.unsure(taken, target, &reason),
            Answer::Never { reason } => parked(taken, reason),
            Answer::Resting(wait) => Verdict::PutOff {
                wait: wait + wait.mul_f64(0.2 * rand::random::<f64>()),
            },
        }
    }

    /// An agent's message may be on its way to a person: whoever looks decides whether it goes once more.
    fn unsure(&self, taken: &Taken, target: &Target, reason: &str) -> Verdict {
        if must_not_repeat(taken, target) {
            Verdict::Hold {
                how: Hold::Unknown,
                reason: reason.to_owned(),
                shown: is_shown(taken),
            }
        } else {
            self.again(taken, reason.to_owned(), None)
        }
    }

    fn again(&self, taken: &Taken, reason: String, asked: Option<Duration>) -> Verdict {
        match self.retry.wait_after(times(taken.failures), rand::random()) {
            Some(scheduled) => Verdict::Retry {
                wait: asked.map_or(scheduled, |asked| asked.max(scheduled)),
                reason,
            },
            None => parked(taken, reason),
        }
    }

    fn without_target(&self, taken: &Taken, why: NoTarget) -> Verdict {
        match why {
            NoTarget::Gone => Verdict::Dropped,
            // It was accepted for a URL; where it should go now is for somebody to decide.
            NoTarget::NoUrl => parked(taken, "no_url".to_owned()),
            // An operator's mistake, which may be mended while events wait.
            NoTarget::Unusable(reason) => self.again(taken, reason.to_owned(), None),
            NoTarget::Database(error) => {
                tracing::warn!(%error, "a route could not be looked up");
                Verdict::PutOff { wait: DATABASE_AWAY }
            }
        }
    }

    async fn known(&self, scope: &TenantScope, taken: &Taken) -> Result<Known, NoTarget> {
        let changed = taken.route_changed.ok_or(NoTarget::Gone)?;
        let at_hand = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&taken.route_id).cloned()
        };
        if let Some(known) = at_hand.filter(|known| known.changed == changed) {
            return Ok(known);
        }
        let mut tx = TenantTransaction::begin(&self.db, scope, "find target").await?;
        let route = routes::find(&mut tx, taken.route_id).await?;
        tx.commit().await?;
        let known = self.open(scope, &route.ok_or(NoTarget::Gone)?)?;
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CACHED {
            all.clear();
        }
        all.insert(taken.route_id, known.clone());
        Ok(known)
    }

    fn open(&self, scope: &TenantScope, route: &Route) -> Result<Known, NoTarget> {
        let RouteTarget::Url {
            url_sealed,
            signing_secret_sealed,
            retry_unknown,
            ..
        } = &route.target
        else {
            return Err(NoTarget::NoUrl);
        };
        let tenant = scope.tenant().as_str();
        let url: SecretString = self.keys.open(url_sealed, &Route::url_place(tenant, route.id))?;
        let secret = signing_secret_sealed
            .as_deref()
            .map(|sealed| self.keys.open(sealed, &Route::signing_place(tenant, route.id)))
            .transpose()?;
        Ok(Known {
            changed: route.updated_at,
            route: route_label(route.number),
            target: Arc::new(Target::new(route.id, &url, secret, *retry_unknown)?),
        })
    }
}

/// Which time this is, given how often it failed before.
fn times(failures: Option<i32>) -> u32 {
    u32::try_from(failures.unwrap_or_default())
        .unwrap_or_default()
        .saturating_add(1)
}

fn is_agents(taken: &Taken) -> bool {
    taken.class.as_deref() == Some(Class::AgentMessage.as_str())
}

fn must_not_repeat(taken: &Taken, target: &Target) -> bool {
    is_agents(taken) && !target.retry_unknown
}

fn parked(taken: &Taken, reason: String) -> Verdict {
    // What was begun before may have arrived then, whatever came of it later.
    let how = if taken.interrupted && is_agents(taken) {
        Hold::Unknown
    } else {
        Hold::Parked
    };
    Verdict::Hold {
        how,
        reason,
        shown: is_shown(taken),
    }
}

/// Is there a message of an agent that can have a red mark?
fn is_shown(taken: &Taken) -> bool {
    is_agents(taken) && taken.account.is_some() && taken.message.is_some() && taken.conversation > 0
}

/// What the agent is to see of it.
fn write_back(taken: &Taken, verdict: &Verdict) -> Option<WriteBack> {
    let (failed, reason, unknown) = match verdict {
        Verdict::Hold {
            how,
            reason,
            shown: true,
        } => (true, Some(reason.clone()), *how == Hold::Unknown),
        Verdict::Delivered if taken.shown_failed == Some(true) => (false, None, false),
        _ => return None,
    };
    Some(WriteBack {
        event: taken.id,
        route: taken.route_id,
        account: taken.account?,
        conversation: taken.conversation,
        message: taken.message?,
        failed,
        unknown,
        reason,
    })
}
