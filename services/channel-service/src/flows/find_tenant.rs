//! For whom a read is that names no tenant: for the only one it can be for, else for nobody (contract
//! channel-service 9.B1). Some callers cannot name one, and an answer over all tenants would be a leak.

use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::ids::TenantId;
use tenant_isolation::caller::InternalCaller;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};

use crate::store::{chat, tenant};

/// The one tenant that the caller may see and that has a chat with this person; without a person, the one tenant that
/// the caller may see at all. `None` when there is none, or more than one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn only_one(
    db: &Database,
    caller: &InternalCaller,
    person: Option<&ChatAddress>,
) -> Result<Option<TenantScope>, DatabaseError> {
    let among: Option<Vec<String>> = caller
        .limited_to()
        .map(|own| own.iter().map(|tenant| tenant.as_str().to_owned()).collect());
    let scope = PlatformScope::for_purpose("find the tenant of a read that names none");
    let mut tx = PlatformTransaction::begin(db, scope).await?;
    let mut found = match person {
        Some(person) => chat::tenants_of_person(&mut tx, person, among.as_deref(), 2).await?,
        None => tenant::some_ids(&mut tx, among.as_deref(), 2).await?,
    };
    tx.commit().await?;
    let only = found.pop().filter(|_| found.is_empty());
    let scope = only.and_then(|id| caller.scope(TenantId::parse(id).ok()?).ok());
    metrics::counter!("kanal_reads_without_tenant_total", "answered" => if scope.is_some() { "yes" } else { "no" })
        .increment(1);
    Ok(scope)
}
