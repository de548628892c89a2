//! Who the spam guard keeps from the AI, and letting them go.

use cache::{GuardAway, GuardState, SpamGuard};
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::ids::{ChatId, TenantId};
use tenant_isolation::{PlatformScope, TenantScope, TenantTransaction};

use super::tenant::{self, Actor};
use crate::store::{ai_chat, audit};

/// Tenants that are asked about at once.
const PAGE: i64 = 500;

/// Why nobody can tell.
#[derive(Debug, thiserror::Error)]
pub enum SpamBanError {
    /// Redis is away.
    #[error(transparent)]
    Away(#[from] GuardAway),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// What the guard knows of one tenant's chats.
///
/// # Errors
/// [`SpamBanError`].
pub async fn of_tenant(guard: &SpamGuard, scope: &TenantScope) -> Result<GuardState, SpamBanError> {
    let mut states = guard.states(std::slice::from_ref(scope)).await?;
    Ok(states.pop().unwrap_or_default())
}

/// What the guard knows of every tenant's chats, for callers that may see all of them.
///
/// # Errors
/// [`SpamBanError`].
pub async fn of_all(
    db: &Database,
    guard: &SpamGuard,
) -> Result<Vec<(TenantScope, GuardState)>, SpamBanError> {
    let platform = PlatformScope::for_purpose("list spam bans");
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = tenant::list(db, after.as_deref(), PAGE).await?;
        let is_last = i64::try_from(page.len()).unwrap_or(PAGE) < PAGE;
        after = page.last().map(|row| row.tenant_id.clone());
        let scopes: Vec<TenantScope> = page
            .into_iter()
            .filter_map(|row| TenantId::parse(row.tenant_id).ok())
            .map(|tenant| TenantScope::of_swept_row(&platform, tenant))
            .collect();
        let states = guard.states(&scopes).await?;
        all.extend(scopes.into_iter().zip(states));
        if is_last {
            return Ok(all);
        }
    }
}

/// Takes a person's bans back. False: there was none.
///
/// # Errors
/// [`SpamBanError`].
pub async fn lift(
    db: &Database,
    guard: &SpamGuard,
    scope: &TenantScope,
    person: &ChatAddress,
    actor: &Actor,
) -> Result<bool, SpamBanError> {
    let mut tx = TenantTransaction::begin(db, scope, "find banned chat").await?;
    let chats = ai_chat::find(&mut tx, person, None).await?;
    tx.commit().await?;
    let mut lifted = false;
    for chat in chats {
        let chat = ChatId::from_uuid(chat.id);
        if guard.unban(scope, chat).await? {
            lifted = true;
            let mut tx = TenantTransaction::begin(db, scope, "note lifted ban").await?;
            audit::note(&mut tx, &actor.act("spam_ban.lift", Some(chat.to_string()))).await?;
            tx.commit().await?;
        }
    }
    Ok(lifted)
}
