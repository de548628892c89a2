//! Each shape that is refused, and each that is not.

use super::{note_without_end, refused, unique_indexes};
use crate::Migration;

const LAST: (u32, u32, u32) = (1, 2, 0);

fn judged(up: &str) -> Vec<String> {
    let before =
        ["CREATE UNIQUE INDEX IF NOT EXISTS chats_once ON chats (a); CREATE INDEX chats_newest ON chats (b)"];
    refused(up, &unique_indexes(&before), LAST)
}

const UNUSED: &str = "nobody reads it, unused since 1.2.0";
const KEPT: &str = "all write it so, kept since 1.1.9";
const FEW: &str = "a tenant is a row, few rows";

/// What is refused, and the reason with which it is not.
const REFUSED: [(&str, &str); 44] = [
    ("DROP TABLE chats", UNUSED),
    ("drop table if exists channel.chats cascade", UNUSED),
    ("DROP VIEW talks", UNUSED),
    ("DROP FUNCTION words_of(text)", UNUSED),
    ("DROP TYPE mood", UNUSED),
    ("DROP SEQUENCE numbers", UNUSED),
    ("DROP INDEX chats_newest, chats_once", UNUSED),
    ("DROP TRIGGER chats_other_words ON chats", UNUSED),
    ("DROP POLICY tenants_apart ON chats", UNUSED),
    ("TRUNCATE chats", UNUSED),
    ("REVOKE SELECT ON chats FROM channel_tenant", UNUSED),
    ("ALTER TABLE chats DROP COLUMN name", UNUSED),
    ("ALTER TABLE chats DROP name", UNUSED),
    (
        "ALTER TABLE chats ADD COLUMN title text, DROP COLUMN name",
        UNUSED,
    ),
    ("ALTER TABLE chats DROP CONSTRAINT chats_account_key", UNUSED),
    ("ALTER TABLE chats RENAME COLUMN name TO title", UNUSED),
    ("ALTER TABLE chats RENAME name TO title", UNUSED),
    ("ALTER TABLE ONLY chats RENAME TO talks", UNUSED),
    ("ALTER VIEW talks RENAME TO chats_of_old", UNUSED),
    ("ALTER FUNCTION words_of(text) RENAME TO words", UNUSED),
    ("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", UNUSED),
    ("ALTER TABLE chats SET SCHEMA archive", UNUSED),
    ("ALTER TABLE chats DETACH PARTITION chats_2026", UNUSED),
    ("ALTER TABLE chats ALTER COLUMN unread TYPE bigint", UNUSED),
    ("ALTER TABLE chats ALTER unread SET DATA TYPE bigint", UNUSED),
    ("ALTER TABLE chats ALTER COLUMN name SET NOT NULL", KEPT),
    (
        "ALTER TABLE chats ADD COLUMN title text; ALTER TABLE chats ALTER COLUMN name SET NOT NULL",
        KEPT,
    ),
    ("ALTER TABLE chats ALTER COLUMN name DROP NOT NULL", KEPT),
    ("ALTER TABLE chats ALTER COLUMN name DROP DEFAULT", KEPT),
    ("ALTER TABLE chats ALTER COLUMN id DROP IDENTITY", KEPT),
    (
        "ALTER TABLE chats ADD CONSTRAINT named CHECK (name <> '') NOT VALID",
        KEPT,
    ),
    ("ALTER TABLE chats ADD CHECK (name <> '') NOT VALID", KEPT),
    (
        "ALTER TABLE chats ADD FOREIGN KEY (a) REFERENCES accounts (id) NOT VALID",
        KEPT,
    ),
    (
        "ALTER TABLE chats ADD CONSTRAINT once UNIQUE USING INDEX chats_a",
        KEPT,
    ),
    ("CREATE UNIQUE INDEX CONCURRENTLY chats_a ON chats (a)", KEPT),
    ("CREATE INDEX chats_a ON chats (a)", FEW),
    ("CREATE INDEX ON channel.chats USING gin (a)", FEW),
    (
        "ALTER TABLE chats ADD COLUMN a int; CREATE INDEX chats_a ON chats (a)",
        FEW,
    ),
    (
        "ALTER TABLE chats ADD COLUMN a int; ALTER TABLE chats ADD CONSTRAINT named CHECK (a > 0)",
        FEW,
    ),
    (
        "ALTER TABLE chats ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid()",
        FEW,
    ),
    (
        "ALTER TABLE chats ADD COLUMN a int GENERATED ALWAYS AS (b + 1) STORED",
        FEW,
    ),
    ("ALTER TABLE chats ADD COLUMN a bigserial", FEW),
    (
        "DO $$ BEGIN EXECUTE format('DROP TABLE %I', 'chats'); END $$",
        UNUSED,
    ),
    (
        "DO $$ BEGIN IF true THEN DROP TABLE chats; END IF; END $$",
        UNUSED,
    ),
];

