//! How agents' files are fetched, and by whom.

use runtime::config::{BaseUrl, SettingsReader};

/// Agents' files.
#[derive(Debug, Clone)]
pub struct OutboundSettings {
    /// Where whoever sends files fetches them from us.
    pub files_url: Option<BaseUrl>,
    /// Chatwoot's own name for itself is replaced by where we reach it.
    pub rewrite_host: bool,
    /// Largest file, in bytes.
    pub file_limit: u64,
}

impl OutboundSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let files_url = reader.optional(
            "FILES_URL",
            "Where whoever sends agents' files (channel-service, and a genfity server itself) fetches them from this service, else `PUBLIC_BRIDGE_URL`; without either, files are not sent",
        );
        let rewrite_host = reader.with_default(
            "CHATWOOT_REWRITE_HOST",
            "false",
            "Fetch files where Chatwoot's API is reached, rather than under the name that Chatwoot calls itself by",
        );
        let file_limit: Option<u64> = reader.with_default(
            "OUTBOUND_FILE_LIMIT_BYTES",
            "104857600",
            "Largest file of an agent's message that is handed on, in bytes",
        );
        if file_limit == Some(0) {
            reader.problem("OUTBOUND_FILE_LIMIT_BYTES", "must be at least 1");
        }
        Some(Self {
            files_url,
            rewrite_host: rewrite_host?,
            file_limit: file_limit?,
        })
    }
}
