//! Everything a tenant has is given out: a line of JSON for each row, `{"table": …, "row": …}`.

use database::{Database, DatabaseError};
use serde_json::value::RawValue;
use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::sync::mpsc;

use super::tenant::Actor;
use crate::store::{audit, tenant, tenant_data};

/// Rows read at once.
const BATCH: u16 = 200;

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Nobody is registered under this id.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// Whoever wanted the lines has gone.
    #[error("nobody reads the export any more")]
    Abandoned,
    /// Postgres failed; the lines so far are no whole.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

#[derive(serde::Serialize)]
struct Line<'a> {
    table: &'a str,
    row: Box<RawValue>,
}

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
pub fn begin(db: Database, scope: TenantScope) -> mpsc::Receiver<Result<String, ExportError>> {
    let (lines, taken) = mpsc::channel(16);
    tokio::spawn(async move {
        if let Err(error) = export(&db, &scope, &lines).await {
            tracing::warn!(tenant = %scope.tenant(), error = %crate::error::chain(&error), "an export ended early");
            drop(lines.send(Err(error)).await);
        }
    });
    taken
}

/// Hands out the lines, each with its line break. Memory stays as it is however much there is: the next rows are read
/// when the last ones were taken.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    db: &Database,
    scope: &TenantScope,
    lines: &mpsc::Sender<Result<String, ExportError>>,
) -> Result<(), ExportError> {
    let mut tx = TenantTransaction::begin(db, scope, "export tenant").await?;
    for table in tenant_data::tables(&mut tx).await? {
        tenant_data::open_rows(&mut tx, &table).await?;
        hand_out(&mut tx, &table.name, lines).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Hands out the rows of a table that were opened, and ends their reading.
///
/// # Errors
/// [`ExportError`].
pub(super) async fn hand_out(
    tx: &mut TenantTransaction,
    table: &str,
    lines: &mpsc::Sender<Result<String, ExportError>>,
) -> Result<(), ExportError> {
    loop {
        let rows = tenant_data::next_rows(tx, BATCH).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let row = RawValue::from_string(row).map_err(|error| DatabaseError::Refused(error.into()))?;
            let line = Line { table, row };
            let mut line =
                serde_json::to_string(&line).map_err(|error| DatabaseError::Refused(error.into()))?;
            line.push('\n');
            lines.send(Ok(line)).await.map_err(|_| ExportError::Abandoned)?;
        }
    }
    tenant_data::close_rows(tx).await?;
    Ok(())
}
