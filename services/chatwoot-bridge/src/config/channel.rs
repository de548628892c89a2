//! Where channel-service is, and what is done with what it tells.

use std::time::Duration;

use runtime::config::{BaseUrl, SettingsReader};
use secrecy::SecretString;

const LEAST_SECONDS: u64 = 10;
const LONGEST_SECONDS: u64 = 86_400;

/// channel-service, and the work that looks for what nobody told us.
#[derive(Debug, Clone)]
pub struct ChannelSettings {
    /// Where it is and what we show it. Without it there is no import of history and no notice.
    pub service: Option<(BaseUrl, SecretString)>,
    /// How often inboxes are compared with what their agents wrote.
    pub reconcile_every: Duration,
    /// Messages of before that are imported for one inbox in a minute.
    pub history_per_minute: u32,
}

impl ChannelSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let url: Option<BaseUrl> = reader.optional(
            "CHANNEL_SERVICE_URL",
            "channel-service's internal address; without it nothing of before is imported and agents hear of no number that was logged out",
        );
        let key: Option<SecretString> = reader.optional(
            "CHANNEL_SERVICE_KEY",
            "What channel-service is shown: its `INTERNAL_API_KEY`, or a key of its `INTERNAL_CALLER_KEYS`",
        );
        let seconds: Option<u64> = reader.with_default(
            "RECONCILE_SECONDS",
            "600",
            "How often inboxes are looked through for replies whose webhooks were lost, in seconds; 0 for never",
        );
        let per_minute = reader.with_default(
            "HISTORY_PER_MINUTE",
            "600",
            "Messages of before that are imported for one inbox in a minute",
        );
        let service = match (url, key) {
            (Some(url), Some(key)) => Some((url, key)),
            (None, None) => None,
            _ => {
                reader.problem(
                    "CHANNEL_SERVICE_URL, CHANNEL_SERVICE_KEY",
                    "are set together or not at all",
                );
                return None;
            }
        };
        let (seconds, per_minute) = (seconds?, per_minute?);
        if seconds != 0 && !(LEAST_SECONDS..=LONGEST_SECONDS).contains(&seconds) {
            reader.problem("RECONCILE_SECONDS", "must be 0, or between 10 and 86400");
            return None;
        }
        if per_minute == 0 {
            reader.problem("HISTORY_PER_MINUTE", "must be at least 1");
            return None;
        }
        Some(Self {
            service,
            reconcile_every: Duration::from_secs(seconds),
            history_per_minute: per_minute,
        })
    }
}
