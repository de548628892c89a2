//! Old entries go, and the chain says so itself: an entry tells the number and the hash of the last one that went.
//!
//! Only the schema's owner can do this; the service's roles have no right to delete. The log is held for everybody else
//! while a batch goes.

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError, DatabaseUrl, MigrationError};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bytea, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use uuid::Uuid;

use crate::act::Actor;
use crate::anchors::Anchor;
use crate::chain::Chain;
use crate::encoding::Hash;
use crate::verify::{Broken, verify_chain};

/// The act of having pruned a chain.
pub const PRUNED: &str = "audit.prune";
/// Entries that go in one transaction.
const BATCH: i64 = 1_000;

/// What went of a chain.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// Entries that went.
    pub entries: u64,
    /// The last one of them.
    pub last: Option<Anchor>,
}

/// Why a chain was not pruned, or not as far as wanted.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// What is wrong with it would not be seen any more.
    #[error("the chain is broken and stays as it is: {0}")]
    Broken(Broken),
    /// Only what is over can be pruned.
    #[error("the time up to which acts are pruned has not come yet")]
    InTheFuture,
    /// Whoever logged in may not work as the schema's owner, or cannot log in.
    #[error(transparent)]
    Owner(#[from] MigrationError),
    /// Postgres failed; beginning again is safe.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<diesel::result::Error> for PruneError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What the act of pruning is about: the last entry that went.
pub(crate) fn subject_of(last: Anchor) -> String {
    format!("through {last}")
}

/// Prunes what is older than `before` from a chain that is whole.
///
/// # Errors
/// [`PruneError`]; what went until then is noted.
pub async fn prune(
    db: &Database,
    owner: &DatabaseUrl,
    chain: &Chain,
    before: DateTime<Utc>,
) -> Result<Pruned, PruneError> {
    if before > Utc::now() {
        return Err(PruneError::InTheFuture);
    }
    if let Some(broken) = verify_chain(db, chain, None, u64::MAX).await?.broken {
        return Err(PruneError::Broken(broken));
    }
    let mut connection = database::connect_as_owner(owner, db.names()).await?;
    let mut pruned = Pruned {
        entries: 0,
        last: None,
    };
    // A connection that is dropped in the middle takes its transaction back.
    while let Some((entries, last)) = prune_batch(&mut connection, chain, before).await? {
        pruned.entries = pruned.entries.saturating_add(entries);
        pruned.last = Some(last);
        if entries < BATCH.unsigned_abs() {
            break;
        }
    }
    Ok(pruned)
}

async fn prune_batch(
    connection: &mut AsyncPgConnection,
    chain: &Chain,
    before: DateTime<Utc>,
) -> Result<Option<(u64, Anchor)>, PruneError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        entries: i64,
        #[diesel(sql_type = Nullable<BigInt>)]
        seq: Option<i64>,
        #[diesel(sql_type = Nullable<Bytea>)]
        hash: Option<Vec<u8>>,
    }
    let table = chain.table();
    let (_, of_it) = chain.of_it();
    let tenant = chain.tenant().unwrap_or_default();
    // Held from here on, so that what is read stays as it is; the owner sees the rows and may write them for this once.
    connection
        .batch_execute(&format!("BEGIN; ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"))
        .await?;
    // From the oldest on, up to the first one that is too young.
    let row: Row = database::sql(format!(
        "WITH oldest AS MATERIALIZED (SELECT seq, hash, at FROM {table} WHERE {of_it} ORDER BY seq LIMIT $2), \
              young AS (SELECT min(seq) AS seq FROM oldest WHERE at >= $3) \
         SELECT count(*) AS entries, max(o.seq) AS seq, (array_agg(o.hash ORDER BY o.seq DESC))[1] AS hash \
           FROM oldest o, young y WHERE y.seq IS NULL OR o.seq < y.seq"
    ))
    .bind::<Text, _>(tenant)
    .bind::<BigInt, _>(BATCH)
    .bind::<Timestamptz, _>(before)
    .get_result(connection)
    .await?;
    let last = row.hash.as_deref().and_then(Hash::of_bytes);
    let (Some(seq), Some(hash)) = (row.seq, last) else {
        connection.batch_execute("ROLLBACK").await?;
        return Ok(None);
    };
    let last = Anchor { seq, hash };
    // Noted first: the chain goes on from its newest entry, which may be among those that go.
    let (column, value) = match chain {
        Chain::Platform => ("", ""),
        Chain::Tenant(_) => ("tenant_id, ", "$1, "),
    };
    database::sql(format!(
        "INSERT INTO {table} ({column}id, actor, action, subject, detail) \
         SELECT {value}$2, $3, $4, $5, $6 WHERE $1 IS NOT NULL"
    ))
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(Actor::operator().name)
    .bind::<Text, _>(PRUNED)
    .bind::<Text, _>(subject_of(last))
    .bind::<Text, _>(format!(
        "{} entries, older than {}",
        row.entries,
        before.to_rfc3339()
    ))
    .execute(connection)
    .await?;
    connection
        .batch_execute(&format!("ALTER TABLE {table} DISABLE TRIGGER USER"))
        .await?;
    database::sql(format!("DELETE FROM {table} WHERE {of_it} AND seq <= $2"))
        .bind::<Text, _>(tenant)
        .bind::<BigInt, _>(seq)
        .execute(connection)
        .await?;
    connection
        .batch_execute(&format!(
            "ALTER TABLE {table} ENABLE TRIGGER USER, FORCE ROW LEVEL SECURITY; COMMIT"
        ))
        .await?;
    Ok(Some((row.entries.unsigned_abs(), last)))
}
