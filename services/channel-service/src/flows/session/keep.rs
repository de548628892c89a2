//! Sessions are looked after: what dropped is brought back, what went deaf is attached anew ([`super::keep_rules`]).
//!
//! Whoever looks has the session's row in `session_watch` for a while, and a fence by which only its findings count. What
//! changes a session outside is done under the tenant's lease, as when it is made or removed, and only where no person
//! wants it off: that is asked before the call, and once more after it, because a person's word may come meanwhile.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache::{Buckets, CacheKey, Rate, RedisLink};
use database::{Database, DatabaseError};
use domain::endpoint::Provider;
use domain::ids::{AccountId, TenantId};
use tenant_isolation::resolve::ExternalId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use whatsapp::credentials::SessionToken;
use whatsapp::session::{FailureReason, SessionFailure, SessionState, Upkeep};

use super::hearing::Hearing;
use super::keep_rules::{EVENTS_LOST, Seen, Step, UNHEARD, WEBHOOK_ELSEWHERE, WEBHOOK_LOST, Wishes};
use super::watch::number_of;
use super::work::Work;
use super::{SessionError, Sessions};
use crate::config::WatchSettings;
use crate::endpoints::{Endpoints, LiveEndpoint};
use crate::flows::tenant::Actor;
use crate::flows::tenant_config::TenantConfigs;
use crate::store::audit;
use crate::store::session::{self, SessionRow, SessionVia};
use crate::store::session_watch::{self, HearingChange, OutageChange, WatchedRow};

/// Longer than a look with all its calls.
const LEASE: Duration = Duration::from_secs(120);
/// A session that somebody else works on is looked at again so soon.
const BUSY: Duration = Duration::from_secs(2);
/// So many silent sessions are no chance.
const SEVERAL: i64 = 4;
/// From this many attachments on, people have to know.
const LOUD: i32 = 3;

/// Looks after sessions.
pub struct Keeper {
    sessions: Arc<Sessions>,
    endpoints: Endpoints,
    configs: TenantConfigs,
    settings: WatchSettings,
    pace: Buckets,
}

/// What came of a wish to change a session outside.
enum Done {
    /// It was called.
    Called(Result<(), SessionFailure>),
    /// Somebody else works on the tenant's session.
    Busy,
    /// A person wants it off.
    NotWanted,
}

/// A session, opened, and the way to it.
struct Way {
    scope: TenantScope,
    session: SessionRow,
    endpoint: Arc<LiveEndpoint>,
    token: SessionToken,
    upkeep: Upkeep,
}

impl Keeper {
    /// Puts it together.
    #[must_use]
    pub fn new(
        sessions: Arc<Sessions>,
        endpoints: Endpoints,
        configs: TenantConfigs,
        settings: WatchSettings,
        redis: RedisLink,
    ) -> Self {
        let per_second = NonZeroU32::new(settings.rate).unwrap_or(NonZeroU32::MIN);
        let rate = Rate {
            per_second,
            burst: per_second,
        };
        Self {
            sessions,
            endpoints,
            configs,
            settings,
            pace: Buckets::new(redis, rate),
        }
    }

    /// How it looks after them.
    #[must_use]
    pub const fn settings(&self) -> WatchSettings {
        self.settings
    }

