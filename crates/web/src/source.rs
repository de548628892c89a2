//! From where a request comes.
//!
//! Anybody can write an address into a header. So the socket's address counts, and what stands in `X-Forwarded-For`
//! only as far as listed proxies have written it: read from the right, the first address that is no listed proxy is
//! the caller's.

use std::net::IpAddr;
use std::str::FromStr;

use actix_web::HttpRequest;
use ipnet::IpNet;

/// Addresses and ranges of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// A text that is no list of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", Networks::EXPECTED)]
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

/// Who called, as far as somebody we believe has said so. `None`: a listed proxy speaks for something that is no
/// address.
#[must_use]
pub fn caller(request: &HttpRequest, proxies: &Networks) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    read_caller(peer, &forwarded(request), |proxy| proxies.contain(proxy))
}

/// Who called, for throttles and audit logs: as far as listed proxies tell, else the socket's address.
#[must_use]
pub fn caller_or_peer(request: &HttpRequest, proxies: &Networks) -> Option<IpAddr> {
    caller(request, proxies).or_else(|| Some(request.peer_addr()?.ip()))
}

/// The entries of every `X-Forwarded-For`, in order.
fn forwarded(request: &HttpRequest) -> Vec<&str> {
    let lines = request.headers().get_all("x-forwarded-for");
    // A line that is no text is one entry that is no address, and not left out: it may hide somebody.
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .collect()
}

fn read_caller(peer: IpAddr, forwarded: &[&str], is_proxy: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut caller = peer;
    for entry in forwarded.iter().rev() {
        if !is_proxy(caller) {
            break;
        }
        caller = entry.parse().ok()?;
    }
    Some(caller)
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

    #[test]
    fn only_what_listed_proxies_wrote_is_believed() {
        let proxies = ["10.0.0.1", "10.0.0.2"];
        let is_proxy = |address: IpAddr| proxies.contains(&address.to_string().as_str());
        for (peer, headers, expected) in [
            ("203.0.113.7", vec![], Some("203.0.113.7")),
            // A stranger who claims to speak for somebody else is the stranger.
            ("203.0.113.7", vec!["198.51.100.1"], Some("203.0.113.7")),
            ("10.0.0.1", vec!["198.51.100.1"], Some("198.51.100.1")),
            ("10.0.0.1", vec!["198.51.100.1", "10.0.0.2"], Some("198.51.100.1")),
            // What the caller itself had written stands further left.
            (
                "10.0.0.1",
                vec!["198.51.100.1", "203.0.113.9"],
                Some("203.0.113.9"),
            ),
            ("10.0.0.1", vec!["198.51.100.1", "unknown"], None),
            ("10.0.0.1", vec![], Some("10.0.0.1")),
        ] {
            let found = read_caller(peer.parse().unwrap(), &headers, is_proxy);
            assert_eq!(
                found.map(|address| address.to_string()).as_deref(),
                expected,
                "{peer} {headers:?}"
            );
        }
    }
}
