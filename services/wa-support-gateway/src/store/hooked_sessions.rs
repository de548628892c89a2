//! Sessions as their webhooks need them, and where they stand as their webhooks tell.

use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::sessions::REMOVING;

/// The sealed key that the WA server signs a session's webhooks with.
pub(crate) async fn hmac_key_sealed(
    tx: &mut TenantTransaction,
    session: Uuid,
) -> Result<Option<String>, DatabaseError> {
    #[derive(QueryableByName)]
    struct Key {
        #[diesel(sql_type = Text)]
        hmac_key_sealed: String,
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    let mut rows: Vec<Key> = database::sql(
        "SELECT hmac_key_sealed FROM sessions WHERE tenant_id = $1 AND id = $2 AND phase <> $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(session)
    .bind::<Text, _>(REMOVING)
    .load(tx.connection())
    .await?;
    Ok(rows.pop().map(|row| row.hmac_key_sealed))
}

/// What is done with a session's events.
#[derive(Debug, QueryableByName)]
pub(crate) struct Wishes {
    /// Is there a receiver?
    #[diesel(sql_type = Bool)]
    pub(crate) has_receiver: bool,
    /// What it wants to hear of, separated by commas.
    #[diesel(sql_type = Text)]
    pub(crate) events: String,
    /// Are incoming messages marked as read?
    #[diesel(sql_type = Bool)]
    pub(crate) auto_read: bool,
}

/// The wishes of a session that is not on its way out. The session stays until the transaction ends: whoever removes it
/// waits, and takes along what is added here.
pub(crate) async fn hold(tx: &mut TenantTransaction, session: Uuid) -> Result<Option<Wishes>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let mut rows: Vec<Wishes> = database::sql(
        "SELECT coalesce(webhook_url, '') <> '' AS has_receiver, events, auto_read_enabled AS auto_read \
         FROM sessions WHERE tenant_id = $1 AND id = $2 AND phase <> $3 FOR KEY SHARE",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(session)
    .bind::<Text, _>(REMOVING)
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

/// The sealed token of a session whose incoming messages are marked as read.
pub(crate) async fn reader_token_sealed(
    tx: &mut TenantTransaction,
    session: Uuid,
) -> Result<Option<String>, DatabaseError> {
    #[derive(QueryableByName)]
    struct Token {
        #[diesel(sql_type = Text)]
        token_sealed: String,
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    let mut rows: Vec<Token> = database::sql(
        "SELECT token_sealed FROM sessions WHERE tenant_id = $1 AND id = $2 AND phase <> $3 AND auto_read_enabled",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(session)
    .bind::<Text, _>(REMOVING)
    .load(tx.connection())
    .await?;
    Ok(rows.pop().map(|row| row.token_sealed))
}

/// What a webhook tells of its session; what it does not tell stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Is the socket to WhatsApp up?
    pub(crate) connected: Option<bool>,
    /// Is a phone paired, and the session usable?
    pub(crate) logged_in: Option<bool>,
    /// Its address with the device.
    pub(crate) jid: Option<String>,
}

/// Notes where this very session stands. What it is called then follows from it (contract §8.6).
pub(crate) async fn set_standing(
    tx: &mut TenantTransaction,
    session: Uuid,
    standing: &Standing,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "UPDATE sessions SET connected = coalesce($3, connected), logged_in = coalesce($4, logged_in), \
             jid = coalesce($5, jid), last_synced_at = now(), \
             status = CASE WHEN NOT coalesce($3, connected) THEN 'disconnected' \
                           WHEN coalesce($4, logged_in) THEN 'connected' ELSE 'qr_waiting' END \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(session)
    .bind::<Nullable<Bool>, _>(standing.connected)
    .bind::<Nullable<Bool>, _>(standing.logged_in)
    .bind::<Nullable<Text>, _>(standing.jid.as_deref())
    .execute(tx.connection())
    .await?;
    Ok(())
}
