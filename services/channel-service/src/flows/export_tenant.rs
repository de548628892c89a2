//! Everything a tenant has is given out: a line of JSON for each row, `{"table": …, "row": …}`.

use chores::export::{ExportError, LineSender, Lines, channel, hand_out};
use database::Database;
use tenant_isolation::{TenantScope, TenantTransaction, rows};

use super::tenant::Actor;
use crate::store::{audit, tenant};

/// Notes that the tenant's data is given out, and to whom.
///
/// # Errors
/// [`ExportError::NoSuchTenant`] or [`ExportError::Database`].
pub async fn announce(db: &Database, scope: &TenantScope, actor: &Actor) -> Result<(), ExportError> {
    let mut tx = TenantTransaction::begin(db, scope, "announce export").await?;
    if tenant::find(&mut tx).await?.is_none() {
        return Err(ExportError::NoSuchTenant);
    }
    audit::note(&mut tx, &actor.act("tenant.export", None)).await?;
    tx.commit().await?;
    Ok(())
}

/// Begins to hand out the lines; see [`export`]. The last one is an error where the export ended early.
#[must_use]
pub fn begin(db: Database, scope: TenantScope) -> Lines {
    let (lines, taken) = channel();
    tokio::spawn(async move {
        if let Err(error) = export(&db, &scope, &lines).await {
            tracing::warn!(tenant = %scope.tenant(), error = %crate::error::chain(&error), "an export ended early");
            drop(lines.send(Err(error)).await);
        }
    });
    taken
}

/// Hands out the lines, each with its line break.
///
/// # Errors
/// [`ExportError`].
pub async fn export(db: &Database, scope: &TenantScope, lines: &LineSender) -> Result<(), ExportError> {
    let mut tx = TenantTransaction::begin(db, scope, "export tenant").await?;
    for table in rows::tables(&mut tx).await? {
        hand_out(&mut tx, &table, "true", lines).await?;
    }
    tx.commit().await?;
    Ok(())
}
