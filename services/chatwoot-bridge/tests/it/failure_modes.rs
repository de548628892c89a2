//! The table of `docs/chatwoot-failures.md` names a test for each failure mode, and each of them is there.

use std::fs;
use std::path::{Path, PathBuf};

/// Failure modes of the contract's section 6.
const MODES: usize = 31;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A row: its number and the tests it names, `module::name` or `crate path::name`.
fn rows() -> Vec<(usize, Vec<String>)> {
    let table = fs::read_to_string(root().join("../../docs/chatwoot-failures.md")).unwrap();
    table
        .lines()
        .filter_map(|line| {
            let mut cells = line
                .strip_prefix('|')?
                .trim_end_matches('|')
                .split('|')
                .map(str::trim);
            let number = cells.next()?.parse().ok()?;
            let tests = cells.next_back()?.split('`').skip(1).step_by(2);
            Some((number, tests.map(str::to_owned).collect()))
        })
        .collect()
}

/// Where a named test has to stand.
fn source_of(module: &str) -> Option<PathBuf> {
    let places = [
        root().join(format!("tests/it/{module}.rs")),
        root().join(format!("src/{}.rs", module.replace("::", "/"))),
        root().join(format!("../../crates/end-to-end/tests/it/{module}.rs")),
    ];
    places.into_iter().find(|place| place.exists())
}

#[test]
fn every_failure_mode_has_a_test_that_exists() {
    let rows = rows();
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(
        numbers,
        (1..=MODES).collect::<Vec<_>>(),
        "a row for each, in order"
    );
    let mut missing = Vec::new();
    for (number, tests) in rows {
        if tests.is_empty() {
            missing.push(format!("{number}: no test"));
        }
        for test in tests {
            let (module, name) = test.rsplit_once("::").unwrap_or(("", &test));
            let source = source_of(module).and_then(|source| fs::read_to_string(source).ok());
            if !source.is_some_and(|source| source.contains(&format!("fn {name}("))) {
                missing.push(format!("{number}: {test}"));
            }
        }
    }
    assert!(missing.is_empty(), "not there: {missing:#?}");
}
