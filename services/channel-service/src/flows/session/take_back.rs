//! What was begun and never finished is taken back, here and outside.

use std::sync::Arc;

use domain::ids::AccountId;
use runtime::encryption::EncryptionError;
use secrecy::SecretString;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};
use whatsapp::credentials::SessionToken;

use super::work::Work;
use super::{SessionError, Sessions, Which};
use crate::endpoints::LiveEndpoint;
use crate::flows::tenant::Actor;
use crate::store::account::{self, AccountRow};
use crate::store::session::{self, SessionVia};
use crate::store::session_intent::{self, IntentRow};
use crate::store::{audit, device};

/// A session that was begun, as it is known to whoever looks for what was made of it.
pub(super) struct Begun<'a> {
    pub(super) endpoint: Arc<LiveEndpoint>,
    pub(super) via: SessionVia,
    pub(super) name: &'a str,
    /// None when it does not open.
    pub(super) token: Option<&'a SecretString>,
}

/// Most left-behind intents of one sweep.
const SWEPT: i64 = 100;

impl Sessions {
    /// Takes back what was begun `age` ago and never finished. Returns how many.
    ///
    /// # Errors
    /// [`SessionError::Database`]; what cannot be taken back now is taken back next time.
    pub async fn sweep(&self, age: std::time::Duration) -> Result<usize, SessionError> {
        let platform = PlatformScope::for_purpose("sweep session intents");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        let left = session_intent::left_behind(&mut tx, age, SWEPT).await?;
        tx.commit().await?;
        let mut count = 0;
        for (tenant, account) in left {
            let Ok(tenant) = domain::ids::TenantId::parse(tenant) else {
                continue;
            };
            let scope = TenantScope::of_swept_row(&platform, tenant);
            match self.take_back(&scope, account).await {
                Ok(true) => count += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(tenant = %scope.tenant(), error = %crate::error::chain(&error),
                        "a session that was begun could not be taken back");
                }
            }
        }
        Ok(count)
    }

    async fn take_back(&self, scope: &TenantScope, account: AccountId) -> Result<bool, SessionError> {
        let Some(work) = self.try_work(scope).await? else {
            return Ok(false);
        };
        let taken_back = self.abandon(&work, Which::Device(account), &sweeper()).await;
        work.end().await;
        taken_back
    }

    /// Removes an intent and whatever was made of it outside. False when there is none.
    pub(super) async fn abandon(
        &self,
        work: &Work<'_>,
        which: Which,
        actor: &Actor,
    ) -> Result<bool, SessionError> {
        let scope = work.scope();
        let mut tx = work.transaction("load session intent").await?;
        let account = match which {
            Which::Device(account) => Some(account),
            Which::Primary => account::find_primary(&mut tx)
                .await?
                .map(|row| AccountId::from_uuid(row.id)),
        };
        let known = match account {
            Some(account) => session_intent::find(&mut tx, account).await?,
            None => None,
        };
        let Some(known) = known else {
            tx.commit().await?;
            return Ok(false);
        };
        let account = known.account();
        let row = account::find(&mut tx, account).await?;
        tx.commit().await?;
        let finished = row.token_sealed.is_some();
        if !finished {
            self.remove_made(work, &known, &row).await?;
        }
        let mut names = Vec::new();
        let mut tx = work.transaction("abandon session intent").await?;
        session_intent::delete(&mut tx, account).await?;
        if !finished {
            names = account::unregister_all(&mut tx, account).await?;
            session::clear(&mut tx, account).await?;
            device::forget_unused(&mut tx, account).await?;
            let act = actor.act("session.abandon", Some(known.session_name.clone()));
            audit::note(&mut tx, &act).await?;
        }
        tx.commit().await?;
        for (kind, name) in names {
            self.routes.forget(kind, &name).await;
        }
        tracing::info!(tenant = %scope.tenant(), "a session that was begun was taken back");
        Ok(true)
    }

    async fn remove_made(
        &self,
        work: &Work<'_>,
        known: &IntentRow,
        row: &AccountRow,
    ) -> Result<(), SessionError> {
        let intent = self.open(work.scope(), known, row)?;
        let begun = Begun {
            endpoint: Arc::clone(&intent.endpoint),
            via: intent.via,
            name: &intent.name,
            token: Some(&intent.token),
        };
        self.remove_begun(work, &begun).await
    }

    /// Removes whatever was made of a session that was begun.
    pub(super) async fn remove_begun(&self, work: &Work<'_>, begun: &Begun<'_>) -> Result<(), SessionError> {
        match begun.via {
            SessionVia::DryRun | SessionVia::Cloud => {}
            SessionVia::Gateway => {
                let gateway = begun.endpoint.gateway()?;
                // Without the customer's key nothing can have been made.
                if self
                    .customer_key(work.scope(), &begun.endpoint.name)
                    .await?
                    .is_none()
                {
                    return Ok(());
                }
                let (key, listed) = self.listed(work, &begun.endpoint).await?;
                for session in listed.into_iter().filter(|session| session.name == begun.name) {
                    work.go_on().await?;
                    gateway.delete_session(&key, &session.id).await?;
                }
            }
            SessionVia::Gowa => {
                let devices = begun.endpoint.devices()?;
                let id = SessionToken::new(begun.name).map_err(|_| SessionError::NotConfigured)?;
                work.go_on().await?;
                devices.remove(&id).await?;
            }
            SessionVia::Server => {
                let server = begun.endpoint.server()?;
                let token = begun.token;
                let token = token.ok_or(SessionError::Encryption(EncryptionError::DoesNotOpen))?;
                work.go_on().await?;
                if let Some(id) = server.find_user(token).await? {
                    work.go_on().await?;
                    server.delete_user(&id).await?;
                }
            }
        }
        Ok(())
    }
}

/// Whoever takes back and removes what others left.
pub(super) fn sweeper() -> Actor {
    Actor {
        name: "sweep".to_owned(),
        source: None,
    }
}
