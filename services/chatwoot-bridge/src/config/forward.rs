//! Passing events on to the URLs of routes.

use std::time::Duration;

use domain::retry::RetrySchedule;
use runtime::config::{Milliseconds, SettingsReader};

/// The waits between tries are lengthened by up to this share of themselves.
const JITTER: f64 = 0.2;
/// Less would forget an event while Chatwoot may still tell of it again.
const LEAST_SEEN_DAYS: u32 = 7;
const MOST_DAYS: u32 = 366;

/// How events are passed on.
#[derive(Debug, Clone, Copy)]
pub struct ForwardSettings {
    /// Posts at once.
    pub concurrency: usize,
    /// Posts at once to one host.
    pub per_target: usize,
    /// When to try again, and how often.
    pub retry: RetrySchedule,
    /// Most bytes that wait, or stay for people, for one route.
    pub queue_bytes: i64,
    /// Days after which an event that was not delivered is deleted.
    pub retention_days: u32,
    /// Days for which an event is recognised.
    pub seen_days: u32,
    /// Days for which it is known where an event went that is over; 0 for none.
    pub log_days: u32,
}

impl ForwardSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let concurrency = reader.with_default(
            "FORWARD_CONCURRENCY",
            "512",
            "Events that may be on their way to the URLs of routes at once",
        );
        let per_target = reader.with_default(
            "FORWARD_PER_TARGET",
            "32",
            "How many of them may go to one host; one route has at most eight",
        );
        let retry = take_retry(reader);
        let queue_bytes: Option<usize> = reader.with_default(
            "FORWARD_QUEUE_BYTES",
            "67108864",
            "Most bytes of events that wait, or stay for people, for one route; beyond it Chatwoot reads 503",
        );
        let retention_days = days(
            reader,
            "FORWARD_RETENTION_DAYS",
            1,
            "Days after which an event that could not be passed on, waiting or put aside, is deleted",
        );
        let seen_days = days(
            reader,
            "FORWARD_SEEN_DAYS",
            LEAST_SEEN_DAYS,
            "Days for which an event is recognised when Chatwoot tells of it again",
        );
        let log_days: Option<u32> = reader.with_default(
            "FORWARD_LOG_DAYS",
            "3",
            "Days for which the panel finds events that were passed on; 0 writes none of them down",
        );
        if log_days.is_some_and(|days| days > MOST_DAYS) {
            reader.problem("FORWARD_LOG_DAYS", &format!("must lie between 0 and {MOST_DAYS}"));
        }
        let (concurrency, per_target) = (concurrency?, per_target?);
        for (name, places) in [
            ("FORWARD_CONCURRENCY", concurrency),
            ("FORWARD_PER_TARGET", per_target),
        ] {
            if !(1..=4096).contains(&places) {
                reader.problem(name, "must lie between 1 and 4096");
            }
        }
        Some(Self {
            concurrency,
            per_target,
            retry: retry?,
            queue_bytes: i64::try_from(queue_bytes?).unwrap_or(i64::MAX),
            retention_days: retention_days?,
            seen_days: seen_days?,
            log_days: log_days?,
        })
    }
}

fn days(reader: &mut SettingsReader, name: &'static str, least: u32, what: &'static str) -> Option<u32> {
    let days: u32 = reader.with_default(name, "7", what)?;
    if !(least..=MOST_DAYS).contains(&days) {
        reader.problem(name, &format!("must lie between {least} and {MOST_DAYS}"));
        return None;
    }
    Some(days)
}

fn take_retry(reader: &mut SettingsReader) -> Option<RetrySchedule> {
    let attempts = reader.with_default(
        "FORWARD_ATTEMPTS",
        "12",
        "Tries before an event is put aside and the next one of its conversation has its turn",
    );
    let first: Option<Milliseconds> = reader.with_default(
        "FORWARD_RETRY_FIRST_MS",
        "1000",
        "Wait after an event's first failure, doubled after each, in ms",
    );
    let longest: Option<Milliseconds> = reader.with_default(
        "FORWARD_RETRY_CAP_MS",
        "600000",
        "Longest wait between two tries of an event, in ms",
    );
    let (first, longest): (Duration, Duration) = (first?.0, longest?.0);
    match RetrySchedule::new(first, longest, attempts?, JITTER) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            reader.problem(
                "FORWARD_ATTEMPTS, FORWARD_RETRY_FIRST_MS, FORWARD_RETRY_CAP_MS",
                &error.to_string(),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_possible_and_impossible_numbers_are_named() {
        let mut reader = SettingsReader::from_map([]);
        let settings = ForwardSettings::take(&mut reader).unwrap();
        assert_eq!((settings.concurrency, settings.per_target), (512, 32));
        for (name, value) in [
            ("FORWARD_CONCURRENCY", "0"),
            ("FORWARD_PER_TARGET", "0"),
            ("FORWARD_ATTEMPTS", "0"),
            ("FORWARD_RETRY_FIRST_MS", "600001"),
            ("FORWARD_RETENTION_DAYS", "0"),
            ("FORWARD_SEEN_DAYS", "6"),
            ("FORWARD_LOG_DAYS", "367"),
        ] {
            let mut reader = SettingsReader::from_map([(name, value)]);
            let settings = ForwardSettings::take(&mut reader);
            let problems = reader.finish(|| settings).map(drop).unwrap_err().problems;
            assert!(
                problems.iter().any(|problem| problem.name.contains(name)),
                "{name}: {problems:?}"
            );
        }
    }
}
