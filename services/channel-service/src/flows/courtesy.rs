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
use whatsapp::courtesy::{ShowCourtesy, Typing};
use whatsapp::credentials::SessionToken;

use super::chat::{ChatError, known_tenant};
use crate::store::account;
use crate::store::chat;
use crate::store::tenant::TenantRow;

/// Shows courtesies. Cheap to clone.
#[derive(Clone)]
pub struct Courtesies {
    /// The tables.
    pub db: Database,
    /// Opens the accounts' tokens.
    pub keys: KeyRing,
    /// The way out.
    pub provider: Arc<dyn ShowCourtesy>,
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
        let Some((token, address)) = way else {
            return Ok(false);
        };
        let shown = self.provider.presence(&token, &address, typing).await;
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
        let Some((token, address)) = way.filter(|_| !messages.is_empty()) else {
            return Ok(false);
        };
        let done = self.provider.mark_read(&token, &address, messages).await;
        if let Err(error) = &done {
            tracing::debug!(%error, "messages were not marked as read");
        }
        Ok(done.is_ok())
    }

    /// The session and the address to show it at. `None` when it is not to be shown, or cannot be.
    async fn way_to(
        &self,
        scope: &TenantScope,
        person: &ChatAddress,
        wanted: impl FnOnce(&TenantRow) -> bool,
    ) -> Result<Option<(SessionToken, ChatAddress)>, ChatError> {
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
        let Some((id, sealed)) = account.and_then(|row| Some((row.id, row.token_sealed?))) else {
            return Ok(None);
        };
        let binding = account::token_binding(scope.tenant(), AccountId::from_uuid(id));
        let token = self
            .keys
            .open(&sealed, &binding)
            .ok()
            .and_then(|token| SessionToken::new(token.expose_secret()).ok());
        if token.is_none() {
            tracing::warn!(account = %id, "the token of the account does not open");
        }
        Ok(token.map(|token| (token, address)))
    }
}
