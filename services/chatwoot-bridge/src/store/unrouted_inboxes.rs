//! Inboxes that send webhooks and belong to nobody.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use tenant_isolation::PlatformTransaction;

use super::inboxes::InboxKey;

/// Stands for the account where an event names none.
pub const NO_ACCOUNT: i64 = 0;
/// Most rows: anybody can invent inboxes.
const MOST: i64 = 10_000;

/// Counts a webhook of an inbox nobody connected.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note(tx: &mut PlatformTransaction, key: &InboxKey) -> Result<(), DatabaseError> {
    let known = database::sql(
        "UPDATE unrouted_inboxes SET seen = seen + 1, last_seen = now() \
         WHERE installation = $1 AND chatwoot_account_id = $2 AND chatwoot_inbox_id = $3",
    )
    .bind::<Text, _>(&key.installation)
    .bind::<BigInt, _>(key.account_id)
    .bind::<BigInt, _>(key.inbox_id)
    .execute(tx.connection())
    .await?;
    if known == 0 {
        database::sql(
            "INSERT INTO unrouted_inboxes AS u (installation, chatwoot_account_id, chatwoot_inbox_id) \
             SELECT $1, $2, $3 WHERE (SELECT count(*) FROM unrouted_inboxes) < $4 \
             ON CONFLICT (installation, chatwoot_account_id, chatwoot_inbox_id) \
             DO UPDATE SET seen = u.seen + 1, last_seen = now()",
        )
        .bind::<Text, _>(&key.installation)
        .bind::<BigInt, _>(key.account_id)
        .bind::<BigInt, _>(key.inbox_id)
        .bind::<BigInt, _>(MOST)
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}
