//! Logs, metrics and [traces].
//!
//! Logs are one line an event, JSON or for people, with the fields of the enclosing spans (request id, tenant).
//! Nothing here knows what a secret or a message text is: those have types whose `Debug` shows neither.

mod fields;
mod otlp;
pub mod traces;

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::fields::JsonFields;
use crate::config::Setting;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

impl Setting for LogFormat {
    const EXPECTED: &'static str = "must be json or pretty";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "pretty" => Some(Self::Pretty),
            _ => None,
        }
    }
}

/// Which log lines are written: a level, or directives such as `info,channel_service=debug`.
///
/// Only modules are named in them. A filter that looks at spans has something to do at every step of every request.
#[derive(Debug, Clone)]
pub struct LogLevel(Targets);

impl Setting for LogLevel {
    const EXPECTED: &'static str =
        "must be a level (error, warn, info, debug, trace) or directives such as info,channel_service=debug";

    fn from_text(text: &str) -> Option<Self> {
        let of_a_directive = |letter: char| letter.is_ascii_alphanumeric() || "_:-=".contains(letter);
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let parts: Vec<&str> = parts.collect();
        let are_plain = parts
            .iter()
            .all(|part| part.chars().all(of_a_directive) && !part.ends_with('='));
        // Nothing at all would silence everything.
        if parts.is_empty() || !are_plain {
            return None;
        }
        parts.join(",").parse().ok().map(Self)
    }
}

/// Starts writing logs to standard error. The first call decides; later ones change nothing.
pub fn start_logs(level: &LogLevel, format: LogFormat) {
    let filter = filter(level);
    // Colours are for eyes: in a file or a journal they are noise.
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Json => registry.with(json_lines(lines)).try_init(),
        LogFormat::Pretty => registry.with(lines.compact()).try_init(),
    };
    drop(started);
}

fn json_lines<S, W>(
    lines: fmt::Layer<S, DefaultFields, Format, W>,
) -> fmt::Layer<S, JsonFields, Format<Json>, W>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    lines
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .fmt_fields(JsonFields)
}

/// How much a library says at most, whatever is asked of it or of a module of it. lapin logs a message that comes back with its
/// whole body and every heartbeat at info, tokio_postgres a statement with the values that are bound to it: what people wrote.
const QUIET: [(&str, LevelFilter); 5] = [
    ("lapin", LevelFilter::WARN),
    ("lapin::returned_messages", LevelFilter::OFF),
    ("tokio_postgres", LevelFilter::INFO),
    ("tracing_actix_web", LevelFilter::OFF),
    ("actix_server", LevelFilter::WARN),
];

/// The level as it was asked for, within what quiet libraries may say.
fn filter(LogLevel(asked): &LogLevel) -> Targets {
    let others = asked.default_level().unwrap_or(LevelFilter::OFF);
    let of_libraries = QUIET.map(|(library, most)| {
        let nearest = asked.iter().filter(|(target, _)| library.starts_with(target));
        let nearest = nearest.max_by_key(|(target, _)| target.len());
        (library, nearest.map_or(others, |(_, level)| level).min(most))
    });
    let named = asked
        .iter()
        .map(|(target, level)| (target, level.min(most_of(target))));
    Targets::new()
        .with_default(others)
        .with_targets(named)
        .with_targets(of_libraries)
}

/// How much may be said below a target.
fn most_of(target: &str) -> LevelFilter {
    let is_around = |library: &str| {
        let module = target.strip_prefix(library);
        module.is_some_and(|module| module.is_empty() || module.starts_with(':'))
    };
    let around = QUIET.iter().filter(|(library, _)| is_around(library));
    let nearest = around.max_by_key(|(library, _)| library.len());
    nearest.map_or(LevelFilter::TRACE, |(_, most)| *most)
}

