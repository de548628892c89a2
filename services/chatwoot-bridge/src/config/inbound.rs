//! What comes from WhatsApp into Chatwoot: where its files are, and how fast Chatwoot is asked.

use std::num::NonZeroU32;
use std::time::Duration;

use runtime::config::{BaseUrl, SettingsReader};

/// How long a message's words wait for its file. Most are there within a second or two.
const FILE_PATIENCE: Duration = Duration::from_secs(20);

/// The way in.
#[derive(Debug, Clone)]
pub struct InboundSettings {
    /// Base of the links to files in events.
    pub files_url: BaseUrl,
    /// Largest file that Chatwoot is given, in bytes.
    pub file_limit: u64,
    /// How long a message's words wait for its file.
    pub file_patience: Duration,
    /// Calls a minute to one Chatwoot server.
    pub calls_per_minute: NonZeroU32,
}

impl InboundSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let files_url = reader.with_default(
            "CHANNEL_FILES_URL",
            "http://channel-service:3001/uploads",
            "Base of the links to people's files, channel-service's `MEDIA_INTERNAL_URL`; links that lead elsewhere are not followed",
        );
        let file_limit: Option<u64> = reader.with_default(
            "INBOUND_FILE_LIMIT_BYTES",
            "41943040",
            "Largest file of a person's that Chatwoot is given; of a larger one agents read that there is one",
        );
        let calls: Option<u32> = reader.with_default(
            "CHATWOOT_RATE_PER_MINUTE",
            "2400",
            "Calls a minute to one Chatwoot server, all together; Chatwoot itself refuses more than 3000 of one address",
        );
        if file_limit == Some(0) {
            reader.problem("INBOUND_FILE_LIMIT_BYTES", "must be at least 1");
            return None;
        }
        let Some(calls_per_minute) = NonZeroU32::new(calls?) else {
            reader.problem("CHATWOOT_RATE_PER_MINUTE", "must be at least 1");
            return None;
        };
        Some(Self {
            files_url: files_url?,
            file_limit: file_limit?,
            file_patience: FILE_PATIENCE,
            calls_per_minute,
        })
    }
}
