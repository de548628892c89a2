//! What a tenant takes along to another endpoint, and what it does not: its accounts, their outside ids, and the messages
//! that were on their way through the old one.

use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::delivery::DeliveryStatus;
use domain::endpoint::{EndpointName, Provider};
use domain::ids::{AccountId, MessageId};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::account;
use super::message_status::{Moved, predecessors};

/// Where an account is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// By which name.
    pub endpoint: &'a EndpointName,
    /// Which kind of API that is.
    pub provider: Provider,
}

/// The tenant's accounts that are bound elsewhere, held until the commit, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn hold_bound_elsewhere(
    tx: &mut TenantTransaction,
    to: Binding<'_>,
) -> Result<Vec<AccountId>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Row> = database::sql(
        "SELECT id FROM accounts WHERE tenant_id = $1 AND (endpoint <> $2 OR provider <> $3) \
         ORDER BY id FOR NO KEY UPDATE",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(to.endpoint.as_str())
    .bind::<Text, _>(to.provider.as_str())
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| AccountId::from_uuid(row.id)).collect())
}

/// How many of the tenant's accounts have a session elsewhere.
///
/// # Errors
/// [`DatabaseError`].
pub async fn sessions_elsewhere(tx: &mut TenantTransaction, to: Binding<'_>) -> Result<i64, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let tenant = tx.scope().tenant().to_string();
    let row: Row = database::sql(
        "SELECT count(*) AS count FROM accounts \
         WHERE tenant_id = $1 AND (endpoint <> $2 OR provider <> $3) AND token_sealed IS NOT NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(to.endpoint.as_str())
    .bind::<Text, _>(to.provider.as_str())
    .get_result(tx.connection())
    .await?;
    Ok(row.count)
}

/// Messages on their way through endpoints that the tenant leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, diesel::QueryableByName)]
pub struct InFlight {
    /// Waiting to be sent, or being sent.
    #[diesel(sql_type = BigInt)]
    pub queued: i64,
    /// Tried with an outcome that nobody knows, and still to be repeated.
    #[diesel(sql_type = BigInt)]
    pub unknown: i64,
}

impl InFlight {
    /// How many there are.
    #[must_use]
    pub const fn total(self) -> i64 {
        self.queued + self.unknown
    }
}

/// Messages that are still to be sent over accounts that are bound elsewhere. What was put aside is not on its way.
macro_rules! on_their_way {
    () => {
        "lane_tasks t JOIN messages m ON m.tenant_id = t.tenant_id AND m.id = t.id AND m.direction = 'outbound' \
             JOIN accounts a ON a.tenant_id = m.tenant_id AND a.id = m.account_id \
         WHERE t.tenant_id = $1 AND NOT t.parked AND m.status IN ('queued', 'unknown') \
           AND (a.endpoint <> $2 OR a.provider <> $3)"
    };
}

/// Counts them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn in_flight(tx: &mut TenantTransaction, to: Binding<'_>) -> Result<InFlight, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let counts = database::sql(concat!(
        "SELECT count(*) FILTER (WHERE m.status = 'queued') AS queued, \
                count(*) FILTER (WHERE m.status = 'unknown') AS unknown FROM ",
        on_their_way!()
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(to.endpoint.as_str())
    .bind::<Text, _>(to.provider.as_str())
    .get_result(tx.connection())
    .await?;
    Ok(counts)
}

/// A message on its way.
#[derive(Debug, diesel::QueryableByName)]
pub struct OnItsWay {
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Through which endpoint.
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    /// It is not certain of every try so far that it failed.
    #[diesel(sql_type = Bool)]
    pub may_be_out: bool,
}

