//! `chats`: two of them turn out to be one person.

use database::DatabaseError;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, ChatId, TenantId};
use tenant_isolation::GroupTransaction;
use uuid::Uuid;

#[derive(diesel::QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Locks those of these chats that are there until the commit, in the order in which chats are locked everywhere.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock_group(
    tx: &mut GroupTransaction,
    chats: &[(TenantId, AccountId, String)],
) -> Result<(), DatabaseError> {
    database::sql(
        "SELECT c.id FROM chats c JOIN unnest($1, $2, $3) AS k (tenant_id, account_id, address) \
             ON c.tenant_id = k.tenant_id AND c.account_id = k.account_id AND c.address = k.address \
         ORDER BY c.tenant_id COLLATE \"C\", c.account_id, c.address COLLATE \"C\" FOR UPDATE OF c",
    )
    .bind::<Array<Text>, _>(
        chats
            .iter()
            .map(|(tenant, ..)| tenant.as_str())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<SqlUuid>, _>(
        chats
            .iter()
            .map(|(_, account, _)| account.as_uuid())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Text>, _>(
        chats
            .iter()
            .map(|(.., address)| address.as_str())
            .collect::<Vec<_>>(),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Moves everything of the chat with this address into another chat of the same account, which the transaction has
/// locked already, and does away with it. Returns the id it had; `None` when there is no such chat.
///
/// # Errors
/// [`DatabaseError`].
pub async fn merge(
    tx: &mut GroupTransaction,
    tenant: &TenantId,
    account: AccountId,
    address: &str,
    into: ChatId,
) -> Result<Option<ChatId>, DatabaseError> {
    let mut found: Vec<IdRow> = database::sql(
        "SELECT id FROM chats WHERE tenant_id = $1 AND account_id = $2 AND address = $3 AND id <> $4 FOR UPDATE",
    )
    .bind::<Text, _>(tenant.as_str())
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(address)
    .bind::<SqlUuid, _>(into.as_uuid())
    .load(tx.connection())
    .await?;
    let Some(IdRow { id: from }) = found.pop() else {
        return Ok(None);
    };
    for statement in [
        // Receipts lock messages in the order of their ids.
        "SELECT id FROM messages WHERE tenant_id = $1 AND chat_id = $2 AND $3 IS NOT NULL ORDER BY id FOR UPDATE",
        "UPDATE messages SET chat_id = $3 WHERE tenant_id = $1 AND chat_id = $2",
        // Of two people who have the two chats, the one of the surviving chat keeps it.
        "UPDATE takeovers SET ended_at = now() WHERE tenant_id = $1 AND chat_id = $2 AND ended_at IS NULL \
            AND EXISTS (SELECT 1 FROM takeovers WHERE tenant_id = $1 AND chat_id = $3 AND ended_at IS NULL)",
        "UPDATE takeovers SET chat_id = $3 WHERE tenant_id = $1 AND chat_id = $2",
        "UPDATE chats p SET unread = p.unread + l.unread, name = coalesce(p.name, l.name), \
                profile_name = coalesce(p.profile_name, l.profile_name), \
                profile_phone = coalesce(p.profile_phone, l.profile_phone), \
                created_at = least(p.created_at, l.created_at), \
                last_text = CASE WHEN l.last_message_at > p.last_message_at THEN l.last_text ELSE p.last_text END, \
                last_message_at = greatest(p.last_message_at, l.last_message_at), \
                last_inbound_at = greatest(p.last_inbound_at, l.last_inbound_at), \
                ai_status = coalesce(p.ai_status, l.ai_status), \
                ai_error_message = coalesce(p.ai_error_message, l.ai_error_message), \
                pending_message_id = coalesce(p.pending_message_id, l.pending_message_id), updated_at = now() \
            FROM chats l WHERE p.tenant_id = $1 AND p.id = $3 AND l.tenant_id = $1 AND l.id = $2",
        // Whoever was told of it may still name it.
        "UPDATE merged_chats SET chat_id = $3 WHERE tenant_id = $1 AND chat_id = $2",
        "INSERT INTO merged_chats (tenant_id, merged_id, chat_id) VALUES ($1, $2, $3)",
        "DELETE FROM chats WHERE tenant_id = $1 AND id = $2 AND id <> $3",
    ] {
        database::sql(statement)
            .bind::<Text, _>(tenant.as_str())
            .bind::<SqlUuid, _>(from)
            .bind::<SqlUuid, _>(into.as_uuid())
            .execute(tx.connection())
            .await?;
    }
    Ok(Some(ChatId::from_uuid(from)))
}
