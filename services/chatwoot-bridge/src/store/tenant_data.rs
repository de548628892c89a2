//! Everything a tenant has here, for an erasure: what is in tables of tenants, and what names it elsewhere.

use database::{DatabaseError, quote_identifier, quote_literal};
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantScope, TenantTransaction, rows};

/// What stays: the acts tell that the rest is gone, and that it was erased keeps it from coming back.
const KEPT: [&str; 2] = ["audit_log", "erasures"];

/// By these something comes in: they go first, in this order.
const WAYS_IN: [&str; 3] = ["tenant_directory", "routes", "inboxes"];

/// The tables whose rows go, those first by which something comes in.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tables(tx: &mut TenantTransaction) -> Result<Vec<String>, DatabaseError> {
    let mut tables = rows::tables(tx).await?;
    tables.retain(|table| !KEPT.contains(&table.as_str()));
    tables.sort_by_key(|table| {
        let way_in = WAYS_IN.iter().position(|first| first == table);
        way_in.unwrap_or(WAYS_IN.len())
    });
    Ok(tables)
}

/// Is anything here the tenant's, but for what an erasure leaves?
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_known(tx: &mut TenantTransaction) -> Result<bool, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        known: bool,
    }
    let tenant = quote_literal(tx.scope().tenant().as_str());
    let has_rows = |table: &String| {
        format!(
            "EXISTS (SELECT FROM {} WHERE tenant_id = {tenant})",
            quote_identifier(table)
        )
    };
    let questions: Vec<String> = tables(tx).await?.iter().map(has_rows).collect();
    let rows: Vec<Row> = diesel::sql_query(format!("SELECT {} AS known", questions.join(" OR ")))
        .load(tx.connection())
        .await?;
    Ok(rows.iter().any(|row| row.known))
}

/// Deletes what names the tenant in tables that are nobody's: operators' replays of its events, and locks on places of its
/// people. While its routes are there, replays of a route of its own are found.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_outside(tx: &mut PlatformTransaction, scope: &TenantScope) -> Result<(), DatabaseError> {
    for statement in [
        "DELETE FROM replay_jobs WHERE of_tenant = $1 OR of_route IN (SELECT id FROM routes WHERE tenant_id = $1)",
        "DELETE FROM leases WHERE starts_with(name, 'place:' || $1 || '/')",
    ] {
        database::sql(statement)
            .bind::<Text, _>(scope.tenant().as_str())
            .execute(tx.connection())
            .await?;
    }
    Ok(())
}
