//! What of a customer's rows is given out, and what is taken away.

use database::{DatabaseError, quote_identifier};
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl as _;
use messaging::ledger;
use tenant_isolation::{TenantTransaction, rows};

/// The acts stay: they are what tells that the rest is gone.
const KEPT: &str = "audit_log";
/// Goes last: while it is there, an erasure that was interrupted can be begun again.
const LAST: &str = "customers";
/// Leads from names and hashes to the rows that have them: nothing of its own, and the hashes are nobody's to see.
const DIRECTORY: &str = "tenant_directory";

/// The tables of which a customer is given its rows.
pub(crate) async fn given_out(tx: &mut TenantTransaction) -> Result<Vec<String>, DatabaseError> {
    let mut tables = rows::tables(tx).await?;
    tables.retain(|table| table != DIRECTORY);
    Ok(tables)
}

/// Deletes all that the customer has, and the customer. Only its acts stay. The large tables hang on its sessions, which
/// have to be gone before.
pub(crate) async fn delete_all(tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut tables = rows::tables(tx).await?;
    tables.retain(|table| table != KEPT && table != LAST);
    tables.push(LAST.to_owned());
    for table in tables {
        let deleted = database::sql(format!(
            "DELETE FROM {} WHERE tenant_id = $1",
            quote_identifier(&table)
        ))
        .bind::<Text, _>(&tenant)
        .execute(tx.connection())
        .await?;
        ledger::note_deleted(tx, &table, deleted);
    }
    Ok(())
}