    /// Writes down what was heard.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn write_down_hearing(&self) -> Result<(), DatabaseError> {
        self.sessions.hearing().write_down(&self.sessions.db).await
    }

    /// Takes sessions that are due, at most `most`, none of the endpoints in `full`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn due(&self, full: &[&str], most: usize) -> Result<Vec<WatchedRow>, DatabaseError> {
        let platform = PlatformScope::for_purpose("claim sessions to look at");
        let mut tx = PlatformTransaction::begin(&self.sessions.db, platform).await?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let due = session_watch::claim(&mut tx, full, most, LEASE).await?;
        tx.commit().await?;
        Ok(due)
    }

    /// Looks at a session and does what has to be done.
    ///
    /// # Errors
    /// [`SessionError`] about our own side: the session is looked at again when the lease is over.
    pub async fn look(&self, row: &WatchedRow) -> Result<(), SessionError> {
        let Ok(tenant) = TenantId::parse(row.tenant_id.as_str()) else {
            return Ok(());
        };
        let platform = PlatformScope::for_purpose("look after sessions");
        let scope = TenantScope::of_swept_row(&platform, tenant);
        let step = match self.settings.before_asking(row) {
            Some(step) => step,
            None => self.ask_and_act(&scope, row).await?,
        };
        let Step::Note {
            outage,
            hearing,
            next,
        } = step
        else {
            // Everything that is done ends in a note.
            return Ok(());
        };
        let mut tx = TenantTransaction::begin(&self.sessions.db, &scope, "end look at session").await?;
        let counts = session_watch::finish(&mut tx, row, &outage, hearing, next).await?;
        if counts && let OutageChange::GivenUp(reason) = outage {
            let actor = Actor {
                name: "session watch".to_owned(),
                source: None,
            };
            let mut act = actor.act("session.give_up", Some(row.account_id.to_string()));
            act.detail = Some(reason.to_owned());
            audit::note(&mut tx, &act).await?;
        }
        tx.commit().await?;
        if counts {
            tell(&scope, row, &outage, hearing);
        }
        Ok(())
    }

    async fn ask_and_act(&self, scope: &TenantScope, row: &WatchedRow) -> Result<Step, SessionError> {
        let Some(way) = self.way(scope, row).await? else {
            return Ok(self.later());
        };
        let seen = self.see(&way).await?;
        let wishes = self.wishes(&way).await?;
        match self.settings.after_asking(row, wishes, seen) {
            Step::Reconnect => self.reconnect(row, &way, wishes).await,
            Step::Reattach(reason) => self.reattach(row, &way, reason).await,
            note @ Step::Note { .. } => Ok(note),
        }
    }

    /// The way to the session. `None`: there is none at present.
    async fn way(&self, scope: &TenantScope, row: &WatchedRow) -> Result<Option<Way>, SessionError> {
        let mut tx = TenantTransaction::begin(&self.sessions.db, scope, "load watched session").await?;
        let session = session::find_of(&mut tx, AccountId::from_uuid(row.account_id)).await?;
        tx.commit().await?;
        let Some(session) = session else {
            return Ok(None);
        };
        // By the session itself: the row may be older than a move, and a name may stand for another kind of server now.
        let Some(endpoint) = self.endpoints.of_account(&session.provider, &session.endpoint) else {
            return Ok(None);
        };
        // Its numbers are registered and need no connection.
        if endpoint.provider == Provider::Cloud {
            return Ok(None);
        }
        let (token, upkeep) = match (
            self.sessions.token(scope, &session),
            self.sessions.upkeep(scope, &session),
        ) {
            (Ok(token), Ok(upkeep)) => (token, upkeep),
            _ => {
                tracing::error!(tenant = %scope.tenant(), "a session's token or key does not open");
                return Ok(None);
            }
        };
        Ok(Some(Way {
            scope: scope.clone(),
            session,
            endpoint,
            token,
            upkeep,
        }))
    }

    async fn wishes(&self, way: &Way) -> Result<Wishes, SessionError> {
        let config = self.configs.of(&way.scope).await.map_err(|error| {
            tracing::debug!(error = %crate::error::chain(error.as_ref()), "a tenant's configuration was not found");
            DatabaseError::NotFound
        })?;
        Ok(Wishes {
            auto_reconnect: config.settings.auto_reconnect,
            first_wait: config.settings.reconnect_interval(),
            was_paired: way.session.phone.is_some(),
        })
    }

    /// Asks the server, and keeps what is news.
    async fn see(&self, way: &Way) -> Result<Seen, SessionError> {
        if self.sessions.pause.is_on(&way.endpoint.name) {
            return Ok(Seen::NotKnown);
        }
        let state = match way.endpoint.sessions.status(&way.token).await {
            Ok(state) => state,
            Err(failure) => {
                if failure.reason == FailureReason::RateLimited {
                    self.sessions.pause.begin(&way.endpoint.name);
                }
                // Whoever runs nothing for it has said where it stands.
                let is_down = matches!(
                    failure.reason,
                    FailureReason::NoSession | FailureReason::NotConnected
                );
                return Ok(if is_down {
                    Seen::Down {
                        is_paired: way.session.phone.is_some(),
                    }
                } else {
                    Seen::NotKnown
                });
            }
        };
        let phone = number_of(&state.jid);
        self.sessions
            .learn(&way.scope, &way.session, &state, phone.as_deref())
            .await?;
        let is_genfity = way.endpoint.provider == Provider::Genfity;
        // Other servers do not tell which phone a session belongs to while it is down.
        let is_paired = !state.jid.is_empty() || (!is_genfity && way.session.phone.is_some());
        Ok(match (state.connected, state.logged_in) {
            (true, true) => Seen::Up {
                lost: is_genfity.then(|| self.lost(way, &state)).flatten(),
            },
            (true, false) if is_paired => Seen::Joining,
            (true, false) => Seen::Pairing,
            (false, _) => Seen::Down { is_paired },
        })
    }

    /// What the server's own word for where events go lacks. It is read from where the server itself looks when it
    /// delivers. Behind a gateway events go to the gateway, whose business the address and the list are, as long as there
    /// are any.
    fn lost(&self, way: &Way, state: &SessionState) -> Option<&'static str> {
        let ours = way.upkeep.webhook_url.as_deref()?;
        let made_by_us = way.session.session_via.as_deref() == Some(SessionVia::Server.as_str());
        if state.webhook.is_empty() {
            return Some(WEBHOOK_LOST);
        }
        if made_by_us && state.webhook != ours {
            return Some(WEBHOOK_ELSEWHERE);
        }
        let mut events = state
            .events
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let tells = if made_by_us {
            events.any(|name| name == "All")
        } else {
            events.next().is_some()
        };
        (!tells).then_some(EVENTS_LOST)
    }

    async fn reconnect(&self, row: &WatchedRow, way: &Way, wishes: Wishes) -> Result<Step, SessionError> {
        if let Err(wait) = self.ask_pace(way).await {
            // Turns are taken one after the other, not all at once when the next one is free.
            return Ok(self.at(wait + wait.mul_f64(rand::random())));
        }
        let done = self
            .under_lease(way, async |work| {
                work.go_on().await?;
                Ok(way
                    .endpoint
                    .sessions
                    .connect(&way.token, &way.upkeep)
                    .await
                    .map(drop))
            })
            .await?;
        let called = match done {
            Done::Busy => return Ok(self.at(BUSY.min(self.settings.soon()))),
            Done::NotWanted => return Ok(self.later()),
            Done::Called(called) => called,
        };
        count_connect("watch", called.is_ok());
        let attempt = row.attempts.saturating_add(1);
        let (tenant, account) = (way.scope.tenant(), way.session.account());
        if let Err(failure) = called {
            let reason = failure.reason.as_str();
            tracing::warn!(%tenant, %account, attempt, reason, "a dropped session could not be connected");
        } else {
            tracing::info!(%tenant, %account, attempt, "a dropped session was connected again");
        }
        Ok(self.settings.after_try(row, wishes))
    }

    /// Tells the server again where events go. Where that cannot be all, the session is taken off the network and connected
    /// again: then the server begins anew with it.
    async fn reattach(
        &self,
        row: &WatchedRow,
        way: &Way,
        reason: &'static str,
    ) -> Result<Step, SessionError> {
        if let Err(wait) = self.ask_pace(way).await {
            return Ok(self.at(wait + wait.mul_f64(rand::random())));
        }
        if reason == UNHEARD && self.is_way_broken(way).await? {
            return Ok(Step::Note {
                outage: OutageChange::Same,
                hearing: HearingChange::Deaf(reason),
                next: self.settings.usual(),
            });
        }
        let mut begun = Instant::now();
        let done = self
            .under_lease(way, async |work| {
                let sessions = &way.endpoint.sessions;
                if reason != UNHEARD && row.reattachments == 0 {
                    work.go_on().await?;
                    // It is connected already, so this only tells the settings.
                    let told = sessions.connect(&way.token, &way.upkeep).await;
                    let state = sessions.status(&way.token).await;
                    if let (Ok(_), Ok(state)) = (&told, &state)
                        && self.lost(way, state).is_none()
                    {
                        return Ok(Ok(()));
                    }
                }
                work.go_on().await?;
                // One that is off already is as well.
                let off = sessions.disconnect(&way.token).await;
                if let Err(failure) = off {
                    tracing::info!(tenant = %way.scope.tenant(), reason = failure.reason.as_str(),
                        "a deaf session was not taken off the network");
                }
                work.go_on().await?;
                // The server tells that it is connected before it has answered everything.
                begun = Instant::now();
                Ok(sessions.connect(&way.token, &way.upkeep).await.map(drop))
            })
            .await?;
        let called = match done {
            Done::Busy => return Ok(self.at(BUSY.min(self.settings.soon()))),
            Done::NotWanted => return Ok(self.later()),
            Done::Called(called) => called,
        };
        let outcome = if called.is_ok() { "attached" } else { "failed" };
        metrics::counter!("kanal_sessions_reattached_total", "reason" => reason, "outcome" => outcome)
            .increment(1);
        let again = row.reattachments.saturating_add(1);
        if again >= LOUD {
            tracing::error!(tenant = %way.scope.tenant(), account = %way.session.account(), reason, again,
                "a session stays deaf although it is attached anew");
        } else {
            tracing::warn!(tenant = %way.scope.tenant(), account = %way.session.account(), reason, outcome,
                "a deaf session was attached anew");
        }
        Ok(Step::Note {
            outage: OutageChange::Same,
            hearing: HearingChange::Reattached {
                reason,
                ago: begun.elapsed(),
            },
            next: self.settings.soon(),
        })
    }

    /// Several sessions are silent and none of the endpoint is heard: then it is not the sessions that are deaf but the way
    /// from there to here that is broken, and taking all of them off the network would help nobody.
    async fn is_way_broken(&self, way: &Way) -> Result<bool, SessionError> {
        let platform = PlatformScope::for_purpose("is an endpoint silent");
        let mut tx = PlatformTransaction::begin(&self.sessions.db, platform).await?;
        let endpoint = way.endpoint.name.as_str();
        let silence = session_watch::silence(&mut tx, endpoint, self.settings.deaf_after).await?;
        tx.commit().await?;
        let is_broken = silence.silent >= SEVERAL && !silence.is_heard;
        if is_broken {
            metrics::counter!("kanal_endpoint_silences_total", "endpoint" => endpoint.to_owned())
                .increment(1);
            tracing::error!(
                endpoint,
                sessions = silence.silent,
                "no event comes from an endpoint although messages go out through it"
            );
        }
        Ok(is_broken)
    }

    /// Does something outside, as the only one, and only while nobody wants the session off the network.
    async fn under_lease(
        &self,
        way: &Way,
        act: impl AsyncFnOnce(&Work<'_>) -> Result<Result<(), SessionFailure>, SessionError>,
    ) -> Result<Done, SessionError> {
        let Some(work) = self.sessions.try_work(&way.scope).await? else {
            return Ok(Done::Busy);
        };
        let done = async {
            if self.is_kept_off(way).await? {
                return Ok(Done::NotWanted);
            }
            let called = act(&work).await?;
            if self.is_kept_off(way).await? {
                // A person's call may have been earlier than ours.
                work.go_on().await?;
                drop(way.endpoint.sessions.disconnect(&way.token).await);
                return Ok(Done::NotWanted);
            }
            Ok(Done::Called(called))
        }
        .await;
        work.end().await;
        self.sessions.changed(&way.scope, way.session.account()).await;
        done
    }

    async fn is_kept_off(&self, way: &Way) -> Result<bool, SessionError> {
        let mut tx = TenantTransaction::begin(&self.sessions.db, &way.scope, "is session kept off").await?;
        let off = session_watch::is_kept_off(&mut tx, way.session.account()).await?;
        tx.commit().await?;
        Ok(off)
    }

    /// One endpoint that is back does not get all of its sessions at once.
    async fn ask_pace(&self, way: &Way) -> Result<(), Duration> {
        match ExternalId::new("endpoint_reconnects", way.endpoint.name.as_str()) {
            Some(endpoint) => self.pace.take(&CacheKey::of_external(&endpoint)).await,
            None => Ok(()),
        }
    }

    fn later(&self) -> Step {
        self.at(self.settings.usual())
    }

    const fn at(&self, next: Duration) -> Step {
        Step::Note {
            outage: OutageChange::Same,
            hearing: HearingChange::Same,
            next,
        }
    }
}

