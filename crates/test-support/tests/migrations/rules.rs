//! What a release that is at work would trip over in the next one's migrations: something it reads is gone or is another, something
//! it writes is refused, or a table with many rows is closed for as long as they are gone through.
//!
//! What is right all the same says why, in a line of its own before the statement, in one of three forms:
//!
//! ```sql
//! -- contract: nobody reads chats.title, unused since 0.2.0
//! -- contract: names are trimmed when they are stored, kept since 0.2.0
//! -- contract: a tenant is one row, few rows
//! ```

use std::collections::BTreeSet;
use std::fmt;

use crate::Migration;
use crate::released::{Version, version};
use crate::sql::{Statement, statements};

/// Why something may be done although a release is at work that does not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// What goes is read and written by no release in use.
    Unused(Version),
    /// What is asked from now on, the releases in use do already.
    Kept(Version),
    /// It is over before anybody waits.
    FewRows,
}

/// What makes a finding good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cure {
    Unused,
    Kept,
    FewRows,
    /// Any reason: what is done cannot be seen.
    Any,
    /// None: there is another way.
    Instead(&'static str),
}

impl Cure {
    fn fits(self, reason: Reason) -> bool {
        match self {
            Self::Unused => matches!(reason, Reason::Unused(_)),
            Self::Kept => matches!(reason, Reason::Kept(_)),
            Self::FewRows => reason == Reason::FewRows,
            Self::Any => true,
            Self::Instead(_) => false,
        }
    }
}

impl fmt::Display for Cure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unused => "`-- contract: WHAT, unused since VERSION` if no release in use needs it, else in a later release",
            Self::Kept => "`-- contract: WHY, kept since VERSION` if the releases in use do that already, else in a later release",
            Self::FewRows => "`-- contract: WHY, few rows` if it is small",
            Self::Any => "`-- contract: WHAT IT DOES, …` in one of the three forms, or write it out",
            Self::Instead(way) => way,
        })
    }
}

/// Something that a running release would trip over.
struct Finding {
    what: String,
    cure: Cure,
}

fn finding(what: &str, cure: Cure) -> Finding {
    Finding {
        what: what.to_owned(),
        cure,
    }
}

/// What is wrong with an `up.sql` that comes after release `last`. `unique` are the unique indexes of all that was before.
pub(crate) fn refused(up: &str, unique: &BTreeSet<String>, last: Version) -> Vec<String> {
    let statements = statements(up);
    let new = New::of(&statements);
    let noted = statements.iter().any(is_note);
    let mut refused = Vec::new();
    for statement in &statements {
        let words = statement
            .words
            .iter()
            .take(6)
            .cloned()
            .collect::<Vec<_>>()
            .join(" ");
        let (reasons, malformed) = reasons(statement, last);
        refused.extend(malformed.into_iter().map(|line| format!("{words} …: {line}")));
        let mut needed = BTreeSet::new();
        for Finding { what, cure } in findings(statement, &new, unique) {
            let reason = reasons.iter().find(|reason| cure.fits(**reason));
            match reason {
                Some(reason) => _ = needed.insert(*reason),
                // The release before is not ready on this schema at all, which is an interruption and no accident.
                None if noted && cure != Cure::FewRows => {}
                None => refused.push(format!("{words} …: {what}; {cure}")),
            }
        }
        let idle = reasons.iter().filter(|reason| !needed.contains(reason)).count();
        if idle > 0 {
            refused.push(format!("{words} …: it needs no such `-- contract:`"));
        }
    }
    refused
}

/// `INSERT INTO __migrations_to_know VALUES ('…')`: releases that do not know this migration stop.
fn is_note(statement: &Statement) -> bool {
    statement
        .words()
        .starts_with(&["INSERT", "INTO", "__MIGRATIONS_TO_KNOW"])
}

/// The note has this migration's own number, and the way back takes it away.
pub(crate) fn note_without_end(migration: &Migration) -> Option<String> {
    if !statements(&migration.up).iter().any(is_note) {
        return None;
    }
    let number: String = migration
        .name
        .chars()
        .filter(char::is_ascii_digit)
        .take(14)
        .collect();
    let noted = format!("INSERT INTO __migrations_to_know VALUES ('{number}')");
    let forgotten = format!("DELETE FROM __migrations_to_know WHERE version = '{number}'");
    if !migration.up.contains(&noted) {
        return Some(format!("up.sql notes another number: {noted}"));
    }
    (!migration.down.contains(&forgotten)).then(|| format!("down.sql keeps the note: {forgotten}"))
}

