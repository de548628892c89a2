//! Which account an event of a GoWA's device is for.

use std::sync::Arc;

use cache::NotLoaded;
use database::DatabaseError;
use domain::address::ChatAddress;
use tenant_isolation::resolve::ExternalId;

use super::register_device::device_id;
use super::route_account::{AccountRoute, AccountRoutes};
use crate::store::account::{GOWA_DEVICE, GOWA_NUMBER};

/// The account whose device it is: by the device's id, and only where none is told by the device's number. `None`: nobody's.
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
        (None, Some(own)) => number(endpoint, own),
        (None, None) => None,
    };
    match external {
        Some(external) => routes.find_external(&external).await,
        None => Ok(None),
    }
}

/// Is this number known to be on the account's device? Where it cannot be looked up, it is taken for known.
pub async fn is_known(
    routes: &AccountRoutes,
    endpoint: &str,
    own: &ChatAddress,
    route: &AccountRoute,
) -> bool {
    let Some(external) = number(endpoint, own) else {
        return true;
    };
    match routes.find_external(&external).await {
        Ok(known) => known.is_some_and(|known| known.account() == route.account()),
        Err(_) => true,
    }
}

fn number(endpoint: &str, own: &ChatAddress) -> Option<ExternalId> {
    ExternalId::new(GOWA_NUMBER, &device_id(endpoint, own.as_str()))
}
