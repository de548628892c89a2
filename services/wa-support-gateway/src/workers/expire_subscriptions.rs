//! The minute job (contract §10): marks subscriptions whose end has passed, takes the sessions of their customers off
//! WhatsApp where that is wanted, and removes keys that have ended.
//!
//! Requests are judged by the moment itself, so nothing waits for this. Any number of processes may run it: one at a
//! time marks, and each session is one process's for the time of a round. What was missed while the service was down is
//! done in the first round after.

use std::time::Instant;

use database::{Database, DatabaseError};
use domain::ids::TenantId;
use futures_util::{StreamExt as _, stream};
use runtime::encryption::KeyRing;
use runtime::shutdown::Shutdown;
use secrecy::ExposeSecret as _;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use whatsapp::credentials::SessionToken;
use whatsapp::session::{FailureReason, ManageSession as _, SessionFailure};

use crate::config::{BusinessZone, ExpiredSessions, ExpirySettings};
use crate::flows::sessions::Sessions;
use crate::flows::standing::Standings;
use crate::secrets;
use crate::state::Gateway;
use crate::store::expired_sessions::{self, DueRow};
use crate::store::{api_keys, session_connects, session_switches, terms};

const PURPOSE: PlatformScope = PlatformScope::for_purpose("expire subscriptions");

/// Sessions that are taken at once, and keys that are removed at once.
const BATCH: i64 = 100;

/// Sessions that are disconnected at the same time.
const AT_ONCE: usize = 8;

/// Looks for ended subscriptions until the end.
pub(crate) struct ExpireSubscriptions {
    db: Database,
    standings: Standings,
    keys: KeyRing,
    sessions: Sessions,
    zone: BusinessZone,
    settings: ExpirySettings,
    shutdown: Shutdown,
}

