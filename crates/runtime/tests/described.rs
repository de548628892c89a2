//! The metrics of the source, their descriptions, `docs/METRICS.md`, the alerts and the dashboards speak of the same things.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use runtime::described::{ALL, Kind, Metric, page};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files below a directory whose names end so.
fn files(below: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![below.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A use of a metric in the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Used {
    kind: &'static str,
    name: String,
    labels: BTreeSet<String>,
}

/// The arguments of a macro, from behind its bracket to the one that closes it.
fn arguments(text: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return &text[..at];
                }
            }
            _ => {}
        }
    }
    panic!("a macro without an end: {text:.80}")
}

fn used_in(text: &str) -> Vec<Used> {
    let mut used = Vec::new();
    for (kind, call) in [
        ("counter", "metrics::counter!("),
        ("gauge", "metrics::gauge!("),
        ("histogram", "metrics::histogram!("),
    ] {
        for (at, _) in text.match_indices(call) {
            let arguments = arguments(&text[at + call.len()..]).trim();
            let name = arguments
                .strip_prefix('"')
                .and_then(|rest| rest.split_once('"'))
                .unwrap_or_else(|| panic!("a metric whose name is no literal: {arguments}"))
                .0;
            let labels: Vec<&str> = arguments.split("\" =>").collect();
            let labels = labels[..labels.len() - 1]
                .iter()
                .map(|before| before.rsplit('"').next().unwrap().to_owned());
            used.push(Used {
                kind,
                name: name.to_owned(),
                labels: labels.collect(),
            });
        }
    }
    used
}

/// Metrics of all crates and services, but for their tests.
fn used() -> BTreeMap<String, Vec<Used>> {
    let mut all: BTreeMap<String, Vec<Used>> = BTreeMap::new();
    for below in ["crates", "services"] {
        for file in files(&root().join(below), ".rs") {
            let path = file.to_string_lossy().into_owned();
            if !path.contains("/src/") || path.contains("/target/") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(
                !text.contains("use metrics::"),
                "{path}: write metrics::counter! out, so that it is found"
            );
            for one in used_in(&text) {
                all.entry(one.name.clone()).or_default().push(one);
            }
        }
    }
    all
}

fn described() -> BTreeMap<&'static str, Metric> {
    let mut all = BTreeMap::new();
    for metric in ALL.iter().flat_map(|(_, metrics)| *metrics) {
        assert!(
            all.insert(metric.name, *metric).is_none(),
            "{} is described twice",
            metric.name
        );
    }
    all
}

#[test]
fn every_metric_is_described_and_every_description_is_of_a_metric() {
    let (used, described) = (used(), described());
    assert!(used.len() > 100, "the source was not read");
    let mut wrong = Vec::new();
    for (name, uses) in &used {
        let Some(metric) = described.get(name.as_str()) else {
            wrong.push(format!(
                "{name} is used and not described in runtime/src/described/"
            ));
            continue;
        };
        let labels: BTreeSet<&str> = metric.labels.iter().copied().collect();
        for one in uses {
            if one.kind != metric.kind.as_str() {
                wrong.push(format!(
                    "{name} is no {} but a {}",
                    metric.kind.as_str(),
                    one.kind
                ));
            }
            if one.labels.iter().map(String::as_str).collect::<BTreeSet<_>>() != labels {
                wrong.push(format!("{name} has the labels {:?}, not {labels:?}", one.labels));
            }
        }
        if metric.help.trim().len() < 10 {
            wrong.push(format!("{name} has no meaning"));
        }
        if (metric.kind == Kind::Counter) != name.ends_with("_total") {
            wrong.push(format!("{name}: counters end in _total, and nothing else does"));
        }
    }
    for name in described.keys() {
        if !used.contains_key(*name) {
            wrong.push(format!("{name} is described and used nowhere"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_documentation_is_what_is_described() {
    let path = root().join("docs/METRICS.md");
    let page = page();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let shown = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shown == page,
        "docs/METRICS.md is not what is described: run this test with WRITE_DOCS=1"
    );
}

#[test]
fn the_scanner_sees_what_it_is_to_see() {
    let text = r#"metrics::counter!("a_total", "x" => if y { "p" } else { "(q" },
        "z" => f(1)).increment(1); metrics::gauge!(
        "b").set(1.0)"#;
    let used = |kind, name: &str, labels: &[&str]| Used {
        kind,
        name: name.to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    assert_eq!(
        used_in(text),
        [used("counter", "a_total", &["x", "z"]), used("gauge", "b", &[])]
    );
}
