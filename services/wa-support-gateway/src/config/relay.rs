//! Where the WA server's webhooks go: to us, who pass them on, or straight to the customers.

use runtime::config::{BaseUrl, SettingsReader};

const BASE: &str = "PUBLIC_GATEWAY_BASE_URL";
const SWITCH: &str = "WEBHOOK_RELAY";

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
            BASE,
            "Where the WA server reaches this service; its webhooks go to `/hooks/…` under it",
        );
        let wanted: Option<bool> = reader.with_default(
            SWITCH,
            "on",
            "`on`: the WA server's webhooks come here and are passed on, which needs `PUBLIC_GATEWAY_BASE_URL`; `off`, or when neither is set: they go to the customers directly",
        );
        let wanted = wanted?;
        // Whoever says neither has an installation of the original's, where there is no relay.
        if wanted && reader.is_set(SWITCH) && !reader.is_set(BASE) {
            reader.problem(
                BASE,
                "must be set where WEBHOOK_RELAY is on, as the WA server reaches this service; or WEBHOOK_RELAY=off sends webhooks to the customers directly",
            );
        }
        Some(Self {
            missing_base: wanted && base.is_none(),
            public_base: base.filter(|_| wanted),
        })
    }

    /// Says once, at the start, that what was wanted is not what happens.
    pub fn warn_if_unreachable(&self) {
        if self.missing_base {
            tracing::warn!(
                "the webhook relay is off: webhooks go from the WA server to the customers directly, unchecked and without \
                 retries. Set PUBLIC_GATEWAY_BASE_URL to switch it on, or WEBHOOK_RELAY=off if that is meant"
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

    #[test]
    fn a_relay_that_is_asked_for_needs_its_address_and_one_that_is_not_does_not() {
        let problems = |values: &[(&'static str, &'static str)]| {
            let mut reader = SettingsReader::from_map(values.iter().copied());
            drop(RelaySettings::read(&mut reader));
            reader
                .finish(|| Some(()))
                .err()
                .map_or(0, |error| error.problems.len())
        };
        assert_eq!(problems(&[("WEBHOOK_RELAY", "on")]), 1);
        assert_eq!(
            problems(&[("WEBHOOK_RELAY", "on"), ("PUBLIC_GATEWAY_BASE_URL", " ")]),
            1
        );
        assert_eq!(problems(&[("WEBHOOK_RELAY", "off")]), 0);
        assert_eq!(problems(&[]), 0);
        let base = ("PUBLIC_GATEWAY_BASE_URL", "https://gateway.example.id");
        assert_eq!(problems(&[("WEBHOOK_RELAY", "on"), base]), 0);
    }
}
