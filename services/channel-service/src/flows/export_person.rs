//! Everything a tenant has of one person is given out, as lines like those of a tenant's export.
//!
//! Files are given out by reference: the rows of `media` and `chat_pictures` hold the names of their objects.

use chores::export::{ExportError, LineSender, Lines, channel, hand_out};
use chores::person::pseudonym;
use database::Database;
use domain::address::ChatAddress;
use runtime::encryption::KeyRing;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::tenant::Actor;
use crate::store::{audit, person, tenant};

/// Notes that a person's data is given out, and to whom. The note names no number.
///
/// # Errors
/// [`ExportError::NoSuchTenant`] or [`ExportError::Database`].
pub async fn announce(
    db: &Database,
    keys: &KeyRing,
    scope: &TenantScope,
    who: &ChatAddress,
    actor: &Actor,
) -> Result<(), ExportError> {
    let mut tx = TenantTransaction::begin(db, scope, "announce export of a person").await?;
    if tenant::find(&mut tx).await?.is_none() {
        return Err(ExportError::NoSuchTenant);
    }
    let subject = pseudonym(keys, scope, who);
    audit::note(&mut tx, &actor.act("person.export", Some(subject))).await?;
    tx.commit().await?;
    Ok(())
}

/// Begins to hand out the lines; see [`export`]. The last one is an error where the export ended early.
#[must_use]
pub fn begin(db: Database, scope: TenantScope, who: ChatAddress) -> Lines {
    let (lines, taken) = channel();
    tokio::spawn(async move {
        if let Err(error) = export(&db, &scope, &who, &lines).await {
            tracing::warn!(tenant = %scope.tenant(), error = %crate::error::chain(&error), "an export of a person ended early");
            drop(lines.send(Err(error)).await);
        }
    });
    taken
}

/// Hands out the lines, each with its line break, as many in memory as a tenant's export has.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    db: &Database,
    scope: &TenantScope,
    who: &ChatAddress,
    lines: &LineSender,
) -> Result<(), ExportError> {
    let mut tx = TenantTransaction::begin(db, scope, "export person").await?;
    let found = person::find(&mut tx, who).await?;
    for (table, condition) in person::holdings(scope.tenant(), &found) {
        hand_out(&mut tx, table, &condition, lines).await?;
    }
    tx.commit().await?;
    Ok(())
}
