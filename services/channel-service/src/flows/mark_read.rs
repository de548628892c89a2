//! One message is marked as read, because somebody asked for it by its id.

use database::DatabaseError;
use domain::address::ChatAddress;
use domain::ids::{AccountId, ProviderMessageId};
use tenant_isolation::{TenantScope, TenantTransaction};
use whatsapp::courtesy::Typing;

use super::chat::{ChatError, known_tenant};
use super::courtesy::Courtesies;
use crate::store::{account, message};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// The provider took it.
    Shown,
    /// The tenant received no such message.
    NoSuchMessage,
    /// Nobody could be told, or nobody took it.
    NotShown,
}

impl Courtesies {
    /// Marks a message that came in as read, and shows that somebody is writing where that is wanted. Somebody asked for it, so
    /// the tenant's switches for what is done unasked do not count.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn mark_one(
        &self,
        scope: &TenantScope,
        id: &ProviderMessageId,
        typing: bool,
    ) -> Result<Marked, ChatError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find message to mark read").await?;
        // Before it is said whether the message is there.
        if !known_tenant(&mut tx).await?.is_active() {
            return Err(ChatError::Suspended);
        }
        let row = message::find_inbound(&mut tx, id).await?;
        tx.commit().await?;
        let Some(row) = row else {
            return Ok(Marked::NoSuchMessage);
        };
        let address =
            ChatAddress::parse(&row.address).map_err(|error| DatabaseError::Refused(Box::new(error)))?;
        let account = AccountId::from_uuid(row.account_id);
        self.mark_known(scope, account, address, id, typing).await
    }

    /// As [`Self::mark_one`], of a message that is known to be the account's.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn mark_known(
        &self,
        scope: &TenantScope,
        account: AccountId,
        address: ChatAddress,
        id: &ProviderMessageId,
        typing: bool,
    ) -> Result<Marked, ChatError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "mark message read").await?;
        if !known_tenant(&mut tx).await?.is_active() {
            return Err(ChatError::Suspended);
        }
        let account = account::find(&mut tx, account).await?;
        tx.commit().await?;
        let Some(way) = self.way(scope, &account, address) else {
            return Ok(Marked::NotShown);
        };
        let courtesy = &way.endpoint.courtesy;
        let ids = std::slice::from_ref(id);
        let mut shown = courtesy.mark_read(&way.token, &way.address, ids).await;
        if typing && shown.is_ok() {
            shown = courtesy
                .presence(&way.token, &way.address, Typing::Composing)
                .await;
        }
        Ok(match shown {
            Ok(()) => Marked::Shown,
            Err(error) => {
                tracing::debug!(%error, "a message was not marked as read");
                Marked::NotShown
            }
        })
    }
}
