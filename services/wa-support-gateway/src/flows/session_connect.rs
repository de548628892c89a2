//! Connecting a session because its customer wanted that when it was made (contract §7.3).
//!
//! The wish is in the row until it is fulfilled, so whoever looks after sessions goes on with it. A disconnect ends it,
//! whoever asks for one: nobody's disconnect is undone by a wish that is older.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::session_reconcile::platform;
use super::session_work::Work;
use super::sessions::{OpenSession, Sessions};
use crate::error::Error;
use crate::store::{session_connects, session_switches};

/// How long it is tried. By then its customer has seen that it is not connected, and has connected it or has not.
const FOR_SO_LONG: Duration = Duration::from_secs(24 * 60 * 60);

impl Sessions {
    /// Connects a session whose customer has wanted that since `since`, unless somebody has disconnected it meanwhile. Who
    /// does that later has the last word all the same: it finds noted that this was begun, and takes the session off
    /// ([`super::session_off`]).
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
        let mut tx = self.still_ours(work, "is session still to be connected").await?;
        let wanted = session_connects::is_wanted(&mut tx, work.session, since).await?;
        if wanted {
            session_switches::try_to_connect(&mut tx, work.session).await?;
        }
        tx.commit().await?;
        if !wanted {
            tracing::info!(session = %work.session, "a session was disconnected before it was connected; it is left so");
            return Ok(());
        }
        calls.connect_for(&token, &webhook.events).await?;
        let mut tx = self.still_ours(work, "session is connected").await?;
        session_connects::fulfilled(&mut tx, work.session, since).await?;
        Ok(tx.commit().await?)
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
