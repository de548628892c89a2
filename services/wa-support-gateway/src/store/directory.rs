//! The directory that leads from a token or a name to a customer. Reading it is `tenant-isolation`'s business.

use database::DatabaseError;
use diesel::{ExpressionMethods as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::TenantTransaction;
use tenant_isolation::resolve::ExternalId;
use uuid::Uuid;

use super::schema::tenant_directory;

/// Kind of the lower-case hex SHA-256 of a session token.
pub(crate) const SESSION_TOKEN: &str = "session_token";

/// Kind of the lower-case hex SHA-256 of a customer's key.
pub(crate) const API_KEY: &str = "api_key";

/// Kind of a session's name, which is unique over all customers (contract W-33).
pub(crate) const SESSION_NAME: &str = "session_name";

/// Kind of a session's own id, as it stands in the path of its hook. A trigger registers it with the session.
pub(crate) const SESSION_HOOK: &str = "session_hook";

/// Registers an id for the customer's row. False when somebody has registered it before.
pub(crate) async fn claim(
    tx: &mut TenantTransaction,
    external: &ExternalId,
    subject: Uuid,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let claimed = diesel::insert_into(tenant_directory::table)
        .values((
            tenant_directory::kind.eq(external.kind()),
            tenant_directory::external_id.eq(external.id()),
            tenant_directory::tenant_id.eq(tenant),
            tenant_directory::subject_id.eq(subject),
        ))
        .on_conflict_do_nothing()
        .execute(tx.connection())
        .await?;
    Ok(claimed == 1)
}

/// Lets go of every id of the customer's row, or of those of one kind but this one.
pub(crate) async fn release(
    tx: &mut TenantTransaction,
    subject: Uuid,
    but: Option<(&str, &str)>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let own = tenant_directory::table
        .filter(tenant_directory::tenant_id.eq(tenant))
        .filter(tenant_directory::subject_id.eq(subject));
    match but {
        None => diesel::delete(own).execute(tx.connection()).await?,
        Some((kind, kept)) => {
            let others = own
                .filter(tenant_directory::kind.eq(kind))
                .filter(tenant_directory::external_id.ne(kept));
            diesel::delete(others).execute(tx.connection()).await?
        }
    };
    Ok(())
}

/// Is this id registered for the customer's row already?
pub(crate) async fn holds(
    tx: &mut TenantTransaction,
    external: &ExternalId,
    subject: Uuid,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let own = tenant_directory::table
        .filter(tenant_directory::kind.eq(external.kind()))
        .filter(tenant_directory::external_id.eq(external.id()))
        .filter(tenant_directory::tenant_id.eq(tenant))
        .filter(tenant_directory::subject_id.eq(subject));
    Ok(diesel::select(diesel::dsl::exists(own))
        .get_result(tx.connection())
        .await?)
}