/// The reasons that a statement gives, and what is wrong with those that are none.
fn reasons(statement: &Statement, last: Version) -> (Vec<Reason>, Vec<String>) {
    let mut found = (Vec::new(), Vec::new());
    for line in &statement.comments {
        let Some(said) = line.strip_prefix("contract:") else {
            continue;
        };
        match reason(said) {
            Some(Reason::Unused(since) | Reason::Kept(since)) if since > last => found
                .1
                .push(format!("{line:?}: that is newer than the last release, which is still at work")),
            Some(reason) => found.0.push(reason),
            None => found
                .1
                .push(format!("{line:?} has none of the forms `-- contract: WHY, unused since 1.2.0 | kept since 1.2.0 | few rows`")),
        }
    }
    found
}

fn reason(said: &str) -> Option<Reason> {
    let (why, form) = said.rsplit_once(',')?;
    if why.trim().is_empty() {
        return None;
    }
    match form.split_whitespace().collect::<Vec<_>>()[..] {
        ["unused", "since", since] => Some(Reason::Unused(version(since)?)),
        ["kept", "since", since] => Some(Reason::Kept(version(since)?)),
        ["few", "rows"] => Some(Reason::FewRows),
        _ => None,
    }
}

/// What a migration makes itself: no other release knows it.
#[derive(Default)]
struct New {
    tables: BTreeSet<String>,
    views: BTreeSet<String>,
    /// By table and name.
    columns: BTreeSet<(String, String)>,
    /// Those that are filled whoever inserts.
    filled: BTreeSet<(String, String)>,
    /// Tables with a trigger that sees a row before it is written.
    watched: BTreeSet<String>,
    /// Triggers and policies.
    rules: BTreeSet<String>,
}

impl New {
    fn of(statements: &[Statement]) -> Self {
        let mut new = Self::default();
        for statement in statements {
            let words = statement.words();
            match &words[..] {
                ["CREATE", "TABLE", rest @ ..]
                | ["CREATE", "TEMP" | "TEMPORARY" | "UNLOGGED", "TABLE", rest @ ..] => {
                    new.tables
                        .extend(without_if(rest).first().map(|name| (*name).to_owned()));
                }
                ["CREATE", "VIEW", name, ..] | ["CREATE", "OR", "REPLACE", "VIEW", name, ..] => {
                    new.views.insert((*name).to_owned());
                }
                ["CREATE", "POLICY" | "TRIGGER", name, rest @ ..] => {
                    new.rules.insert((*name).to_owned());
                    if let ["BEFORE", ..] = rest
                        && let Some(on) = rest.iter().position(|word| *word == "ON")
                        && rest[..on].contains(&"INSERT")
                    {
                        new.watched
                            .extend(rest.get(on + 1).map(|table| (*table).to_owned()));
                    }
                }
                ["ALTER", "TABLE", rest @ ..] => new.look_at_columns(rest),
                _ => {}
            }
        }
        new
    }

    fn look_at_columns(&mut self, rest: &[&str]) {
        let (table, actions) = table_and_actions(rest);
        for action in actions {
            let (column, filled) = match added_column(action) {
                Some((column, kind)) => {
                    self.columns.insert((table.to_owned(), column.to_owned()));
                    (column, is_filled(kind))
                }
                None => match action {
                    ["ALTER", "COLUMN", column, "SET", "DEFAULT", ..] => (*column, true),
                    _ => continue,
                },
            };
            if filled {
                self.filled.insert((table.to_owned(), column.to_owned()));
            }
        }
    }

    fn has_column(&self, table: &str, column: &str) -> bool {
        self.columns.contains(&(table.to_owned(), column.to_owned()))
    }

    /// Is the column new, and has it a value whoever inserts?
    fn fills(&self, table: &str, column: &str) -> bool {
        self.has_column(table, column)
            && (self.watched.contains(table) || self.filled.contains(&(table.to_owned(), column.to_owned())))
    }

    /// Is one of the words a column that no other release writes?
    fn names_a_column(&self, table: &str, words: &[&str]) -> bool {
        words.iter().any(|word| self.has_column(table, word))
    }
}

