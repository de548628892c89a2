//! `user_sessions`: who is signed in, under the hashes of their tokens.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Binary, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

/// A session and whose it is.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct SignedInRow {
    /// Whose.
    #[diesel(sql_type = SqlUuid)]
    pub user_id: Uuid,
    /// Their address.
    #[diesel(sql_type = Text)]
    pub email: String,
    /// Their name.
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    /// Their role.
    #[diesel(sql_type = Text)]
    pub role: String,
    /// Their tenant.
    #[diesel(sql_type = Nullable<Text>)]
    pub works_for: Option<String>,
    /// Since when this token exists.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Until when the session lasts.
    #[diesel(sql_type = Timestamptz)]
    pub expires_at: DateTime<Utc>,
    /// When the token was replaced.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub replaced_at: Option<DateTime<Utc>>,
}

/// Keeps a session.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert(
    tx: &mut PlatformTransaction,
    token_hash: &[u8],
    user: Uuid,
    expires_at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    database::sql("INSERT INTO user_sessions (token_hash, user_id, expires_at) VALUES ($1, $2, $3)")
        .bind::<Binary, _>(token_hash)
        .bind::<SqlUuid, _>(user)
        .bind::<Timestamptz, _>(expires_at)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Whose token this is, if it is good: not expired, its owner not disabled, and replaced for at most `grace`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut PlatformTransaction,
    token_hash: &[u8],
    grace: Duration,
) -> Result<Option<SignedInRow>, DatabaseError> {
    let mut rows: Vec<SignedInRow> = database::sql(
        "SELECT s.user_id, u.email, u.name, u.role, u.works_for, s.created_at, s.expires_at, s.replaced_at \
         FROM user_sessions s JOIN users u ON u.id = s.user_id \
         WHERE s.token_hash = $1 AND s.expires_at > now() AND NOT u.disabled \
           AND (s.replaced_at IS NULL OR s.replaced_at > now() - $2 * interval '1 second')",
    )
    .bind::<Binary, _>(token_hash)
    .bind::<Double, _>(grace.as_secs_f64())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Notes that a token was replaced. False when it was replaced before: then the caller's new one is not to be given out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn replace(tx: &mut PlatformTransaction, token_hash: &[u8]) -> Result<bool, DatabaseError> {
    let replaced = database::sql(
        "UPDATE user_sessions SET replaced_at = now() WHERE token_hash = $1 AND replaced_at IS NULL",
    )
    .bind::<Binary, _>(token_hash)
    .execute(tx.connection())
    .await?;
    Ok(replaced == 1)
}

/// Ends one session.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete(tx: &mut PlatformTransaction, token_hash: &[u8]) -> Result<(), DatabaseError> {
    database::sql("DELETE FROM user_sessions WHERE token_hash = $1")
        .bind::<Binary, _>(token_hash)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Ends every session of a user. Returns how many there were.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_all(tx: &mut PlatformTransaction, user: Uuid) -> Result<usize, DatabaseError> {
    let ended = database::sql("DELETE FROM user_sessions WHERE user_id = $1")
        .bind::<SqlUuid, _>(user)
        .execute(tx.connection())
        .await?;
    Ok(ended)
}

/// How many sessions of a user are good.
///
/// # Errors
/// [`DatabaseError`].
pub async fn count(tx: &mut PlatformTransaction, user: Uuid) -> Result<i64, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        sessions: i64,
    }
    let row: Row = database::sql(
        "SELECT count(*) AS sessions FROM user_sessions \
         WHERE user_id = $1 AND expires_at > now() AND replaced_at IS NULL",
    )
    .bind::<SqlUuid, _>(user)
    .get_result(tx.connection())
    .await?;
    Ok(row.sessions)
}

/// Deletes up to `batch` sessions that are over.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_expired(tx: &mut PlatformTransaction, batch: i64) -> Result<usize, DatabaseError> {
    let deleted = database::sql(
        "DELETE FROM user_sessions WHERE token_hash IN \
            (SELECT token_hash FROM user_sessions WHERE expires_at < now() LIMIT $1)",
    )
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}
