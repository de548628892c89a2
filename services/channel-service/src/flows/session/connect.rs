//! What people do with a session that is there: connect it, pair it, take it off the network, unlink it.

use domain::address::PhoneNumber;
use domain::endpoint::Provider;
use domain::ids::AccountId;
use runtime::encryption::EncryptionError;
use secrecy::ExposeSecret as _;
use tenant_isolation::TenantScope;
use whatsapp::credentials::WebhookKey;
use whatsapp::session::{Details, FailureReason, LinkingCode, SessionFailure, Upkeep};

use super::call::SessionCall;
use super::keep::count_connect;
use super::{SessionError, Sessions, Which};
use crate::flows::tenant::Actor;
use crate::store::account;
use crate::store::session::SessionRow;

impl Sessions {
    /// Connects the session. One that is connected already counts as connected.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn connect(
        &self,
        scope: &TenantScope,
        which: Which,
        actor: &Actor,
    ) -> Result<Details, SessionError> {
        let row = self.of(scope, which).await?;
        let token = self.token(scope, &row)?;
        let endpoint = self.endpoint(&row)?;
        let upkeep = self.upkeep(scope, &row)?;
        self.keep_off(scope, row.account(), false).await?;
        let connected = self
            .call(
                scope,
                &endpoint,
                SessionCall::Connect,
                endpoint.sessions.connect(&token, &upkeep),
            )
            .await;
        count_connect("person", &endpoint.name, connected.is_ok());
        let details = connected?;
        self.after(scope, &row, actor, "session.connect").await?;
        Ok(details)
    }

    /// Takes the session off the network; the pairing stays. It is kept off until a person connects it.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn disconnect(
        &self,
        scope: &TenantScope,
        which: Which,
        actor: &Actor,
    ) -> Result<Details, SessionError> {
        self.take_off(scope, which, actor, SessionCall::Disconnect).await
    }

    /// Unlinks the session from the phone; the session stays.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn logout(
        &self,
        scope: &TenantScope,
        which: Which,
        actor: &Actor,
    ) -> Result<Details, SessionError> {
        self.take_off(scope, which, actor, SessionCall::Logout).await
    }

    async fn take_off(
        &self,
        scope: &TenantScope,
        which: Which,
        actor: &Actor,
        what: SessionCall,
    ) -> Result<Details, SessionError> {
        let row = self.of(scope, which).await?;
        let token = self.token(scope, &row)?;
        let endpoint = self.endpoint(&row)?;
        let (call, action) = match what {
            SessionCall::Logout => (endpoint.sessions.logout(&token), "session.logout"),
            _ => (endpoint.sessions.disconnect(&token), "session.disconnect"),
        };
        // Before the call: whoever brings sessions back looks at it after its own.
        let was_kept_off = self.keep_off(scope, row.account(), true).await?;
        let called = self.call(scope, &endpoint, what, call).await;
        if let Err(failure) = &called
            && is_not_done(failure)
            && !was_kept_off
        {
            // The session is looked after as before.
            self.keep_off(scope, row.account(), false).await?;
        }
        if what == SessionCall::Logout && is_unlinked(&called) {
            self.let_number_go(scope, &row).await?;
        }
        let details = called?;
        self.after(scope, &row, actor, action).await?;
        Ok(details)
    }

    /// A code to type on the phone.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn pair_phone(
        &self,
        scope: &TenantScope,
        which: Which,
        phone: &PhoneNumber,
        actor: &Actor,
    ) -> Result<LinkingCode, SessionError> {
        let row = self.of(scope, which).await?;
        let endpoint = self.pairing_endpoint(&row)?;
        let token = self.token(scope, &row)?;
        let code = self
            .call(
                scope,
                &endpoint,
                SessionCall::PairPhone,
                endpoint.sessions.pair_phone(&token, phone),
            )
            .await?;
        if endpoint.provider == Provider::Gowa {
            self.keep_off(scope, row.account(), false).await?;
        }
        self.note(scope, actor, "session.pair_phone", &row).await?;
        Ok(code)
    }

    /// A session that was just made comes up by itself. When it does not, people connect it by hand.
    pub(super) async fn connect_new(&self, scope: &TenantScope, account: AccountId) {
        let connected = async {
            let row = self.of(scope, Which::Device(account)).await?;
            let token = self.token(scope, &row)?;
            let upkeep = self.upkeep(scope, &row)?;
            let endpoint = self.endpoint(&row)?;
            let called = self
                .call(
                    scope,
                    &endpoint,
                    SessionCall::Connect,
                    endpoint.sessions.connect(&token, &upkeep),
                )
                .await;
            count_connect("new", &endpoint.name, called.is_ok());
            called?;
            self.changed(scope, row.account()).await;
            Ok::<(), SessionError>(())
        };
        if let Err(error) = connected.await {
            tracing::warn!(tenant = %scope.tenant(), error = %crate::error::chain(&error),
                "a new session could not be connected");
        }
    }

    /// What the provider forgets (wa-server contract 9).
    pub(super) fn upkeep(&self, scope: &TenantScope, row: &SessionRow) -> Result<Upkeep, SessionError> {
        let binding = account::webhook_key_binding(scope.tenant(), row.account());
        let newest = row.webhook_keys_sealed.first();
        let key = newest
            .map(|sealed| self.keys.open(sealed, &binding))
            .transpose()?;
        let provider = row.provider.parse().unwrap_or(Provider::Genfity);
        Ok(Upkeep {
            webhook_url: self.webhook_url_at(provider, &row.endpoint),
            webhook_key: key.and_then(|key| WebhookKey::new(key.expose_secret()).ok()),
        })
    }

    /// The keys that one of which has to have signed the session's events, besides those of its endpoint.
    pub(super) fn webhook_keys(
        &self,
        scope: &TenantScope,
        row: &SessionRow,
    ) -> Result<Vec<WebhookKey>, SessionError> {
        let binding = account::webhook_key_binding(scope.tenant(), row.account());
        row.webhook_keys_sealed
            .iter()
            .map(|sealed| {
                let key = self.keys.open(sealed, &binding)?;
                WebhookKey::new(key.expose_secret()).map_err(|_| EncryptionError::DoesNotOpen.into())
            })
            .collect()
    }

    /// Notes the act and asks where the session stands now, so that the stored state is not that of before.
    async fn after(
        &self,
        scope: &TenantScope,
        row: &SessionRow,
        actor: &Actor,
        action: &'static str,
    ) -> Result<(), SessionError> {
        self.note(scope, actor, action, row).await?;
        self.changed(scope, row.account()).await;
        if let Err(error) = self.status(scope, Which::Device(row.account())).await {
            tracing::warn!(error = %crate::error::chain(&error), "the session's state could not be read");
        }
        Ok(())
    }
}

/// The session is certainly as it was before the call.
fn is_not_done(failure: &SessionFailure) -> bool {
    matches!(
        failure.reason,
        FailureReason::Refused | FailureReason::Unreachable | FailureReason::RateLimited
    )
}

/// After this answer to a logout no phone knows the session.
fn is_unlinked(answer: &Result<Details, SessionFailure>) -> bool {
    match answer {
        Ok(_) => true,
        Err(failure) => matches!(
            failure.reason,
            FailureReason::NotLoggedIn | FailureReason::UnknownToken | FailureReason::NotVisible
        ),
    }
}
