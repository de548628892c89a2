//! Which account an event of a GoWA's device is for.

use std::sync::Arc;

use cache::NotLoaded;
use database::DatabaseError;
use domain::address::{ChatAddress, PhoneNumber};
use tenant_isolation::resolve::ExternalId;

use super::device_number::{self, DeviceNumber};
use super::register_device::device_id;
use super::route_account::{AccountRoute, AccountRoutes};
use crate::store::account::GOWA_DEVICE;

/// The account whose device it is: by the device's id, and only where none is told by the device's number. `None`: nobody's,
/// or that of devices of two tenants.
///
/// # Errors
/// A [`DatabaseError`], which is not "nobody's".
pub async fn find(
    routes: &AccountRoutes,
    endpoint: &str,
    session_id: Option<&str>,
    own: Option<&ChatAddress>,
) -> Result<Option<AccountRoute>, Arc<NotLoaded<DatabaseError>>> {
    let external = match (session_id, own) {
        (Some(id), _) => ExternalId::new(GOWA_DEVICE, &device_id(endpoint, id)),
        (None, Some(own)) => own
            .phone()
            .and_then(|phone| DeviceNumber::new(endpoint, phone).external()),
        (None, None) => None,
    };
    match external {
        Some(external) => routes.find_external(&external).await,
        None => Ok(None),
    }
}

/// Is this number known to be the account's device's? Where it cannot be looked up, it is taken for known.
pub async fn is_known(
    routes: &AccountRoutes,
    endpoint: &str,
    own: &PhoneNumber,
    route: &AccountRoute,
) -> bool {
    device_number::is_held(routes, &DeviceNumber::new(endpoint, own), route.account()).await
}
