//! Everything a tenant has, whatever table it is in: for giving it out and for taking it away.
//!
//! The tables are read off the catalog, so a table that is added later is not forgotten. Each has a `tenant_id`, which
//! [`policy`](crate::policy) checks of all of them before a service serves.

use database::{DatabaseError, quote_identifier, quote_literal};
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};

use crate::TenantTransaction;

#[derive(diesel::QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Every table of tenants' rows. A table comes before those that its rows point at, so that rows can be deleted in this
/// order.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tables(tx: &mut TenantTransaction) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Reference {
        #[diesel(sql_type = Text)]
        from_table: String,
        #[diesel(sql_type = Text)]
        to_table: String,
    }
    let waiting: Vec<Named> = diesel::sql_query(
        "SELECT c.relname::text AS name FROM pg_class c \
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped \
          WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
          ORDER BY c.relname",
    )
    .load(tx.connection())
    .await?;
    let mut waiting: Vec<String> = waiting.into_iter().map(|table| table.name).collect();
    let mut references: Vec<Reference> = diesel::sql_query(
        "SELECT f.relname::text AS from_table, t.relname::text AS to_table FROM pg_constraint k \
           JOIN pg_class f ON f.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid \
          WHERE k.contype = 'f' AND f.relnamespace = current_schema()::regnamespace AND f.oid <> t.oid",
    )
    .load(tx.connection())
    .await?;
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        // What nothing points at any more. Tables that point at each other in a ring would be taken as they come.
        let free = waiting
            .iter()
            .position(|table| !references.iter().any(|reference| reference.to_table == *table))
            .unwrap_or(0);
        let table = waiting.remove(free);
        references.retain(|reference| reference.from_table != table);
        ordered.push(table);
    }
    Ok(ordered)
}

/// Begins to read those of the tenant's rows of one table for which the condition holds; what it compares with is written
/// into it as literals. Sealed columns and hashes are left out: what they hold is no data of the tenant's but keys to it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn open(tx: &mut TenantTransaction, table: &str, condition: &str) -> Result<(), DatabaseError> {
    let columns: Vec<Named> = diesel::sql_query(
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
    let tenant = quote_literal(tx.scope().tenant().as_str());
    let statement = format!(
        "DECLARE tenant_rows NO SCROLL CURSOR FOR \
         SELECT to_jsonb(r)::text AS row FROM (SELECT {} FROM {} WHERE tenant_id = {tenant} AND ({condition})) r",
        columns.join(", "),
        quote_identifier(table),
    );
    tx.connection().batch_execute(&statement).await?;
    Ok(())
}

/// The next rows, as JSON objects, at most `most`; none at the end.
///
/// # Errors
/// [`DatabaseError`].
pub async fn next(tx: &mut TenantTransaction, most: u16) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        row: String,
    }
    let rows: Vec<Row> = diesel::sql_query(format!("FETCH FORWARD {most} FROM tenant_rows"))
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| row.row).collect())
}

/// Ends the reading of a table.
///
/// # Errors
/// [`DatabaseError`].
pub async fn close(tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
    tx.connection().batch_execute("CLOSE tenant_rows").await?;
    Ok(())
}

/// Deletes up to `batch` of the tenant's rows of a table. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete(tx: &mut TenantTransaction, table: &str, batch: i64) -> Result<usize, DatabaseError> {
    let table = quote_identifier(table);
    let tenant = tx.scope().tenant().to_string();
    let deleted = diesel::sql_query(format!(
        "DELETE FROM {table} WHERE tenant_id = $1 AND ctid IN \
            (SELECT ctid FROM {table} WHERE tenant_id = $1 LIMIT $2)"
    ))
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}
