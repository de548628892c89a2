//! A tenant gets a device of a GoWA as its sender: the account's row, its sealed credentials and the outside ids that lead
//! to it. The device's id is the session's name and stands in the place of its token.

use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::endpoint::{EndpointName, Provider};
use domain::ids::{AccountId, TenantId};
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use whatsapp::event::SessionEvent;

use super::record_event;
use super::register_account::{RegisterError, Registered};
use super::route_account::{AccountRoute, AccountRoutes};
use crate::store::account::{self, AccountRow, GOWA_DEVICE, GOWA_NUMBER};
use crate::store::tenant;

/// A device of a tenant's.
#[derive(Debug)]
pub struct NewDeviceAccount {
    /// Whose it is.
    pub tenant: TenantId,
    /// On which endpoint.
    pub endpoint: EndpointName,
    /// Its id there.
    pub device: String,
    /// Signs its webhooks; without one the keys that are stored stay.
    pub webhook_key: Option<SecretString>,
}

/// The outside id of a device.
#[must_use]
pub fn device_id(endpoint: &str, device: &str) -> String {
    // No name of an endpoint has a slash.
    format!("{endpoint}/{device}")
}

/// Registers a device, or replaces the key of the one with this name.
///
/// # Errors
/// [`RegisterError`]; nothing is changed then.
pub async fn register(
    db: &Database,
    routes: &AccountRoutes,
    keys: &KeyRing,
    new: NewDeviceAccount,
) -> Result<AccountId, RegisterError> {
    let scope = TenantScope::named_by_operator(new.tenant.clone());
    let mut tx = TenantTransaction::begin(db, &scope, "register device").await?;
    let registered = register_in(&mut tx, keys, &new).await?;
    tx.commit().await?;
    registered.make_known(routes).await;
    Ok(registered.id)
}

/// As [`register`], in a transaction of the caller's.
///
/// # Errors
/// [`RegisterError`]; the transaction must be given up then.
pub async fn register_in(
    tx: &mut TenantTransaction,
    keys: &KeyRing,
    new: &NewDeviceAccount,
) -> Result<Registered, RegisterError> {
    tenant::ensure(tx, None).await?;
    let (provider, endpoint) = (Provider::Gowa.as_str(), new.endpoint.as_str());
    let ours = |row: &AccountRow| row.provider == provider && row.endpoint == endpoint;
    let existing = match account::find_by_instance(tx, &new.device).await? {
        // The name is another endpoint's: an account stays where it is.
        Some(known) if !ours(&known) => return Err(RegisterError::InstanceTaken),
        Some(known) => Some(known),
        // An account of this endpoint that waits for its first session is the one this device is for.
        None => account::find_primary(tx)
            .await?
            .filter(|waiting| waiting.token_sealed.is_none() && ours(waiting)),
    };
    let id = existing
        .as_ref()
        .map_or_else(AccountId::generate, |row| AccountId::from_uuid(row.id));
    let webhook_keys_sealed = match (&new.webhook_key, &existing) {
        (Some(key), _) => vec![keys.seal(key, &account::webhook_key_binding(&new.tenant, id))?],
        (None, Some(row)) => row.webhook_keys_sealed.clone(),
        (None, None) => Vec::new(),
    };
    let token = SecretString::from(new.device.as_str());
    let row = AccountRow {
        id: id.as_uuid(),
        provider: provider.to_owned(),
        endpoint: endpoint.to_owned(),
        instance_name: new.device.clone(),
        session_id: Some(new.device.clone()),
        token_sealed: Some(keys.seal(&token, &account::token_binding(&new.tenant, id))?),
        webhook_keys_sealed,
    };
    account::upsert(tx, &row).await?;
    let outside = device_id(endpoint, &new.device);
    if !account::register(tx, GOWA_DEVICE, &outside, id).await? {
        return Err(RegisterError::SessionTaken);
    }
    Ok(Registered::of(id, vec![(GOWA_DEVICE, outside)]))
}

/// A webhook that a device has signed tells the number of the device: webhooks that name the number only are its from now
/// on. A number is on one device of a server at a time, so the newest proof counts, also against another account's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn learn_number(
    db: &Database,
    routes: &AccountRoutes,
    route: &AccountRoute,
    endpoint: &str,
    own: &ChatAddress,
) -> Result<(), DatabaseError> {
    let outside = device_id(endpoint, own.as_str());
    let (scope, id) = (route.scope(), route.account());
    let mut tx = TenantTransaction::begin(db, &scope, "learn number of device").await?;
    account::unregister_others(&mut tx, GOWA_NUMBER, &outside, id).await?;
    let free = account::register(&mut tx, GOWA_NUMBER, &outside, id).await?;
    tx.commit().await?;
    if !free {
        let platform = PlatformScope::for_purpose("number moves to another device");
        let mut tx = PlatformTransaction::begin(db, platform).await?;
        account::move_outside_id(&mut tx, GOWA_NUMBER, &outside, scope.tenant(), id).await?;
        tx.commit().await?;
        tracing::warn!(tenant = %scope.tenant(), account = %id, "a number moved here from another account's device");
    }
    routes.forget(GOWA_NUMBER, &outside).await;
    let paired = SessionEvent::PairSuccess {
        jid: None,
        phone: own.phone().cloned(),
    };
    record_event::session(db, &scope, id, &paired).await
}
