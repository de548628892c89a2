//! Customers' keys: hashes only, one in use and those that end soon.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::schema::api_keys;

/// Until when the key is good; the inner `None` is a key that is in use. Looked up by id and by hash: a directory entry
/// that outlived its key leads nowhere.
pub(crate) async fn valid_until(
    tx: &mut TenantTransaction,
    id: Uuid,
    key_hash: &str,
) -> Result<Option<Option<DateTime<Utc>>>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(api_keys::table
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::id.eq(id))
        .filter(api_keys::key_hash.eq(key_hash))
        .select(api_keys::valid_until)
        .get_result(tx.connection())
        .await
        .optional()?)
}
