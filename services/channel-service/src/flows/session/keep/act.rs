//! Sessions are connected and attached anew, by one at a time, and only while no person wants them off.

use std::time::{Duration, Instant};

use domain::endpoint::Provider;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};
use uuid::Uuid;
use whatsapp::session::SessionFailure;

use super::rules::{Step, UNHEARD, Wishes};
use super::see::lost;
use super::tell::{count_connect, tell_reattached};
use super::{Keeper, Way};
use crate::flows::session::SessionError;
use crate::flows::session::call::SessionCall;
use crate::flows::session::work::Work;
use crate::store::lease;
use crate::store::session_watch::{self, HearingChange, OutageChange, WatchedRow};

/// A session that somebody else works on is looked at again so soon.
const BUSY: Duration = Duration::from_secs(2);
/// So many silent sessions are no chance.
const SEVERAL: i64 = 4;

/// What came of a wish to change a session outside.
enum Done {
    /// It was called.
    Called(Result<(), SessionFailure>),
    /// Somebody else works on the tenant's session.
    Busy,
    /// A person wants it off.
    NotWanted,
}

/// Whose turn it is to be attached anew because it is not heard.
enum Turn {
    /// Everybody's: others of the endpoint are heard, or too few are silent for it to be no chance.
    Free,
    /// This one's alone, to find out whether it helps.
    Canary(Uuid),
    /// Somebody else's.
    Taken,
}

