//! `messages`, `media` and what else makes a chat readable, page by page backwards.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, ChatId, MessageId};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// Most reactions that are shown under the messages of one page.
const MOST_REACTIONS: i64 = 500;

/// A message as people read it in its chat.
#[derive(Clone, diesel::QueryableByName)]
pub struct ThreadRow {
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The provider's id, or ours for the provider.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// The id it was ordered under, where the provider gave it another one.
    #[diesel(sql_type = Nullable<Text>)]
    pub ordered_as: Option<String>,
    /// Which way it went.
    #[diesel(sql_type = Text)]
    pub direction: String,
    /// Who wrote it: a `domain::message::MessageSource`.
    #[diesel(sql_type = Text)]
    pub source: String,
    /// What sort: a `domain::message::MessageKind`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// What people read now.
    #[diesel(sql_type = Text)]
    pub body: String,
    /// What it said first, in the domain's JSON.
    #[diesel(sql_type = Text)]
    pub content: String,
    /// The message it answers.
    #[diesel(sql_type = Nullable<Text>)]
    pub quoted: Option<String>,
    /// The message it is about.
    #[diesel(sql_type = Nullable<Text>)]
    pub target: Option<String>,
    /// The name of who wrote, where the chat has several people.
    #[diesel(sql_type = Nullable<Text>)]
    pub sender_name: Option<String>,
    /// When it was written.
    #[diesel(sql_type = Timestamptz)]
    pub sent_at: DateTime<Utc>,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// When it was last edited.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub edited_at: Option<DateTime<Utc>>,
    /// When it was deleted.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub revoked_at: Option<DateTime<Utc>>,
    /// What became of its file.
    #[diesel(sql_type = Nullable<Text>)]
    pub media_state: Option<String>,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub media_reason: Option<String>,
    /// What the file is, by its content.
    #[diesel(sql_type = Nullable<Text>)]
    pub media_type: Option<String>,
    /// How many bytes.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub media_size: Option<i64>,
    /// The name its sender gave it.
    #[diesel(sql_type = Nullable<Text>)]
    pub media_name: Option<String>,
}

const COLUMNS: &str = "m.id, m.provider_message_id, m.ordered_as, m.direction, m.source, m.kind, m.body, m.content, \
                       m.quoted, m.target, m.sender_name, m.sent_at, m.status, m.reason, m.edited_at, m.revoked_at, \
                       f.state AS media_state, f.reason AS media_reason, f.mime_type AS media_type, \
                       f.size AS media_size, f.file_name AS media_name";

/// Where a page of a chat ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With the newest message.
    Newest,
    /// Before this message.
    Before(MessageId),
    /// With this message.
    With(MessageId),
}

#[derive(diesel::QueryableByName)]
struct PlaceRow {
    #[diesel(sql_type = Timestamptz)]
    sent_at: DateTime<Utc>,
}

/// Up to `most` messages of a chat, newest first. Reactions, edits and deletions whose message is in the chat are left out:
/// they are seen on it. `None`: the page is to end at a message that the chat does not have.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    tx: &mut TenantTransaction,
    chat: ChatId,
    end: End,
    most: i64,
) -> Result<Option<Vec<ThreadRow>>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let (id, until) = match end {
        End::Newest => (None, "$3 IS NULL AND $4 IS NULL"),
        End::Before(id) => (Some(id), "(m.sent_at, m.id) < ($3, $4)"),
        End::With(id) => (Some(id), "(m.sent_at, m.id) <= ($3, $4)"),
    };
    let mut at = None;
    if let Some(id) = id {
        let mut known: Vec<PlaceRow> =
            database::sql("SELECT sent_at FROM messages WHERE tenant_id = $1 AND id = $2 AND chat_id = $3")
                .bind::<Text, _>(&tenant)
                .bind::<SqlUuid, _>(id.as_uuid())
                .bind::<SqlUuid, _>(chat.as_uuid())
                .load(tx.connection())
                .await?;
        let Some(known) = known.pop() else { return Ok(None) };
        at = Some(known.sent_at);
    }
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM messages m \
         LEFT JOIN media f ON f.tenant_id = m.tenant_id AND f.message_id = m.id \
         WHERE m.tenant_id = $1 AND m.chat_id = $2 AND {until} \
           AND NOT (m.kind IN ('reaction', 'edit', 'revoke') AND m.target IS NOT NULL \
                    AND EXISTS (SELECT 1 FROM messages t WHERE t.tenant_id = $1 AND t.account_id = m.account_id \
                                  AND (t.provider_message_id = m.target OR t.ordered_as = m.target) \
                                  AND t.chat_id = m.chat_id)) \
         ORDER BY m.sent_at DESC, m.id DESC LIMIT $5"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<Nullable<Timestamptz>, _>(at)
    .bind::<Nullable<SqlUuid>, _>(id.map(MessageId::as_uuid))
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(Some(rows))
}

/// A reaction, or its being taken away.
#[derive(Clone, diesel::QueryableByName)]
pub struct ReactionRow {
    /// The message reacted to, by the provider's id.
    #[diesel(sql_type = Text)]
    pub target: String,
    /// Which way it went.
    #[diesel(sql_type = Text)]
    pub direction: String,
    /// Who reacted, where the chat has several people.
    #[diesel(sql_type = Nullable<Text>)]
    pub sender: Option<String>,
    /// Its content in the domain's JSON.
    #[diesel(sql_type = Text)]
    pub content: String,
}

