//! Rows that come from the original. What is here already stays as it is: the import may run again at any time.

use chrono::NaiveDate;
use database::DatabaseError;
use diesel::OptionalExtension as _;
use diesel::sql_types::{Array, BigInt, Bool, Date, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::original::{ContactRow, SessionRow, StatisticRow, SubscriptionRow, UserRow};

/// Adds the customer. False when it is there already.
pub(crate) async fn add_customer(
    tx: &mut TenantTransaction,
    user: &UserRow,
    status: &str,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let added = database::sql(
        "INSERT INTO customers (tenant_id, source_service, status, created_by, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id) DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(&user.source)
    .bind::<Text, _>(status)
    .bind::<Text, _>(&user.created_by)
    .bind::<Timestamptz, _>(user.created_at)
    .bind::<Timestamptz, _>(user.updated_at)
    .execute(tx.connection())
    .await?;
    Ok(added == 1)
}

/// Adds a subscription under these terms; its period begins now. False when the customer has one with the provider.
pub(crate) async fn add_subscription(
    tx: &mut TenantTransaction,
    row: &SubscriptionRow,
    status: &str,
    max_sessions: i32,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let added = database::sql(
        "INSERT INTO subscriptions (tenant_id, id, provider, status, expires_at, max_sessions, max_messages, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, provider) DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(&row.provider)
    .bind::<Text, _>(status)
    .bind::<Timestamptz, _>(row.expires_at)
    .bind::<Integer, _>(max_sessions)
    .bind::<BigInt, _>(row.max_messages.max(0))
    .bind::<Timestamptz, _>(row.created_at)
    .bind::<Timestamptz, _>(row.updated_at)
    .execute(tx.connection())
    .await?;
    Ok(added == 1)
}

/// The customer's session that the WA server knows by this id.
pub(crate) async fn session(
    tx: &mut TenantTransaction,
    session_id: &str,
) -> Result<Option<Uuid>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let tenant = tx.scope().tenant().to_string();
    let row: Option<Found> =
        database::sql("SELECT id FROM sessions WHERE tenant_id = $1 AND session_id = $2")
            .bind::<Text, _>(tenant)
            .bind::<Text, _>(session_id)
            .get_result(tx.connection())
            .await
            .optional()?;
    Ok(row.map(|row| row.id))
}

/// A session's secrets, as they are kept.
pub(crate) struct Sealed {
    pub(crate) token_hash: String,
    pub(crate) token: String,
    pub(crate) hmac_key: String,
}

/// Adds a session. The WA server does not know its key yet: it is told by the first sweep, whenever that is.
pub(crate) async fn add_session(
    tx: &mut TenantTransaction,
    id: Uuid,
    row: &SessionRow,
    sealed: &Sealed,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO sessions (tenant_id, id, provider, session_id, session_name, token_hash, token_sealed, \
             hmac_key_sealed, webhook_url, connected, logged_in, jid, status, auto_read_enabled, typing_enabled, \
             last_synced_at, last_activity_at, sent_total, failed_total, created_at, updated_at, upkeep_due) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, \
             now() - interval '1 day')",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(&row.provider)
    .bind::<Text, _>(&row.session_id)
    .bind::<Text, _>(&row.name)
    .bind::<Text, _>(&sealed.token_hash)
    .bind::<Text, _>(&sealed.token)
    .bind::<Text, _>(&sealed.hmac_key)
    .bind::<Nullable<Text>, _>(&row.webhook_url)
    .bind::<Bool, _>(row.connected)
    .bind::<Bool, _>(row.logged_in)
    .bind::<Text, _>(&row.jid)
    .bind::<Text, _>(&row.status)
    .bind::<Bool, _>(row.auto_read)
    .bind::<Bool, _>(row.typing)
    .bind::<Nullable<Timestamptz>, _>(row.last_synced_at)
    .bind::<Nullable<Timestamptz>, _>(row.last_activity_at)
    .bind::<BigInt, _>(row.sent.max(0))
    .bind::<BigInt, _>(row.failed.max(0))
    .bind::<Timestamptz, _>(row.created_at)
    .bind::<Timestamptz, _>(row.updated_at)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Adds what was counted for a type of message, under one day. False when the day has a count of that type.
pub(crate) async fn add_usage(
    tx: &mut TenantTransaction,
    session: Uuid,
    day: NaiveDate,
    message_type: &str,
    row: &StatisticRow,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let added = database::sql(
        "INSERT INTO message_usage (tenant_id, session, day, message_type, sent, failed, last_sent_at, last_failed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(session)
    .bind::<Date, _>(day)
    .bind::<Text, _>(message_type)
    .bind::<BigInt, _>(row.sent.max(0))
    .bind::<BigInt, _>(row.failed.max(0))
    .bind::<Nullable<Timestamptz>, _>(row.last_sent_at)
    .bind::<Nullable<Timestamptz>, _>(row.last_failed_at)
    .execute(tx.connection())
    .await?;
    Ok(added == 1)
}

/// Adds contacts in one statement. Returns how many were new.
pub(crate) async fn add_contacts(
    tx: &mut TenantTransaction,
    session: Uuid,
    contacts: &[ContactRow],
) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let column = |of: fn(&ContactRow) -> &str| contacts.iter().map(of).collect::<Vec<&str>>();
    let synced: Vec<_> = contacts.iter().map(|contact| contact.last_synced_at).collect();
    let added = database::sql(
        "INSERT INTO contacts (tenant_id, session, jid, name, phone, raw, last_synced_at) \
         SELECT $1, $2, jid, name, phone, raw::jsonb, synced \
         FROM unnest($3, $4, $5, $6, $7) AS given (jid, name, phone, raw, synced) ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(session)
    .bind::<Array<Text>, _>(column(|contact| &contact.jid))
    .bind::<Array<Text>, _>(column(|contact| &contact.name))
    .bind::<Array<Text>, _>(column(|contact| &contact.phone))
    .bind::<Array<Text>, _>(column(|contact| &contact.raw))
    .bind::<Array<Timestamptz>, _>(synced)
    .execute(tx.connection())
    .await?;
    Ok(added)
}
