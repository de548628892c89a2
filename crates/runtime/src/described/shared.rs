//! Metrics of every service.

use super::Kind::{Counter, Gauge, Histogram};
use super::Metric;

pub(super) const METRICS: &[Metric] = &[
    Metric::new(
        "kanal_http_request_seconds",
        Histogram,
        &["method", "route", "status"],
        "Time from a request's head to its answer's head; `route` is the pattern, never the path.",
    ),
    Metric::new(
        "kanal_http_requests_in_flight",
        Gauge,
        &[],
        "Requests that are being answered.",
    ),
    Metric::new(
        "kanal_http_panics_total",
        Counter,
        &[],
        "Handlers that panicked; the caller got 500.",
    ),
    Metric::new(
        "kanal_bodies_over_budget_total",
        Counter,
        &[],
        "Requests that were refused because the bodies in memory had reached their bound.",
    ),
    Metric::new(
        "kanal_internal_key_refused_total",
        Counter,
        &[],
        "Calls with a wrong internal key.",
    ),
    Metric::new(
        "kanal_ready",
        Gauge,
        &[],
        "1 when every dependency that the service cannot do without is up.",
    ),
    Metric::new(
        "kanal_dependency_up",
        Gauge,
        &["dependency"],
        "1 when the dependency answered the last probe, which comes every 15 s.",
    ),
    Metric::new(
        "kanal_transaction_seconds",
        Histogram,
        &["name"],
        "Time from the begin of a transaction to its commit.",
    ),
    Metric::new(
        "kanal_transactions_rolled_back_total",
        Counter,
        &["name"],
        "Transactions that were not committed.",
    ),
    Metric::new(
        "kanal_pool_in_use",
        Gauge,
        &[],
        "Postgres connections that somebody works with.",
    ),
    Metric::new(
        "kanal_pool_waiting",
        Gauge,
        &[],
        "Callers that wait for a Postgres connection.",
    ),
    Metric::new(
        "kanal_pool_most",
        Gauge,
        &[],
        "Most Postgres connections this process may have.",
    ),
    Metric::new(
        "kanal_watch_failures_total",
        Counter,
        &[],
        "Times that the numbers of what waits could not be read; they are as old as the last success then.",
    ),
    Metric::new(
        "kanal_clock_skew_seconds",
        Gauge,
        &[],
        "Difference between this machine's clock and that of Postgres.",
    ),
    Metric::new(
        "kanal_redis_failures_total",
        Counter,
        &[],
        "Questions that Redis did not answer.",
    ),
    Metric::new(
        "kanal_cache_reads_total",
        Counter,
        &["from"],
        "Reads of cached values, by where the value came from: process, redis or source (a miss).",
    ),
    Metric::new(
        "kanal_ledger_total",
        Counter,
        &["book", "step"],
        "What was accepted and what became of it, once committed. Books: outbox (events for the broker), tasks (work in lanes), forwards (events for URLs). Steps: accepted, delivered, expired.",
    ),
    Metric::new(
        "kanal_ledger_held",
        Gauge,
        &["book", "state"],
        "What is there and not over: live goes on by itself, parked waits for people. Counted up to 10001.",
    ),
    Metric::new(
        "kanal_ledger_oldest_seconds",
        Gauge,
        &["book", "state"],
        "Age of the oldest of what is counted in kanal_ledger_held.",
    ),
    Metric::new(
        "kanal_tenant_tasks",
        Gauge,
        &["tenant", "state"],
        "Tasks of the ten tenants that hold the most, and of all others as `other`.",
    ),
    Metric::new(
        "kanal_lanes_due",
        Gauge,
        &[],
        "Lanes whose turn has come and that nobody has in hand. Counted up to 10001.",
    ),
    Metric::new(
        "kanal_lanes_oldest_due_seconds",
        Gauge,
        &[],
        "How long the first of them has been waiting for its turn to be taken.",
    ),
    Metric::new(
        "kanal_leases_expired_total",
        Counter,
        &[],
        "Lanes that were taken over because whoever had them did not let go in time.",
    ),
    Metric::new(
        "kanal_leases_lost_total",
        Counter,
        &[],
        "Work whose outcome came after its lane had been taken over; nothing of it was written.",
    ),
    Metric::new(
        "kanal_outbox_published_total",
        Counter,
        &[],
        "Events that the broker confirmed.",
    ),
    Metric::new(
        "kanal_outbox_refused_total",
        Counter,
        &[],
        "Events that the broker would not take or has no queue for; their lanes wait.",
    ),
    Metric::new(
        "kanal_outbox_parked_total",
        Counter,
        &[],
        "Events that are too large to be published and stay for people.",
    ),
    Metric::new(
        "kanal_tasks_parked_total",
        Counter,
        &[],
        "Tasks that were put aside for people.",
    ),
    Metric::new(
        "kanal_events_consumed_total",
        Counter,
        &["type"],
        "Events that were taken from a queue.",
    ),
    Metric::new(
        "kanal_events_dead_lettered_total",
        Counter,
        &[],
        "Events that a consumer gave up; they are in the dead-letter queue.",
    ),
    Metric::new(
        "kanal_trace_spans_exported_total",
        Counter,
        &[],
        "Spans that the collector took; stays 0 where none is named.",
    ),
    Metric::new(
        "kanal_trace_spans_lost_total",
        Counter,
        &["reason"],
        "Spans that no collector will see: `queue_full` before they were sent, `not_taken` by the collector.",
    ),
];
