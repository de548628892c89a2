//! `cloud_updates`: what Meta tells of accounts, templates, numbers and people.

use database::DatabaseError;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::AccountId;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// Most bytes kept of one update.
const KEPT_BYTES: usize = 64 * 1024;

/// An update to be kept.
#[derive(Debug)]
pub struct NewUpdate<'a> {
    /// The number's or business account's id, within which `key` is unique.
    pub scope: &'a str,
    /// Tells a repetition from another update.
    pub key: &'a str,
    /// What sort it is.
    pub kind: &'static str,
    /// On which account, where it is about one.
    pub account: Option<AccountId>,
    /// Whom or what it is about: an address, a template's id, a number.
    pub subject: Option<&'a str>,
    /// As it came.
    pub payload: &'a str,
}

/// Keeps an update. False: the tenant had it before.
///
/// # Errors
/// [`DatabaseError`].
pub async fn insert(tx: &mut TenantTransaction, update: &NewUpdate<'_>) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let inserted = database::sql(
        "INSERT INTO cloud_updates (tenant_id, scope, key, id, kind, account_id, subject, payload) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(update.scope)
    .bind::<Text, _>(update.key)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(update.kind)
    .bind::<Nullable<SqlUuid>, _>(update.account.map(AccountId::as_uuid))
    .bind::<Nullable<Text>, _>(update.subject)
    .bind::<Text, _>(beginning(update.payload))
    .execute(tx.connection())
    .await?;
    Ok(inserted == 1)
}

/// As much as is kept, cut between two characters.
fn beginning(payload: &str) -> &str {
    payload
        .get(..payload.floor_char_boundary(KEPT_BYTES))
        .unwrap_or_default()
}
