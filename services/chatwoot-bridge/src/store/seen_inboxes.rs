//! Inboxes that send webhooks and belong to nobody, for the people who give them routes.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use tenant_isolation::PlatformTransaction;

use super::inboxes::InboxKey;
use super::unrouted_inboxes::NO_ACCOUNT;

/// An inbox without a route.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct SeenInbox {
    /// Our name for the Chatwoot server.
    #[diesel(sql_type = Text)]
    pub installation: String,
    /// Chatwoot's account id; 0 where the webhook named none.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_account_id: i64,
    /// Chatwoot's inbox id.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_inbox_id: i64,
    /// How many webhooks.
    #[diesel(sql_type = BigInt)]
    pub seen: i64,
    /// The last one.
    #[diesel(sql_type = Timestamptz)]
    pub last_seen: DateTime<Utc>,
}

impl SeenInbox {
    /// Chatwoot's account, where a webhook named it.
    #[must_use]
    pub fn account(&self) -> Option<i64> {
        Some(self.chatwoot_account_id).filter(|id| *id != NO_ACCOUNT)
    }
}

/// Those that were seen last, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<SeenInbox>, DatabaseError> {
    let rows = database::sql(
        "SELECT installation, chatwoot_account_id, chatwoot_inbox_id, seen, last_seen FROM unrouted_inboxes \
         ORDER BY last_seen DESC LIMIT $1",
    )
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Forgets one, or those of every account where none is named. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget(
    tx: &mut PlatformTransaction,
    installation: &str,
    account: Option<i64>,
    inbox: i64,
) -> Result<usize, DatabaseError> {
    let forgotten = database::sql(
        "DELETE FROM unrouted_inboxes WHERE installation = $1 AND chatwoot_inbox_id = $2 \
         AND ($3::bigint IS NULL OR chatwoot_account_id = $3 OR chatwoot_account_id = 0)",
    )
    .bind::<Text, _>(installation)
    .bind::<BigInt, _>(inbox)
    .bind::<Nullable<BigInt>, _>(account)
    .execute(tx.connection())
    .await?;
    Ok(forgotten)
}

/// Has this inbox a route, whoever's, be it one for every account of the installation?
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_routed(tx: &mut PlatformTransaction, key: &InboxKey) -> Result<bool, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let rows: Vec<Count> = database::sql(
        "SELECT count(*) AS n FROM routes WHERE installation = $1 AND chatwoot_inbox_id = $2 \
         AND (chatwoot_account_id IS NULL OR chatwoot_account_id = $3)",
    )
    .bind::<Text, _>(&key.installation)
    .bind::<BigInt, _>(key.inbox_id)
    .bind::<BigInt, _>(key.account_id)
    .load(tx.connection())
    .await?;
    Ok(rows.iter().any(|row| row.n > 0))
}
