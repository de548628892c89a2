//! Inboxes that send webhooks and belong to nobody.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Double, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformTransaction, TenantTransaction};

use super::inboxes::InboxKey;

/// Stands for the account where an event names none.
pub const NO_ACCOUNT: i64 = 0;
/// Most rows: anybody can invent inboxes.
const MOST: i64 = 10_000;

/// An inbox that was seen and has no route.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct UnroutedInbox {
    /// The name of the Chatwoot server in its webhook's path.
    #[diesel(sql_type = Text)]
    pub installation: String,
    /// Chatwoot's account id, [`NO_ACCOUNT`] where no event named it.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_account_id: i64,
    /// Chatwoot's inbox id.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_inbox_id: i64,
    /// So many events came.
    #[diesel(sql_type = BigInt)]
    pub seen: i64,
    /// When the last one came.
    #[diesel(sql_type = Timestamptz)]
    pub last_seen: DateTime<Utc>,
}

/// Counts `events` of an inbox that has no route.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note(tx: &mut PlatformTransaction, key: &InboxKey, events: i64) -> Result<(), DatabaseError> {
    let known = database::sql(
        "UPDATE unrouted_inboxes SET seen = seen + $4, last_seen = now() \
         WHERE installation = $1 AND chatwoot_account_id = $2 AND chatwoot_inbox_id = $3",
    )
    .bind::<Text, _>(&key.installation)
    .bind::<BigInt, _>(key.account_id)
    .bind::<BigInt, _>(key.inbox_id)
    .bind::<BigInt, _>(events)
    .execute(tx.connection())
    .await?;
    if known == 0 {
        database::sql(
            "INSERT INTO unrouted_inboxes AS u (installation, chatwoot_account_id, chatwoot_inbox_id, seen) \
             SELECT $1, $2, $3, $5 WHERE (SELECT count(*) FROM unrouted_inboxes) < $4 \
             ON CONFLICT (installation, chatwoot_account_id, chatwoot_inbox_id) \
             DO UPDATE SET seen = u.seen + excluded.seen, last_seen = now()",
        )
        .bind::<Text, _>(&key.installation)
        .bind::<BigInt, _>(key.account_id)
        .bind::<BigInt, _>(key.inbox_id)
        .bind::<BigInt, _>(MOST)
        .bind::<BigInt, _>(events)
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

/// At most `most` of them, the last seen first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<UnroutedInbox>, DatabaseError> {
    let rows = database::sql(
        "SELECT installation, chatwoot_account_id, chatwoot_inbox_id, seen, last_seen FROM unrouted_inboxes \
         ORDER BY last_seen DESC, installation, chatwoot_account_id, chatwoot_inbox_id LIMIT $1",
    )
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The inbox has a route from now on: of this account, or of whichever.
///
/// # Errors
/// [`DatabaseError`].
pub async fn routed(
    tx: &mut TenantTransaction,
    installation: &str,
    account: Option<i64>,
    inbox: i64,
) -> Result<(), DatabaseError> {
    database::sql(
        "DELETE FROM unrouted_inboxes WHERE installation = $1 AND chatwoot_inbox_id = $2 \
         AND ($3::bigint IS NULL OR chatwoot_account_id IN ($3, $4))",
    )
    .bind::<Text, _>(installation)
    .bind::<BigInt, _>(inbox)
    .bind::<Nullable<BigInt>, _>(account)
    .bind::<BigInt, _>(NO_ACCOUNT)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets up to `most` of those that were not seen for `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(tx: &mut PlatformTransaction, days: f64, most: i64) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM unrouted_inboxes u USING ( \
              SELECT installation, chatwoot_account_id, chatwoot_inbox_id FROM unrouted_inboxes \
              WHERE last_seen < now() - $1 * interval '1 day' ORDER BY last_seen LIMIT $2) old \
         WHERE u.installation = old.installation AND u.chatwoot_account_id = old.chatwoot_account_id \
           AND u.chatwoot_inbox_id = old.chatwoot_inbox_id",
    )
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}
