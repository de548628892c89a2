//! A tenant gets a device of a GoWA as its sender: the account's row, its sealed credentials and the outside ids that lead
//! to it. The device's id is the session's name and stands in the place of its token.

use database::{Database, DatabaseError};
use domain::address::PhoneNumber;
use domain::endpoint::{EndpointName, Provider};
use domain::ids::{AccountId, TenantId};
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};
use whatsapp::event::SessionEvent;

use super::device_number::{self, DeviceNumber};
use super::record_event;
use super::register_account::{RegisterError, Registered};
use super::route_account::{AccountRoute, AccountRoutes};
use crate::store::account::{self, AccountRow, GOWA_DEVICE};
use crate::store::{session_watch, tenant};

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

/// A webhook that a device has signed tells the number of the device: the account holds it from now on. What still arrives of
/// a device that a person has unlinked is no proof.
///
/// # Errors
/// [`DatabaseError`].
pub async fn learn_number(
    db: &Database,
    routes: &AccountRoutes,
    route: &AccountRoute,
    endpoint: &str,
    own: &PhoneNumber,
) -> Result<(), DatabaseError> {
    let (scope, id) = (route.scope(), route.account());
    let mut tx = TenantTransaction::begin(db, &scope, "is device unlinked").await?;
    let is_unlinked = session_watch::is_kept_off(&mut tx, id).await?;
    tx.commit().await?;
    if is_unlinked {
        return Ok(());
    }
    let paired = SessionEvent::PairSuccess {
        jid: None,
        phone: Some(own.clone()),
    };
    record_event::session(db, &scope, id, &paired).await?;
    let number = DeviceNumber::new(endpoint, own);
    device_number::hold(db, routes, &scope, id, &number).await
}
