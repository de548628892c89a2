//! An upgrade brings the schemas up while the release before is still at work. So migrations expand first and contract later, and
//! what a release has brought stays as it was. Here their texts are read, which is cheap enough for every run; that the release
//! before really goes on is tried by `deploy/dev/upgrade-check`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking, and these say what to write instead"
)]

mod released;
mod rules;
mod sql;

use std::path::{Path, PathBuf};

use released::Released;

const SCHEMAS: [&str; 3] = ["channel", "chatwoot_bridge", "wa_support"];

/// A migration as it lies in the tree.
pub(crate) struct Migration {
    pub(crate) name: String,
    pub(crate) up: String,
    pub(crate) down: String,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations")
}

/// The migrations of a schema, the oldest first.
fn migrations(schema: &str) -> Vec<Migration> {
    let entries = std::fs::read_dir(directory().join(schema)).unwrap();
    let mut found: Vec<Migration> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| Migration {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            up: std::fs::read_to_string(path.join("up.sql")).unwrap(),
            down: std::fs::read_to_string(path.join("down.sql")).unwrap(),
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// With `WRITE_RELEASED=1.2.0` the file is written instead, for a release of that version.
#[test]
fn what_is_released_stays_as_it_was() {
    let file = directory().join("RELEASED");
    let all = SCHEMAS.map(|schema| (schema, migrations(schema)));
    if let Ok(version) = std::env::var("WRITE_RELEASED") {
        std::fs::write(&file, Released::of(&version, &all).to_string()).unwrap();
    }
    let released = Released::parse(&std::fs::read_to_string(&file).unwrap());
    for (schema, migrations) in &all {
        if let Err(trouble) = released.holds(schema, migrations) {
            panic!("migrations/{schema}: {trouble}");
        }
    }
}

#[test]
fn names_are_in_order() {
    for schema in SCHEMAS {
        let mut before = String::new();
        for Migration { name, .. } in migrations(schema) {
            let number = name.get(11..17).unwrap_or_default();
            let form: String = name
                .chars()
                .take(18)
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            assert_eq!(
                form, "0000-00-00-000000_",
                "{schema}/{name}: YYYY-MM-DD-NNNNNN_words"
            );
            assert!(
                before.as_str() < number,
                "{schema}/{name}: the number has to be above {before}, that of the migration before it by its day"
            );
            number.clone_into(&mut before);
        }
    }
}

/// See `rules`, where each of them is.
#[test]
fn the_release_before_goes_on_with_what_is_new() {
    let released = Released::parse(&std::fs::read_to_string(directory().join("RELEASED")).unwrap());
    let mut refused = Vec::new();
    for schema in SCHEMAS {
        let all = migrations(schema);
        let old: Vec<&str> = all.iter().map(|migration| migration.up.as_str()).collect();
        let unique = rules::unique_indexes(&old);
        for migration in all
            .iter()
            .filter(|migration| released.is_older(schema, &migration.name))
        {
            for found in rules::refused(&migration.up, &unique, released.version()) {
                refused.push(format!("{schema}/{}/up.sql: {found}", migration.name));
            }
            if let Some(found) = rules::note_without_end(migration) {
                refused.push(format!("{schema}/{}: {found}", migration.name));
            }
        }
    }
    assert!(
        refused.is_empty(),
        "the release before would trip over this; docs/CONTRIBUTING.md says what to write: {refused:#?}"
    );
}
