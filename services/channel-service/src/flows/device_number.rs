//! To which device the events lead that name a number and no device.
//!
//! An account holds the number that its device is logged in with: its server says so, or a webhook does that the device has
//! signed. It lets go of it when the device is unlinked, has another number, or is not there any more. A number leads
//! to whoever took hold of it last; where holders are of two tenants it leads to neither, because whoever guesses might
//! show one tenant's messages to the other. Held by one tenant again, it leads there.

use database::{Database, DatabaseError};
use domain::address::PhoneNumber;
use domain::ids::AccountId;
use tenant_isolation::resolve::ExternalId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};

use super::register_device::device_id;
use super::route_account::AccountRoutes;
use crate::store::account::{GOWA_HOLDER, GOWA_NUMBER};
use crate::store::device_number;

/// A number on one endpoint, as the directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceNumber {
    id: String,
    phone: String,
}

impl DeviceNumber {
    pub(super) fn new(endpoint: &str, phone: &PhoneNumber) -> Self {
        Self {
            id: device_id(endpoint, phone.as_jid()),
            phone: phone.as_str().to_owned(),
        }
    }

    /// The number that is held under this id.
    fn held_as(id: &str) -> Option<Self> {
        let (id, _account) = id.rsplit_once('/')?;
        let (_endpoint, address) = id.rsplit_once('/')?;
        let (phone, _server) = address.split_once('@')?;
        Some(Self {
            id: id.to_owned(),
            phone: phone.to_owned(),
        })
    }

    /// Under which the number leads somewhere.
    pub(super) fn external(&self) -> Option<ExternalId> {
        ExternalId::new(GOWA_NUMBER, &self.id)
    }

    /// Under which the account holds it.
    fn held_by(&self, account: AccountId) -> String {
        format!("{}/{account}", self.id)
    }
}

/// Does the account hold the number? Where it cannot be looked up, it is taken for held.
pub(super) async fn is_held(routes: &AccountRoutes, number: &DeviceNumber, account: AccountId) -> bool {
    leads(
        routes,
        ExternalId::new(GOWA_HOLDER, &number.held_by(account)),
        account,
    )
    .await
}

/// Does the account hold the number, and is it the account's by itself? Then nothing is left to be done about it.
pub(super) async fn is_settled(routes: &AccountRoutes, number: &DeviceNumber, account: AccountId) -> bool {
    is_held(routes, number, account).await && leads(routes, number.external(), account).await
}

async fn leads(routes: &AccountRoutes, external: Option<ExternalId>, account: AccountId) -> bool {
    let Some(external) = external else {
        return true;
    };
    match routes.find_external(&external).await {
        Ok(known) => known.is_some_and(|known| known.account() == account),
        Err(_) => true,
    }
}

/// The account's device is logged in with the number, which its row knows already. It holds no other one.
///
/// # Errors
/// [`DatabaseError`].
pub(super) async fn hold(
    db: &Database,
    routes: &AccountRoutes,
    scope: &TenantScope,
    account: AccountId,
    number: &DeviceNumber,
) -> Result<(), DatabaseError> {
    let held_as = number.held_by(account);
    let_go_but(db, routes, scope, account, Some(&held_as)).await?;
    let mut tx = begin(db).await?;
    device_number::hold_still(&mut tx, &number.id).await?;
    let is_new = device_number::take(&mut tx, &number.id, scope.tenant(), account).await?;
    let is_moved = settle_in(&mut tx, number).await?;
    tx.commit().await?;
    if is_new {
        routes.forget_copy(GOWA_HOLDER, &held_as).await;
    }
    if is_moved {
        routes.forget_copy(GOWA_NUMBER, &number.id).await;
    }
    Ok(())
}

/// The account's device has no number any more.
///
/// # Errors
/// [`DatabaseError`].
pub(super) async fn let_go(
    db: &Database,
    routes: &AccountRoutes,
    scope: &TenantScope,
    account: AccountId,
) -> Result<(), DatabaseError> {
    let_go_but(db, routes, scope, account, None).await
}

async fn let_go_but(
    db: &Database,
    routes: &AccountRoutes,
    scope: &TenantScope,
    account: AccountId,
    kept: Option<&str>,
) -> Result<(), DatabaseError> {
    let mut tx = begin(db).await?;
    let held = device_number::let_go(&mut tx, scope.tenant(), account, kept).await?;
    tx.commit().await?;
    for id in held {
        routes.forget(GOWA_HOLDER, &id).await;
    }
    Ok(())
}

/// An account does not hold a number any more, under this id: the number leads to whoever else holds it.
///
/// # Errors
/// [`DatabaseError`]: whoever holds it puts it right when they are looked at next.
pub(super) async fn settle(db: &Database, routes: &AccountRoutes, id: &str) -> Result<(), DatabaseError> {
    let Some(number) = DeviceNumber::held_as(id) else {
        return Ok(());
    };
    let mut tx = begin(db).await?;
    device_number::hold_still(&mut tx, &number.id).await?;
    let is_moved = settle_in(&mut tx, &number).await?;
    tx.commit().await?;
    if is_moved {
        routes.forget_copy(GOWA_NUMBER, &number.id).await;
    }
    Ok(())
}

async fn settle_in(tx: &mut PlatformTransaction, number: &DeviceNumber) -> Result<bool, DatabaseError> {
    let holders = device_number::holders(tx, &number.id, &number.phone).await?;
    let newest = holders.first();
    let of_one_tenant =
        newest.filter(|newest| holders.iter().all(|holder| holder.tenant_id == newest.tenant_id));
    let is_moved = device_number::lead(tx, &number.id, of_one_tenant).await?;
    if is_moved && of_one_tenant.is_none() && holders.len() > 1 {
        metrics::counter!("kanal_device_numbers_doubled_total").increment(1);
        let tenants: Vec<&str> = holders.iter().map(|holder| holder.tenant_id.as_str()).collect();
        tracing::warn!(
            ?tenants,
            "a number is on devices of two tenants: what names the number only is neither's"
        );
    }
    Ok(is_moved)
}

async fn begin(db: &Database) -> Result<PlatformTransaction, DatabaseError> {
    PlatformTransaction::begin(db, PlatformScope::for_purpose("settle number of device")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_back_from_what_it_is_held_as() {
        let phone = PhoneNumber::parse("6281100000009").unwrap();
        let number = DeviceNumber::new("Toko", &phone);
        assert_eq!(number.id, "Toko/6281100000009@s.whatsapp.net");
        let held = number.held_by(AccountId::generate());
        assert_eq!(DeviceNumber::held_as(&held), Some(number));
        for other in ["", "Toko", "Toko/6281100000009@s.whatsapp.net"] {
            assert_eq!(DeviceNumber::held_as(other), None, "{other}");
        }
    }
}