/// Holds the messages on their way until the commit, their chats first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn hold_in_flight(
    tx: &mut TenantTransaction,
    to: Binding<'_>,
) -> Result<Vec<OnItsWay>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(concat!(
        "SELECT c.id FROM chats c WHERE c.tenant_id = $1 AND c.id IN (SELECT m.chat_id FROM ",
        on_their_way!(),
        ") ORDER BY c.account_id, c.address COLLATE \"C\" FOR UPDATE"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(to.endpoint.as_str())
    .bind::<Text, _>(to.provider.as_str())
    .execute(tx.connection())
    .await?;
    let rows = database::sql(concat!(
        "SELECT m.id, a.endpoint, m.status = 'unknown' OR EXISTS (SELECT 1 FROM send_attempts s \
                WHERE s.tenant_id = m.tenant_id AND s.message_id = m.id AND s.outcome = 'unknown') AS may_be_out FROM ",
        on_their_way!(),
        " ORDER BY m.id FOR UPDATE OF m"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(to.endpoint.as_str())
    .bind::<Text, _>(to.provider.as_str())
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Moves messages of ours beside their road, for a reason; those that stand there already get the reason. Returns which.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_messages(
    tx: &mut TenantTransaction,
    ids: &[Uuid],
    status: DeliveryStatus,
    reason: &str,
) -> Result<Vec<Moved>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut from = predecessors(status);
    from.push(status.as_str());
    let rows = database::sql(
        "UPDATE messages SET status = $3, reason = $5, updated_at = now() \
         WHERE tenant_id = $1 AND id = ANY ($2) AND direction = 'outbound' AND status = ANY ($4) \
         RETURNING id, account_id, chat_id, provider_message_id, reference",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Text, _>(status.as_str())
    .bind::<Array<Text>, _>(from)
    .bind::<Text, _>(reason)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Notes of messages in somebody's hands that nobody will tell what became of them.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_cut_attempts(
    tx: &mut TenantTransaction,
    messages: &[&OnItsWay],
    reason: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO send_attempts (tenant_id, message_id, outcome, reason, took_ms, endpoint) \
         SELECT $1, message_id, 'unknown', $4, 0, endpoint FROM unnest($2, $3) AS m (message_id, endpoint)",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(messages.iter().map(|message| message.id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(
        messages
            .iter()
            .map(|message| message.endpoint.as_str())
            .collect::<Vec<_>>(),
    )
    .bind::<Text, _>(reason)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes every outside id of these accounts back. Returns kind and id, for whoever keeps them at hand.
///
/// # Errors
/// [`DatabaseError`].
pub async fn take_outside_ids(
    tx: &mut TenantTransaction,
    accounts: &[AccountId],
) -> Result<Vec<(&'static str, String)>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Text)]
        external_id: String,
    }
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Row> = database::sql(
        "DELETE FROM tenant_directory WHERE tenant_id = $1 AND subject_id = ANY ($2) RETURNING kind, external_id",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(uuids(accounts))
    .load(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((account::kind_of(&row.kind)?, row.external_id)))
        .collect())
}

/// Binds accounts without a session to an endpoint.
///
/// # Errors
/// [`DatabaseError`].
pub async fn bind(
    tx: &mut TenantTransaction,
    accounts: &[AccountId],
    to: Binding<'_>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "UPDATE accounts SET endpoint = $3, provider = $4, moved_at = now(), send_paused_until = NULL, \
                updated_at = now() \
         WHERE tenant_id = $1 AND id = ANY ($2) AND token_sealed IS NULL AND (endpoint <> $3 OR provider <> $4)",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(uuids(accounts))
    .bind::<Text, _>(to.endpoint.as_str())
    .bind::<Text, _>(to.provider.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// How many sessions the tenant has on this endpoint.
///
/// # Errors
/// [`DatabaseError`].
pub async fn sessions_on(tx: &mut TenantTransaction, endpoint: &str) -> Result<i64, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let tenant = tx.scope().tenant().to_string();
    let row: Row = database::sql(
        "SELECT count(*) AS count FROM accounts \
         WHERE tenant_id = $1 AND endpoint = $2 AND token_sealed IS NOT NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(endpoint)
    .get_result(tx.connection())
    .await?;
    Ok(row.count)
}

/// May the message have gone out through another endpoint than the one its account is bound to now? Then sending it
/// again is another message, whatever its id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn may_be_out_elsewhere(
    tx: &mut TenantTransaction,
    message: MessageId,
) -> Result<bool, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Bool>)]
        elsewhere: Option<bool>,
    }
    let tenant = tx.scope().tenant().to_string();
    // Attempts without an endpoint are from the time of the one that is named here.
    let row: Row = database::sql(
        "SELECT bool_or(coalesce(s.endpoint, 'Primary') <> a.endpoint OR s.at < a.moved_at) AS elsewhere \
         FROM messages m JOIN accounts a ON a.tenant_id = m.tenant_id AND a.id = m.account_id \
         JOIN send_attempts s ON s.tenant_id = m.tenant_id AND s.message_id = m.id AND s.outcome = 'unknown' \
         WHERE m.tenant_id = $1 AND m.id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(message.as_uuid())
    .get_result(tx.connection())
    .await?;
    Ok(row.elsewhere.unwrap_or(false))
}

fn uuids(accounts: &[AccountId]) -> Vec<Uuid> {
    accounts.iter().map(|account| account.as_uuid()).collect()
}
