//! What an account's chats hold, page by page, for a service that keeps a copy of its own.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, MessageId};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// A message and the chat it belongs to.
#[derive(Clone, diesel::QueryableByName)]
pub struct HistoryRow {
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// With whom.
    #[diesel(sql_type = Text)]
    pub address: String,
    /// The number, when known.
    #[diesel(sql_type = Nullable<Text>)]
    pub phone: Option<String>,
    /// The name the person gave themselves.
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    /// Which way.
    #[diesel(sql_type = Text)]
    pub direction: String,
    /// The provider's id.
    #[diesel(sql_type = Text)]
    pub provider_message_id: String,
    /// What sort.
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
    /// What the one who asked for it wanted repeated.
    #[diesel(sql_type = Nullable<Text>)]
    pub reference: Option<String>,
    /// When it was written.
    #[diesel(sql_type = Timestamptz)]
    pub sent_at: DateTime<Utc>,
}

/// Up to `most` messages of an account with single people, in the order in which they came here. Left out are edits,
/// deletions and reactions, what was deleted, and what of ours never went out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    tx: &mut TenantTransaction,
    account: AccountId,
    after: Option<MessageId>,
    since: Option<DateTime<Utc>>,
    most: i64,
) -> Result<Vec<HistoryRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // Ids are made when messages come and grow, so that they are the order and the place to go on from.
    let rows = database::sql(
        "SELECT m.id, m.chat_id, c.address, c.phone, c.name, m.direction, m.provider_message_id, m.kind, m.body, \
                m.content, m.quoted, m.reference, m.sent_at \
         FROM messages m JOIN chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id \
         WHERE m.tenant_id = $1 AND m.account_id = $2 AND ($3 IS NULL OR m.id > $3) \
           AND ($4 IS NULL OR m.sent_at >= $4) AND m.target IS NULL AND m.revoked_at IS NULL \
           AND m.sender IS NULL AND c.channel = 'whatsapp' \
           AND (m.direction = 'inbound' OR m.status IN ('sent', 'delivered', 'read')) \
         ORDER BY m.id LIMIT $5",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Nullable<SqlUuid>, _>(after.map(MessageId::as_uuid))
    .bind::<Nullable<Timestamptz>, _>(since)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}
