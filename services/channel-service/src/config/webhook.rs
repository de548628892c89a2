//! From where webhooks are taken, and how a provider checks that we are here.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use runtime::config::SettingsReader;
use secrecy::SecretString;

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

/// Addresses and ranges of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// A text that is no list of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a list of addresses")]
pub struct InvalidNetworks;

impl Networks {
    /// What a list has to look like.
    pub const EXPECTED: &str =
        "addresses and ranges separated by commas, such as 203.0.113.7,10.0.0.0/8,2001:db8::/32";

    /// Is nothing listed?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is this address listed? An IPv4 address inside an IPv6 one is the IPv4 address.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Networks {
    type Err = InvalidNetworks;

    fn from_str(text: &str) -> Result<Self, InvalidNetworks> {
        let network = |text: &str| -> Result<IpNet, InvalidNetworks> {
            match text.parse::<IpAddr>() {
                Ok(address) => Ok(IpNet::from(address.to_canonical())),
                Err(_) => text.parse().map_err(|_| InvalidNetworks),
            }
        };
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(network)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|list| {
                if list.is_empty() {
                    Err(InvalidNetworks)
                } else {
                    Ok(Self(list))
                }
            })
    }
}

impl WebhookSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let allowed: Option<Networks> = reader.optional_as(
            "WEBHOOK_ALLOWED_IPS",
            Networks::EXPECTED,
            "Addresses and ranges that may post webhooks; without it everybody may, and the signature decides",
        );
        let proxies: Option<Networks> = reader.optional_as(
            "TRUSTED_PROXIES",
            Networks::EXPECTED,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_addresses_and_ranges() {
        let list: Networks = " 203.0.113.7, 10.0.0.0/8 ,2001:db8::/32,".parse().unwrap();
        for (address, listed) in [
            ("203.0.113.7", true),
            ("::ffff:203.0.113.7", true),
            ("203.0.113.8", false),
            ("10.255.0.1", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(list.contain(address.parse().unwrap()), listed, "{address}");
        }
        assert!(Networks::default().is_empty());
        // A list in which nothing is listed must not open the door to everybody.
        for wrong in ["", " , ", "localhost", "10.0.0.0/33", "10.0.0", "a,b"] {
            assert!(wrong.parse::<Networks>().is_err(), "{wrong}");
        }
    }
}