/// The names of the unique indexes that were ever made.
pub(crate) fn unique_indexes(ups: &[&str]) -> BTreeSet<String> {
    let all = ups.iter().flat_map(|up| statements(up));
    all.filter_map(|statement| match &statement.words()[..] {
        ["CREATE", "UNIQUE", "INDEX", rest @ ..] => {
            let rest = rest.strip_prefix(&["CONCURRENTLY"]).unwrap_or(rest);
            without_if(rest).first().map(|name| (*name).to_owned())
        }
        _ => None,
    })
    .collect()
}

fn findings(statement: &Statement, new: &New, unique: &BTreeSet<String>) -> Vec<Finding> {
    let words = statement.words();
    match &words[..] {
        ["ALTER", "TABLE", rest @ ..] => {
            let (table, actions) = table_and_actions(rest);
            if new.tables.contains(table) {
                return Vec::new();
            }
            actions
                .into_iter()
                .flat_map(|action| altered(table, action, new))
                .collect()
        }
        ["ALTER", "INDEX" | "TRIGGER" | "POLICY", ..] => Vec::new(),
        ["ALTER", .., "RENAME", _, _]
        | ["ALTER", .., "RENAME", _, _, _, _]
        | ["ALTER", .., "SET", "SCHEMA", _] => {
            vec![finding("what it was called is gone", Cure::Unused)]
        }
        ["CREATE", "UNIQUE", "INDEX", rest @ ..] => index(rest, true, new),
        ["CREATE", "INDEX", rest @ ..] => index(rest, false, new),
        ["DROP", kind, rest @ ..] => dropped(kind, rest, new, unique),
        ["TRUNCATE", ..] => vec![finding("the rows are gone", Cure::Unused)],
        ["REVOKE", ..] => vec![finding("a right is gone", Cure::Unused)],
        ["EXECUTE", ..] => vec![finding("nobody sees what EXECUTE does", Cure::Any)],
        _ => Vec::new(),
    }
}

fn dropped(kind: &str, rest: &[&str], new: &New, unique: &BTreeSet<String>) -> Vec<Finding> {
    let rest = without_if(rest.strip_prefix(&["CONCURRENTLY"]).unwrap_or(rest));
    let named = rest.first().copied().unwrap_or_default();
    let goes = match kind {
        "INDEX" => {
            return if rest.iter().any(|name| unique.contains(*name)) {
                vec![finding(
                    "ON CONFLICT of a release may need this unique index",
                    Cure::Unused,
                )]
            } else {
                Vec::new()
            };
        }
        // Made again by the same migration, it is another and not gone.
        "TRIGGER" | "POLICY" => !new.rules.contains(named),
        "TABLE" => !new.tables.contains(named),
        _ => true,
    };
    goes.then(|| finding("it is gone", Cure::Unused))
        .into_iter()
        .collect()
}

/// `[CONCURRENTLY] [IF NOT EXISTS] [name] ON [ONLY] table [USING method] (…) …`
fn index(rest: &[&str], unique: bool, new: &New) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(on) = rest.iter().position(|word| *word == "ON") else {
        return found;
    };
    let of = rest[on + 1..].strip_prefix(&["ONLY"]).unwrap_or(&rest[on + 1..]);
    let table = of.first().copied().unwrap_or_default();
    if new.tables.contains(table) {
        return found;
    }
    if unique && !new.names_a_column(table, of) {
        found.push(finding(
            "a row that a release writes may be refused as a double",
            Cure::Kept,
        ));
    }
    if rest.first() != Some(&"CONCURRENTLY") {
        found.push(finding(
            "nobody writes the table until the index is made; CREATE INDEX CONCURRENTLY, alone in a migration whose metadata.toml \
             says run_in_transaction = false",
            Cure::FewRows,
        ));
    }
    found
}

