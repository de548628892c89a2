//! Everything a customer has, whatever table it is in: for giving it out and for taking it away.
//!
//! The tables are read off the catalog, so a table that is added later is not forgotten. Each has a `tenant_id`, which
//! the service checks of all of them before it serves.

use database::{DatabaseError, quote_identifier, quote_literal};
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use tenant_isolation::TenantTransaction;

/// The acts stay: they are what tells that the rest is gone.
const KEPT: &str = "audit_log";
/// Goes last: while it is there, an erasure that was interrupted can be begun again.
const LAST: &str = "customers";
/// Leads from names and hashes to the rows that have them: nothing of its own, and the hashes are nobody's to see.
pub(crate) const DIRECTORY: &str = "tenant_directory";

#[derive(diesel::QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Every table of customers' rows, by name.
pub(crate) async fn tables(tx: &mut TenantTransaction) -> Result<Vec<String>, DatabaseError> {
    let tables: Vec<Named> = database::sql(
        "SELECT c.relname::text AS name FROM pg_class c \
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped \
          WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
          ORDER BY c.relname",
    )
    .load(tx.connection())
    .await?;
    Ok(tables.into_iter().map(|table| table.name).collect())
}

/// Begins to read the customer's rows of one table for which the condition holds; what it compares with is written into
/// it as literals. Sealed columns and hashes are left out: they are no data of the customer's but keys to it.
pub(crate) async fn open(
    tx: &mut TenantTransaction,
    table: &str,
    condition: &str,
) -> Result<(), DatabaseError> {
    let columns: Vec<Named> = database::sql(
        "SELECT a.attname::text AS name FROM pg_attribute a \
          WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped \
            AND a.attname NOT LIKE '%sealed%' AND a.attname NOT LIKE '%hash%' \
          ORDER BY a.attnum",
    )
    .bind::<Text, _>(quote_identifier(table))
    .load(tx.connection())
    .await?;
    let columns: Vec<String> = columns
        .iter()
        .map(|column| quote_identifier(&column.name))
        .collect();
    let statement = format!(
        "DECLARE customer_rows NO SCROLL CURSOR FOR \
         SELECT row_to_json(r)::text AS name FROM (SELECT {} FROM {} WHERE tenant_id = {} AND ({condition})) r",
        columns.join(", "),
        quote_identifier(table),
        quote_literal(tx.scope().tenant().as_str()),
    );
    tx.connection().batch_execute(&statement).await?;
    Ok(())
}

/// The next rows, as JSON objects, at most `most`; none at the end.
pub(crate) async fn next(tx: &mut TenantTransaction, most: u16) -> Result<Vec<String>, DatabaseError> {
    // The cursor is another one each time, so nothing about it is worth being prepared.
    let rows: Vec<Named> = diesel::sql_query(format!("FETCH FORWARD {most} FROM customer_rows"))
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Ends the reading of a table.
pub(crate) async fn close(tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
    tx.connection().batch_execute("CLOSE customer_rows").await?;
    Ok(())
}

/// Deletes all that the customer has, and the customer. Only its acts stay. The large tables hang on its sessions, which
/// have to be gone before.
pub(crate) async fn delete_all(tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut tables = tables(tx).await?;
    tables.retain(|table| table != KEPT && table != LAST);
    tables.push(LAST.to_owned());
    for table in tables {
        database::sql(format!(
            "DELETE FROM {} WHERE tenant_id = $1",
            quote_identifier(&table)
        ))
        .bind::<Text, _>(&tenant)
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}
