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
    /// Secrets of webhooks, newest first; none of them: unsigned webhooks are accepted. `None` keeps what is stored for
    /// this inbox, and is refused where nothing is.
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
    /// Nobody said how the webhooks of a new inbox are signed, and silence must not open it.
    #[error(
        "this inbox is new here, so CHATWOOT_WEBHOOK_SECRET has to be set, or --without-webhook-secret given for a Chatwoot that signs nothing"
    )]
    NoSecrets,
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
    let place_of = |id| Inbox::secret_place(scope.tenant().as_str(), id);
    let secrets = match (&new.webhook_secrets, &stored) {
        (Some(secrets), _) => secrets.clone(),
        // The same inbox, be it under another address: its secrets are still the same.
        (None, Some(old)) if old.key() == new.key => old
            .webhook_secrets_sealed
            .iter()
            .map(|sealed| tools.keys.open(sealed, &place_of(old.id)))
            .collect::<Result<_, _>>()?,
        (None, _) => return Err(NotConnected::NoSecrets),
    };
    let same = stored
        .as_ref()
        .filter(|inbox| inbox.key() == new.key && inbox.chatwoot_url == new.chatwoot_url);
    let id = match (same, &stored) {
        (Some(same), _) => same.id,
        (None, Some(old)) => {
            // Contacts and conversations of the old place mean nothing in the new one.
            contacts::forget_all(&mut tx, old.id).await?;
            inboxes::remove(&mut tx, old.id).await?;
            Uuid::now_v7()
        }
        (None, None) => Uuid::now_v7(),
    };
    let tenant = scope.tenant().as_str();
    let api_token_sealed = tools.keys.seal(&new.api_token, &Inbox::token_place(tenant, id))?;
    let webhook_secrets_sealed = secrets
        .iter()
        .map(|secret| tools.keys.seal(secret, &place_of(id)))
        .collect::<Result<_, _>>()?;
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
