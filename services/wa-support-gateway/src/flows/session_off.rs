//! The newest wish of a session's customer wins: connected or not.
//!
//! A connect of ours may still be under way when the customer disconnects the session, or when its subscription ends. The
//! WA server answers a connect before the session runs and says of one that does not run yet that there is none, so a
//! disconnect right behind it may do nothing. That we began is noted before it goes out ([`super::session_connect`]);
//! whoever wants the session off within the next minutes notes that, too, and it is taken off until the WA server says
//! that it was, or nothing can make it run any more. The note is in the database: what a process leaves behind that dies,
//! the sweep finishes. A WA server that does not do it for a day is not asked any more: that is logged, and noted among
//! what was done to the customer's sessions.
//!
//! And a disconnect of ours may be under way when the customer connects the session. Its connect ends what was to be taken
//! off, and is counted; whoever finds after its disconnect that the session was connected meanwhile connects it again.

use std::time::Duration;

use database::DatabaseError;
use tenant_isolation::{TenantScope, TenantTransaction};
use tracing::Instrument as _;
use uuid::Uuid;
use whatsapp::session::{FailureReason, ManageSession as _};

use super::session_reconcile::platform;
use super::session_work::{Which, Work};
use super::sessions::{OpenSession, Sessions};
use crate::error::Error;
use crate::store::{session_connects, session_switches, sessions};

/// Waits between tries. After the last one it is the sweep's.
const TRIES: [Duration; 8] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
];

/// How long the sweep goes on with it. What the WA server has not done by then it does not do because it is asked again,
/// and its customer has seen that the session still runs.
const FOR_SO_LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Sessions that are given up in one round.
const GIVEN_UP: i64 = 500;

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakenOff {
    /// The session is off, or not to be taken off any more.
    Done,
    /// It is to be tried again.
    NotYet,
}

impl Sessions {
    /// Its customer is about to connect the session, or to disconnect it: that is what is wanted of it from now on. True: a
    /// connect of ours may undo the disconnect, so the session is to be [taken off](Self::take_off_soon) behind it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn switch(&self, scope: &TenantScope, session: Uuid, on: bool) -> Result<bool, Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "session is switched").await?;
        if !on {
            session_connects::end(&mut tx, session).await?;
        }
        session_switches::ask(&mut tx, session, on).await?;
        let off = !on && session_switches::take_off_if_tried(&mut tx, session).await?;
        tx.commit().await?;
        Ok(off)
    }

    /// Takes a session off in the background, if that is noted.
    pub(crate) fn take_off_soon(&self, scope: TenantScope, session: Uuid) {
        if !self.switcher.begin(session) {
            return;
        }
        let this = self.clone();
        let work = async move {
            let place = this.switcher.place().await;
            loop {
                this.take_off_with_tries(&scope, session).await;
                if !this.switcher.end(session) {
                    break;
                }
            }
            drop(place);
        };
        drop(self.process.spawn(work.in_current_span()));
    }

    async fn take_off_with_tries(&self, scope: &TenantScope, session: Uuid) {
        let mut waits = TRIES.into_iter();
        loop {
            match self.take_off(scope, session).await {
                Ok(TakenOff::Done) => return,
                Ok(TakenOff::NotYet) => {}
                Err(error) => {
                    tracing::warn!(error = %error, %session, "a session could not be taken off yet");
                }
            }
            match waits.next() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return,
            }
        }
    }

    /// Takes a session off, if that is noted.
    ///
    /// # Errors
    /// [`Error::SessionBusy`], [`Error::Database`].
    pub(crate) async fn take_off(&self, scope: &TenantScope, session: Uuid) -> Result<TakenOff, Error> {
        let (work, open) = match self.begin_work(scope, Which::Id(session)).await {
            // Gone, and what was noted with it.
            Err(Error::SessionNotFound) => return Ok(TakenOff::Done),
            begun => begun?,
        };
        let done = self.take_off_now(&work, &open).await;
        let (done, connect) = self.ended_if_failed(&work, done).await?;
        if connect {
            tracing::info!(%session, "a session was connected while it was being taken off; it is connected again");
            self.keep_soon(scope.clone(), session, true);
        }
        Ok(done)
    }

    /// Sessions that nobody could take off for a day are left as they are.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(super) async fn give_up_taking_off(&self) -> Result<(), Error> {
        let mut tx = platform(self, "sessions that cannot be taken off").await?;
        let overdue = session_switches::overdue(&mut tx, FOR_SO_LONG, GIVEN_UP).await?;
        tx.commit().await?;
        for swept in overdue {
            let mut tx = TenantTransaction::begin(&self.db, &swept.scope, "give up taking off").await?;
            let given_up = session_switches::give_up(&mut tx, swept.id, FOR_SO_LONG).await?;
            if let (true, Some(session)) = (given_up, sessions::find(&mut tx, swept.id).await?) {
                self.audit_giving_up(&mut tx, &session).await?;
            }
            tx.commit().await?;
            if given_up {
                metrics::counter!("kanal_sessions_swept_total", "work" => "take off", "outcome" => "given up")
                    .increment(1);
                tracing::error!(
                    session = %swept.id,
                    tenant = %swept.scope.tenant(),
                    "a session was to be disconnected and could not be, for a day; nobody tries it any more, and it may still run"
                );
            }
        }
        Ok(())
    }

    async fn take_off_now(&self, work: &Work, session: &OpenSession) -> Result<(TakenOff, bool), Error> {
        let mut tx = self.still_ours(work, "is session to be taken off").await?;
        let Some(off) = session_switches::to_take_off(&mut tx, work.session).await? else {
            self.commit_and_end(tx, work).await?;
            return Ok((TakenOff::Done, false));
        };
        tx.commit().await?;
        let done = match self.wa.sessions.disconnect(&session.session_token()?).await {
            Ok(_) => true,
            Err(failure) => match failure.reason {
                FailureReason::UnknownToken => true,
                // It may only not run yet.
                FailureReason::NoSession | FailureReason::NotConnected => off.settled,
                _ => {
                    tracing::warn!(error = %failure, session = %work.session, "a session is not taken off yet");
                    false
                }
            },
        };
        let mut tx = self.still_ours(work, "session is taken off").await?;
        if done {
            session_switches::is_off(&mut tx, work.session, off.since).await?;
        }
        // Whatever became of the call: without an answer it may have done its work.
        let connect = self.connect_if_on_since(&mut tx, work.session, off.asked).await?;
        self.commit_and_end(tx, work).await?;
        let done = if done { TakenOff::Done } else { TakenOff::NotYet };
        Ok((done, connect))
    }

    /// A session was taken off whose customer had switched it so often by then. True: it was connected meanwhile, and is to
    /// be connected again.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(crate) async fn connect_if_on_since(
        &self,
        tx: &mut TenantTransaction,
        session: Uuid,
        asked: i64,
    ) -> Result<bool, DatabaseError> {
        let on = session_switches::is_on_since(tx, session, asked).await?;
        if on {
            sessions::set_upkeep_due(tx, session).await?;
            session_connects::want(tx, session).await?;
        }
        Ok(on)
    }
}
