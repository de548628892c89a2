//! From where webhooks are taken, and how a provider checks that we are here.

use runtime::config::SettingsReader;
use secrecy::SecretString;
use web::source::Networks;

/// The outer edge of the webhook receiver.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Who may post. Empty: everybody, and the signature decides.
    pub allowed: Networks,
    /// Proxies whose word on whom they speak for is believed.
    pub proxies: Networks,
    /// What a provider shows that asks whether we are here.
    pub verify_token: Option<SecretString>,
    /// Without a token, everybody who asks is answered.
    pub verify_anybody: bool,
}

impl WebhookSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let allowed: Option<Networks> = reader.optional_as(
            "WEBHOOK_ALLOWED_IPS",
            "Addresses and ranges that may post webhooks; without it everybody may, and the signature decides",
        );
        let proxies: Option<Networks> = reader.optional_as(
            "TRUSTED_PROXIES",
            "Proxies in front of the service, whose `X-Forwarded-For` is believed",
        );
        let verify_token: Option<SecretString> = reader.optional(
            "WA_WEBHOOK_VERIFY_TOKEN",
            "What a provider shows when it verifies the webhook; without it verification answers 500",
        );
        let verify_anybody = reader.with_default(
            "WA_WEBHOOK_VERIFY_ANYBODY",
            "false",
            "For development: without a token, verification answers everybody",
        );
        Some(Self {
            allowed: allowed.unwrap_or_default(),
            proxies: proxies.unwrap_or_default(),
            verify_token,
            verify_anybody: verify_anybody?,
        })
    }
}
