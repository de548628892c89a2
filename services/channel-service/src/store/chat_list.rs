//! `chats` and `chat_words`: a tenant's list of chats, page by page, and the chats that somebody looks for.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::chat::{ChatRow, ROW};

/// A word that begins so many words is common: the newest chats with it are soon found by going through the chats, while looking
/// at all of them would take longer than it helps.
const COMMON: i64 = 10_000;
/// Most words that are looked for; the database takes the first ones.
const MOST_WORDS: i64 = 5;

/// A place in the list: what comes after it is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When the chat's newest message was written.
    pub at: DateTime<Utc>,
    /// The chat.
    pub id: Uuid,
}

impl Place {
    /// Before everything there is.
    pub const TOP: Self = Self {
        at: DateTime::<Utc>::MAX_UTC,
        id: Uuid::max(),
    };

    /// As Postgres can hold it.
    fn bounded(self) -> DateTime<Utc> {
        const YEAR_9999: i64 = 253_402_300_799;
        DateTime::from_timestamp(YEAR_9999, 0).map_or(self.at, |end| self.at.min(end))
    }
}

/// Which chats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Among {
    /// All.
    #[default]
    All,
    /// Those with messages that nobody has read.
    Unread,
    /// Those that somebody has taken over from the AI.
    TakenOver,
}

/// A chat and the account it is on.
#[derive(Clone, QueryableByName)]
pub struct ListedRow {
    /// The chat.
    #[diesel(embed)]
    pub chat: ChatRow,
    /// What people call the account.
    #[diesel(sql_type = Nullable<Text>)]
    pub account_name: Option<String>,
    /// The account's own number.
    #[diesel(sql_type = Nullable<Text>)]
    pub account_phone: Option<String>,
}

/// The rows of `chosen`, which is a statement for chats, with their accounts, newest first.
fn listed(chosen: &str) -> String {
    format!(
        "SELECT {ROW}, a.display_name AS account_name, a.phone AS account_phone FROM ({chosen}) c \
         LEFT JOIN accounts a ON a.tenant_id = c.tenant_id AND a.id = c.account_id \
         ORDER BY c.last_message_at DESC, c.id DESC"
    )
}

const IN_ORDER: &str = "ORDER BY c.last_message_at DESC, c.id DESC LIMIT $4";

/// Up to `most` chats after a place, newest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    tx: &mut TenantTransaction,
    among: Among,
    after: Place,
    most: i64,
) -> Result<Vec<ListedRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // Each of the three has an index of its own.
    let chosen = match among {
        Among::All => format!(
            "SELECT c.* FROM chats c WHERE c.tenant_id = $1 AND (c.last_message_at, c.id) < ($2, $3) {IN_ORDER}"
        ),
        Among::Unread => format!(
            "SELECT c.* FROM chats c WHERE c.tenant_id = $1 AND c.unread > 0 \
               AND (c.last_message_at, c.id) < ($2, $3) {IN_ORDER}"
        ),
        Among::TakenOver => format!(
            "SELECT c.* FROM takeovers t JOIN chats c ON c.tenant_id = t.tenant_id AND c.id = t.chat_id \
             WHERE t.tenant_id = $1 AND t.ended_at IS NULL AND (c.last_message_at, c.id) < ($2, $3) {IN_ORDER}"
        ),
    };
    let rows = database::sql(listed(&chosen))
        .bind::<Text, _>(tenant)
        .bind::<Timestamptz, _>(after.bounded())
        .bind::<SqlUuid, _>(after.id)
        .bind::<BigInt, _>(most)
        .load(tx.connection())
        .await?;
    Ok(rows)
}

#[derive(QueryableByName)]
struct FoundRow {
    /// None: every word is common.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    id: Option<Uuid>,
}