/// What was reacted to these messages of a chat, oldest first: of one person's, the last counts.
///
/// # Errors
/// [`DatabaseError`].
pub async fn reactions(
    tx: &mut TenantTransaction,
    account: AccountId,
    chat: ChatId,
    targets: &[&str],
) -> Result<Vec<ReactionRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT target, direction, sender, content FROM messages \
         WHERE tenant_id = $1 AND account_id = $2 AND target = ANY ($3) AND target IS NOT NULL AND chat_id = $4 \
           AND kind = 'reaction' AND status NOT IN ('failed', 'parked') ORDER BY sent_at, id LIMIT $5",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Array<Text>, _>(targets)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<BigInt, _>(MOST_REACTIONS)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// A message that another one answers.
#[derive(Clone, diesel::QueryableByName)]
pub struct QuotedRow {
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The provider's id.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// The id it was ordered under.
    #[diesel(sql_type = Nullable<Text>)]
    pub ordered_as: Option<String>,
    /// Which way it went.
    #[diesel(sql_type = Text)]
    pub direction: String,
    /// The beginning of what people read of it.
    #[diesel(sql_type = Text)]
    pub body: String,
    /// It was deleted.
    #[diesel(sql_type = Bool)]
    pub is_revoked: bool,
}

/// Those of a chat's messages that go by these ids of the provider's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn quoted(
    tx: &mut TenantTransaction,
    account: AccountId,
    chat: ChatId,
    ids: &[&str],
) -> Result<Vec<QuotedRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(
        "SELECT id, provider_message_id, ordered_as, direction, left(body, 200) AS body, \
                revoked_at IS NOT NULL AS is_revoked FROM messages \
         WHERE tenant_id = $1 AND account_id = $2 AND (provider_message_id = ANY ($3) OR ordered_as = ANY ($3)) \
           AND chat_id = $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Array<Text>, _>(ids)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The account a chat is on.
#[derive(Clone, diesel::QueryableByName)]
pub struct SenderRow {
    /// What people call it.
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    /// Its own number.
    #[diesel(sql_type = Nullable<Text>)]
    pub phone: Option<String>,
    /// A `domain::endpoint::Provider`.
    #[diesel(sql_type = Text)]
    pub provider: String,
    /// It has a session.
    #[diesel(sql_type = Bool)]
    pub has_session: bool,
    /// When the person last wrote.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_inbound_at: Option<DateTime<Utc>>,
}

/// The account a chat is on, and when the person last wrote to it.
///
/// # Errors
/// [`DatabaseError::NotFound`].
pub async fn sender(tx: &mut TenantTransaction, chat: ChatId) -> Result<SenderRow, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(
        "SELECT a.display_name AS name, a.phone, a.provider, a.token_sealed IS NOT NULL AS has_session, \
                c.last_inbound_at \
         FROM chats c JOIN accounts a ON a.tenant_id = c.tenant_id AND a.id = c.account_id \
         WHERE c.tenant_id = $1 AND c.id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .get_result(tx.connection())
    .await?;
    Ok(row)
}

#[derive(diesel::QueryableByName)]
struct IntoRow {
    #[diesel(sql_type = SqlUuid)]
    chat_id: Uuid,
}

/// What a chat that is no more has become.
///
/// # Errors
/// [`DatabaseError`].
pub async fn merged_into(tx: &mut TenantTransaction, chat: ChatId) -> Result<Option<ChatId>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<IntoRow> =
        database::sql("SELECT chat_id FROM merged_chats WHERE tenant_id = $1 AND merged_id = $2")
            .bind::<Text, _>(tenant)
            .bind::<SqlUuid, _>(chat.as_uuid())
            .load(tx.connection())
            .await?;
    Ok(rows.pop().map(|row| ChatId::from_uuid(row.chat_id)))
}

/// The provider's id of a message of this chat. `None`: the chat has no such message.
///
/// # Errors
/// [`DatabaseError`].
pub async fn provider_id(
    tx: &mut TenantTransaction,
    chat: ChatId,
    id: MessageId,
) -> Result<Option<String>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<MarkRow> = database::sql(
        "SELECT provider_message_id AS mark FROM messages WHERE tenant_id = $1 AND id = $2 AND chat_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id.as_uuid())
    .bind::<SqlUuid, _>(chat.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop().and_then(|row| row.mark))
}

#[derive(diesel::QueryableByName)]
struct MarkRow {
    #[diesel(sql_type = Nullable<Text>)]
    mark: Option<String>,
}

/// Another one than before, when something about the chat or its newest `most` messages is another. One look at an index, for
/// it is asked for again and again. `None`: there is no such chat.
///
/// # Errors
/// [`DatabaseError`].
pub async fn mark(
    tx: &mut TenantTransaction,
    chat: ChatId,
    most: i64,
) -> Result<Option<String>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<MarkRow> = database::sql(
        "SELECT md5(concat_ws(';', c.name, c.profile_name, c.ai_status, c.ai_error_message, \
                (SELECT t.id FROM takeovers t WHERE t.tenant_id = $1 AND t.chat_id = c.id AND t.ended_at IS NULL), \
                (SELECT string_agg(concat_ws(' ', m.id, m.updated_at, m.status, f.updated_at), ',' \
                                   ORDER BY m.sent_at DESC, m.id DESC) \
                 FROM (SELECT id, updated_at, status, sent_at FROM messages WHERE tenant_id = $1 AND chat_id = $2 \
                       ORDER BY sent_at DESC, id DESC LIMIT $3) m \
                 LEFT JOIN media f ON f.tenant_id = $1 AND f.message_id = m.id))) AS mark \
         FROM chats c WHERE c.tenant_id = $1 AND c.id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows.pop().and_then(|row| row.mark))
}
