//! `gate_subscriptions`: who is told what comes in.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::AccountId;
use tenant_isolation::{PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

/// Where a tenant wants to be told.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct SubscriptionRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Of one number only.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub account_id: Option<Uuid>,
    /// Where webhooks go.
    #[diesel(sql_type = Text)]
    pub callback_url: String,
    /// What they are signed with, sealed.
    #[diesel(sql_type = Text)]
    pub app_secret_sealed: String,
    /// What the receiver knows us by, sealed.
    #[diesel(sql_type = Text)]
    pub verify_token_sealed: String,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it was changed.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

/// What the app secret of a subscription is sealed for.
#[must_use]
pub fn secret_binding(scope: &TenantScope, id: Uuid) -> String {
    format!("gate secret/{}/{id}", scope.tenant())
}

/// What its verify token is sealed for.
#[must_use]
pub fn token_binding(scope: &TenantScope, id: Uuid) -> String {
    format!("gate verify token/{}/{id}", scope.tenant())
}

const SUBSCRIPTIONS: &str = "SELECT id, account_id, callback_url, app_secret_sealed, verify_token_sealed, created_at, \
        updated_at FROM gate_subscriptions WHERE tenant_id = $1";

/// Keeps a subscription, or replaces the one for the same number or for all of them. Returns its id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put_subscription(
    tx: &mut TenantTransaction,
    row: &SubscriptionRow,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "DELETE FROM gate_subscriptions WHERE tenant_id = $1 AND account_id IS NOT DISTINCT FROM $2",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Nullable<SqlUuid>, _>(row.account_id)
    .execute(tx.connection())
    .await?;
    database::sql(
        "INSERT INTO gate_subscriptions (tenant_id, id, account_id, callback_url, app_secret_sealed, \
                                         verify_token_sealed, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(row.id)
    .bind::<Nullable<SqlUuid>, _>(row.account_id)
    .bind::<Text, _>(&row.callback_url)
    .bind::<Text, _>(&row.app_secret_sealed)
    .bind::<Text, _>(&row.verify_token_sealed)
    .bind::<Timestamptz, _>(row.created_at)
    .bind::<Timestamptz, _>(row.updated_at)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The tenant's subscriptions, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn subscriptions(tx: &mut TenantTransaction) -> Result<Vec<SubscriptionRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows = database::sql(format!("{SUBSCRIPTIONS} ORDER BY id"))
        .bind::<Text, _>(tenant)
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// Who is told about an account: whoever subscribed to it, else whoever subscribed to all.
///
/// # Errors
/// [`DatabaseError`].
pub async fn subscription_for(
    tx: &mut TenantTransaction,
    account: AccountId,
) -> Result<Option<SubscriptionRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<SubscriptionRow> = database::sql(format!(
        "{SUBSCRIPTIONS} AND (account_id = $2 OR account_id IS NULL) ORDER BY account_id NULLS LAST LIMIT 1"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(account.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// Ends a subscription. False: there is none of this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_subscription(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = database::sql("DELETE FROM gate_subscriptions WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .execute(tx.connection())
        .await?;
    Ok(deleted == 1)
}

/// Every tenant that has a subscription.
///
/// # Errors
/// [`DatabaseError`].
pub async fn subscribed_tenants(tx: &mut PlatformTransaction) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        tenant_id: String,
    }
    let rows: Vec<Row> = database::sql("SELECT DISTINCT tenant_id FROM gate_subscriptions")
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| row.tenant_id).collect())
}