static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Latencies in seconds, from a cached lookup to a slow provider.
const LATENCY_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Starts collecting metrics for the process; the first call decides. Text comes from [`render_metrics`].
pub fn start_metrics() {
    METRICS.get_or_init(|| {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .inspect(|_| crate::described::describe())
            .inspect_err(|error| tracing::error!(%error, "metrics are not collected"))
            .ok()
    });
}

/// Everything counted so far, in Prometheus' text format.
#[must_use]
pub fn render_metrics() -> String {
    METRICS
        .get()
        .and_then(Option::as_ref)
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Keeps histograms small; without it they grow as long as nobody asks for `/metrics`.
pub async fn tend_metrics(shutdown: crate::shutdown::Shutdown) {
    while shutdown.sleep(Duration::from_secs(5)).await {
        if let Some(handle) = METRICS.get().and_then(Option::as_ref) {
            handle.run_upkeep();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::Context;

    use super::*;

    /// Keeps where each line comes from.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Written {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(event.metadata().target().to_owned());
        }
    }

    #[test]
    fn a_level_is_one_for_all_or_for_some_modules_and_never_for_spans() {
        for good in ["warn", "INFO", "info,channel_service=debug", "off,lapin=trace"] {
            assert!(LogLevel::from_text(good).is_some(), "{good}");
        }
        for bad in [
            "",
            ",",
            "x=",
            "\"info\"",
            "info,x=loud",
            "x=info=debug",
            "[request]=debug",
            "info,web[{tenant}]=trace",
            "web[request]",
        ] {
            assert!(LogLevel::from_text(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn blanks_and_empty_parts_change_nothing() {
        let plain = LogLevel::from_text("info,channel_service=debug").unwrap();
        let spaced = LogLevel::from_text(" info, ,channel_service=debug,").unwrap();
        assert_eq!(spaced.0, plain.0);
    }

    /// Where the lines come from that are written, in the order of these.
    fn written_of(asked: &str, say: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let subscriber = tracing_subscriber::registry()
            .with(filter(&LogLevel::from_text(asked).unwrap()))
            .with(written.clone());
        tracing::subscriber::with_default(subscriber, say);
        written.0.lock().unwrap().clone()
    }

    #[test]
    fn libraries_that_would_tell_what_people_wrote_are_silent_at_every_level() {
        for asked in [
            "trace",
            "debug",
            "info,tokio_postgres=trace,lapin=trace",
            "info,tokio_postgres::query=trace,lapin::returned_messages::inner=trace",
            "channel_service=info,tokio_postgres::q=trace,lapin::returned=trace,tokio=trace",
        ] {
            let written = written_of(asked, || {
                tracing::debug!(target: "tokio_postgres::query", "a statement with its values");
                tracing::error!(target: "lapin::returned_messages", "a message with its body");
                tracing::error!(target: "lapin::returned_messages::inner", "a message with its body");
                tracing::info!(target: "channel_service", "a message was taken");
            });
            assert_eq!(written, ["channel_service"], "{asked}");
        }
    }

    #[test]
    fn less_may_be_asked_of_a_quiet_library_and_everything_of_one_whose_name_only_begins_like_it() {
        let say = || {
            tracing::warn!(target: "lapin::io_loop", "one");
            tracing::info!(target: "tokio_postgres::connection", "two");
            tracing::debug!(target: "tokio_postgres_rustls", "three");
        };
        let (io_loop, connection) = ("lapin::io_loop", "tokio_postgres::connection");
        assert_eq!(written_of("info", say), [io_loop, connection]);
        assert_eq!(written_of("error", say), [""; 0]);
        assert_eq!(written_of("info,lapin::io_loop=off", say), [connection]);
        assert_eq!(written_of("info,lapin=error,tokio_postgres=warn", say), [""; 0]);
        assert_eq!(
            written_of("off,lapin=trace,tokio_postgres_rustls=debug", say),
            [io_loop, "tokio_postgres_rustls"]
        );
    }
}
