//! Guessing services' keys is slow: an address may show so many wrong ones, and right ones as it likes (W-09).

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use cache::{Buckets, CacheKey, RedisLink};
use tenant_isolation::resolve::ExternalId;

/// Wrong keys at once from one address, and then one every two seconds: thirty a minute.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(30).unwrap();
const THEN_EVERY: Duration = Duration::from_secs(2);

/// Counts wrong keys. Cheap to clone.
#[derive(Clone)]
pub(crate) struct KeyGuard(Buckets);

impl std::fmt::Debug for KeyGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyGuard").finish_non_exhaustive()
    }
}

impl KeyGuard {
    pub(crate) fn new(redis: RedisLink) -> Self {
        Self(Buckets::every(redis, THEN_EVERY, AT_ONCE))
    }

    /// Notes a wrong key.
    ///
    /// # Errors
    /// The time in which no further one is looked at.
    pub(crate) async fn wrong_key_from(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        let place = address.map_or_else(|| "unknown".to_owned(), |address| network_of(address).to_string());
        match ExternalId::new("wrong_internal_key", &place) {
            Some(place) => self.0.take(&CacheKey::of_external(&place)).await,
            None => Ok(()),
        }
    }
}

/// Whoever has one IPv6 address has the 2^64 around it.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_place() {
        let place = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(place("2001:db8::1"), place("2001:db8::ffff:1"));
        assert_ne!(place("2001:db8::1"), place("2001:db8:0:1::1"));
        assert_ne!(place("203.0.113.7"), place("203.0.113.8"));
        assert_eq!(place("::ffff:203.0.113.7"), place("203.0.113.7"));
    }
}
