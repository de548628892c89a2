//! Sessions: a customer's users of the WA server.

use chrono::Utc;
use database::DatabaseError;
use diesel::{
    ExpressionMethods as _, Insertable, OptionalExtension as _, QueryDsl as _, Queryable, Selectable,
    SelectableHelper as _,
};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::PROVIDER;
use super::schema::sessions;

/// The sealed token of a session and whether it shows that it types. Looked up by id and by the hash of the token: a
/// directory entry that outlived its session or its token leads nowhere.
pub(crate) async fn pass(
    tx: &mut TenantTransaction,
    id: Uuid,
    token_hash: &str,
) -> Result<Option<(String, bool)>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(sessions::table
        .filter(sessions::tenant_id.eq(tenant))
        .filter(sessions::id.eq(id))
        .filter(sessions::token_hash.eq(token_hash))
        .filter(sessions::phase.ne(REMOVING))
        .select((sessions::token_sealed, sessions::typing_enabled))
        .get_result(tx.connection())
        .await
        .optional()?)
}

/// The phase of a session that is on its way out: the WA server may know it still.
pub(crate) const REMOVING: &str = "removing";

/// A session as it is kept: its secrets are sealed.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    pub(crate) token_sealed: String,
    pub(crate) hmac_key_sealed: String,
    pub(crate) webhook_url: Option<String>,
}

/// A session that the WA server does not know yet.
#[derive(Debug, Insertable)]
#[diesel(table_name = sessions)]
pub(crate) struct NewSession<'a> {
    pub(crate) tenant_id: &'a str,
    pub(crate) id: Uuid,
    pub(crate) provider: &'a str,
    pub(crate) session_name: &'a str,
    pub(crate) token_hash: &'a str,
    pub(crate) token_sealed: &'a str,
    pub(crate) hmac_key_sealed: &'a str,
    pub(crate) webhook_url: Option<&'a str>,
}

/// The customer's session of this name.
pub(crate) async fn find_by_name(
    tx: &mut TenantTransaction,
    name: &str,
) -> Result<Option<Session>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(sessions::table
        .filter(sessions::tenant_id.eq(tenant))
        .filter(sessions::session_name.eq(name))
        .select(Session::as_select())
        .get_result(tx.connection())
        .await
        .optional()?)
}

/// How many sessions the customer has, in whatever state: one that is only intended takes its place already (W-05).
pub(crate) async fn count(tx: &mut TenantTransaction) -> Result<i64, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(sessions::table
        .filter(sessions::tenant_id.eq(tenant))
        .filter(sessions::provider.eq(PROVIDER))
        .count()
        .get_result(tx.connection())
        .await?)
}

/// Adds a session.
pub(crate) async fn insert(tx: &mut TenantTransaction, new: &NewSession<'_>) -> Result<(), DatabaseError> {
    diesel::insert_into(sessions::table)
        .values(new)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Notes where the session's events shall go.
pub(crate) async fn set_webhook_url(
    tx: &mut TenantTransaction,
    id: Uuid,
    url: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    diesel::update(
        sessions::table
            .filter(sessions::tenant_id.eq(tenant))
            .filter(sessions::id.eq(id)),
    )
    .set((sessions::webhook_url.eq(url), sessions::updated_at.eq(Utc::now())))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes the id that the WA server gave to the session.
pub(crate) async fn set_session_id(
    tx: &mut TenantTransaction,
    id: Uuid,
    session_id: &str,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    diesel::update(
        sessions::table
            .filter(sessions::tenant_id.eq(tenant))
            .filter(sessions::id.eq(id)),
    )
    .set((
        sessions::session_id.eq(session_id),
        sessions::updated_at.eq(Utc::now()),
    ))
    .execute(tx.connection())
    .await?;
    Ok(())
}