impl Keeper {
    pub(super) async fn reconnect(
        &self,
        row: &WatchedRow,
        way: &Way,
        wishes: Wishes,
    ) -> Result<Step, SessionError> {
        if let Err(wait) = self.ask_pace(way).await {
            // Turns are taken one after the other, not all at once when the next one is free.
            return Ok(self.at(wait + wait.mul_f64(rand::random())));
        }
        let done = self
            .under_lease(way, async |work| {
                work.go_on().await?;
                Ok(self.connect(way).await)
            })
            .await?;
        let called = match done {
            Done::Busy => return Ok(self.at(BUSY.min(self.settings.soon()))),
            Done::NotWanted => return Ok(self.later()),
            Done::Called(called) => called,
        };
        count_connect("watch", &way.endpoint.name, called.is_ok());
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
    /// again: then the server begins anew with it. A GoWA cannot take one off and needs not: it reads where events go each
    /// time that it has one.
    pub(super) async fn reattach(
        &self,
        row: &WatchedRow,
        way: &Way,
        wishes: Wishes,
        reason: &'static str,
    ) -> Result<Step, SessionError> {
        if let Err(wait) = self.ask_pace(way).await {
            return Ok(self.at(wait + wait.mul_f64(rand::random())));
        }
        let turn = if reason == UNHEARD {
            self.turn(way).await?
        } else {
            Turn::Free
        };
        if matches!(turn, Turn::Taken) {
            return Ok(Step::Note {
                outage: OutageChange::Same,
                hearing: HearingChange::Deaf(reason),
                next: self.settings.usual(),
            });
        }
        let (mut begun, mut taken_off) = (Instant::now(), false);
        let done = self
            .under_lease(way, async |work| {
                if reason != UNHEARD && (row.reattachments == 0 || !can_be_taken_off(way)) {
                    work.go_on().await?;
                    // It is connected already, so this only tells the settings.
                    let told = self.connect(way).await;
                    if !can_be_taken_off(way) || (told.is_ok() && self.hears_again(way).await) {
                        return Ok(told);
                    }
                }
                work.go_on().await?;
                // From here on it is down by our doing, whatever becomes of this process.
                if !self.note_taken_off(row, way, reason).await? {
                    return Err(SessionError::Busy);
                }
                taken_off = true;
                // One that is off already is as well.
                if let Err(failure) = self.disconnect(way).await {
                    tracing::info!(tenant = %way.scope.tenant(), reason = failure.reason.as_str(),
                        "a deaf session was not taken off the network");
                }
                work.go_on().await?;
                // The server tells that it is connected before it has answered everything.
                begun = Instant::now();
                Ok(self.connect(way).await)
            })
            .await;
        if done.is_err() && !taken_off {
            self.give_turn_back(way, &turn).await?;
        }
        let called = match done? {
            Done::Called(called) => called,
            not_done => {
                self.give_turn_back(way, &turn).await?;
                return Ok(match not_done {
                    Done::Busy => self.at(BUSY.min(self.settings.soon())),
                    _ => self.later(),
                });
            }
        };
        tell_reattached(row, way, reason, called.is_ok());
        Ok(Step::Note {
            outage: if taken_off {
                self.settings.after_taking_off(wishes, called.is_ok())
            } else {
                OutageChange::Same
            },
            hearing: HearingChange::Reattached {
                reason,
                ago: begun.elapsed(),
            },
            next: self.settings.soon(),
        })
    }

    /// Is everything there again without which no event comes?
    async fn hears_again(&self, way: &Way) -> bool {
        let asked = way.endpoint.sessions.status(&way.token);
        let state = self
            .sessions
            .call(&way.scope, &way.endpoint, SessionCall::Status, asked)
            .await;
        state.is_ok_and(|state| lost(way, &state).is_none())
    }

    async fn note_taken_off(
        &self,
        row: &WatchedRow,
        way: &Way,
        reason: &'static str,
    ) -> Result<bool, SessionError> {
        let mut tx = TenantTransaction::begin(&self.sessions.db, &way.scope, "take session off").await?;
        let counts = session_watch::note_taken_off(&mut tx, row, reason).await?;
        tx.commit().await?;
        Ok(counts)
    }

    async fn connect(&self, way: &Way) -> Result<(), SessionFailure> {
        let connecting = way.endpoint.sessions.connect(&way.token, &way.upkeep);
        self.sessions
            .call(&way.scope, &way.endpoint, SessionCall::Connect, connecting)
            .await
            .map(drop)
    }

    async fn disconnect(&self, way: &Way) -> Result<(), SessionFailure> {
        let disconnecting = way.endpoint.sessions.disconnect(&way.token);
        self.sessions
            .call(&way.scope, &way.endpoint, SessionCall::Disconnect, disconnecting)
            .await
            .map(drop)
    }

    /// Several sessions are silent and none of the endpoint is heard: then it may not be the sessions that are deaf but the
    /// way from there to here that is broken, and taking all of them off the network would help nobody. So one of them is
    /// attached anew. When it is heard it is the others' turn; while it is not, another one is tried, after longer and longer
    /// waits.
    async fn turn(&self, way: &Way) -> Result<Turn, SessionError> {
        let endpoint = way.endpoint.name.as_str();
        let mut tx = self.silence_of_endpoints().await?;
        let silence = session_watch::silence(
            &mut tx,
            endpoint,
            self.settings.deaf_after,
            self.settings.believed(),
        )
        .await?;
        if silence.silent < SEVERAL || silence.is_heard {
            tx.commit().await?;
            return Ok(Turn::Free);
        }
        let (holder, wait) = (Uuid::now_v7(), self.settings.canary_wait(silence.attached));
        // Whoever has the lease is attached, and nobody else until it ends.
        let is_canary = lease::hold(&mut tx, &canary(endpoint), holder, wait).await?;
        tx.commit().await?;
        metrics::counter!("kanal_endpoint_silences_total", "endpoint" => endpoint.to_owned()).increment(1);
        tracing::error!(
            endpoint,
            sessions = silence.silent,
            attached = silence.attached,
            is_canary,
            "no event comes from an endpoint although messages go out through it"
        );
        Ok(if is_canary {
            Turn::Canary(holder)
        } else {
            Turn::Taken
        })
    }

    /// It was not attached, so somebody else may be.
    async fn give_turn_back(&self, way: &Way, turn: &Turn) -> Result<(), SessionError> {
        if let Turn::Canary(holder) = turn {
            let mut tx = self.silence_of_endpoints().await?;
            lease::release(&mut tx, &canary(way.endpoint.name.as_str()), *holder).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn silence_of_endpoints(&self) -> Result<PlatformTransaction, SessionError> {
        let platform = PlatformScope::for_purpose("is an endpoint silent");
        Ok(PlatformTransaction::begin(&self.sessions.db, platform).await?)
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
                drop(self.disconnect(way).await);
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
}

/// The lease of an endpoint's canary. As many as there are endpoints.
fn canary(endpoint: &str) -> String {
    format!("canary {endpoint}")
}

fn can_be_taken_off(way: &Way) -> bool {
    way.endpoint.provider != Provider::Gowa
}
