//! The numbers of a GoWA's devices, in `tenant_directory`: which accounts hold one, and to which of them it leads.
//!
//! A number is `{endpoint}/{address}` under [`GOWA_NUMBER`]; that an account holds it is `{endpoint}/{address}/{account}`
//! under [`GOWA_HOLDER`]. Numbers are of whichever tenants, so this is platform work.

use database::DatabaseError;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::{AccountId, TenantId};
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

use super::account::{GOWA_HOLDER, GOWA_NUMBER};

/// An account that holds a number.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct HolderRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Which.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
}

/// Nobody else changes who holds the number, and to whom it leads, until the transaction ends.
///
/// # Errors
/// [`DatabaseError`].
pub async fn hold_still(tx: &mut PlatformTransaction, number: &str) -> Result<(), DatabaseError> {
    database::sql("SELECT pg_advisory_xact_lock(hashtextextended('device number ' || $1, 0))")
        .bind::<Text, _>(number)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The account holds the number from now on, unless a person has unlinked it or it has no session any more. False: it does
/// not, or did before.
///
/// # Errors
/// [`DatabaseError`].
pub async fn take(
    tx: &mut PlatformTransaction,
    number: &str,
    tenant: &TenantId,
    account: AccountId,
) -> Result<bool, DatabaseError> {
    let taken = database::sql(
        "INSERT INTO tenant_directory (kind, external_id, tenant_id, subject_id) \
         SELECT $1, $2 || '/' || w.account_id, w.tenant_id, w.account_id FROM session_watch w \
         WHERE w.tenant_id = $3 AND w.account_id = $4 AND NOT w.kept_off \
         ON CONFLICT (kind, external_id) DO NOTHING",
    )
    .bind::<Text, _>(GOWA_HOLDER)
    .bind::<Text, _>(number)
    .bind::<Text, _>(tenant.as_str())
    .bind::<SqlUuid, _>(account.as_uuid())
    .execute(tx.connection())
    .await?;
    Ok(taken == 1)
}

/// The account holds no number any more, but for the one that is kept. Returns the ids under which it did.
///
/// # Errors
/// [`DatabaseError`].
pub async fn let_go(
    tx: &mut PlatformTransaction,
    tenant: &TenantId,
    account: AccountId,
    kept: Option<&str>,
) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        external_id: String,
    }
    let rows: Vec<Row> = database::sql(
        "DELETE FROM tenant_directory WHERE tenant_id = $1 AND subject_id = $2 AND kind = $3 \
             AND external_id IS DISTINCT FROM $4 RETURNING external_id",
    )
    .bind::<Text, _>(tenant.as_str())
    .bind::<SqlUuid, _>(account.as_uuid())
    .bind::<Text, _>(GOWA_HOLDER)
    .bind::<Nullable<Text>, _>(kept)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.external_id).collect())
}

/// Who holds the number, whoever came last first. Found by what accounts say of their phones.
///
/// # Errors
/// [`DatabaseError`].
pub async fn holders(
    tx: &mut PlatformTransaction,
    number: &str,
    phone: &str,
) -> Result<Vec<HolderRow>, DatabaseError> {
    let rows = database::sql(
        "SELECT d.tenant_id, d.subject_id AS account_id FROM accounts a \
         JOIN tenant_directory d ON d.kind = $1 AND d.external_id = $2 || '/' || a.id \
         WHERE a.phone = $3 AND a.token_sealed IS NOT NULL \
         ORDER BY d.created_at DESC, d.subject_id DESC",
    )
    .bind::<Text, _>(GOWA_HOLDER)
    .bind::<Text, _>(number)
    .bind::<Text, _>(phone)
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// The number leads there from now on. False: it did before.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lead(
    tx: &mut PlatformTransaction,
    number: &str,
    to: Option<&HolderRow>,
) -> Result<bool, DatabaseError> {
    let changed = match to {
        Some(to) => {
            database::sql(
                "INSERT INTO tenant_directory AS d (kind, external_id, tenant_id, subject_id) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (kind, external_id) DO UPDATE \
                     SET tenant_id = excluded.tenant_id, subject_id = excluded.subject_id \
                 WHERE (d.tenant_id, d.subject_id) IS DISTINCT FROM (excluded.tenant_id, excluded.subject_id)",
            )
            .bind::<Text, _>(GOWA_NUMBER)
            .bind::<Text, _>(number)
            .bind::<Text, _>(&to.tenant_id)
            .bind::<SqlUuid, _>(to.account_id)
            .execute(tx.connection())
            .await?
        }
        None => {
            database::sql("DELETE FROM tenant_directory WHERE kind = $1 AND external_id = $2")
                .bind::<Text, _>(GOWA_NUMBER)
                .bind::<Text, _>(number)
                .execute(tx.connection())
                .await?
        }
    };
    Ok(changed == 1)
}
