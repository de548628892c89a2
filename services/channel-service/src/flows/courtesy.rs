//! Typing and read marks, as far as the tenant wants them shown. They go straight to the provider: nothing is stored,
//! nothing repeated, and that one was not shown is no error.

use std::sync::Arc;

use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::chat::Channel;
use domain::ids::{AccountId, ProviderMessageId};
use runtime::encryption::KeyRing;
use secrecy::ExposeSecret as _;
use tenant_isolation::{TenantScope, TenantTransaction};
use whatsapp::courtesy::Typing;
use whatsapp::credentials::SessionToken;

use super::chat::{ChatError, known_tenant};
use crate::endpoints::{Endpoints, LiveEndpoint};
use crate::store::account::{self, AccountRow};
use crate::store::chat;
use crate::store::tenant::TenantRow;

/// Shows courtesies. Cheap to clone.
#[derive(Clone)]
pub struct Courtesies {
    /// The tables.
    pub db: Database,
    /// Opens the accounts' tokens.
    pub keys: KeyRing,
    /// The ways out.
    pub endpoints: Endpoints,
}

/// How a courtesy gets to a person.
pub(super) struct Way {
    pub(super) endpoint: Arc<LiveEndpoint>,
    pub(super) token: SessionToken,
    pub(super) address: ChatAddress,
}

impl Courtesies {
    /// Shows a person that somebody is writing, or not. False when it was not shown.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn typing(
        &self,
        scope: &TenantScope,
        person: &ChatAddress,
        typing: Typing,
    ) -> Result<bool, ChatError> {
        let way = self
            .way_to(scope, person, |tenant| tenant.typing_indicator)
            .await?;
        let Some(way) = way else {
            return Ok(false);
        };
        let courtesy = &way.endpoint.courtesy;
        let shown = courtesy.presence(&way.token, &way.address, typing).await;
        if let Err(error) = &shown {
            tracing::debug!(%error, "typing was not shown");
        }
        Ok(shown.is_ok())
    }

    /// Marks a person's messages as read on WhatsApp. False when it was not done.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn mark_read(
        &self,
        scope: &TenantScope,
        person: &ChatAddress,
        messages: &[ProviderMessageId],
    ) -> Result<bool, ChatError> {
        let way = self.way_to(scope, person, |tenant| tenant.auto_read).await?;
        let Some(way) = way.filter(|_| !messages.is_empty()) else {
            return Ok(false);
        };
        let courtesy = &way.endpoint.courtesy;
        let done = courtesy.mark_read(&way.token, &way.address, messages).await;
        if let Err(error) = &done {
            tracing::debug!(%error, "messages were not marked as read");
        }
        Ok(done.is_ok())
    }

    /// Where to show it, and with which session. `None` when it is not to be shown, or cannot be.
    async fn way_to(
        &self,
        scope: &TenantScope,
        person: &ChatAddress,
        wanted: impl FnOnce(&TenantRow) -> bool,
    ) -> Result<Option<Way>, ChatError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "show courtesy").await?;
        let tenant = known_tenant(&mut tx).await?;
        if Channel::of(person) == Channel::Webchat || !tenant.is_active() || !wanted(&tenant) {
            return Ok(None);
        }
        let chat = chat::of_person(&mut tx, person).await?.into_iter().next();
        let account = match &chat {
            Some(chat) => Some(account::find(&mut tx, AccountId::from_uuid(chat.account_id)).await?),
            None => account::find_primary(&mut tx).await?,
        };
        tx.commit().await?;
        let address = match chat {
            Some(chat) => {
                ChatAddress::parse(&chat.address).map_err(|error| DatabaseError::Refused(Box::new(error)))?
            }
            None => person.clone(),
        };
        Ok(account.and_then(|account| self.way(scope, &account, address)))
    }

    /// The way of an account to an address. `None`: there is none now.
    pub(super) fn way(&self, scope: &TenantScope, row: &AccountRow, address: ChatAddress) -> Option<Way> {
        let sealed = row.token_sealed.as_deref()?;
        let Some(endpoint) = self.endpoints.of_account(&row.provider, &row.endpoint) else {
            tracing::debug!(account = %row.id, endpoint = row.endpoint, "the account's endpoint is not configured");
            return None;
        };
        let binding = account::token_binding(scope.tenant(), AccountId::from_uuid(row.id));
        let token = self
            .keys
            .open(sealed, &binding)
            .ok()
            .and_then(|token| SessionToken::new(token.expose_secret()).ok());
        if token.is_none() {
            tracing::warn!(account = %row.id, "the token of the account does not open");
        }
        token.map(|token| Way {
            endpoint,
            token,
            address,
        })
    }
}
