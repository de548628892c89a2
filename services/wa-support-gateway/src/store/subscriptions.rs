//! Subscriptions: what a customer may have.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::{ExpressionMethods as _, QueryDsl as _, Queryable};
use diesel_async::RunQueryDsl as _;
use domain::subscription::SubscriptionStatus;
use serde::{Deserialize, Serialize};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::PROVIDER;
use super::schema::subscriptions;

/// What a subscription entitles its customer to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entitlement {
    pub(crate) status: SubscriptionStatus,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) max_sessions: i32,
    /// Sends in a period; zero and less mean no limit.
    pub(crate) max_messages: i64,
}

#[derive(Queryable)]
pub(crate) struct EntitlementRow {
    status: String,
    expires_at: DateTime<Utc>,
    max_sessions: i32,
    max_messages: i64,
}

impl TryFrom<EntitlementRow> for Entitlement {
    type Error = DatabaseError;

    fn try_from(row: EntitlementRow) -> Result<Self, DatabaseError> {
        Ok(Self {
            status: row
                .status
                .parse()
                .map_err(|error| DatabaseError::Refused(Box::new(error)))?,
            expires_at: row.expires_at,
            max_sessions: row.max_sessions,
            max_messages: row.max_messages,
        })
    }
}

/// What a missing subscription begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewSubscription {
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) max_sessions: i32,
}

/// Makes the subscription when it is missing; one that exists keeps its end, its status and its limits. True: it was made.
pub(crate) async fn ensure(tx: &mut TenantTransaction, new: NewSubscription) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let made = diesel::insert_into(subscriptions::table)
        .values((
            subscriptions::tenant_id.eq(tenant),
            subscriptions::id.eq(Uuid::now_v7()),
            subscriptions::provider.eq(PROVIDER),
            subscriptions::status.eq(SubscriptionStatus::Active.as_str()),
            subscriptions::expires_at.eq(new.expires_at),
            subscriptions::max_sessions.eq(new.max_sessions),
        ))
        .on_conflict_do_nothing()
        .execute(tx.connection())
        .await?;
    Ok(made == 1)
}

/// Sets how many sessions the customer may have. False: it may have so many already.
pub(crate) async fn set_max_sessions(
    tx: &mut TenantTransaction,
    max_sessions: i32,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let own = subscriptions::table
        .filter(subscriptions::tenant_id.eq(tenant))
        .filter(subscriptions::provider.eq(PROVIDER))
        .filter(subscriptions::max_sessions.ne(max_sessions));
    let changed = diesel::update(own)
        .set((
            subscriptions::max_sessions.eq(max_sessions),
            subscriptions::updated_at.eq(Utc::now()),
        ))
        .execute(tx.connection())
        .await?;
    Ok(changed == 1)
}
