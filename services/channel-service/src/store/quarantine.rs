//! `quarantine`: webhooks that belong to nobody we know; and what is too old to keep.

use std::time::Duration;

use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Binary, Double, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::endpoint::Provider;
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

/// Most bytes kept of one body: enough to see what it is.
const KEPT_BYTES: usize = 64 * 1024;
/// Most webhooks in quarantine, of those that Meta signed and of the others. Strangers can write the others, so it must not
/// become a way to fill the disk, nor one to have no place left for what is signed.
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
    signed_by: &[String],
    body: &[u8],
) -> Result<bool, DatabaseError> {
    let kept = body.get(..KEPT_BYTES).unwrap_or(body);
    let inserted = database::sql(
        "INSERT INTO quarantine (id, reason, provider, instance, body, body_size, signed_by) \
         SELECT $1, $2, $7, $3, $4, $5, $8 \
         WHERE (SELECT count(*) FROM (SELECT 1 FROM quarantine \
                    WHERE (provider = 'cloud') = ($7 = 'cloud') LIMIT $6) AS kept) < $6",
    )
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(reason)
    .bind::<Nullable<Text>, _>(instance)
    .bind::<Binary, _>(kept)
    .bind::<BigInt, _>(i64::try_from(body.len()).unwrap_or(i64::MAX))
    .bind::<BigInt, _>(MOST_ROWS)
    .bind::<Text, _>(provider.as_str())
    .bind::<Array<Text>, _>(signed_by)
    .execute(tx.connection())
    .await?;
    Ok(inserted == 1)
}

/// A body that may be somebody's by now.
#[derive(diesel::QueryableByName)]
pub struct KeptBody {
    /// The row.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The endpoints one of whose secrets had signed it.
    #[diesel(sql_type = Array<Text>)]
    pub signed_by: Vec<String>,
    /// The body, whole.
    #[diesel(sql_type = Binary)]
    pub body: Vec<u8>,
}

/// What was kept for one of these reasons under one of these names, in the order in which it came, at most `most` behind
/// a row. What was cut is not among it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn kept_for(
    tx: &mut PlatformTransaction,
    instances: &[&str],
    reasons: &[&str],
    after: Uuid,
    most: i64,
) -> Result<Vec<KeptBody>, DatabaseError> {
    let rows = database::sql(
        "SELECT id, signed_by, body FROM quarantine \
         WHERE provider = 'cloud' AND instance = ANY ($1) AND reason = ANY ($2) AND id > $3 \
           AND body_size = octet_length(body) ORDER BY id LIMIT $4",
    )
    .bind::<Array<Text>, _>(instances)
    .bind::<Array<Text>, _>(reasons)
    .bind::<SqlUuid, _>(after)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Forgets what is somebody's now.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget(tx: &mut PlatformTransaction, ids: &[Uuid]) -> Result<(), DatabaseError> {
    database::sql("DELETE FROM quarantine WHERE id = ANY ($1)")
        .bind::<Array<SqlUuid>, _>(ids)
        .execute(tx.connection())
        .await?;
    Ok(())
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
    /// What was told of messages besides how far they went.
    StatusDetails,
    /// What Meta told of accounts, templates, numbers and people.
    CloudUpdates,
    /// Where messages of ours stood, and since when.
    Standings,
    /// Orders to take up again what was put aside, with what came of each message.
    ReplayJobs,
}

impl Aging {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Quarantine,
        Self::Ledger,
        Self::SendRequests,
        Self::AiReplies,
        Self::PendingMessages,
        Self::ProviderEvents,
        Self::EarlyReceipts,
        Self::StatusDetails,
        Self::CloudUpdates,
        Self::Standings,
        Self::ReplayJobs,
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
            Self::StatusDetails => "message_status_details",
            Self::CloudUpdates => "cloud_updates",
            Self::Standings => "message_standings",
            Self::ReplayJobs => "replay_jobs",
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
    let deleted = database::sql(format!(
        "DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} \
            WHERE received_at < now() - $1 * interval '1 second' LIMIT $2)"
    ))
    .bind::<Double, _>(age.as_secs_f64())
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}
