//! `messages`: what edits and deletions make of the messages they are about. The row stays: `content` is what it said
//! first, `body` what people read now.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::ids::{AccountId, ChatId, ProviderMessageId, TenantId};
use domain::message::{Direction, MessageContent};
use tenant_isolation::{GroupTransaction, TenantTransaction};

/// A message says something else from now on, or nothing any more.
#[derive(Clone)]
pub struct MessageChange {
    /// Whose.
    pub tenant: TenantId,
    /// On which account.
    pub account: AccountId,
    /// In which chat. A message of another chat is not touched.
    pub chat: ChatId,
    /// Which message.
    pub target: ProviderMessageId,
    /// Who changes it: only who wrote a message may.
    pub direction: Direction,
    /// Which of several people, in chats that have them.
    pub sender: Option<String>,
    /// When. Of two edits the later one counts, in whatever order they arrive.
    pub at: DateTime<Utc>,
    /// It was deleted.
    pub revoked: bool,
    /// What people read from now on.
    pub body: String,
}

impl MessageChange {
    /// Which message an edit or a deletion is about, and whether it is a deletion. `None`: it is neither.
    #[must_use]
    pub const fn of(content: &MessageContent) -> Option<(&ProviderMessageId, bool)> {
        match content {
            MessageContent::Edit { target, .. } => Some((target, false)),
            MessageContent::Revoke { target } => Some((target, true)),
            _ => None,
        }
    }
}

/// Applies the changes of a group, each to a message that is there already. One that comes before its message is met
/// when the message is inserted.
///
/// # Errors
/// [`DatabaseError`].
pub async fn apply_group(tx: &mut GroupTransaction, changes: &[MessageChange]) -> Result<(), DatabaseError> {
    if changes.is_empty() {
        return Ok(());
    }
    // Receipts lock messages in the order of their ids.
    database::sql(
        "SELECT m.id FROM messages m JOIN unnest($1, $2, $3) AS c (tenant_id, account_id, target) \
             ON m.tenant_id = c.tenant_id AND m.account_id = c.account_id AND m.provider_message_id = c.target \
         ORDER BY m.id FOR UPDATE OF m",
    )
    .bind::<Array<Text>, _>(changes.iter().map(|c| c.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(changes.iter().map(|c| c.account.as_uuid()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(changes.iter().map(|c| c.target.as_str()).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    for change in changes {
        apply(tx.connection(), change).await?;
    }
    Ok(())
}

/// Applies one change, and tells whether there was a message to change.
///
/// # Errors
/// [`DatabaseError`].
pub async fn apply_one(tx: &mut TenantTransaction, change: &MessageChange) -> Result<bool, DatabaseError> {
    apply(tx.connection(), change).await
}

async fn apply(connection: &mut AsyncPgConnection, change: &MessageChange) -> Result<bool, DatabaseError> {
    let changed = database::sql(
        "UPDATE messages SET body = $8, updated_at = now(), \
             edited_at = CASE WHEN $9 THEN edited_at ELSE $7 END, revoked_at = CASE WHEN $9 THEN $7 END \
         WHERE tenant_id = $1 AND account_id = $2 AND (provider_message_id = $3 OR ordered_as = $3) \
             AND chat_id = $4 AND direction = $5 \
             AND sender IS NOT DISTINCT FROM $6 AND kind NOT IN ('edit', 'revoke', 'reaction', 'poll_vote') \
             AND revoked_at IS NULL AND ($9 OR edited_at IS NULL OR edited_at <= $7)",
    )
    .bind::<Text, _>(change.tenant.as_str())
    .bind::<SqlUuid, _>(change.account.as_uuid())
    .bind::<Text, _>(change.target.as_str())
    .bind::<SqlUuid, _>(change.chat.as_uuid())
    .bind::<Text, _>(change.direction.as_str())
    .bind::<Nullable<Text>, _>(change.sender.as_deref())
    .bind::<Timestamptz, _>(change.at)
    .bind::<Text, _>(&change.body)
    .bind::<Bool, _>(change.revoked)
    .execute(connection)
    .await?;
    Ok(changed > 0)
}
