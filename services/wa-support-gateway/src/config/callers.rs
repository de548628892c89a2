//! Who calls: other services by their keys, and anybody from an address.

use runtime::config::SettingsReader;
use tenant_isolation::source_keys::SourceKeys;
use web::source::Networks;

/// Callers of the service.
#[derive(Debug, Clone, Default)]
pub struct CallerSettings {
    /// Keys of `/internal/*` (contract §3.1). Without any, everybody is refused there.
    pub internal: SourceKeys,
    /// Proxies whose word on whom they speak for is believed.
    pub proxies: Networks,
}

impl CallerSettings {
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let internal: Option<SourceKeys> = reader.optional_as(
            "INTERNAL_API_KEYS",
            "Keys of other services: `source:key` for the customers of one source, `key` for all; separated by commas",
        );
        let proxies: Option<Networks> = reader.optional_as(
            "TRUSTED_PROXIES",
            "Proxies in front of the service, whose `X-Forwarded-For` is believed",
        );
        Some(Self {
            internal: internal.unwrap_or_default(),
            proxies: proxies.unwrap_or_default(),
        })
    }
}
