//! `quarantine`: webhooks that belong to nobody we know; and what is too old to keep.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::{BigInt, Binary, Double, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::endpoint::Provider;
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

/// Most bytes kept of one body: enough to see what it is.
const KEPT_BYTES: usize = 64 * 1024;
/// Most webhooks in quarantine. Strangers can write here, so it must not become a way to fill the disk.
const MOST_ROWS: i64 = 10_000;

/// Keeps a webhook, unless the quarantine is full. Returns whether it was kept.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert(
    tx: &mut PlatformTransaction,
    provider: Provider,
    reason: &'static str,
    instance: Option<&str>,
    body: &[u8],
) -> Result<bool, DatabaseError> {
    let kept = body.get(..KEPT_BYTES).unwrap_or(body);
    let inserted = diesel::sql_query(
        "INSERT INTO quarantine (id, reason, provider, instance, body, body_size) \
         SELECT $1, $2, $7, $3, $4, $5 \
         WHERE (SELECT count(*) FROM (SELECT 1 FROM quarantine LIMIT $6) AS kept) < $6",
    )
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(reason)
    .bind::<Nullable<Text>, _>(instance)
    .bind::<Binary, _>(kept)
    .bind::<BigInt, _>(i64::try_from(body.len()).unwrap_or(i64::MAX))
    .bind::<BigInt, _>(MOST_ROWS)
    .bind::<Text, _>(provider.as_str())
    .execute(tx.connection())
    .await?;
    Ok(inserted == 1)
}

/// A table whose rows lose their use with time, and the column that tells how old they are.
#[derive(Debug, Clone, Copy)]
pub enum Aging {
    /// Webhooks in quarantine.
    Quarantine,
    /// The dedup ledger.
    Ledger,
    /// Orders that were taken.
    SendRequests,
    /// Answers of the AI that were taken.
    AiReplies,
    /// Messages the AI never answered.
    PendingMessages,
    /// Events that could not be used.
    ProviderEvents,
    /// Receipts for messages that nobody has sent here.
    EarlyReceipts,
}

impl Aging {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Quarantine,
        Self::Ledger,
        Self::SendRequests,
        Self::AiReplies,
        Self::PendingMessages,
        Self::ProviderEvents,
        Self::EarlyReceipts,
    ];

    const fn table(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Ledger => "inbound_ledger",
            Self::SendRequests => "send_requests",
            Self::AiReplies => "ai_replies",
            Self::PendingMessages => "pending_messages",
            Self::ProviderEvents => "provider_events",
            Self::EarlyReceipts => "early_receipts",
        }
    }
}

/// Deletes up to `batch` rows that are older than `age`. Returns how many; fewer than `batch` means that no more are.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_old(
    tx: &mut PlatformTransaction,
    aging: Aging,
    age: Duration,
    batch: i64,
) -> Result<usize, DatabaseError> {
    let table = aging.table();
    let deleted = diesel::sql_query(format!(
        "DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} \
            WHERE received_at < now() - $1 * interval '1 second' LIMIT $2)"
    ))
    .bind::<Double, _>(age.as_secs_f64())
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}
