//! `send_attempts`: each call to a provider, and what came of it.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::MessageId;
use tenant_isolation::TenantTransaction;

/// One call.
#[derive(Debug)]
pub struct SendAttempt<'a> {
    /// For which message.
    pub message: MessageId,
    /// `accepted`, `retry_later`, `rate_limited`, `rejected`, `unknown`.
    pub outcome: &'static str,
    /// Why, as a stable code.
    pub reason: Option<&'static str>,
    /// What the provider said, for operators.
    pub detail: Option<&'a str>,
    /// Through which endpoint.
    pub endpoint: Option<&'a str>,
    /// How long the call took.
    pub took: Duration,
}

/// Keeps one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert(tx: &mut TenantTransaction, attempt: &SendAttempt<'_>) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO send_attempts (tenant_id, message_id, outcome, reason, detail, took_ms, endpoint) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(attempt.message.as_uuid())
    .bind::<Text, _>(attempt.outcome)
    .bind::<Nullable<Text>, _>(attempt.reason)
    .bind::<Nullable<Text>, _>(attempt.detail)
    .bind::<BigInt, _>(i64::try_from(attempt.took.as_millis()).unwrap_or(i64::MAX))
    .bind::<Nullable<Text>, _>(attempt.endpoint)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Why the last tries failed that counted, at most `most`. Those with one of the reasons `passed_over` did not.
///
/// # Errors
/// [`DatabaseError`].
pub async fn last_reasons(
    tx: &mut TenantTransaction,
    message: MessageId,
    passed_over: &[&str],
    most: i32,
) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        reason: String,
    }
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Row> = database::sql(
        "SELECT reason FROM send_attempts WHERE tenant_id = $1 AND message_id = $2 \
             AND outcome IN ('retry_later', 'unknown') AND reason <> ALL ($3) ORDER BY seq DESC LIMIT $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(message.as_uuid())
    .bind::<Array<Text>, _>(passed_over)
    .bind::<BigInt, _>(i64::from(most))
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.reason).collect())
}
