//! Where the AI service is.

use runtime::config::{BaseUrl, SettingsReader};

/// The AI service, as far as it is called over HTTP.
#[derive(Debug, Clone)]
pub struct AiServiceSettings {
    /// Where it is. Without it, it is not called.
    pub base: Option<BaseUrl>,
}

impl AiServiceSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Self {
        Self {
            base: reader.optional(
                "AI_SERVICE_URL",
                "The AI service; it is asked to forget a person whose conversation is deleted",
            ),
        }
    }
}