#[test]
fn what_a_running_release_trips_over_is_refused_unless_it_says_why() {
    for (up, reason) in REFUSED {
        assert_eq!(judged(up).len(), 1, "{up}: {:#?}", judged(up));
        // The reason stands before the statement that needs it, which is the last one here.
        let (before, last) = match up.rfind("; ALTER").or_else(|| up.rfind("; CREATE")) {
            Some(at) => up.split_at(at + 1),
            None => ("", up),
        };
        let explained = match last.find("BEGIN ") {
            Some(at) => {
                let at = last.find("THEN ").map_or(at + 6, |then| then + 5);
                format!("{}\n-- contract: {reason}\n{}", &last[..at], &last[at..])
            }
            None => format!("{before}\n-- contract: {reason}\n{last}"),
        };
        assert_eq!(judged(&explained), [""; 0], "{explained}");
        for other in [UNUSED, KEPT, FEW] {
            if other != reason && !up.contains("EXECUTE") {
                assert!(
                    !judged(&explained.replace(reason, other)).is_empty(),
                    "{up}: {other}"
                );
            }
        }
    }
}

#[test]
fn what_only_adds_is_not_refused() {
    for up in [
        "CREATE TABLE drop_table (id int NOT NULL); CREATE UNIQUE INDEX a ON drop_table (id); ALTER TABLE drop_table DROP COLUMN id",
        "CREATE TABLE IF NOT EXISTS talks (id int); ALTER TABLE talks ADD CONSTRAINT a CHECK (id > 0), ALTER COLUMN id SET NOT NULL",
        "CREATE TEMP TABLE moving (id int); DROP TABLE moving",
        "ALTER TABLE chats ADD COLUMN title text, ADD note text, ADD COLUMN IF NOT EXISTS n int NOT NULL DEFAULT 0",
        "ALTER TABLE chats ADD COLUMN at timestamptz NOT NULL DEFAULT now()",
        "ALTER TABLE chats ADD COLUMN days integer CHECK (days BETWEEN 1 AND 3650)",
        "ALTER TABLE chats ADD COLUMN a int; ALTER TABLE chats ADD CONSTRAINT named CHECK (a > 0) NOT VALID",
        "ALTER TABLE chats ADD COLUMN a int; CREATE UNIQUE INDEX CONCURRENTLY chats_a ON chats (a)",
        "ALTER TABLE chats ADD COLUMN a int; ALTER TABLE chats ADD FOREIGN KEY (a) REFERENCES accounts (id) NOT VALID",
        "ALTER TABLE chats ADD COLUMN a int; ALTER TABLE chats ALTER COLUMN a SET DEFAULT 1, ALTER COLUMN a SET NOT NULL",
        "ALTER TABLE chats ADD COLUMN a int; ALTER TABLE chats ALTER COLUMN a SET NOT NULL; \
         CREATE TRIGGER chats_a BEFORE INSERT ON chats FOR EACH ROW EXECUTE FUNCTION fill()",
        "ALTER TABLE chats VALIDATE CONSTRAINT named",
        "ALTER TABLE chats ALTER COLUMN name SET DEFAULT 'x'",
        "ALTER TABLE chats NO FORCE ROW LEVEL SECURITY; UPDATE chats SET a = 1; ALTER TABLE chats FORCE ROW LEVEL SECURITY",
        "ALTER TABLE chats RENAME TO talks; CREATE VIEW chats AS SELECT id FROM talks; ALTER TRIGGER a ON talks RENAME TO b",
        "ALTER INDEX chats_newest RENAME TO chats_latest",
        "DROP INDEX CONCURRENTLY IF EXISTS chats_newest",
        "DROP TRIGGER a ON chats; CREATE TRIGGER a AFTER INSERT ON chats FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DROP TABLE chats; END $$",
        "CREATE INDEX CONCURRENTLY chats_a ON chats (a)",
        "DELETE FROM chats WHERE a = 1; COMMENT ON TABLE chats IS 'DROP TABLE chats'",
    ] {
        assert_eq!(judged(up), [""; 0], "{up}");
    }
}

