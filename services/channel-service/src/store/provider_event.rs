//! `provider_events`: what an account told us that we do not understand, or understand and cannot use.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::AccountId;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// Most bytes kept of one event: enough to see what it is, and whole unless it carries a file.
const KEPT_BYTES: usize = 256 * 1024;
/// Most events kept for one tenant, until they are too old to keep. No tenant may fill the disk of all.
const MOST_ROWS: i64 = 10_000;

/// An event that was kept instead of used.
#[derive(Debug)]
pub struct KeptEvent<'a> {
    /// On which account.
    pub account: AccountId,
    /// Its kind, in the provider's words.
    pub type_name: &'a str,
    /// Why it could not be used, as a stable code; none for a kind that we do not know.
    pub reason: Option<&'static str>,
    /// The event as it came.
    pub payload: &'a str,
}

/// Keeps an event, unless the tenant has as many as it may have. Returns whether it was kept.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert(tx: &mut TenantTransaction, event: &KeptEvent<'_>) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let inserted = database::sql(
        "INSERT INTO provider_events (tenant_id, id, account_id, type_name, reason, payload) \
         SELECT $1, $2, $3, $4, $5, $6 \
         WHERE (SELECT count(*) FROM (SELECT 1 FROM provider_events WHERE tenant_id = $1 LIMIT $7) AS kept) < $7",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<SqlUuid, _>(event.account.as_uuid())
    .bind::<Text, _>(event.type_name.replace('\0', ""))
    .bind::<Nullable<Text>, _>(event.reason)
    .bind::<Text, _>(beginning(event.payload))
    .bind::<BigInt, _>(MOST_ROWS)
    .execute(tx.connection())
    .await?;
    Ok(inserted == 1)
}

/// As much as is kept, cut between two characters.
fn beginning(payload: &str) -> &str {
    let mut end = payload.len().min(KEPT_BYTES);
    while !payload.is_char_boundary(end) {
        end -= 1;
    }
    payload.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_event_is_cut_between_two_characters() {
        assert_eq!(beginning("pendek"), "pendek");
        let long = format!("a{}", "é".repeat(KEPT_BYTES));
        assert_eq!(beginning(&long).len(), KEPT_BYTES - 1);
    }
}
