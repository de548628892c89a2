//! Who may call the internal routes, and how the outside reaches us.

use runtime::config::{BaseUrl, SettingsReader};
use secrecy::SecretString;
use tenant_isolation::caller::{CallerKeys, LimitedKeys};

/// Callers and our own address.
#[derive(Debug, Clone)]
pub struct InternalSettings {
    /// The key that all services of the installation share; what we show the others.
    pub shared_key: SecretString,
    /// Keys of the other services.
    pub callers: CallerKeys,
    /// Where the WhatsApp server reaches this service. Without it sessions get no webhook URL.
    pub public_base: Option<BaseUrl>,
}

impl InternalSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let shared: Option<SecretString> = reader.required(
            "INTERNAL_API_KEY",
            "Key of the other services, for every tenant (`X-Internal-API-Key` or `X-API-Key`)",
        );
        let limited: Option<LimitedKeys> = reader.optional_as(
            "INTERNAL_CALLER_KEYS",
            "Keys limited to some tenants: `name:key:tenant,tenant;…`",
        );
        let public_base: Option<BaseUrl> = reader.optional(
            "PUBLIC_CHANNEL_BASE_URL",
            "Where the WhatsApp server reaches this service; webhooks go to `/webhook` under it, those of a GoWA to `/webhook/gowa/<endpoint>`",
        );
        let fallback: Option<BaseUrl> = reader.optional(
            "PUBLIC_BASE_URL",
            "Used where `PUBLIC_CHANNEL_BASE_URL` is not set",
        );
        let shared_key = shared?;
        Some(Self {
            callers: CallerKeys::new(&shared_key, limited.unwrap_or_default()),
            public_base: public_base.or(fallback),
            shared_key,
        })
    }

    /// Where the WhatsApp server is to post a session's events.
    #[must_use]
    pub fn webhook_url(&self) -> Option<String> {
        self.public_base
            .as_ref()
            .map(|base| format!("{}/webhook", base.as_str()))
    }
}
