//! Every metric of every service: its name, kind, labels and what it tells.
//!
//! Metrics are counted where things happen and described here, so that one table can be held against the source and the
//! documentation: `tests/described.rs` fails when the three differ. Labels have few values each: none is an id, a phone number
//! or a text. `tenant` has ten values and `other`; `route` of the bridge's metrics is the number of a route.

mod bridge;
mod channel;
mod gateway;
mod shared;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Values in classes.
    Histogram,
}

impl Kind {
    /// The name that Prometheus uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name; `_seconds` at its end is its unit.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

impl Metric {
    const fn new(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            labels,
            help,
        }
    }

    fn row(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(|label| format!("`{label}`")).collect();
        format!(
            "| `{}` | {} | {} | {} |",
            self.name,
            self.kind.as_str(),
            labels.join(" "),
            self.help
        )
    }

    fn unit(&self) -> metrics::Unit {
        if self.name.ends_with("_seconds") {
            metrics::Unit::Seconds
        } else {
            metrics::Unit::Count
        }
    }
}

/// Who has which metrics.
pub const ALL: [(&str, &[Metric]); 4] = [
    ("every service", shared::METRICS),
    ("channel-service", channel::METRICS),
    ("chatwoot-bridge", bridge::METRICS),
    ("wa-support-gateway", gateway::METRICS),
];

/// Tells the recorder what each metric means. One that is not used costs nothing.
pub(crate) fn describe() {
    for metric in ALL.iter().flat_map(|(_, metrics)| *metrics) {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit(), metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit(), metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.unit(), metric.help),
        }
    }
}

/// Begins the counters of a service at zero, those without labels: a counter that appears with its first event shows no growth
/// to whoever compares it with before.
pub(crate) fn begin(service: &str) {
    let shared_and_own = ALL
        .iter()
        .filter(|(of, _)| *of == "every service" || *of == service);
    for metric in shared_and_own.flat_map(|(_, metrics)| *metrics) {
        if metric.kind == Kind::Counter && metric.labels.is_empty() {
            metrics::counter!(metric.name).increment(0);
        }
    }
}

/// The page `docs/METRICS.md`, as it must be.
#[must_use]
pub fn page() -> String {
    let head = String::from(
        "# Metrics\n\n\
         `/metrics` of each service, behind `METRICS_TOKEN`. This page is written by `cargo test -p runtime --test described`\n\
         with `WRITE_DOCS=1`, from `crates/runtime/src/described/`; the same test fails when a metric of the source is missing here.\n\n\
         Gauges that are read from Postgres are read by every replica: take `max by (job)` of them, and `sum` of counters.\n\n\
         The ledger must be even, for each book and over all replicas of a service: what `kanal_ledger_total` grew by in\n\
         `accepted` is what it grew by in `delivered` and `expired` and what `kanal_ledger_held` (live and parked) grew by. It is\n\
         counted over all tenants; by tenant there is what the ten with the most hold, and all others together. How much of a\n\
         tenant's goes which way, by the minute, is in the dashboard of channel-service and in the bridge's panel.\n",
    );
    let sections = ALL.iter().map(|(service, metrics)| {
        let rows: Vec<String> = metrics.iter().map(Metric::row).collect();
        format!(
            "\n## {service}\n\n| name | kind | labels | meaning |\n|---|---|---|---|\n{}\n",
            rows.join("\n")
        )
    });
    head + &sections.collect::<String>()
}
