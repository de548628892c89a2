//! An operator connects a Chatwoot inbox to a tenant's account.

use std::fmt;

use database::DatabaseError;
use domain::ids::AccountId;
use runtime::encryption::EncryptionError;
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::Tools;
use crate::store::contacts;
use crate::store::inboxes::{self, Inbox, InboxKey};

/// Most secrets an inbox's webhooks may be signed with.
pub const MOST_SECRETS: usize = 2;

/// What is to be connected.
#[derive(Clone)]
pub struct Connection {
    /// The tenant's sender.
    pub account: AccountId,
    /// Base URL of Chatwoot, without a slash at the end.
    pub chatwoot_url: String,
    /// The inbox.
    pub key: InboxKey,
    /// `api_access_token`.
    pub api_token: SecretString,
    /// Secrets of webhooks, newest first; `None` keeps those that are stored.
    pub webhook_secrets: Option<Vec<SecretString>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("account", &self.account)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Why an inbox was not connected.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    /// It is connected already, to somebody or something else.
    #[error(
        "this Chatwoot inbox is connected already, to another tenant or to another account of this tenant"
    )]
    Taken,
    /// Too many secrets.
    #[error("an inbox has at most two webhook secrets")]
    TooManySecrets,
    /// The database.
    #[error("the database cannot be used")]
    Database(#[from] DatabaseError),
    /// The cipher.
    #[error("the secrets cannot be sealed")]
    Encryption(#[from] EncryptionError),
}

/// Connects the inbox, in place of whatever the account was connected to. Returns our id for it.
///
/// # Errors
/// [`NotConnected`]: nothing changed.
pub async fn connect_inbox(
    tools: &Tools,
    scope: &TenantScope,
    new: &Connection,
) -> Result<Uuid, NotConnected> {
    let secrets = new.webhook_secrets.as_deref().unwrap_or_default();
    if secrets.len() > MOST_SECRETS {
        return Err(NotConnected::TooManySecrets);
    }
    let mut tx = TenantTransaction::begin(&tools.db, scope, "connect inbox").await?;
    inboxes::lock_connecting(&mut tx).await?;
    let stored = inboxes::find_by_account(&mut tx, new.account).await?;
    let same = stored
        .as_ref()
        .filter(|inbox| inbox.key() == new.key && inbox.chatwoot_url == new.chatwoot_url);
    let (id, kept) = match (same, &stored) {
        (Some(same), _) => (same.id, same.webhook_secrets_sealed.clone()),
        (None, Some(old)) => {
            // Contacts and conversations of the old place mean nothing in the new one.
            contacts::forget_all(&mut tx, old.id).await?;
            inboxes::remove(&mut tx, old.id).await?;
            (Uuid::now_v7(), Vec::new())
        }
        (None, None) => (Uuid::now_v7(), Vec::new()),
    };
    let tenant = scope.tenant().as_str();
    let api_token_sealed = tools.keys.seal(&new.api_token, &Inbox::token_place(tenant, id))?;
    let webhook_secrets_sealed = match &new.webhook_secrets {
        None => kept,
        Some(secrets) => {
            let place = Inbox::secret_place(tenant, id);
            secrets
                .iter()
                .map(|secret| tools.keys.seal(secret, &place))
                .collect::<Result<_, _>>()?
        }
    };
    let row = Inbox {
        id,
        installation: new.key.installation.clone(),
        chatwoot_url: new.chatwoot_url.clone(),
        chatwoot_account_id: new.key.account_id,
        chatwoot_inbox_id: new.key.inbox_id,
        account_id: new.account.as_uuid(),
        api_token_sealed,
        webhook_secrets_sealed,
    };
    inboxes::put(&mut tx, &row).await?;
    if !inboxes::enter_directory(&mut tx, &new.key, id).await? {
        return Err(NotConnected::Taken);
    }
    tx.commit().await?;
    Ok(id)
}
