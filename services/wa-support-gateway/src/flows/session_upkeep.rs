//! Telling the WA server again what it forgets: the key, inline media, where events go and which of them (contract §9.1).
//!
//! A connect overwrites the server's list of events, and its cache loses key and media at odd moments, so all of it is
//! repeated after every connect. The row remembers that it is due until it was done; with it, whatever a change that
//! failed may have left on the server's record is told again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;
use uuid::Uuid;
use whatsapp::credentials::SessionToken;
use whatsapp::genfity::WaUserEdit;

use super::session_work::{Which, Work};
use super::sessions::{OpenSession, Sessions, is_worth_another_try};
use crate::error::Error;
use crate::store::{directory, sessions};

/// Waits between tries. After the last one it is the sweep's.
const TRIES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// When a session that did not run is told again that it keeps no history, if nobody connects it before: the sweep finds
/// those that were begun to run without us.
pub(super) const HISTORY_AGAIN_AFTER: Duration = Duration::from_secs(15 * 60);

/// Sessions that are kept at the same time.
const AT_ONCE: usize = 32;

/// Sessions that may wait for it. Of more the next comparison with the WA server takes care.
const WAITING: usize = 10_000;

/// What came of telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The WA server knows all of it.
    All,
    /// All but that it is to keep no history: it takes that for running sessions only, so it is told with a connect, or by
    /// the sweep.
    AllButHistory,
}

/// Which sessions are being kept in the background by this process, or taken off.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    /// Each with whether it is wanted once more.
    running: Arc<Mutex<BTreeMap<Uuid, bool>>>,
    places: Arc<Semaphore>,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            running: Arc::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Keeper {
    /// True: nobody keeps it, so whoever asked does.
    pub(super) fn begin(&self, session: Uuid) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = running.len();
        match running.get_mut(&session) {
            Some(again) => {
                *again = true;
                false
            }
            None if waiting >= WAITING => {
                tracing::warn!(%session, "too many sessions wait for work in the background");
                false
            }
            None => {
                running.insert(session, false);
                true
            }
        }
    }

    /// Waits for a place; few work at the same time.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// True: it was wanted again meanwhile.
    pub(super) fn end(&self, session: Uuid) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.get_mut(&session) {
            Some(again) if *again => {
                *again = false;
                true
            }
            _ => {
                running.remove(&session);
                false
            }
        }
    }
}

impl Sessions {
    /// Tells the WA server in the background. With `connect`, and as long as its customer wants that, the session is
    /// connected first.
    pub(crate) fn keep_soon(&self, scope: TenantScope, session: Uuid, connect: bool) {
        if !self.keeper.begin(session) {
            return;
        }
        let this = self.clone();
        let work = async move {
            let place = this.keeper.place().await;
            loop {
                this.keep_with_tries(&scope, session, connect).await;
                if !this.keeper.end(session) {
                    break;
                }
            }
            drop(place);
        };
        drop(self.process.spawn(work.in_current_span()));
    }

