//! A session is removed: there first, here only when it is gone there.

use std::sync::Arc;

use domain::endpoint::Provider;
use domain::ids::AccountId;
use runtime::encryption::EncryptionError;
use tenant_isolation::TenantScope;
use whatsapp::credentials::SessionToken;
use whatsapp::genfity::Removal;
use whatsapp::session::FailureReason;

use super::call::SessionCall;
use super::work::Work;
use super::{SessionError, Sessions, Which};
use crate::endpoints::LiveEndpoint;
use crate::flows::tenant::Actor;
use crate::store::session::{self, SessionRow, SessionVia};
use crate::store::{account, audit, channel_account, device};

/// Why a session is removed, for the audit log.
pub(super) struct Removing<'a> {
    pub(super) action: &'static str,
    pub(super) detail: Option<String>,
    pub(super) actor: &'a Actor,
}

/// A session as it is known to whoever removes it where it runs.
pub(super) struct Outside<'a> {
    pub(super) endpoint: Arc<LiveEndpoint>,
    /// Who made it; none when nobody wrote that down.
    pub(super) via: Option<&'a str>,
    pub(super) session_id: Option<&'a str>,
    /// None when it does not open.
    pub(super) token: Option<SessionToken>,
}

impl Sessions {
    /// Removes the tenant's session. The account stays, and its chats with it. False when there was none.
    ///
    /// # Errors
    /// [`SessionError`]; the session is still there then, and so is everything that is needed to try again.
    pub async fn delete(&self, scope: &TenantScope, actor: &Actor) -> Result<bool, SessionError> {
        let removing = Removing {
            action: "session.delete",
            detail: None,
            actor,
        };
        self.remove(scope, Which::Primary, &removing).await
    }

    pub(super) async fn remove(
        &self,
        scope: &TenantScope,
        which: Which,
        removing: &Removing<'_>,
    ) -> Result<bool, SessionError> {
        let work = self.begin_work(scope).await?;
        let removed = self.remove_under(&work, which, removing).await;
        work.end().await;
        removed
    }

    pub(super) async fn remove_under(
        &self,
        work: &Work<'_>,
        which: Which,
        removing: &Removing<'_>,
    ) -> Result<bool, SessionError> {
        // One that was only begun goes, too, and was none.
        self.abandon(work, which, removing.actor).await?;
        let Some(row) = self.find(work.scope(), which).await? else {
            return Ok(false);
        };
        self.remove_outside(work, &row).await?;
        self.forget_session(work, &row, removing).await?;
        Ok(true)
    }

    pub(super) async fn remove_outside(&self, work: &Work<'_>, row: &SessionRow) -> Result<(), SessionError> {
        if row.is_number() {
            return Ok(());
        }
        let outside = Outside {
            endpoint: self.endpoint(row)?,
            via: row.session_via.as_deref(),
            session_id: row.session_id.as_deref(),
            token: self.token(work.scope(), row).ok(),
        };
        self.remove_there(work, &outside).await
    }

    /// Logs a session out and removes it, wherever it is.
    pub(super) async fn remove_there(
        &self,
        work: &Work<'_>,
        outside: &Outside<'_>,
    ) -> Result<(), SessionError> {
        let logged_out = self.log_out(work, outside).await?;
        let Some(via) = outside.via else {
            return self.remove_registered_by_hand(work, outside, logged_out).await;
        };
        match SessionVia::parse(via) {
            Some(SessionVia::DryRun | SessionVia::Cloud) => Ok(()),
            Some(SessionVia::Gateway) => self.remove_at_gateway(work, outside).await.map(drop),
            Some(SessionVia::Gowa) => remove_at_gowa(work, outside).await,
            Some(SessionVia::Server) => remove_at_server(work, outside).await.map(drop),
            None => Err(SessionError::NotConfigured),
        }
    }