fn altered(table: &str, action: &[&str], new: &New) -> Vec<Finding> {
    if let Some((_, kind)) = added_column(action) {
        return added(kind);
    }
    match action {
        ["ADD", "CONSTRAINT", _, rule @ ..] | ["ADD", rule @ ..] => constraint(table, rule, new),
        ["DROP", "CONSTRAINT", ..] => vec![finding(
            "a constraint is gone, which ON CONFLICT of a release may need",
            Cure::Unused,
        )],
        ["DROP", ..] => vec![finding("a column is gone", Cure::Unused)],
        // The table has a view in its place.
        ["RENAME", "TO", _] if new.views.contains(table) => Vec::new(),
        ["RENAME", ..] | ["SET", "SCHEMA", ..] => vec![finding("what it was called is gone", Cure::Unused)],
        ["DETACH", ..] => vec![finding("rows are gone", Cure::Unused)],
        ["ALTER", "COLUMN", column, change @ ..] | ["ALTER", column, change @ ..] => match change {
            ["TYPE", ..] | ["SET", "DATA", "TYPE", ..] => {
                vec![finding(
                    "a column has another type than a release reads",
                    Cure::Unused,
                )]
            }
            ["SET", "NOT", "NULL"] if !new.fills(table, column) => {
                vec![finding(
                    "a row that a release writes may be refused without this column",
                    Cure::Kept,
                )]
            }
            ["DROP", "NOT", "NULL"] => vec![finding(
                "a release may read a null where there was none",
                Cure::Kept,
            )],
            ["DROP", ..] => vec![finding(
                "a release that leaves the column out gets no value",
                Cure::Kept,
            )],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What follows a new column's name: its type and the rest.
fn added(kind: &[&str]) -> Vec<Finding> {
    let mut found = Vec::new();
    let never_null = kind
        .windows(2)
        .any(|two| matches!(two, ["NOT", "NULL"] | ["PRIMARY", "KEY"]));
    if never_null && !is_filled(kind) {
        let cure = Cure::Instead("give it a DEFAULT");
        found.push(finding(
            "a row that a release writes is refused without the column",
            cure,
        ));
    }
    let computed = kind.windows(3).any(|three| match three {
        ["DEFAULT", function, "("] => *function != "NOW",
        ["GENERATED", ..] => true,
        _ => false,
    });
    if computed || is_serial(kind) {
        found.push(finding(
            "all rows are written anew while nobody reads them",
            Cure::FewRows,
        ));
    }
    found
}

fn constraint(table: &str, rule: &[&str], new: &New) -> Vec<Finding> {
    let mut found = Vec::new();
    let own: &[&str] = match rule {
        // What it refers to is behind the first parenthesis.
        ["FOREIGN", "KEY", ..] => {
            &rule[..rule
                .iter()
                .position(|word| *word == "REFERENCES")
                .unwrap_or(rule.len())]
        }
        _ => rule,
    };
    if !new.names_a_column(table, own) {
        found.push(finding("a row that a release writes may be refused", Cure::Kept));
    }
    let later = rule.ends_with(&["NOT", "VALID"]) || rule.windows(2).any(|two| two == ["USING", "INDEX"]);
    if !later {
        found.push(finding(
            "the table is closed until all rows are looked at; NOT VALID and VALIDATE CONSTRAINT in the next migration, or USING INDEX",
            Cure::FewRows,
        ));
    }
    found
}

fn is_filled(kind: &[&str]) -> bool {
    kind.iter().any(|word| matches!(*word, "DEFAULT" | "GENERATED")) || is_serial(kind)
}

fn is_serial(kind: &[&str]) -> bool {
    kind.first().is_some_and(|word| word.ends_with("SERIAL"))
}

/// The name and the rest of `ADD [COLUMN] [IF NOT EXISTS] name type …`.
fn added_column<'a>(action: &'a [&'a str]) -> Option<(&'a str, &'a [&'a str])> {
    let rest = match action {
        ["ADD", "COLUMN", rest @ ..] => rest,
        [
            "ADD",
            "CONSTRAINT" | "UNIQUE" | "PRIMARY" | "CHECK" | "FOREIGN" | "EXCLUDE",
            ..,
        ] => return None,
        ["ADD", rest @ ..] => rest,
        _ => return None,
    };
    let (name, kind) = without_if(rest).split_first()?;
    Some((name, kind))
}

/// The table and what is done to it: `[IF EXISTS] [ONLY] name action, action …`
fn table_and_actions<'a>(rest: &'a [&'a str]) -> (&'a str, Vec<&'a [&'a str]>) {
    let rest = without_if(rest);
    let rest = rest.strip_prefix(&["ONLY"]).unwrap_or(rest);
    let Some((table, actions)) = rest.split_first() else {
        return ("", Vec::new());
    };
    let mut depth = 0_i32;
    let apart = actions.split(|word| {
        depth += match *word {
            "(" => 1,
            ")" => -1,
            _ => 0,
        };
        depth == 0 && *word == ","
    });
    (table, apart.collect())
}

fn without_if<'a>(rest: &'a [&'a str]) -> &'a [&'a str] {
    match rest {
        ["IF", "NOT", "EXISTS", rest @ ..] | ["IF", "EXISTS", rest @ ..] => rest,
        _ => rest,
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
