//! `messages` and `chats`: holding the chats of messages before the messages, which is the order everywhere.

use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId};
use tenant_isolation::{GroupTransaction, TenantTransaction};
use uuid::Uuid;

use super::cloud_status::{Named, columns};
use super::message_status::predecessors;

/// A chat that is gone when its lock is there was merged or deleted. Nobody is that unlucky more often than this.
const MOST_LOOKS: usize = 3;

/// Two parts of one statement: a chat that is gone when it is its turn is missing in the second one.
macro_rules! holding {
    ($which:literal) => {
        concat!(
            "WITH meant AS MATERIALIZED (SELECT DISTINCT chat_id FROM messages WHERE ",
            $which,
            "), held AS MATERIALIZED (SELECT id FROM chats WHERE tenant_id = $1 AND id = ANY (ARRAY(SELECT chat_id FROM meant)) \
                  ORDER BY account_id, address COLLATE \"C\" FOR UPDATE) \
             SELECT (SELECT count(*) FROM meant) - (SELECT count(*) FROM held) AS missing, \
                    ARRAY(SELECT id FROM held) AS held"
        )
    };
}

#[derive(diesel::QueryableByName)]
struct Held {
    #[diesel(sql_type = BigInt)]
    missing: i64,
    #[diesel(sql_type = Array<SqlUuid>)]
    held: Vec<Uuid>,
}

/// Holds a message's chat until the commit. `None`: the message is gone.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock(tx: &mut TenantTransaction, message: MessageId) -> Result<Option<ChatId>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    for _ in 0..MOST_LOOKS {
        let found: Held = database::sql(holding!("tenant_id = $1 AND id = $2"))
            .bind::<Text, _>(&tenant)
            .bind::<SqlUuid, _>(message.as_uuid())
            .get_result(tx.connection())
            .await?;
        if found.missing == 0 {
            return Ok(found.held.into_iter().next().map(ChatId::from_uuid));
        }
    }
    Err(DatabaseError::Contended)
}

/// Holds the chats of those messages of ours that a receipt would bring to `status`, in one order, until the commit.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock_by_provider_id(
    tx: &mut TenantTransaction,
    account: AccountId,
    ids: &[ProviderMessageId],
    status: DeliveryStatus,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    for _ in 0..MOST_LOOKS {
        let found: Held = database::sql(holding!(
            "tenant_id = $1 AND account_id = $2 AND provider_message_id = ANY ($3) AND direction = 'outbound' \
             AND status = ANY ($4)"
        ))
        .bind::<Text, _>(&tenant)
        .bind::<SqlUuid, _>(account.as_uuid())
        .bind::<Array<Text>, _>(ids.iter().map(ProviderMessageId::as_str).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(predecessors(status))
        .get_result(tx.connection())
        .await?;
        if found.missing == 0 {
            return Ok(());
        }
    }
    Err(DatabaseError::Contended)
}

/// Holds the chats of those messages of ours that may still move by what was told of them, in one order, until the commit.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock_all_by_provider_id(
    tx: &mut GroupTransaction,
    named: &[Named<'_>],
) -> Result<(), DatabaseError> {
    for _ in 0..MOST_LOOKS {
        let (tenants, accounts, ids) = columns(named);
        let found: Held = database::sql(
            "WITH meant AS MATERIALIZED (SELECT DISTINCT m.tenant_id, m.chat_id \
                    FROM unnest($1, $2, $3) AS n (tenant, account, pid) \
                    JOIN messages m ON m.tenant_id = n.tenant AND m.account_id = n.account \
                                   AND m.provider_message_id = n.pid \
                    WHERE m.direction = 'outbound' AND m.status <> 'read'), \
                  held AS MATERIALIZED (SELECT c.id FROM meant \
                    JOIN chats c ON c.tenant_id = meant.tenant_id AND c.id = meant.chat_id \
                    ORDER BY c.account_id, c.address COLLATE \"C\" FOR UPDATE OF c) \
             SELECT (SELECT count(*) FROM meant) - (SELECT count(*) FROM held) AS missing, \
                    ARRAY(SELECT id FROM held) AS held",
        )
        .bind::<Array<Text>, _>(tenants)
        .bind::<Array<SqlUuid>, _>(accounts)
        .bind::<Array<Text>, _>(ids)
        .get_result(tx.connection())
        .await?;
        if found.missing == 0 {
            return Ok(());
        }
    }
    Err(DatabaseError::Contended)
}
