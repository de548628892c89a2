//! What has been kept for as long as its tenant wants: words of messages, files, and what providers told as it came.
//!
//! Ids of messages tell when they came, so that neither words nor files need an index of their own.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use messaging::ledger;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// For how many days a tenant keeps things. `None`: as the service is configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, QueryableByName)]
pub struct DaysRow {
    /// Words.
    #[diesel(sql_type = Nullable<Integer>)]
    pub text_days: Option<i32>,
    /// Files.
    #[diesel(sql_type = Nullable<Integer>)]
    pub media_days: Option<i32>,
    /// What providers told, as it came.
    #[diesel(sql_type = Nullable<Integer>)]
    pub raw_days: Option<i32>,
}

/// A tenant, and for how many days it keeps things.
#[derive(Debug, QueryableByName)]
pub struct TenantDaysRow {
    /// The tenant.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// The days.
    #[diesel(embed)]
    pub days: DaysRow,
}

/// The first id that can have been made at this moment or later.
fn boundary(before: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::try_from(before.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(milliseconds << 80)
}

/// What the tenant has set. `None`: there is no such tenant.
///
/// # Errors
/// [`DatabaseError`].
pub async fn days(tx: &mut TenantTransaction) -> Result<Option<DaysRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<DaysRow> =
        database::sql("SELECT text_days, media_days, raw_days FROM tenants WHERE tenant_id = $1")
            .bind::<Text, _>(tenant)
            .load(tx.connection())
            .await?;
    Ok(rows.pop())
}

