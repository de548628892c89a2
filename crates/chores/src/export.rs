//! What a tenant has is given out: a line of JSON for each row, `{"table": …, "row": …}`.

use database::DatabaseError;
use serde_json::value::RawValue;
use tenant_isolation::{TenantTransaction, rows};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Rows read at once.
const BATCH: u16 = 200;
/// Lines that wait for whoever takes them.
const WAITING: usize = 16;

/// Lines on their way, each with its line break; an error where the export ended early.
pub type Lines = mpsc::Receiver<Result<String, ExportError>>;
/// Where lines are handed in.
pub type LineSender = mpsc::Sender<Result<String, ExportError>>;

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

/// A way for lines. Memory stays as it is however much there is: the next rows are read when the last ones were taken.
#[must_use]
pub fn channel() -> (LineSender, Lines) {
    mpsc::channel(WAITING)
}

/// Hands out those of the tenant's rows of a table for which the condition holds, written as for [`rows::open`].
///
/// # Errors
/// [`ExportError`].
pub async fn hand_out(
    tx: &mut TenantTransaction,
    table: &str,
    condition: &str,
    lines: &LineSender,
) -> Result<(), ExportError> {
    rows::open(tx, table, condition).await?;
    loop {
        let rows = rows::next(tx, BATCH).await?;
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
    rows::close(tx).await?;
    Ok(())
}

/// Prints lines as they come. The task ends when their sender is gone.
#[must_use]
pub fn print() -> (LineSender, JoinHandle<()>) {
    let (lines, mut taken) = channel();
    let printing = tokio::spawn(async move {
        while let Some(Ok(line)) = taken.recv().await {
            runtime::process::print(&line.trim_end());
        }
    });
    (lines, printing)
}
