//! Where a tenant wants to be told in Meta's words: the address is asked first whether it wants to be.

use chrono::Utc;
use database::{Database, DatabaseError};
use domain::ids::AccountId;
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::{ExposeSecret as _, SecretString};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::receivers::{NoReceiver, Receivers};
use crate::flows::tenant::Actor;
use crate::store::gate_subscriptions::{SubscriptionRow, secret_binding, token_binding};
use crate::store::{audit, gate, gate_subscriptions, tenant};

/// What a tenant wishes.
pub struct NewSubscription {
    /// The address.
    pub callback_url: String,
    /// What the receiver knows us by.
    pub verify_token: SecretString,
    /// Only of this number, by its phone number id; of all without.
    pub number: Option<String>,
}

/// A subscription that was just made.
pub struct Subscribed {
    /// Its id.
    pub id: Uuid,
    /// What webhooks are signed with; shown now and never again.
    pub app_secret: SecretString,
}

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The tenant is not known.
    #[error("there is no such tenant")]
    NoTenant,
    /// The tenant has no such number.
    #[error("the tenant has no such number")]
    NoNumber,
    /// The address does not want to be told, or is not dialled.
    #[error(transparent)]
    Receiver(#[from] NoReceiver),
    /// A secret cannot be sealed.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Subscribes, once the address has answered the verification. The subscription for the same number, or for all, that was
/// there before is replaced, with another secret.
///
/// # Errors
/// [`SubscribeError`].
pub async fn subscribe(
    db: &Database,
    keys: &KeyRing,
    receivers: &Receivers,
    scope: &TenantScope,
    new: &NewSubscription,
    actor: &Actor,
) -> Result<Subscribed, SubscribeError> {
    let mut tx = TenantTransaction::begin(db, scope, "look before gate subscription").await?;
    tenant::find(&mut tx).await?.ok_or(SubscribeError::NoTenant)?;
    let account = match &new.number {
        Some(number) => {
            let row = gate::number(&mut tx, number).await?;
            Some(row.ok_or(SubscribeError::NoNumber)?.account_id)
        }
        None => None,
    };
    tx.commit().await?;
    receivers
        .verify(&new.callback_url, new.verify_token.expose_secret())
        .await?;
    let bytes: [u8; 16] = rand::random();
    let app_secret = SecretString::from(hex::encode(bytes));
    let (id, now) = (Uuid::now_v7(), Utc::now());
    let row = SubscriptionRow {
        id,
        account_id: account,
        callback_url: new.callback_url.clone(),
        app_secret_sealed: keys.seal(&app_secret, &secret_binding(scope, id))?,
        verify_token_sealed: keys.seal(&new.verify_token, &token_binding(scope, id))?,
        created_at: now,
        updated_at: now,
    };
    let mut tx = TenantTransaction::begin(db, scope, "subscribe at gate").await?;
    // Two at the same moment: the later one replaces the other.
    tenant::hold(&mut tx).await?;
    gate_subscriptions::put_subscription(&mut tx, &row).await?;
    audit::note(&mut tx, &actor.act("gate.subscribe", Some(id.to_string()))).await?;
    tx.commit().await?;
    Ok(Subscribed { id, app_secret })
}

/// A subscription and the number it is about.
pub struct Shown {
    /// The subscription.
    pub row: SubscriptionRow,
    /// The phone number id; `None` for all numbers.
    pub number: Option<String>,
}

/// The tenant's subscriptions.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(db: &Database, scope: &TenantScope) -> Result<Vec<Shown>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list gate subscriptions").await?;
    let rows = gate_subscriptions::subscriptions(&mut tx).await?;
    let mut shown = Vec::with_capacity(rows.len());
    for row in rows {
        let number = match row.account_id {
            Some(account) => gate::number_of(&mut tx, AccountId::from_uuid(account)).await?,
            None => None,
        };
        shown.push(Shown {
            row,
            number: number.map(|number| number.number_id),
        });
    }
    tx.commit().await?;
    Ok(shown)
}

/// Ends a subscription; what waits to be told is dropped. False: the tenant has none of this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn unsubscribe(
    db: &Database,
    scope: &TenantScope,
    id: Uuid,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "unsubscribe at gate").await?;
    let found = gate_subscriptions::delete_subscription(&mut tx, id).await?;
    if found {
        audit::note(&mut tx, &actor.act("gate.unsubscribe", Some(id.to_string()))).await?;
    }
    tx.commit().await?;
    Ok(found)
}