/// Sets all three.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_days(tx: &mut TenantTransaction, days: DaysRow) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE tenants SET text_days = $2, media_days = $3, raw_days = $4, updated_at = now() WHERE tenant_id = $1",
    )
    .bind::<Text, _>(tenant)
    .bind::<Nullable<Integer>, _>(days.text_days)
    .bind::<Nullable<Integer>, _>(days.media_days)
    .bind::<Nullable<Integer>, _>(days.raw_days)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Tenants in the order of their ids after `after`, at most `most`: all, or those that have set something.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tenants(
    tx: &mut PlatformTransaction,
    all: bool,
    after: &str,
    most: i64,
) -> Result<Vec<TenantDaysRow>, DatabaseError> {
    let rows = database::sql(
        "SELECT tenant_id, text_days, media_days, raw_days FROM tenants \
         WHERE tenant_id > $1 AND ($2 OR coalesce(text_days, media_days, raw_days) IS NOT NULL) \
         ORDER BY tenant_id LIMIT $3",
    )
    .bind::<Text, _>(after)
    .bind::<Bool, _>(all)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// A message whose words are too old.
#[derive(QueryableByName)]
pub struct WordsRow {
    /// Which message.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Its chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// What it says, in the domain's JSON.
    #[diesel(sql_type = Text)]
    pub content: String,
    /// It is one of ours that is not out, as far as anybody knows.
    #[diesel(sql_type = Bool)]
    pub is_open: bool,
}

/// The next messages that came before this moment and still have their words, oldest first, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn old_words(
    tx: &mut TenantTransaction,
    before: DateTime<Utc>,
    most: i64,
) -> Result<Vec<WordsRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT id, chat_id, content, direction = 'outbound' AND status IN ('queued', 'parked', 'unknown') AS is_open \
         FROM messages WHERE tenant_id = $1 AND id < $2 \
           AND id > (SELECT texts_gone_to FROM tenants WHERE tenant_id = $1) ORDER BY id LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(boundary(before))
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Takes the words of these messages away: `contents` is what is left of each, in their order. The rows stay, with their
/// ids, statuses and times.
///
/// # Errors
/// [`DatabaseError`].
pub async fn blank(
    tx: &mut TenantTransaction,
    rows: &[WordsRow],
    contents: &[String],
    before: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    database::sql(
        "UPDATE messages m SET body = '', content = n.content FROM unnest($2, $3) AS n (id, content) \
         WHERE m.tenant_id = $1 AND m.id = n.id",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(&ids)
    .bind::<Array<Text>, _>(contents)
    .execute(tx.connection())
    .await?;
    // A provider's words about a message may repeat it.
    database::sql("UPDATE send_attempts SET detail = NULL WHERE tenant_id = $1 AND message_id = ANY ($2)")
        .bind::<Text, _>(&tenant)
        .bind::<Array<SqlUuid>, _>(&ids)
        .execute(tx.connection())
        .await?;
    // The list of chats shows the newest message's words.
    database::sql(
        "UPDATE chats c SET last_text = '' WHERE c.tenant_id = $1 AND c.id = ANY ($2) AND NOT EXISTS \
            (SELECT 1 FROM messages m WHERE m.tenant_id = $1 AND m.chat_id = c.id AND m.id >= $3)",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.chat_id).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(boundary(before))
    .execute(tx.connection())
    .await?;
    database::sql("UPDATE tenants SET texts_gone_to = greatest(texts_gone_to, $2) WHERE tenant_id = $1")
        .bind::<Text, _>(&tenant)
        .bind::<SqlUuid, _>(ids.last().copied().unwrap_or(Uuid::nil()))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// A message whose file is too old.
#[derive(QueryableByName)]
pub struct FileRow {
    /// Which message.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What it says, in the domain's JSON, with the places where the file could be had.
    #[diesel(sql_type = Text)]
    pub content: String,
}

/// Deletes up to `batch` rows of files of messages that came before this moment; their objects become garbage. Returns
/// their messages.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_files(
    tx: &mut TenantTransaction,
    before: DateTime<Utc>,
    batch: i64,
) -> Result<Vec<FileRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "DELETE FROM media f USING messages m WHERE f.tenant_id = $1 AND m.tenant_id = $1 AND m.id = f.message_id \
            AND f.message_id IN (SELECT message_id FROM media WHERE tenant_id = $1 AND message_id < $2 \
                                 ORDER BY message_id LIMIT $3) \
         RETURNING m.id, m.content",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(boundary(before))
    .bind::<BigInt, _>(batch)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// What these messages say from now on.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_contents(
    tx: &mut TenantTransaction,
    ids: &[Uuid],
    contents: &[String],
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE messages m SET content = n.content FROM unnest($2, $3) AS n (id, content) \
         WHERE m.tenant_id = $1 AND m.id = n.id",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Text>, _>(contents)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Rows that go as they are when they are too old.
#[derive(Debug, Clone, Copy)]
pub struct Aged {
    table: &'static str,
    which: &'static str,
    since: &'static str,
}

/// Webhooks of the gate that were put aside: they hold messages as they came.
pub const PARKED_WEBHOOKS: Aged = Aged {
    table: "lane_tasks",
    which: "parked AND kind = 'gate_webhook'",
    since: "created_at",
};
/// Events that the relay gave up.
pub const PARKED_EVENTS: Aged = Aged {
    table: "outbox",
    which: "parked IS NOT NULL",
    since: "created_at",
};
/// What providers told, as it came.
pub const RAW: [Aged; 2] = [raw("provider_events"), raw("cloud_updates")];

const fn raw(table: &'static str) -> Aged {
    Aged {
        table,
        which: "true",
        since: "received_at",
    }
}

/// Deletes up to `batch` of these rows that are from before this moment.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_aged(
    tx: &mut TenantTransaction,
    Aged { table, which, since }: Aged,
    before: DateTime<Utc>,
    batch: i64,
) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // By place: a row that somebody takes up again meanwhile is another one.
    let deleted = database::sql(format!(
        "DELETE FROM {table} WHERE tenant_id = $1 AND ctid IN \
            (SELECT ctid FROM {table} WHERE tenant_id = $1 AND {which} AND {since} < $2 LIMIT $3)"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Timestamptz, _>(before)
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    ledger::note_deleted(tx, table, deleted);
    Ok(deleted)
}
