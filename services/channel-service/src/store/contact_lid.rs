//! `contact_lids`: which number is behind a hidden id, as an account has learned it.

use std::collections::{BTreeMap, HashMap};

use database::DatabaseError;
use diesel::sql_types::{Array, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::address::{Lid, PhoneNumber};
use domain::ids::{AccountId, TenantId};
use tenant_isolation::{GroupTransaction, TenantTransaction};
use uuid::Uuid;

/// A hidden id as one account meets it.
pub type LidKey = (TenantId, AccountId, Lid);

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    account_id: Uuid,
    #[diesel(sql_type = Text)]
    lid: String,
    #[diesel(sql_type = Nullable<Text>)]
    phone: Option<String>,
}

/// Notes what a group's messages tell, and answers with what is known now. Each id's row is locked until the commit,
/// so that of two messages of one person, of which one brings the number, the later one sees what the other did.
///
/// # Errors
/// [`DatabaseError`].
pub async fn claim_group(
    tx: &mut GroupTransaction,
    claims: &BTreeMap<LidKey, Option<PhoneNumber>>,
) -> Result<HashMap<LidKey, PhoneNumber>, DatabaseError> {
    claim(tx.connection(), claims).await
}

/// The number behind an id, if it is known. Locked as in [`claim_group`].
///
/// # Errors
/// [`DatabaseError`].
pub async fn claim_one(
    tx: &mut TenantTransaction,
    account: AccountId,
    lid: &Lid,
) -> Result<Option<PhoneNumber>, DatabaseError> {
    let key = (tx.scope().tenant().clone(), account, lid.clone());
    let claims = BTreeMap::from([(key, None)]);
    let known = claim(tx.connection(), &claims).await?;
    Ok(known.into_values().next())
}

async fn claim(
    connection: &mut AsyncPgConnection,
    claims: &BTreeMap<LidKey, Option<PhoneNumber>>,
) -> Result<HashMap<LidKey, PhoneNumber>, DatabaseError> {
    // In the order of the keys, as everywhere. The number that was learned last counts: people change theirs.
    let rows: Vec<Row> = diesel::sql_query(
        "INSERT INTO contact_lids AS l (tenant_id, account_id, lid, phone) \
         SELECT * FROM unnest($1, $2, $3, $4) \
         ON CONFLICT (tenant_id, account_id, lid) DO UPDATE SET phone = coalesce(excluded.phone, l.phone), \
             learned_at = CASE WHEN excluded.phone IS NULL THEN l.learned_at ELSE now() END \
         RETURNING tenant_id, account_id, lid, phone",
    )
    .bind::<Array<Text>, _>(
        claims
            .keys()
            .map(|(tenant, ..)| tenant.as_str())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<SqlUuid>, _>(
        claims
            .keys()
            .map(|(_, account, _)| account.as_uuid())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Text>, _>(claims.keys().map(|(.., lid)| lid.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(
        claims
            .values()
            .map(|phone| phone.as_ref().map(PhoneNumber::as_str))
            .collect::<Vec<_>>(),
    )
    .load(connection)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let refused = |error: Box<dyn std::error::Error + Send + Sync>| DatabaseError::Refused(error);
        let Some(phone) = row.phone else { continue };
        let key = (
            TenantId::parse(row.tenant_id).map_err(|error| refused(error.into()))?,
            AccountId::from_uuid(row.account_id),
            Lid::parse(&row.lid).map_err(|error| refused(error.into()))?,
        );
        let phone = PhoneNumber::parse(&phone).map_err(|error| refused(error.into()))?;
        known.insert(key, phone);
    }
    Ok(known)
}
