//! Telling the WA server again what it forgets: the key, inline media, where events go and which of them (contract §9.1).
//!
//! A connect overwrites the server's list of events, and its cache loses key and media at odd moments, so all of it is
//! repeated after every connect. The row remembers that it is due until it was done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use uuid::Uuid;

use super::session_work::{Which, Work};
use super::sessions::{OpenSession, Sessions, is_worth_another_try};
use crate::error::Error;
use crate::store::sessions;

/// Waits between tries. After the last one it is the sweep's.
const TRIES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Sessions that are kept at the same time.
const AT_ONCE: usize = 32;

/// Sessions that may wait for it. Of more the next comparison with the WA server takes care.
const WAITING: usize = 10_000;

/// Which sessions are being kept in the background by this process.
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
    fn begin(&self, session: Uuid) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = running.len();
        match running.get_mut(&session) {
            Some(again) => {
                *again = true;
                false
            }
            None if waiting >= WAITING => {
                tracing::warn!(%session, "too many sessions wait for upkeep");
                false
            }
            None => {
                running.insert(session, false);
                true
            }
        }
    }

    /// True: it was wanted again meanwhile.
    fn end(&self, session: Uuid) -> bool {
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
    /// Tells the WA server in the background, and connects the session first where that is wanted.
    pub(crate) fn keep_soon(&self, scope: TenantScope, session: Uuid, connect: bool) {
        if !self.keeper.begin(session) {
            return;
        }
        let this = self.clone();
        let work = async move {
            let place = this.keeper.places.acquire().await;
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
            let Err(error) = self.keep(scope, session, connect).await else {
                metrics::counter!("kanal_session_upkeep_total", "outcome" => "done").increment(1);
                return;
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

    /// Tells the WA server now.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`] when the session went away meanwhile, [`Error::SessionBusy`], [`Error::Upstream`],
    /// [`Error::NotTaken`].
    pub(crate) async fn keep(&self, scope: &TenantScope, session: Uuid, connect: bool) -> Result<(), Error> {
        let (work, open) = self.begin_work(scope, Which::Id(session)).await?;
        let kept = self.keep_now(&work, &open, connect).await;
        self.ended_if_failed(&work, kept).await
    }

    async fn keep_now(&self, work: &Work, session: &OpenSession, connect: bool) -> Result<(), Error> {
        if session.row.phase != sessions::READY {
            return Err(Error::SessionNotFound);
        }
        self.tell_all(session, connect).await?;
        let mut tx = self.still_ours(work, "session upkeep done").await?;
        sessions::set_upkept(&mut tx, work.session, session.row.upkeep_due).await?;
        self.commit_and_end(tx, work).await
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