    async fn keep_with_tries(&self, scope: &TenantScope, session: Uuid, connect: bool) {
        if let Err(error) = self.note_upkeep(scope, session).await {
            tracing::warn!(error = %error, %session, "a session could not be marked for upkeep");
        }
        let mut waits = TRIES.into_iter();
        loop {
            let error = match self.keep(scope, session, connect).await {
                Ok(told) => {
                    metrics::counter!("kanal_session_upkeep_total", "outcome" => "done").increment(1);
                    // A session that was just connected may not run yet.
                    match waits.next().filter(|_| told == Told::AllButHistory) {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => return,
                    }
                    continue;
                }
                Err(error) => error,
            };
            let wait = waits.next().filter(|_| is_worth_another_try(&error));
            tracing::warn!(error = %error, %session, again = wait.is_some(), "the WA server was not told what it forgets");
            metrics::counter!("kanal_session_upkeep_total", "outcome" => "failed").increment(1);
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return,
            }
        }
    }

    async fn note_upkeep(&self, scope: &TenantScope, session: Uuid) -> Result<(), Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "note session upkeep").await?;
        sessions::set_upkeep_due(&mut tx, session).await?;
        Ok(tx.commit().await?)
    }

    /// Tells the WA server now. With `connect`, and as long as its customer wants that, the session is connected first.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`] when the session went away meanwhile, [`Error::SessionBusy`], [`Error::Upstream`],
    /// [`Error::NotTaken`].
    pub(crate) async fn keep(
        &self,
        scope: &TenantScope,
        session: Uuid,
        connect: bool,
    ) -> Result<Told, Error> {
        let (work, open) = self.begin_work(scope, Which::Id(session)).await?;
        let kept = self.keep_now(&work, &open, connect).await;
        self.ended_if_failed(&work, kept).await
    }

    /// As [`Self::keep`], for whoever works on the session; the work has ended when it succeeds.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub(super) async fn keep_now(
        &self,
        work: &Work,
        session: &OpenSession,
        connect: bool,
    ) -> Result<Told, Error> {
        let row = &session.row;
        if row.phase != sessions::READY {
            return Err(Error::SessionNotFound);
        }
        let connected = match row.connect_wanted.filter(|_| connect) {
            Some(since) => self.connect_as_wanted(work, session, since).await,
            None => Ok(()),
        };
        match connected {
            // It answers: what it has to know of the session besides does not wait until it can be connected.
            Err(Error::Upstream(ref refusal)) if refusal.status().is_some() => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        if row.record_due {
            self.tell_record(session).await?;
        }
        let told = if row.history_due && row.history == 0 {
            self.tell_no_history(&session.session_token()?).await?
        } else {
            Told::All
        };
        self.tell_all(session, false).await?;
        let mut tx = self.still_ours(work, "session upkeep done").await?;
        if told == Told::AllButHistory {
            sessions::put_upkeep_off(&mut tx, work.session, row.upkeep_due, HISTORY_AGAIN_AFTER).await?;
        } else {
            sessions::set_upkept(&mut tx, work.session, row.upkeep_due).await?;
        }
        if row.record_due || row.history_due {
            sessions::set_record_due(&mut tx, work.session, false, told == Told::AllButHistory).await?;
        }
        if row.record_due {
            // The server calls it by this name and by no other, so the others are free.
            let kept = (directory::SESSION_NAME, row.session_name.as_str());
            directory::release(&mut tx, work.session, Some(kept)).await?;
        }
        self.commit_and_end(tx, work).await?;
        connected.map(|()| told)
    }

    /// Tells the WA server again what it keeps on record of a session.
    async fn tell_record(&self, session: &OpenSession) -> Result<(), Error> {
        let row = &session.row;
        let edit = WaUserEdit {
            name: Some(&row.session_name),
            expiration: Some(row.expiration_sec),
            history: Some(i64::from(row.history)),
        };
        let id = row.session_id.as_deref().unwrap_or_default();
        if !self.wa.admin.edit_user(id, edit).await? {
            // It lost the session, or has it under another id; the next comparison finds out.
            return Err(Error::NotTaken);
        }
        Ok(())
    }

    /// Tells the WA server to keep no history, which it takes for running sessions only.
    ///
    /// # Errors
    /// [`Error::Upstream`].
    pub(super) async fn tell_no_history(&self, token: &SessionToken) -> Result<Told, Error> {
        match self.wa.sessions.set_history(token, 0).await {
            Ok(()) => Ok(Told::All),
            Err(error) if error.said() == Some("no session") => Ok(Told::AllButHistory),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells the WA server what to sign with, just before a session is connected through the proxy: its very first events
    /// are checked, too. That it could not be told is no reason not to connect; the upkeep behind it tells it again.
    pub(crate) async fn sign_first(&self, scope: &TenantScope, session: Uuid) {
        if let Err(error) = self.tell_key(scope, session).await {
            tracing::warn!(error = %error, %session, "the WA server could not be told a session's key before its connect");
        }
    }

    async fn tell_key(&self, scope: &TenantScope, session: Uuid) -> Result<(), Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "sign before connect").await?;
        let row = sessions::find(&mut tx, session)
            .await?
            .ok_or(Error::SessionNotFound)?;
        tx.commit().await?;
        let session = self.open(scope, row)?;
        let key = self.wa_webhook(&session).hmac_key;
        Ok(self
            .wa
            .sessions
            .set_hmac_key(&session.session_token()?, &key)
            .await?)
    }

    /// All that the WA server has to know of a session.
    ///
    /// # Errors
    /// [`Error::Upstream`], [`Error::NotTaken`].
    pub(crate) async fn tell_all(&self, session: &OpenSession, connect: bool) -> Result<(), Error> {
        let (calls, token) = (&self.wa.sessions, session.session_token()?);
        let webhook = self.wa_webhook(session);
        if connect {
            // Before it is connected, too, so that the very first event is signed.
            calls.set_hmac_key(&token, &webhook.hmac_key).await?;
            calls.connect_for(&token, &webhook.events).await?;
        }
        calls.set_hmac_key(&token, &webhook.hmac_key).await?;
        calls.set_inline_media(&token).await?;
        self.tell_webhook(&token, &webhook).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_kept_by_one_task_and_once_more_when_it_was_wanted_meanwhile() {
        let (keeper, session) = (Keeper::default(), Uuid::now_v7());
        assert!(keeper.begin(session));
        assert!(!keeper.begin(session) && !keeper.begin(session));
        assert!(keeper.begin(Uuid::now_v7()), "others are not held up");
        assert!(keeper.end(session), "once more, however often it was wanted");
        assert!(!keeper.end(session));
        assert!(keeper.begin(session));
    }
}