/// Up to `most` chats after a place, newest first, in which each of these words begins a word of the person's names, or one of
/// their numbers.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    words: &str,
    among: Among,
    after: Place,
    most: i64,
) -> Result<Vec<ListedRow>, DatabaseError> {
    let few = few_with(tx, words).await?;
    let tenant = tx.scope().tenant().to_string();
    let few_of = if few.is_some() {
        "c.id = ANY ($7)"
    } else {
        "cardinality($7) = 0"
    };
    let chosen = format!(
        "WITH looked_for AS MATERIALIZED (SELECT word FROM words_of($8) AS word LIMIT $9) \
         SELECT c.* FROM chats c WHERE c.tenant_id = $1 AND (c.last_message_at, c.id) < ($2, $3) \
           AND (NOT $5 OR c.unread > 0) \
           AND (NOT $6 OR EXISTS (SELECT 1 FROM takeovers t WHERE t.tenant_id = c.tenant_id AND t.chat_id = c.id \
                                   AND t.ended_at IS NULL)) \
           AND {few_of} AND NOT EXISTS (SELECT 1 FROM looked_for l WHERE NOT EXISTS \
               (SELECT 1 FROM chat_words w WHERE w.tenant_id = $1 AND w.chat_id = c.id \
                  AND w.word >= l.word AND w.word < l.word || chr(1114111))) {IN_ORDER}"
    );
    let rows = database::sql(listed(&chosen))
        .bind::<Text, _>(&tenant)
        .bind::<Timestamptz, _>(after.bounded())
        .bind::<SqlUuid, _>(after.id)
        .bind::<BigInt, _>(most)
        .bind::<Bool, _>(among == Among::Unread)
        .bind::<Bool, _>(among == Among::TakenOver)
        .bind::<Array<SqlUuid>, _>(few.unwrap_or_default())
        .bind::<Text, _>(words)
        .bind::<BigInt, _>(MOST_WORDS)
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// The chats with all those of the words that are not common, which are fewer than [`COMMON`]. `None`: each word is common, so
/// that going through the chats from the newest one on soon meets some.
async fn few_with(tx: &mut TenantTransaction, words: &str) -> Result<Option<Vec<Uuid>>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let found: Vec<FoundRow> = database::sql(
        "WITH looked_for AS MATERIALIZED (SELECT word FROM words_of($2) AS word LIMIT $3), \
         met AS MATERIALIZED (SELECT l.word, w.chat_id FROM looked_for l CROSS JOIN LATERAL \
             (SELECT w.chat_id FROM chat_words w \
              WHERE w.tenant_id = $1 AND w.word >= l.word AND w.word < l.word || chr(1114111) LIMIT $4) w), \
         common AS MATERIALIZED (SELECT word FROM met GROUP BY word HAVING count(*) = $4), \
         left_over AS (SELECT (SELECT count(*) FROM looked_for) - (SELECT count(*) FROM common) AS count) \
         (SELECT chat_id AS id FROM met WHERE NOT EXISTS (SELECT 1 FROM common c WHERE c.word = met.word) \
          GROUP BY chat_id HAVING count(DISTINCT word) = (SELECT count FROM left_over)) \
         UNION ALL SELECT NULL FROM left_over WHERE count = 0",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(words)
    .bind::<BigInt, _>(MOST_WORDS)
    .bind::<BigInt, _>(COMMON)
    .load(tx.connection())
    .await?;
    Ok(found.into_iter().map(|row| row.id).collect())
}

#[derive(QueryableByName)]
struct MarkRow {
    #[diesel(sql_type = Nullable<Text>)]
    mark: Option<String>,
}

/// Another one than before, when something about the newest `most` chats is another.
///
/// # Errors
/// [`DatabaseError`].
pub async fn mark(tx: &mut TenantTransaction, most: i64) -> Result<String, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row: MarkRow = database::sql(
        "SELECT md5(string_agg(concat_ws(' ', c.id, c.updated_at, t.id), ',' ORDER BY c.last_message_at DESC, c.id DESC)) \
             AS mark \
         FROM (SELECT tenant_id, id, updated_at, last_message_at FROM chats WHERE tenant_id = $1 \
               ORDER BY last_message_at DESC, id DESC LIMIT $2) c \
         LEFT JOIN takeovers t ON t.tenant_id = c.tenant_id AND t.chat_id = c.id AND t.ended_at IS NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(most)
    .get_result(tx.connection())
    .await?;
    Ok(row.mark.unwrap_or_default())
}
