//! `gate_tokens`: what opens a tenant's numbers at the gate.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Binary, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A token of the gate, without the token.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct TokenRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What it is for.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Who made it.
    #[diesel(sql_type = Text)]
    pub created_by: String,
}

/// Keeps a token. False: the tenant has as many as it may have.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert_token(
    tx: &mut TenantTransaction,
    id: Uuid,
    name: &str,
    hash: &[u8],
    by: &str,
    most: i64,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let inserted = database::sql(
        "INSERT INTO gate_tokens (tenant_id, id, name, token_hash, created_by) SELECT $1, $2, $3, $4, $5 \
         WHERE (SELECT count(*) FROM gate_tokens WHERE tenant_id = $1) < $6",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(name)
    .bind::<Binary, _>(hash)
    .bind::<Text, _>(by)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(inserted == 1)
}

/// The tenant's tokens, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tokens(tx: &mut TenantTransaction) -> Result<Vec<TokenRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT id, name, created_at, created_by FROM gate_tokens WHERE tenant_id = $1 ORDER BY id",
    )
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Takes a token back. False: there is none of this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_token(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = database::sql("DELETE FROM gate_tokens WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .execute(tx.connection())
        .await?;
    Ok(deleted == 1)
}

/// Whose token this is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tenant_of_token(
    tx: &mut PlatformTransaction,
    hash: &[u8],
) -> Result<Option<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
    }
    let mut rows: Vec<Row> = database::sql("SELECT tenant_id FROM gate_tokens WHERE token_hash = $1")
        .bind::<Binary, _>(hash)
        .load(tx.connection())
        .await?;
    Ok(rows.pop().map(|row| row.tenant_id))
}
