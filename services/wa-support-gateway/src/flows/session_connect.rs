//! Connecting a session because its customer wanted that when it was made (contract §7.3).
//!
//! The wish is in the row until it is fulfilled, so whoever looks after sessions goes on with it. A disconnect ends it,
//! whoever asks for one: nobody's disconnect is undone by a wish that is older.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tenant_isolation::{TenantScope, TenantTransaction};
use tracing::Instrument as _;
use uuid::Uuid;
use whatsapp::session::ManageSession as _;

use super::session_reconcile::platform;
use super::session_work::Work;
use super::sessions::{OpenSession, Sessions};
use crate::error::Error;
use crate::store::session_connects;

/// How long it is tried. By then its customer has seen that it is not connected, and has connected it or has not.
const FOR_SO_LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Waits between tries to end a wish while the database is away.
const TRIES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(25),
];

impl Sessions {
    /// Connects a session whose customer has wanted that since `since`. Whoever disconnected it meanwhile has the last
    /// word: it is taken off again.
    ///
    /// # Errors
    /// [`Error::Upstream`], [`Error::SessionBusy`], [`Error::Database`]; the wish stays.
    pub(super) async fn connect_as_wanted(
        &self,
        work: &Work,
        session: &OpenSession,
        since: DateTime<Utc>,
    ) -> Result<(), Error> {
        let (calls, token) = (&self.wa.sessions, session.session_token()?);
        let webhook = self.wa_webhook(session);
        // Before it is connected, too, so that the very first event is signed.
        calls.set_hmac_key(&token, &webhook.hmac_key).await?;
        calls.connect_for(&token, &webhook.events).await?;
        let mut tx = self.still_ours(work, "session is connected").await?;
        let wanted = session_connects::fulfilled(&mut tx, work.session, since).await?;
        tx.commit().await?;
        if !wanted {
            tracing::info!(session = %work.session, "a session was disconnected while it was being connected; it is taken off again");
            if let Err(error) = calls.disconnect(&token).await {
                tracing::warn!(%error, session = %work.session, "a session could not be taken off again");
            }
        }
        Ok(())
    }

    /// Somebody disconnects the session: it is not to be connected any more because of what was wanted before.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn end_connect_wish(&self, scope: &TenantScope, session: Uuid) -> Result<(), Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "end connect wish").await?;
        session_connects::end(&mut tx, session).await?;
        Ok(tx.commit().await?)
    }

    /// As [`Self::end_connect_wish`], in the background.
    pub(crate) fn end_connect_wish_soon(&self, scope: TenantScope, session: Uuid) {
        let this = self.clone();
        let work = async move {
            let mut waits = TRIES.into_iter();
            while let Err(error) = this.end_connect_wish(&scope, session).await {
                let wait = waits.next();
                tracing::warn!(error = %error, %session, again = wait.is_some(), "a disconnected session may be connected again");
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => break,
                }
            }
        };
        drop(self.process.spawn(work.in_current_span()));
    }

    /// Sessions that nobody could connect for a day are left as they are.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(super) async fn give_up_connecting(&self) -> Result<(), Error> {
        let mut tx = platform(self, "give up connecting").await?;
        let given_up = session_connects::give_up(&mut tx, FOR_SO_LONG).await?;
        tx.commit().await?;
        for session in given_up {
            tracing::warn!(%session, "a session was to be connected and could not be, for a day; nobody tries it any more");
        }
        Ok(())
    }
}
