//! How sessions are made and kept in step with the WA server.

use std::time::Duration;

use outbound_url::OutboundPolicy;
use runtime::config::{Milliseconds, SettingsReader};

/// Longer than anybody works on one session.
const UNFINISHED_AFTER: Duration = Duration::from_secs(60);

const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// Making sessions and keeping them.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The longest that one call about a session may take.
    pub call_timeout: Duration,
    /// Private hosts that customers may name as webhooks.
    pub private_hosts: OutboundPolicy,
    /// How often our sessions are compared with the WA server's; zero: never.
    pub reconcile_every: Duration,
    /// After how long something that was begun counts as left behind.
    pub unfinished_after: Duration,
    /// How often that is looked for.
    pub sweep_every: Duration,
}

impl SessionSettings {
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let call: Option<Milliseconds> = reader.with_default(
            "WA_CALL_TIMEOUT_MS",
            "10000",
            "Longest that one call of the gateway's own about a session may take",
        );
        let private_hosts: Option<OutboundPolicy> = reader.optional(
            "OUTBOUND_ALLOWED_PRIVATE_HOSTS",
            "Private hosts and addresses that customers may name as webhooks: `host:port`, or `host` for ports 80 and 443, or `host:*`, separated by commas",
        );
        let minutes: Option<u32> = reader.with_default(
            "SESSION_RECONCILE_MINUTES",
            "10",
            "How often our sessions are compared with the WA server's; 0 for never",
        );
        Some(Self {
            call_timeout: call?.0,
            private_hosts: private_hosts.unwrap_or_default(),
            reconcile_every: Duration::from_secs(u64::from(minutes?) * 60),
            unfinished_after: UNFINISHED_AFTER,
            sweep_every: SWEEP_EVERY,
        })
    }
}
