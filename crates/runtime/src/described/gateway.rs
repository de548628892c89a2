//! Metrics of wa-support-gateway.

use super::Kind::{Counter, Gauge};
use super::Metric;

pub(super) const METRICS: &[Metric] = &[
    Metric::new(
        "kanal_expired_sessions_disconnected_total",
        Counter,
        &[],
        "Sessions that were taken off WhatsApp because their subscription ended.",
    ),
    Metric::new(
        "kanal_hook_events_expired_total",
        Counter,
        &[],
        "Webhooks that grew too old and were deleted.",
    ),
    Metric::new(
        "kanal_hook_events_finished_total",
        Counter,
        &["outcome"],
        "Webhooks by their end.",
    ),
    Metric::new(
        "kanal_hook_events_parked_total",
        Counter,
        &[],
        "Webhooks that stay for people.",
    ),
    Metric::new(
        "kanal_hook_events_retried_total",
        Counter,
        &[],
        "Posts to customers that have to be tried again.",
    ),
    Metric::new(
        "kanal_hook_events_unreadable_total",
        Counter,
        &[],
        "Webhooks that cannot be read and are passed on as they are.",
    ),
    Metric::new(
        "kanal_hook_read_marks_total",
        Counter,
        &["outcome"],
        "Messages that were to be marked as read.",
    ),
    Metric::new(
        "kanal_hook_receiver_rests_total",
        Counter,
        &[],
        "Rests of customers' hosts that could not be reached: their breakers opened.",
    ),
    Metric::new(
        "kanal_hook_requests_total",
        Counter,
        &["outcome"],
        "Webhooks of the WA server by what was done with them.",
    ),
    Metric::new(
        "kanal_looks_refused_total",
        Counter,
        &[],
        "Calls of strangers that came too often.",
    ),
    Metric::new(
        "kanal_proxy_requests_total",
        Counter,
        &["outcome"],
        "Calls through the proxy.",
    ),
    Metric::new(
        "kanal_quota_subscriptions",
        Gauge,
        &["used"],
        "Active subscriptions of whose messages 90_percent or all are used; among those 10000 that end first.",
    ),
    Metric::new(
        "kanal_session_upkeep_total",
        Counter,
        &["outcome"],
        "Sessions whose settings at the WA server were brought in line.",
    ),
    Metric::new(
        "kanal_sessions_mended_total",
        Counter,
        &["kind", "outcome"],
        "Differences between our sessions and the WA server's users that were mended.",
    ),
    Metric::new(
        "kanal_sessions_swept_total",
        Counter,
        &["outcome", "work"],
        "Sessions whose making or removal was finished by the sweep.",
    ),
    Metric::new(
        "kanal_subscriptions_ending",
        Gauge,
        &[],
        "Active subscriptions that end within three days; among those 10000 that end first.",
    ),
    Metric::new(
        "kanal_subscriptions_expired_total",
        Counter,
        &[],
        "Subscriptions that ended.",
    ),
    Metric::new(
        "kanal_usage_lost_total",
        Counter,
        &[],
        "Statistics of sends that found no room.",
    ),
    Metric::new(
        "kanal_wa_orphan_users",
        Gauge,
        &[],
        "Users of the WA server that are no session of ours.",
    ),
];
