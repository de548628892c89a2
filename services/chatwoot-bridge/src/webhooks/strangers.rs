//! How often somebody may send what cannot be believed or read (contract 7, 6).
//!
//! Only that is counted, by the address it comes from: a genuine webhook is never refused for what others send, because
//! nobody would repeat it (contract 2.4).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many at once.
const AT_ONCE: f64 = 60.0;
/// Then so many a second.
const PER_SECOND: f64 = 1.0;
/// Most addresses that are remembered; one that had its rest needs no remembering.
const MOST_ADDRESSES: usize = 10_000;

/// What each address has left. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Strangers(Arc<Mutex<HashMap<IpAddr, Left>>>);

#[derive(Debug, Clone, Copy)]
struct Left {
    times: f64,
    at: Instant,
}

impl Left {
    fn now(self, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        (self.times + gained).min(AT_ONCE)
    }
}

impl Strangers {
    /// Takes one time of this address, or says when there is one again.
    ///
    /// # Errors
    /// The time until then.
    pub fn take(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let from = network(from);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_ADDRESSES && !known.contains_key(&from) {
            known.retain(|_, left| left.now(now) < AT_ONCE);
            if known.len() >= MOST_ADDRESSES {
                // So many at a time are one crowd.
                return Err(Duration::from_secs(1));
            }
        }
        let times = known.get(&from).map_or(AT_ONCE, |left| left.now(now));
        if times < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - times) / PER_SECOND));
        }
        known.insert(
            from,
            Left {
                times: times - 1.0,
                at: now,
            },
        );
        Ok(())
    }
}

/// A network of IPv6 is one caller: each house has more addresses than anybody could count.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_times_and_they_come_back() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let [one, other] = ["203.0.113.7", "203.0.113.8"].map(|text| text.parse().unwrap());
        for _ in 0..60 {
            assert_eq!(strangers.take(one, start), Ok(()));
        }
        assert!(strangers.take(one, start).is_err());
        assert_eq!(strangers.take(other, start), Ok(()));
        let later = start + Duration::from_millis(1500);
        assert_eq!(strangers.take(one, later), Ok(()));
        assert_eq!(strangers.take(one, later), Err(Duration::from_millis(500)));
        assert_eq!(
            strangers.take("::ffff:203.0.113.7".parse().unwrap(), later),
            Err(Duration::from_millis(500))
        );
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_a_crowd_is_bounded() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        for n in 0..60_u128 {
            let address = Ipv6Addr::from(0x2001_0db8_0000_0001_u128 << 64 | n);
            assert_eq!(strangers.take(address.into(), start), Ok(()));
        }
        assert!(
            strangers
                .take("2001:db8:0:1::ffff".parse().unwrap(), start)
                .is_err()
        );
        assert_eq!(strangers.take("2001:db8:0:2::1".parse().unwrap(), start), Ok(()));
        for n in 0..20_000_u32 {
            let times = strangers.take(std::net::Ipv4Addr::from(n).into(), start);
            assert_eq!(times.is_ok(), n < 9_998, "{n}");
        }
        assert_eq!(strangers.0.lock().unwrap().len(), MOST_ADDRESSES);
        // Those that had their rest make room.
        let rested = start + Duration::from_secs(61);
        assert_eq!(strangers.take("198.51.100.1".parse().unwrap(), rested), Ok(()));
    }
}
