//! One person of a customer's, whatever table holds something of theirs.

use chores::person::Names;
use database::{DatabaseError, quote_literal};
use diesel::sql_types::{Array, BigInt, Bool, Text};
use diesel_async::RunQueryDsl as _;
use messaging::ledger::{self, Book, Step};
use tenant_isolation::TenantTransaction;

/// Which rows are a person's, with the place of the pattern left open. Whoever is kept as somebody's contact under the
/// number, or with it in the name, is them.
const CONTACTS: &str = "(jid ~ {} OR phone ~ {} OR name ~ {} OR raw::text ~ {})";
const READ_MARKS: &str = "(kind = 'read' AND payload ~ {})";
/// The bytes may be no text at all.
pub(crate) const EVENTS: &str = "encode(body, 'escape') ~ {}";

/// The condition with the pattern, or where it is bound, in its place.
pub(crate) fn filled(condition: &str, pattern: &str) -> String {
    condition.replace("{}", pattern)
}

/// The tables that hold something of one person, in the order in which they are given out, each with the condition that
/// says which rows are theirs.
pub(crate) fn holdings(names: &Names) -> [(&'static str, String); 3] {
    let pattern = quote_literal(&names.pattern());
    [
        ("contacts", filled(CONTACTS, &pattern)),
        ("hook_events", filled(EVENTS, &pattern)),
        ("lane_tasks", filled(READ_MARKS, &pattern)),
    ]
}

/// Does a session of the customer's carry one of the names? Then it is the customer's own.
pub(crate) async fn names_a_session(
    tx: &mut TenantTransaction,
    names: &Names,
) -> Result<bool, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        found: bool,
    }
    let tenant = tx.scope().tenant().to_string();
    let row: Row = database::sql(
        "SELECT EXISTS (SELECT FROM sessions WHERE tenant_id = $1 \
             AND (jid ~ $2 OR session_name ~ $2 OR webhook_url ~ $2)) AS found",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(names.pattern())
    .get_result(tx.connection())
    .await?;
    Ok(row.found)
}

/// Deletes up to `batch` contacts that are the person. Returns how many.
pub(crate) async fn delete_contacts(
    tx: &mut TenantTransaction,
    names: &Names,
    batch: i64,
) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let theirs = filled(CONTACTS, "$2");
    Ok(database::sql(format!(
        "DELETE FROM contacts WHERE tenant_id = $1 AND ctid IN \
             (SELECT ctid FROM contacts WHERE tenant_id = $1 AND {theirs} LIMIT $3)"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(names.pattern())
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?)
}

/// Deletes the read marks that wait for the person's messages. Returns how many.
pub(crate) async fn delete_read_marks(
    tx: &mut TenantTransaction,
    names: &Names,
) -> Result<usize, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        lane: String,
    }
    let (tenant, pattern) = (tx.scope().tenant().to_string(), names.pattern());
    let theirs = filled(READ_MARKS, "$2");
    // The lanes' rows first, in one order, as everybody takes them.
    let lanes: Vec<Row> = database::sql(format!(
        "SELECT lane FROM lanes WHERE tenant_id = $1 AND lane IN \
             (SELECT lane FROM lane_tasks WHERE tenant_id = $1 AND {theirs}) ORDER BY lane FOR UPDATE"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(&pattern)
    .load(tx.connection())
    .await?;
    let lanes: Vec<String> = lanes.into_iter().map(|row| row.lane).collect();
    let deleted = database::sql(format!(
        "DELETE FROM lane_tasks WHERE tenant_id = $1 AND {theirs} AND lane = ANY ($3)"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<Text, _>(&pattern)
    .bind::<Array<Text>, _>(lanes)
    .execute(tx.connection())
    .await?;
    ledger::note(tx, Book::Tasks, Step::Expired, deleted);
    Ok(deleted)
}
