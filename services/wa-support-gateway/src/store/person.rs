//! One person of a customer's, whatever table holds something of theirs.

use std::collections::BTreeSet;

use database::{DatabaseError, quote_literal};
use diesel::sql_types::{Array, BigInt, Bool, Text};
use diesel_async::RunQueryDsl as _;
use domain::address::{Lid, PhoneNumber};
use messaging::ledger::{self, Book, Step};
use tenant_isolation::TenantTransaction;

/// Every name by which a person is looked for. No `Debug`: they stay out of logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) phones: BTreeSet<PhoneNumber>,
    pub(crate) hidden: BTreeSet<Lid>,
}

impl Names {
    pub(crate) fn len(&self) -> usize {
        self.phones.len() + self.hidden.len()
    }

    /// A regular expression for texts that name them: as JSON, as a form, as [`bytea` is written](EVENTS). A number is not
    /// found inside a longer one, but is behind an escape that ends with digits.
    pub(crate) fn pattern(&self) -> String {
        let national = self
            .phones
            .iter()
            .filter_map(|phone| phone.as_str().strip_prefix("62"));
        let all: Vec<String> = self
            .phones
            .iter()
            .map(PhoneNumber::as_str)
            .chain(self.hidden.iter().map(Lid::as_str))
            .map(str::to_owned)
            .chain(national.map(|rest| format!("0{rest}")))
            .collect();
        format!(
            "(^|[^0-9]|%[0-9A-Fa-f]{{2}}|u[0-9A-Fa-f]{{4}}|\\\\[0-7]{{3}})({})($|[^0-9])",
            all.join("|")
        )
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_looked_for_by_every_name_and_every_spelling_of_it() {
        let mut names = Names::default();
        names.phones.insert(PhoneNumber::parse("6281290000011").unwrap());
        names.phones.insert(PhoneNumber::parse("4915112345678").unwrap());
        names.hidden.insert(Lid::parse("204466881133557").unwrap());
        assert_eq!(
            names.pattern(),
            "(^|[^0-9]|%[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|\\\\[0-7]{3})\
             (4915112345678|6281290000011|204466881133557|081290000011)($|[^0-9])"
        );
    }
}