impl ExpireSubscriptions {
    pub(crate) fn new(
        gateway: &Gateway,
        zone: BusinessZone,
        settings: ExpirySettings,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            db: gateway.db.clone(),
            standings: gateway.standings.clone(),
            keys: gateway.keys.clone(),
            sessions: gateway.sessions.clone(),
            zone,
            settings,
            shutdown,
        }
    }

    /// Marks and disconnects, each at its own pace: a WA server that is away must not hold up the marking.
    pub(crate) async fn run(self) {
        let disconnecting = async {
            if self.settings.sessions == ExpiredSessions::Disconnect {
                self.again_and_again("disconnect", || self.disconnect_due()).await;
            }
        };
        tokio::join!(self.again_and_again("mark", || self.mark()), disconnecting);
    }

    async fn again_and_again<F>(&self, what: &'static str, round: impl Fn() -> F)
    where
        F: Future<Output = Result<(), DatabaseError>>,
    {
        loop {
            if let Err(error) = round().await {
                tracing::warn!(error = ?error, what, "ended subscriptions could not be worked on, next round again");
            }
            if !self.shutdown.sleep(self.settings.every).await {
                return;
            }
        }
    }

    async fn mark(&self) -> Result<(), DatabaseError> {
        self.expire().await?;
        self.remove_ended_keys().await
    }

    async fn expire(&self) -> Result<(), DatabaseError> {
        let note_sessions = self.settings.sessions == ExpiredSessions::Disconnect;
        let mut tx = PlatformTransaction::begin(&self.db, PURPOSE).await?;
        let Some(ended) = terms::expire(&mut tx, note_sessions).await? else {
            return Ok(());
        };
        tx.commit().await?;
        for row in ended {
            metrics::counter!("kanal_subscriptions_expired_total").increment(1);
            tracing::info!(
                tenant = row.tenant_id,
                ended_at = self.zone.show(row.expires_at),
                zone = %self.zone,
                "a subscription has ended"
            );
            if let Some(scope) = scope_of(row.tenant_id) {
                self.standings.forget(&scope).await;
            }
        }
        Ok(())
    }

    /// Tries each session that is due, once; one that is not done is due again in the next round.
    async fn disconnect_due(&self) -> Result<(), DatabaseError> {
        let again = self.settings.every.mul_f64(0.9);
        let began = Instant::now();
        let mut tx = PlatformTransaction::begin(&self.db, PURPOSE).await?;
        expired_sessions::forget_renewed(&mut tx).await?;
        tx.commit().await?;
        // A round that lasts so long meets the first ones again.
        while began.elapsed() < again && !self.shutdown.has_begun() {
            let mut tx = PlatformTransaction::begin(&self.db, PURPOSE).await?;
            let due = expired_sessions::take_due(&mut tx, again, BATCH).await?;
            tx.commit().await?;
            if due.is_empty() {
                break;
            }
            let trying = stream::iter(due).map(|row| self.disconnect(row));
            let mut tried = trying.buffer_unordered(AT_ONCE);
            while let Some(done) = tried.next().await {
                done?;
                if self.shutdown.has_begun() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn disconnect(&self, row: DueRow) -> Result<(), DatabaseError> {
        let Some(scope) = scope_of(row.tenant_id) else {
            return Ok(());
        };
        // Asked again right before: a customer may have been renewed while others' sessions were taken off.
        let mut tx = TenantTransaction::begin(&self.db, &scope, "is session to be disconnected").await?;
        let due = expired_sessions::is_due(&mut tx, row.session).await?;
        let mut tried = false;
        if due {
            session_connects::end(&mut tx, row.session).await?;
            tried = session_switches::take_off_if_tried(&mut tx, row.session).await?;
        }
        let asked = session_switches::asked(&mut tx, row.session).await?;
        tx.commit().await?;
        if !due {
            return Ok(());
        }
        if tried {
            // A connect of ours may make it run yet, whatever the WA server says of it now.
            self.sessions.take_off_soon(scope.clone(), row.session);
        }
        let binding = secrets::token_binding(&scope, row.session);
        let token = self.keys.open(&row.token_sealed, &binding);
        let Some(token) = token
            .ok()
            .and_then(|token| SessionToken::new(token.expose_secret()).ok())
        else {
            tracing::error!(tenant = %scope.tenant(), session = %row.session, "a session's token does not open");
            return Ok(());
        };
        match self.take_off(&token).await {
            Ok(()) => {
                let mut tx = TenantTransaction::begin(&self.db, &scope, "session is disconnected").await?;
                expired_sessions::done(&mut tx, row.session).await?;
                // Of a customer that was renewed meanwhile.
                let again = self
                    .sessions
                    .connect_if_on_since(&mut tx, row.session, asked)
                    .await?;
                tx.commit().await?;
                if again {
                    self.sessions.keep_soon(scope, row.session, true);
                    return Ok(());
                }
                metrics::counter!("kanal_expired_sessions_disconnected_total").increment(1);
                tracing::info!(tenant = %scope.tenant(), session = %row.session, "an ended customer's session is disconnected");
            }
            Err(error) => {
                tracing::warn!(tenant = %scope.tenant(), session = %row.session, tries = row.tries, %error, "an ended customer's session is still connected, next round again");
            }
        }
        Ok(())
    }

    /// One that is off, or that the WA server does not know, is left so.
    async fn take_off(&self, token: &SessionToken) -> Result<(), SessionFailure> {
        use FailureReason::{NoSession, NotConnected, UnknownToken};
        match self.sessions.wa.sessions.disconnect(token).await {
            Err(failure) if !matches!(failure.reason, NoSession | NotConnected | UnknownToken) => {
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    async fn remove_ended_keys(&self) -> Result<(), DatabaseError> {
        loop {
            let mut tx = PlatformTransaction::begin(&self.db, PURPOSE).await?;
            let removed = api_keys::remove_ended(&mut tx, BATCH).await?;
            tx.commit().await?;
            if i64::try_from(removed).unwrap_or(i64::MAX) < BATCH {
                return Ok(());
            }
        }
    }
}

fn scope_of(tenant: String) -> Option<TenantScope> {
    let tenant = TenantId::parse(tenant).ok()?;
    Some(TenantScope::of_swept_row(&PURPOSE, tenant))
}
