//! Rows of the results.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// One row of a result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_seconds_per_thousand: Option<f64>,
    pub(crate) peak_memory_mib: Option<f64>,
}

impl Measured {
    pub(crate) fn header() -> String {
        format!(
            "{:<24} {:>11} {:>9} {:>7} {:>8} {:>8} {:>8} {:>10} {:>8}",
            "", "connections", "accepted", "refused", "per s", "p50 ms", "p99 ms", "CPU s/1000", "peak MiB"
        )
    }

    /// From each request's time. Sorts them.
    pub(crate) fn new(
        name: &'static str,
        connections: usize,
        mut times: Vec<Duration>,
        refused: u64,
        took: Duration,
    ) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
            times
                .get(index)
                .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
        };
        Self {
            name,
            connections,
            accepted: times.len() as u64,
            refused,
            per_second: times.len() as f64 / took.as_secs_f64(),
            p50_ms: at(0.50),
            p99_ms: at(0.99),
            cpu_seconds_per_thousand: None,
            peak_memory_mib: None,
        }
    }

    /// The same, with what it cost the service.
    pub(crate) fn with_cost(mut self, cpu_seconds: f64, peak_memory_mib: f64) -> Self {
        self.cpu_seconds_per_thousand = Some(cpu_seconds * 1000.0 / self.accepted.max(1) as f64);
        self.peak_memory_mib = Some(peak_memory_mib);
        self
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |value: Option<f64>, decimals: usize| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
        };
        write!(
            f,
            "{:<24} {:>11} {:>9} {:>7} {:>8.0} {:>8.2} {:>8.2} {:>10} {:>8}",
            self.name,
            self.connections,
            self.accepted,
            self.refused,
            self.per_second,
            self.p50_ms,
            self.p99_ms,
            optional(self.cpu_seconds_per_thousand, 3),
            optional(self.peak_memory_mib, 1),
        )
    }
}
