//! Under which keys the stored secrets are sealed: a key that is taken out of the configuration too early makes them
//! unreadable, and that shows only when somebody needs one.
//!
//! Every sealed column has a name that ends in `_sealed` and holds `<key id>:<…>`, so that a new one is counted without
//! being asked for here.

use std::collections::BTreeMap;

use database::{Database, DatabaseError, quote_identifier, sql};
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use domain::check::Check;

use crate::{PlatformScope, PlatformTransaction};

#[derive(diesel::QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    data_type: String,
}

#[derive(diesel::QueryableByName)]
struct Sealed {
    #[diesel(sql_type = Text)]
    key: String,
    #[diesel(sql_type = BigInt)]
    secrets: i64,
}

const COLUMNS: &str = "SELECT c.table_name::text, c.column_name::text, c.data_type::text \
     FROM information_schema.columns c \
     JOIN information_schema.tables t USING (table_schema, table_name) \
     WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' \
       AND c.column_name LIKE '%\\_sealed' AND c.data_type IN ('text', 'ARRAY') \
     ORDER BY 1, 2";

/// How many secrets are sealed under each key, by the key's id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn in_use(db: &Database) -> Result<BTreeMap<String, i64>, DatabaseError> {
    let scope = PlatformScope::for_purpose("count secrets by key");
    let mut tx = PlatformTransaction::begin(db, scope).await?;
    let columns: Vec<Column> = sql(COLUMNS).load(tx.connection()).await?;
    let mut keys = BTreeMap::new();
    for column in columns {
        let (table, name) = (
            quote_identifier(&column.table_name),
            quote_identifier(&column.column_name),
        );
        let values = if column.data_type == "ARRAY" {
            format!("SELECT unnest({name}) AS sealed FROM {table}")
        } else {
            format!("SELECT {name} AS sealed FROM {table}")
        };
        let count = format!(
            "SELECT split_part(sealed, ':', 1) AS key, count(*) AS secrets FROM ({values}) s \
             WHERE sealed LIKE '%:%' GROUP BY 1"
        );
        let found: Vec<Sealed> = sql(count).load(tx.connection()).await?;
        for Sealed { key, secrets } in found {
            *keys.entry(key).or_default() += secrets;
        }
    }
    tx.commit().await?;
    Ok(keys)
}

/// Is every key there that something is sealed under? `configured` are the ids of `ENCRYPTION_KEYS`, newest first.
pub async fn examine(db: &Database, configured: &[String]) -> Vec<Check> {
    const ABOUT: &str = "encryption keys";
    let Ok(in_use) = in_use(db).await else {
        return vec![Check::skipped(ABOUT, "the stored secrets cannot be looked at")];
    };
    let newest = configured.first().map(String::as_str).unwrap_or_default();
    let mut checks: Vec<Check> = in_use
        .iter()
        .filter(|(key, _)| !configured.contains(key))
        .map(|(key, secrets)| {
            Check::wrong(
                ABOUT,
                format!("{secrets} secrets are sealed under the key {key}, which ENCRYPTION_KEYS lacks"),
                "put that key back into ENCRYPTION_KEYS, behind the newest",
            )
        })
        .collect();
    if checks.is_empty() {
        let all: i64 = in_use.values().sum();
        let older: i64 = in_use
            .iter()
            .filter(|(key, _)| *key != newest)
            .map(|(_, n)| n)
            .sum();
        let found = if all == 0 {
            "no secret is stored yet".to_owned()
        } else if older == 0 {
            format!("{all} secrets are stored, all under {newest}")
        } else {
            format!("{all} secrets are stored, {older} of them under older keys, which have to stay")
        };
        checks.push(Check::ok(ABOUT, found));
    }
    checks
}
