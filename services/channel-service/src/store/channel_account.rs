//! `channel_accounts`: which channels a tenant has switched on (channel-service contract 1.7).

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::AccountId;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// A row of `channel_accounts`.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct ChannelAccountRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The number people know; may be empty.
    #[diesel(sql_type = Text)]
    pub wa_number: String,
    /// WhatsApp is on.
    #[diesel(sql_type = Bool)]
    pub enabled_wa: bool,
    /// The web page's chat is on.
    #[diesel(sql_type = Bool)]
    pub enabled_webchat: bool,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Last changed.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

const COLUMNS: &str = "tenant_id, id, wa_number, enabled_wa, enabled_webchat, created_at, updated_at";

/// The tenant's row. `None`: nothing was ever switched, so everything is on.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction) -> Result<Option<ChannelAccountRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<ChannelAccountRow> = database::sql(format!(
        "SELECT {COLUMNS} FROM channel_accounts WHERE tenant_id = $1"
    ))
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Is WhatsApp on for the tenant?
///
/// # Errors
/// [`DatabaseError`].
pub async fn whatsapp_is_on(tx: &mut TenantTransaction) -> Result<bool, DatabaseError> {
    Ok(find(tx).await?.is_none_or(|row| row.enabled_wa))
}

/// What is to be changed; what is `None` stays, and is empty or off in a new row.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChannelAccountChange<'a> {
    /// The number people know.
    pub wa_number: Option<&'a str>,
    /// WhatsApp on or off.
    pub enabled_wa: Option<bool>,
    /// The web page's chat on or off.
    pub enabled_webchat: Option<bool>,
}

/// Creates or changes the tenant's row.
///
/// # Errors
/// [`DatabaseError`].
pub async fn upsert(
    tx: &mut TenantTransaction,
    change: ChannelAccountChange<'_>,
) -> Result<ChannelAccountRow, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let row = database::sql(format!(
        "INSERT INTO channel_accounts AS c (tenant_id, id, wa_number, enabled_wa, enabled_webchat) \
         VALUES ($1, $2, coalesce($3, ''), coalesce($4, false), coalesce($5, false)) \
         ON CONFLICT (tenant_id) DO UPDATE SET wa_number = coalesce($3, c.wa_number), \
             enabled_wa = coalesce($4, c.enabled_wa), enabled_webchat = coalesce($5, c.enabled_webchat), \
             updated_at = now() \
         RETURNING {COLUMNS}"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Nullable<Text>, _>(change.wa_number)
    .bind::<Nullable<Bool>, _>(change.enabled_wa)
    .bind::<Nullable<Bool>, _>(change.enabled_webchat)
    .get_result(tx.connection())
    .await?;
    Ok(row)
}

/// All tenants' rows in the order of their ids, at most `most`; with `enabled_webchat`, those with that setting.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    tx: &mut PlatformTransaction,
    enabled_webchat: Option<bool>,
    most: i64,
) -> Result<Vec<ChannelAccountRow>, DatabaseError> {
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM channel_accounts WHERE $1 IS NULL OR enabled_webchat = $1 \
         ORDER BY tenant_id LIMIT $2"
    ))
    .bind::<Nullable<Bool>, _>(enabled_webchat)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The number of the tenant's first account was learned: an existing row shows it. No row is made of it and nothing is switched, because a row decides
/// whether the tenant may send. The number of another account shows in no row.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show_number(
    tx: &mut TenantTransaction,
    account: AccountId,
    phone: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE channel_accounts SET wa_number = $2, updated_at = now() WHERE tenant_id = $1 AND wa_number <> $2 \
             AND NOT EXISTS (SELECT 1 FROM accounts WHERE tenant_id = $1 AND id < $3)",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(phone)
    .bind::<SqlUuid, _>(account.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The session is gone: an existing row shows no number and has WhatsApp off.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lose_number(tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE channel_accounts SET wa_number = '', enabled_wa = false, updated_at = now() WHERE tenant_id = $1",
    )
    .bind::<Text, _>(tenant)
    .execute(tx.connection())
    .await?;
    Ok(())
}
