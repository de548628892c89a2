//! Whom an event of the AI is about: the tenant it names, or the only one that knows the person.

use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::ids::{ProviderMessageId, TenantId};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::identifier::{UnknownIdentifier, read_identifier};
use crate::store::{chat, tenant};

/// Why an event of the AI cannot be handled.
#[derive(Debug, thiserror::Error)]
pub enum AiEventError {
    /// It names nobody.
    #[error("wa_user_id is nobody on WhatsApp")]
    Person(#[from] UnknownIdentifier),
    /// It names a webchat visitor or a group.
    #[error("wa_user_id is no single person on WhatsApp")]
    NotWhatsApp,
    /// It names no tenant that we know, and not exactly one tenant knows the person.
    #[error("nobody can tell which tenant is meant")]
    Tenant,
    /// There is nothing to say, or more than a message holds.
    #[error("the text is empty or too long")]
    Text,
    /// The tenant has no account to send from.
    #[error("the tenant has no account")]
    NoAccount,
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Who is meant, and for whom the work is done.
///
/// # Errors
/// [`AiEventError`].
pub async fn find(
    db: &Database,
    village: Option<&str>,
    wa_user_id: &str,
) -> Result<(TenantScope, ChatAddress), AiEventError> {
    let person = read_identifier(wa_user_id)?;
    if person.phone().is_none() && person.lid().is_none() {
        return Err(AiEventError::NotWhatsApp);
    }
    let scope = match named(db, village).await? {
        Some(scope) => scope,
        None => only_one(db, &person).await?.ok_or(AiEventError::Tenant)?,
    };
    Ok((scope, person))
}

async fn named(db: &Database, village: Option<&str>) -> Result<Option<TenantScope>, DatabaseError> {
    let Some(tenant) = village.and_then(|id| TenantId::parse(id.trim()).ok()) else {
        return Ok(None);
    };
    let scope = TenantScope::of_own_event(tenant);
    let mut tx = TenantTransaction::begin(db, &scope, "find tenant").await?;
    let found = tenant::find(&mut tx).await?.is_some();
    tx.commit().await?;
    Ok(found.then_some(scope))
}

async fn only_one(db: &Database, person: &ChatAddress) -> Result<Option<TenantScope>, DatabaseError> {
    let platform = PlatformScope::for_purpose("find the tenant of an AI event that names none");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    let mut tenants = chat::tenants_of_person(&mut tx, person, None, 2).await?;
    tx.commit().await?;
    let only = tenants.pop().filter(|_| tenants.is_empty());
    only.map(|tenant| {
        let tenant = TenantId::parse(tenant).map_err(|error| DatabaseError::Refused(Box::new(error)))?;
        Ok(TenantScope::of_swept_row(&platform, tenant))
    })
    .transpose()
}

/// The ids among these that can be a provider's, each once.
#[must_use]
pub fn message_ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<ProviderMessageId> {
    /// As many as a bubble can hold, and more.
    const MOST: usize = 500;
    let mut kept: Vec<ProviderMessageId> = Vec::new();
    for id in ids.into_iter().filter_map(|id| ProviderMessageId::parse(id).ok()) {
        if kept.len() < MOST && !kept.contains(&id) {
            kept.push(id);
        }
    }
    kept
}
