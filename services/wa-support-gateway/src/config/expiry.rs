//! What happens when a subscription ends.

use std::time::Duration;

use runtime::config::{Setting, SettingsReader};

/// The minute job.
#[derive(Debug, Clone, Copy)]
pub struct ExpirySettings {
    /// How often ended subscriptions are looked for.
    pub every: Duration,
    /// What becomes of the sessions of customers whose subscription has ended.
    pub sessions: ExpiredSessions,
}

/// What becomes of an ended customer's sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiredSessions {
    /// They stay connected, as in the original; only sending is refused.
    Keep,
    /// They are disconnected from WhatsApp.
    Disconnect,
}

impl Setting for ExpiredSessions {
    const EXPECTED: &'static str = "must be `keep` or `disconnect`";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "keep" => Some(Self::Keep),
            "disconnect" => Some(Self::Disconnect),
            _ => None,
        }
    }
}

impl ExpirySettings {
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let every: Option<u64> = reader.with_default(
            "EXPIRY_CHECK_SECONDS",
            "60",
            "How often ended subscriptions are marked; a request is judged by the moment itself",
        );
        if every.is_some_and(|every| !(1..=3600).contains(&every)) {
            reader.problem("EXPIRY_CHECK_SECONDS", "must be between 1 and 3600");
        }
        let sessions = reader.with_default(
            "EXPIRED_SESSION_POLICY",
            "keep",
            "`keep` leaves the sessions of customers whose subscription has ended connected, `disconnect` ends them",
        );
        Some(Self {
            every: Duration::from_secs(every?),
            sessions: sessions?,
        })
    }
}
