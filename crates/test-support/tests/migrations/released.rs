//! `migrations/RELEASED`: up to where the last release knows each schema, and a sum over all of that.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::Migration;

/// What a version is compared by.
pub(crate) type Version = (u32, u32, u32);

const HEAD: &str = "\
# What the last release knows: of each schema its newest migration, and a sum over that one and all before it. These files do not
# change any more, none comes between them, and what comes after them is held against the rules in docs/CONTRIBUTING.md.
# With a release: WRITE_RELEASED=1.2.0 cargo test -p test-support --test migrations what_is_released
";

#[derive(Debug)]
pub(crate) struct Released {
    version: String,
    /// By schema: the newest migration, and the sum.
    schemas: BTreeMap<String, (String, String)>,
}

impl Released {
    /// A release that has all of this.
    pub(crate) fn of(version: &str, all: &[(&str, Vec<Migration>)]) -> Self {
        let schemas = all.iter().map(|(schema, migrations)| {
            let newest = migrations.last().unwrap().name.clone();
            ((*schema).to_owned(), (newest, sum(migrations.iter())))
        });
        Self {
            version: version.to_owned(),
            schemas: schemas.collect(),
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut released = Self {
            version: String::new(),
            schemas: BTreeMap::new(),
        };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["release", version] => version.clone_into(&mut released.version),
                [schema, newest, sum] => {
                    let known = (newest.to_owned(), sum.to_owned());
                    released.schemas.insert(schema.to_owned(), known);
                }
                _ => panic!(
                    "migrations/RELEASED: {line:?} is neither `release VERSION` nor `SCHEMA MIGRATION SUM`"
                ),
            }
        }
        assert!(
            version(&released.version).is_some(),
            "migrations/RELEASED names no release"
        );
        released
    }

    pub(crate) fn version(&self) -> Version {
        version(&self.version).unwrap()
    }

    /// Is the release older than this migration?
    pub(crate) fn is_older(&self, schema: &str, migration: &str) -> bool {
        self.schemas
            .get(schema)
            .is_none_or(|(newest, _)| newest.as_str() < migration)
    }

    /// Is everything that was released there as it was?
    pub(crate) fn holds(&self, schema: &str, migrations: &[Migration]) -> Result<(), String> {
        let Some((newest, expected)) = self.schemas.get(schema) else {
            return Err(format!("release {} has no such schema", self.version));
        };
        let known = migrations
            .iter()
            .filter(|migration| !self.is_older(schema, &migration.name));
        if sum(known) == *expected {
            return Ok(());
        }
        Err(format!(
            "up to {newest} all is part of release {}, and a file among them was changed, put in, or taken away: schemas that have \
             run them would not notice. Write a new migration behind it. (Only where that release is not out yet: \
             WRITE_RELEASED={} cargo test -p test-support --test migrations what_is_released)",
            self.version, self.version
        ))
    }
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}release {}", self.version)?;
        self.schemas
            .iter()
            .try_for_each(|(schema, (newest, sum))| writeln!(f, "{schema} {newest} {sum}"))
    }
}

/// `1.2.0` as numbers.
pub(crate) fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

fn sum<'a>(migrations: impl Iterator<Item = &'a Migration>) -> String {
    let mut hash = Sha256::new();
    for migration in migrations {
        for part in [&migration.name, &migration.up, &migration.down] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_released_migration_is_not_changed_put_in_or_taken_away() {
    let migration = |name: &str, up: &str| Migration {
        name: name.to_owned(),
        up: up.to_owned(),
        down: String::new(),
    };
    let first = || migration("2026-01-01-000001_a", "CREATE TABLE a (id int)");
    let second = || migration("2026-01-02-000003_b", "CREATE TABLE b (id int)");
    let released = Released::of("1.2.0", &[("channel", vec![first(), second()])]);
    let released = Released::parse(&released.to_string());
    let holds = |migrations: &[Migration]| released.holds("channel", migrations).is_ok();
    assert!(holds(&[first(), second()]));
    assert!(holds(&[first(), second(), migration("2026-01-03-000004_c", "")]));
    assert!(released.is_older("channel", "2026-01-03-000004_c"));
    assert!(!released.is_older("channel", "2026-01-02-000003_b"));

    assert!(!holds(&[first()]));
    assert!(!holds(&[
        first(),
        migration("2026-01-02-000002_between", ""),
        second()
    ]));
    assert!(!holds(&[
        first(),
        migration("2026-01-02-000003_b", "CREATE TABLE b (id bigint)")
    ]));
    assert!(released.holds("another", &[]).is_err());
    assert_eq!(version("1.2.0"), Some((1, 2, 0)));
    assert_eq!(version("1.2"), None);
    assert_eq!(version("1.2.0.1"), None);
}
