//! Everything a tenant has here is given out: a line of JSON for each row, `{"table": …, "row": …}`, but for what opens
//! something (tokens, secrets, URLs of routes).

use chores::export::{ExportError, LineSender, Lines, channel, hand_out};
use database::Database;
use tenant_isolation::{TenantScope, TenantTransaction, rows};

use crate::store::audit_log::{self, Actor};
use crate::store::tenant_data;

/// Notes that the tenant's data is given out, and to whom.
///
/// # Errors
/// [`ExportError::NoSuchTenant`] or [`ExportError::Database`].
pub async fn announce(db: &Database, scope: &TenantScope, actor: &Actor) -> Result<(), ExportError> {
    let mut tx = TenantTransaction::begin(db, scope, "announce export").await?;
    if !tenant_data::is_known(&mut tx).await? {
        return Err(ExportError::NoSuchTenant);
    }
    audit_log::note(&mut tx, &actor.act("tenant.export", None)).await?;
    tx.commit().await?;
    Ok(())
}

/// Begins to hand out the lines; see [`export`]. The last one is an error where the export ended early.
#[must_use]
pub fn begin(db: Database, scope: TenantScope) -> Lines {
    let (lines, taken) = channel();
    tokio::spawn(async move {
        if let Err(error) = export(&db, &scope, &lines).await {
            tracing::warn!(tenant = %scope.tenant(), %error, "an export ended early");
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
