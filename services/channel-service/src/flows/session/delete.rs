//! A session is removed: there first, here only when it is gone there.

use domain::endpoint::Provider;
use domain::ids::AccountId;
use tenant_isolation::TenantScope;
use whatsapp::genfity::{Removal, SupportGateway, WaAdmin};
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
        let endpoint = self.endpoint(row)?;
        let logged_out = self.log_out(work, &endpoint, row).await?;
        let Some(via) = row.session_via.as_deref() else {
            return self
                .remove_registered_by_hand(work, &endpoint, row, logged_out)
                .await;
        };
        match SessionVia::parse(via) {
            Some(SessionVia::DryRun | SessionVia::Cloud) => Ok(()),
            Some(SessionVia::Gateway) => self
                .remove_at_gateway(work, endpoint.gateway()?, row)
                .await
                .map(drop),
            Some(SessionVia::Gowa) => self.remove_at_gowa(work, &endpoint, row).await,
            Some(SessionVia::Server) => self
                .remove_at_server(work, endpoint.server()?, row)
                .await
                .map(drop),
            None => Err(SessionError::NotConfigured),
        }
    }

    /// Best effort: a session that is removed is logged out by that, too. True when nothing is left to log out.
    async fn log_out(
        &self,
        work: &Work<'_>,
        endpoint: &LiveEndpoint,
        row: &SessionRow,
    ) -> Result<bool, SessionError> {
        work.go_on().await?;
        let Ok(token) = self.token(work.scope(), row) else {
            return Ok(false);
        };
        match self
            .call(
                work.scope(),
                endpoint,
                SessionCall::Logout,
                endpoint.sessions.logout(&token),
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
            )),
        }
    }

    /// Nobody wrote down where it was made, so it is looked for wherever we can look.
    async fn remove_registered_by_hand(
        &self,
        work: &Work<'_>,
        endpoint: &LiveEndpoint,
        row: &SessionRow,
        logged_out: bool,
    ) -> Result<(), SessionError> {
        if endpoint.provider == Provider::Gowa {
            return self.remove_at_gowa(work, endpoint, row).await;
        }
        let mut removed = false;
        if let Ok(gateway) = endpoint.gateway()
            && self.customer_key(work.scope()).await?.is_some()
        {
            removed = self.remove_at_gateway(work, gateway, row).await? == Removal::Removed;
        }
        if !removed && let Ok(server) = endpoint.server() {
            self.remove_at_server(work, server, row).await?;
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
        gateway: &SupportGateway,
        row: &SessionRow,
    ) -> Result<Removal, SessionError> {
        let Some(id) = row.session_id.as_deref() else {
            return Ok(Removal::WasAbsent);
        };
        // Also renews a key that was replaced behind our back.
        let (key, _) = self.listed(work, gateway).await?;
        work.go_on().await?;
        Ok(gateway.delete_session(&key, id).await?)
    }

    async fn remove_at_gowa(
        &self,
        work: &Work<'_>,
        endpoint: &LiveEndpoint,
        row: &SessionRow,
    ) -> Result<(), SessionError> {
        let id = self.token(work.scope(), row)?;
        work.go_on().await?;
        endpoint.devices()?.remove(&id).await?;
        Ok(())
    }

    async fn remove_at_server(
        &self,
        work: &Work<'_>,
        server: &WaAdmin,
        row: &SessionRow,
    ) -> Result<Removal, SessionError> {
        let Some(id) = row.session_id.as_deref() else {
            return Ok(Removal::WasAbsent);
        };
        work.go_on().await?;
        Ok(server.delete_user(id).await?)
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
