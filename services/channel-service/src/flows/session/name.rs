//! What a session is called where it runs.

use domain::ids::AccountId;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::SessionError;
use crate::endpoints::LiveEndpoint;
use crate::flows::register_account::RegisterError;
use crate::flows::register_device::device_id;
use crate::store::account::{self, GOWA_DEVICE, INSTANCE};

/// Longest name, in characters.
const MAX_NAME: usize = 100;

/// Points a free name at the account. The first one gets the slug, else the tenant's id; any other one that nobody can have.
pub(super) async fn claim_name(
    tx: &mut TenantTransaction,
    scope: &TenantScope,
    account: AccountId,
    slug: Option<&str>,
) -> Result<String, SessionError> {
    let own = plain_name(scope.tenant().as_str());
    let unique = format!("{own}-{}", account.as_uuid().simple());
    let is_primary = account::is_primary(tx, account).await?;
    let own = is_primary.then_some(own);
    let candidates = slug.map(plain_name).into_iter().chain(own).chain([unique]);
    let mut claimed = None;
    for name in candidates.filter(|name| !name.is_empty()) {
        let holder = account::find_by_instance(tx, &name).await?;
        if holder.is_some_and(|holder| holder.id != account.as_uuid()) {
            continue;
        }
        if account::register(tx, INSTANCE, &name, account).await? {
            claimed = Some(name);
            break;
        }
    }
    let claimed = claimed.ok_or(RegisterError::InstanceTaken)?;
    // As `register` will ask for it: better now than when the session is made.
    let tenant = scope.tenant().as_str();
    if !account::register(tx, INSTANCE, tenant, account).await?
        && !account::is_registered(tx, INSTANCE, tenant).await?
    {
        return Err(RegisterError::TenantNameTaken(scope.tenant().clone()).into());
    }
    Ok(claimed)
}

/// Points the id of a device that nobody else on the server can have at the account.
pub(super) async fn claim_device(
    tx: &mut TenantTransaction,
    scope: &TenantScope,
    account: AccountId,
    endpoint: &LiveEndpoint,
) -> Result<String, SessionError> {
    let own = plain_name(scope.tenant().as_str());
    let name = format!("{own}-{}", account.as_uuid().simple());
    if account::register(
        tx,
        GOWA_DEVICE,
        &device_id(endpoint.name.as_str(), &name),
        account,
    )
    .await?
    {
        Ok(name)
    } else {
        Err(RegisterError::SessionTaken.into())
    }
}

/// Lower case, with a dash for everything that is no letter, digit or dash.
pub(super) fn plain_name(text: &str) -> String {
    text.trim()
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .take(MAX_NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn names_are_plain() {
        for (text, name) in [
            ("Desa_Suka.Maju", "desa-suka-maju"),
            (" cm9village01 ", "cm9village01"),
            ("a b/c", "a-b-c"),
            ("", ""),
        ] {
            assert_eq!(plain_name(text), name);
        }
        assert_eq!(plain_name(&"x".repeat(500)).len(), 100);
    }
}
