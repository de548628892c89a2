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
            // The descriptions themselves name no metric in a macro.
            if !path.contains("/src/") || path.contains("/target/") || path.contains("/src/described/") {
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

/// Names of metrics in a text that is no source: a query or a rule.
fn named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("kanal_"))
        .map(ToOwned::to_owned)
        .collect()
}

/// A series' name without what a histogram adds to it.
fn is_known(series: &str, described: &BTreeMap<&str, Metric>) -> bool {
    let base = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|ending| series.strip_suffix(ending))
        .unwrap_or(series);
    match (described.get(series), described.get(base)) {
        (Some(metric), _) => metric.kind != Kind::Histogram,
        (None, Some(metric)) => metric.kind == Kind::Histogram,
        (None, None) => false,
    }
}

#[test]
fn every_alert_is_made_of_metrics_that_exist_and_has_a_runbook_and_two_tests() {
    let described = described();
    let prometheus = root().join("deploy/observability/prometheus");
    let runbook = std::fs::read_to_string(root().join("docs/RUNBOOK.md")).unwrap();
    let headings: BTreeSet<&str> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let (mut alerts, mut wrong) = (BTreeSet::new(), Vec::new());
    for file in files(&prometheus.join("rules"), ".yml") {
        let rules = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap();
        let tests = std::fs::read_to_string(prometheus.join("tests").join(name)).unwrap();
        for series in named_in(&rules).into_iter().chain(named_in(&tests)) {
            if !is_known(&series, &described) && !series.starts_with("kanal_tests_") {
                wrong.push(format!("{}: no service has {series}", file.display()));
            }
        }
        for rule in rules.split("- alert: ").skip(1) {
            let alert = rule.lines().next().unwrap().trim().to_owned();
            let url = format!("runbook_url: docs/RUNBOOK.md#{}", alert.to_lowercase());
            for part in [url.as_str(), "summary: ", "severity: "] {
                if !rule.contains(part) {
                    wrong.push(format!("{alert} has no {part}"));
                }
            }
            for kind in ["fires", "stays quiet"] {
                if !tests.contains(&format!("name: {alert} {kind}\n")) {
                    wrong.push(format!("{alert} has no test in which it {kind}"));
                }
            }
            alerts.insert(alert);
        }
    }
    assert!(alerts.len() > 20, "the rules were not read");
    for alert in &alerts {
        let (_, section) = runbook.split_once(&format!("\n## {alert}\n")).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        if !section.contains("**First look.**") || !section.contains("**Cure.**") {
            wrong.push(format!("docs/RUNBOOK.md says nothing of {alert}"));
        }
    }
    for heading in headings {
        if !alerts.contains(heading) {
            wrong.push(format!("docs/RUNBOOK.md speaks of {heading}, which is no alert"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_dashboard_is_whole_and_shows_metrics_that_exist() {
    let described = described();
    let (mut uids, mut wrong) = (BTreeSet::new(), Vec::new());
    let dashboards = files(&root().join("deploy/observability/grafana/dashboards"), ".json");
    assert!(
        dashboards.len() >= 4,
        "one for each service and one for the way of a message"
    );
    for file in dashboards {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
        for field in ["title", "uid"] {
            assert!(
                dashboard[field].as_str().is_some_and(|text| !text.is_empty()),
                "{name}: {field}"
            );
        }
        assert!(
            uids.insert(dashboard["uid"].to_string()),
            "{name}: its uid is another one's"
        );
        let panels = dashboard["panels"].as_array().unwrap();
        let drawn: Vec<_> = panels.iter().filter(|panel| panel["type"] != "row").collect();
        assert!(drawn.len() >= 6, "{name} shows next to nothing");
        for panel in drawn {
            let title = panel["title"].as_str().unwrap_or_default();
            if title.is_empty() {
                wrong.push(format!("{name}: a panel without a title"));
            }
            if panel["fieldConfig"]["defaults"]["unit"]
                .as_str()
                .is_none_or(str::is_empty)
            {
                wrong.push(format!("{name}: {title} has no unit"));
            }
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            let queries: Vec<&str> = targets
                .iter()
                .filter_map(|target| target["expr"].as_str())
                .collect();
            let named: BTreeSet<String> = queries.iter().flat_map(|query| named_in(query)).collect();
            if named.is_empty() && !queries.iter().any(|query| query.starts_with("up{")) {
                wrong.push(format!("{name}: {title} asks for nothing of ours"));
            }
            for series in named {
                if !is_known(&series, &described) {
                    wrong.push(format!("{name}: {title} asks for {series}, which no service has"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
