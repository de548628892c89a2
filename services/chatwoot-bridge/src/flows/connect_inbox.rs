//! An operator connects a Chatwoot inbox to a tenant's account.

use std::fmt;

use chrono::Utc;
use database::DatabaseError;
use domain::ids::AccountId;
use runtime::encryption::EncryptionError;
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::Tools;
use crate::store::inboxes::{self, Inbox, InboxKey};
use crate::store::routes::{self, Route, Target, Wants};
use crate::store::{contacts, reconcile_marks};

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
    // Under another address it is the same inbox still: what is under way to it and from it goes by its id.
    let same = stored.as_ref().filter(|inbox| inbox.key() == new.key);
    let has_moved = same.is_some_and(|inbox| inbox.chatwoot_url != new.chatwoot_url);
    routes::lock_place(&mut tx, &new.key.installation, new.key.inbox_id).await?;
    let at_place = routes::find_at(
        &mut tx,
        &new.key.installation,
        Some(new.key.account_id),
        new.key.inbox_id,
    )
    .await?;
    let id = match (same, &stored) {
        (Some(same), _) => {
            // They are found again where it is the same server. Where somebody put another in its place, an old number would
            // lead into somebody else's conversation.
            if has_moved {
                contacts::forget_all(&mut tx, same.id).await?;
            }
            same.id
        }
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
    let is_new = lead(&mut tx, &row, at_place, stored.map(|inbox| inbox.id)).await?;
    if is_new || has_moved {
        reconcile_marks::begin(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(id)
}

/// Makes the route of the inbox's place lead to it: the one that is there already, with its number and its secrets,
/// or a new one. The route to the account's `old` inbox goes with that. False: it led there already.
async fn lead(
    tx: &mut TenantTransaction,
    inbox: &Inbox,
    at_place: Option<Route>,
    old: Option<Uuid>,
) -> Result<bool, NotConnected> {
    let before = match old {
        Some(old) => routes::find_by_link(tx, old).await?,
        None => None,
    };
    if let Some(before) = &before
        && at_place.as_ref().is_none_or(|route| route.id != before.id)
    {
        routes::remove(tx, before.id).await?;
    }
    let target = Target::Account { link: inbox.id };
    let route = match at_place {
        Some(route) if route.target == target => return Ok(false),
        // Another account of this tenant has the inbox.
        Some(route) if route.link().is_some() && route.link() != old => return Err(NotConnected::Taken),
        Some(route) => Route { target, ..route },
        None => Route {
            id: inbox.id,
            number: 0,
            installation: inbox.installation.clone(),
            account_id: Some(inbox.chatwoot_account_id),
            inbox_id: inbox.chatwoot_inbox_id,
            name: None,
            enabled: true,
            target,
            wants: Wants::default(),
            inbox_secrets_sealed: Vec::new(),
            account_secrets_sealed: Vec::new(),
            path_token_sha256: None,
            created_at: Utc::now(),
            updated_at: Utc::now(),
        },
    };
    match routes::put(tx, &route).await {
        Ok(_) => Ok(true),
        Err(DatabaseError::Conflict { constraint }) if constraint == routes::PLACE_TAKEN => {
            Err(NotConnected::Taken)
        }
        Err(error) => Err(error.into()),
    }
}