#[test]
fn a_new_column_without_a_value_is_refused_whatever_is_said() {
    let up = "ALTER TABLE chats ADD COLUMN title text NOT NULL";
    assert_eq!(judged(up).len(), 1);
    // The first finding stays, and the reason is for nothing.
    assert_eq!(judged(&format!("-- contract: {KEPT}\n{up}")).len(), 2);
    // A column that is filled by nobody, in two steps.
    assert_eq!(
        judged("ALTER TABLE chats ADD COLUMN a int; ALTER TABLE chats ALTER COLUMN a SET NOT NULL").len(),
        1
    );
}

#[test]
fn a_reason_has_a_form_and_a_release_that_is_out() {
    for said in [
        "nobody reads it",
        "unused since 1.2.0",
        "nobody reads it, unused since the summer",
        "nobody reads it, unused since 1.3.0",
        "nobody reads it, not used since 1.2.0",
    ] {
        let found = judged(&format!("-- contract: {said}\nDROP TABLE chats"));
        assert_eq!(found.len(), 2, "{said}: {found:#?}");
    }
    // For one statement, and only where it is needed.
    assert_eq!(
        judged(&format!("-- contract: {UNUSED}\nDROP TABLE a; DROP TABLE b")).len(),
        1
    );
    assert_eq!(
        judged(&format!("-- contract: {UNUSED}\nCREATE TABLE a (id int)")).len(),
        1
    );
    // Two reasons for two findings of one statement.
    let both = format!("-- contract: {KEPT}\n-- contract: {FEW}\nCREATE UNIQUE INDEX once ON chats (a)");
    assert_eq!(judged(&both), [""; 0]);
}

#[test]
fn a_migration_that_stops_the_release_before_is_noted_whole() {
    let migration = |up: &str, down: &str| Migration {
        name: "2027-01-01-000001_less".to_owned(),
        up: up.to_owned(),
        down: down.to_owned(),
    };
    let up = "DROP TABLE chats; INSERT INTO __migrations_to_know VALUES ('20270101000001');";
    let down = "DELETE FROM __migrations_to_know WHERE version = '20270101000001';";
    assert_eq!(judged(up), [""; 0]);
    assert_eq!(note_without_end(&migration(up, down)), None);
    assert_eq!(note_without_end(&migration("SELECT 1", "")), None);
    assert!(note_without_end(&migration(up, "")).is_some());
    assert!(note_without_end(&migration(&up.replace("0101", "0102"), down)).is_some());
    // A table that is closed for minutes is no better for it.
    let slow = "CREATE INDEX a ON chats (a); INSERT INTO __migrations_to_know VALUES ('20270101000001');";
    assert_eq!(judged(slow).len(), 1);
}
