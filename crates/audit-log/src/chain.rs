//! A chain, and the reading of its entries.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bytea, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::encoding::{Fields, Hash};

/// Entries read at once.
pub(crate) const PAGE: i64 = 500;

/// Whose acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Chain {
    /// Those about the platform.
    Platform,
    /// Those about one tenant.
    Tenant(String),
}

impl Chain {
    /// The tenant's id, if it is a tenant's.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::Platform => None,
            Self::Tenant(tenant) => Some(tenant),
        }
    }

    pub(crate) const fn table(&self) -> &'static str {
        match self {
            Self::Platform => "platform_acts",
            Self::Tenant(_) => "audit_log",
        }
    }

    /// The chain's column of tenants, and the condition that a row is of this chain, with the tenant as `$1`.
    pub(crate) const fn of_it(&self) -> (&'static str, &'static str) {
        match self {
            Self::Platform => ("NULL::text", "$1 = ''"),
            Self::Tenant(_) => ("tenant_id", "tenant_id = $1"),
        }
    }
}

/// An entry as it stands in the table, whoever wrote it there.
#[derive(Debug, QueryableByName)]
pub(crate) struct Entry {
    #[diesel(sql_type = BigInt)]
    pub(crate) seq: i64,
    #[diesel(sql_type = Bytea)]
    prev_hash: Vec<u8>,
    #[diesel(sql_type = Bytea)]
    hash: Vec<u8>,
    #[diesel(sql_type = Nullable<Text>)]
    tenant_id: Option<String>,
    #[diesel(sql_type = SqlUuid)]
    pub(crate) id: Uuid,
    /// None for a time that no clock shows.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    actor: String,
    #[diesel(sql_type = Text)]
    pub(crate) action: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) subject: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    detail: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    source: Option<String>,
}

impl Entry {
    pub(crate) fn before(&self) -> Option<Hash> {
        Hash::of_bytes(&self.prev_hash)
    }

    pub(crate) fn hash(&self) -> Option<Hash> {
        Hash::of_bytes(&self.hash)
    }

    pub(crate) fn into_fields(self) -> Option<Fields> {
        Some(Fields {
            tenant: self.tenant_id,
            id: self.id,
            at: self.at?,
            actor: self.actor,
            action: self.action,
            subject: self.subject,
            detail: self.detail,
            source: self.source,
        })
    }
}

/// The chain's next entries behind the place `after`. By number and id: where somebody took the key away, two of one
/// number are both met.
pub(crate) async fn entries(
    connection: &mut AsyncPgConnection,
    chain: &Chain,
    after: (i64, Uuid),
) -> Result<Vec<Entry>, DatabaseError> {
    let (column, of_it) = chain.of_it();
    let rows = database::sql(format!(
        "SELECT seq, prev_hash, hash, {column} AS tenant_id, id, \
                CASE WHEN at BETWEEN '1970-01-01' AND '9999-12-31' THEN at END AS at, \
                actor, action, subject, detail, source \
           FROM {} WHERE {of_it} AND seq >= $2 AND (seq, id) > ($2, $3) ORDER BY seq, id LIMIT $4",
        chain.table()
    ))
    .bind::<Text, _>(chain.tenant().unwrap_or_default())
    .bind::<BigInt, _>(after.0)
    .bind::<SqlUuid, _>(after.1)
    .bind::<BigInt, _>(PAGE)
    .load(connection)
    .await?;
    Ok(rows)
}

/// How many rows the chain has, without those behind `last`: each of them should have been met.
pub(crate) async fn rows_until(
    connection: &mut AsyncPgConnection,
    chain: &Chain,
    last: i64,
) -> Result<i64, DatabaseError> {
    let (_, of_it) = chain.of_it();
    number(
        connection,
        format!(
            "SELECT count(*) AS number FROM {} WHERE {of_it} AND (seq IS NULL OR seq <= $2)",
            chain.table()
        ),
        chain,
        last,
    )
    .await
    .map(Option::unwrap_or_default)
}

/// The number of the chain's first entry.
pub(crate) async fn first(
    connection: &mut AsyncPgConnection,
    chain: &Chain,
) -> Result<Option<i64>, DatabaseError> {
    let (_, of_it) = chain.of_it();
    number(
        connection,
        format!(
            "SELECT min(seq) AS number FROM {} WHERE {of_it} AND $2 = 0",
            chain.table()
        ),
        chain,
        0,
    )
    .await
}

async fn number(
    connection: &mut AsyncPgConnection,
    text: String,
    chain: &Chain,
    value: i64,
) -> Result<Option<i64>, DatabaseError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<BigInt>)]
        number: Option<i64>,
    }
    let row: Row = database::sql(text)
        .bind::<Text, _>(chain.tenant().unwrap_or_default())
        .bind::<BigInt, _>(value)
        .get_result(connection)
        .await?;
    Ok(row.number)
}

/// The tenant whose chain comes next behind `after`.
pub(crate) async fn next_tenant(
    connection: &mut AsyncPgConnection,
    after: &str,
) -> Result<Option<String>, DatabaseError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        tenant_id: Option<String>,
    }
    let row: Row =
        database::sql("SELECT min(tenant_id) AS tenant_id FROM audit_log WHERE tenant_id > $1".to_owned())
            .bind::<Text, _>(after)
            .get_result(connection)
            .await?;
    Ok(row.tenant_id)
}