    /// Best effort: a session that is removed is logged out by that, too. True when nothing is left to log out.
    async fn log_out(&self, work: &Work<'_>, outside: &Outside<'_>) -> Result<bool, SessionError> {
        work.go_on().await?;
        let Some(token) = &outside.token else {
            return Ok(false);
        };
        let endpoint = &outside.endpoint;
        match self
            .call(
                work.scope(),
                endpoint,
                SessionCall::Logout,
                endpoint.sessions.logout(token),
            )
            .await
        {
            Ok(_) => Ok(true),
            Err(failure) => Ok(matches!(
                failure.reason,
                FailureReason::NoSession
                    | FailureReason::NotConnected
                    | FailureReason::NotLoggedIn
                    | FailureReason::UnknownToken
                    | FailureReason::NotVisible
            )),
        }
    }

    /// Nobody wrote down where it was made, so it is looked for wherever we can look.
    async fn remove_registered_by_hand(
        &self,
        work: &Work<'_>,
        outside: &Outside<'_>,
        logged_out: bool,
    ) -> Result<(), SessionError> {
        let endpoint = &outside.endpoint;
        if endpoint.provider == Provider::Gowa {
            return remove_at_gowa(work, outside).await;
        }
        let mut removed = false;
        if endpoint.gateway().is_ok() && self.customer_key(work.scope(), &endpoint.name).await?.is_some() {
            removed = self.remove_at_gateway(work, outside).await? == Removal::Removed;
        }
        if !removed && endpoint.server().is_ok() {
            remove_at_server(work, outside).await?;
            return Ok(());
        }
        // Nobody here can remove it; what is unlinked from the phone is not usable by anybody.
        if removed || logged_out {
            Ok(())
        } else {
            Err(SessionError::NotConfigured)
        }
    }

    async fn remove_at_gateway(
        &self,
        work: &Work<'_>,
        outside: &Outside<'_>,
    ) -> Result<Removal, SessionError> {
        let gateway = outside.endpoint.gateway()?;
        let Some(id) = outside.session_id else {
            return Ok(Removal::WasAbsent);
        };
        // Also renews a key that was replaced behind our back.
        let (key, _) = self.listed(work, &outside.endpoint).await?;
        work.go_on().await?;
        Ok(gateway.delete_session(&key, id).await?)
    }

    /// The names go with the session: an account without keys must not be reached by a name alone.
    async fn forget_session(
        &self,
        work: &Work<'_>,
        row: &SessionRow,
        removing: &Removing<'_>,
    ) -> Result<(), SessionError> {
        let account = AccountId::from_uuid(row.id);
        let mut tx = work.transaction("forget session").await?;
        let names = account::unregister_all(&mut tx, account).await?;
        session::clear(&mut tx, account).await?;
        if account::is_primary(&mut tx, account).await? {
            channel_account::lose_number(&mut tx).await?;
        }
        device::end(&mut tx, account).await?;
        let mut act = removing
            .actor
            .act(removing.action, Some(row.instance_name.clone()));
        act.detail.clone_from(&removing.detail);
        audit::note(&mut tx, &act).await?;
        tx.commit().await?;
        for (kind, name) in names {
            self.routes.forget(kind, &name).await;
        }
        self.changed(work.scope(), account).await;
        Ok(())
    }
}

async fn remove_at_gowa(work: &Work<'_>, outside: &Outside<'_>) -> Result<(), SessionError> {
    let devices = outside.endpoint.devices()?;
    let id = outside.token.as_ref();
    let id = id.ok_or(SessionError::Encryption(EncryptionError::DoesNotOpen))?;
    work.go_on().await?;
    devices.remove(id).await?;
    Ok(())
}

async fn remove_at_server(work: &Work<'_>, outside: &Outside<'_>) -> Result<Removal, SessionError> {
    let server = outside.endpoint.server()?;
    let Some(id) = outside.session_id else {
        return Ok(Removal::WasAbsent);
    };
    work.go_on().await?;
    Ok(server.delete_user(id).await?)
}
