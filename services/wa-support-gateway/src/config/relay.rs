//! Where the WA server's webhooks go: to us, who pass them on, or straight to the customers.

use runtime::config::{BaseUrl, SettingsReader};

/// The relay of webhooks.
#[derive(Debug, Clone, Default)]
pub struct RelaySettings {
    /// Where the WA server reaches this service. `None`: there is no relay, and sessions are wired to their customers
    /// directly.
    pub public_base: Option<BaseUrl>,
    /// A relay is wanted and nobody said where it would be reached.
    pub missing_base: bool,
}

impl RelaySettings {
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let base: Option<BaseUrl> = reader.optional(
            "PUBLIC_GATEWAY_BASE_URL",
            "Where the WA server reaches this service; its webhooks go to `/hooks/…` under it",
        );
        let wanted: Option<bool> = reader.with_default(
            "WEBHOOK_RELAY",
            "on",
            "`on`: the WA server's webhooks come here and are passed on; `off`, or without `PUBLIC_GATEWAY_BASE_URL`: they go to the customers directly",
        );
        let wanted = wanted?;
        Some(Self {
            missing_base: wanted && base.is_none(),
            public_base: base.filter(|_| wanted),
        })
    }

    /// Says once, at the start, that what was wanted is not what happens.
    pub fn warn_if_unreachable(&self) {
        if self.missing_base {
            tracing::warn!(
                "PUBLIC_GATEWAY_BASE_URL is not set: webhooks go from the WA server to the customers directly"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(values: [(&str, &str); N]) -> Option<RelaySettings> {
        RelaySettings::read(&mut SettingsReader::from_map(values))
    }

    #[test]
    fn the_relay_is_on_where_it_can_be_reached() {
        let base = ("PUBLIC_GATEWAY_BASE_URL", "https://gateway.example.id/");
        let on = read([base]).unwrap();
        assert_eq!(on.public_base.unwrap().as_str(), "https://gateway.example.id");
        assert!(!on.missing_base);

        let off = read([base, ("WEBHOOK_RELAY", "off")]).unwrap();
        assert!(off.public_base.is_none() && !off.missing_base);

        let nowhere = read([]).unwrap();
        assert!(nowhere.public_base.is_none() && nowhere.missing_base);
        assert!(read([("WEBHOOK_RELAY", "sometimes")]).is_none());
    }
}