impl Sessions {
    /// Gathers signs of life.
    #[must_use]
    pub const fn hearing(&self) -> &Hearing {
        &self.hearing
    }

    /// Notes what a person wants: the session off the network, or on it.
    pub(super) async fn keep_off(
        &self,
        scope: &TenantScope,
        account: AccountId,
        off: bool,
    ) -> Result<(), SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "note wish for session").await?;
        session_watch::keep_off(&mut tx, account, off).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// A call that connects a device.
pub(super) fn count_connect(by: &'static str, succeeded: bool) {
    let outcome = if succeeded { "connected" } else { "failed" };
    metrics::counter!("kanal_device_connections_total", "by" => by, "outcome" => outcome).increment(1);
}

fn tell(scope: &TenantScope, row: &WatchedRow, outage: &OutageChange, hearing: HearingChange) {
    let (tenant, account) = (scope.tenant(), row.account_id);
    match outage {
        OutageChange::Down { tried: false, .. } if !row.is_down => {
            metrics::counter!("kanal_sessions_dropped_total").increment(1);
            tracing::warn!(%tenant, %account, endpoint = row.endpoint, "a session dropped and will be brought back");
        }
        OutageChange::Over if row.is_down || row.gave_up.is_some() => {
            metrics::counter!("kanal_sessions_recovered_total").increment(1);
            tracing::info!(%tenant, %account, endpoint = row.endpoint, attempts = row.attempts, "a session is back");
        }
        OutageChange::GivenUp(reason) => {
            metrics::counter!("kanal_sessions_given_up_total", "reason" => *reason).increment(1);
            tracing::error!(%tenant, %account, endpoint = row.endpoint, reason, attempts = row.attempts,
                "a session is not brought back any more: a person has to connect it");
        }
        OutageChange::Same | OutageChange::Over | OutageChange::Down { .. } => {}
    }
    match hearing {
        HearingChange::Hears => {
            metrics::counter!("kanal_sessions_hearing_again_total").increment(1);
            tracing::info!(%tenant, %account, endpoint = row.endpoint, "a session that was deaf hears again");
        }
        HearingChange::Deaf(reason) | HearingChange::Reattached { reason, .. }
            if row.deaf_reason.is_none() =>
        {
            metrics::counter!("kanal_sessions_deaf_total", "reason" => reason).increment(1);
            tracing::warn!(%tenant, %account, endpoint = row.endpoint, reason, "a connected session is deaf");
        }
        HearingChange::Same | HearingChange::Deaf(_) | HearingChange::Reattached { .. } => {}
    }
}

/// The tables, for whoever works beside.
impl Keeper {
    /// The tables.
    #[must_use]
    pub fn db(&self) -> &Database {
        &self.sessions.db
    }
}
