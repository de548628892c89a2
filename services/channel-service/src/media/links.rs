//! Signed links that expire. Whoever has the link may read the file until then; nobody can make one, or make another
//! one of it.
//!
//! `<base>/media/<message id>?token=<base64url of: expiry, tenant, signature>`. The token stands in the query because
//! queries are not logged. It covers tenant, message and expiry.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use domain::ids::{MessageId, TenantId};
use runtime::encryption::KeyRing;
use runtime::signing::{SIGNATURE_BYTES, SigningKeys};

const EXPIRY_BYTES: usize = 8;
const MAX_TOKEN: usize = 256;

/// Makes and checks links. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MediaLinks {
    keys: SigningKeys,
    internal: String,
    public: String,
    lifetime: Duration,
}

/// The two addresses of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaUrls {
    /// For our own services (`media_url`).
    pub internal: String,
    /// For browsers (`media_public_url`).
    pub public: String,
}

/// The link is not ours, or not any more. One error for every reason: a caller learns nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link is not valid")]
pub struct LinkRefused;

impl MediaLinks {
    /// Links under two bases, signed under keys that are derived from the ring.
    #[must_use]
    pub fn new(ring: &KeyRing, internal: &str, public: &str, lifetime: Duration) -> Self {
        Self {
            keys: ring.signing_keys("media links"),
            internal: internal.to_owned(),
            public: public.to_owned(),
            lifetime,
        }
    }

    /// The links of a message's file. They can be made before the file is there, and lead nowhere until it is.
    #[must_use]
    pub fn of(&self, tenant: &TenantId, message: MessageId) -> MediaUrls {
        self.at(tenant, message, Utc::now())
    }

    /// The address of a message's file on the service itself, for its own pages: they take pictures from nowhere else.
    #[must_use]
    pub fn here(&self, tenant: &TenantId, message: MessageId) -> String {
        format!("/uploads/{}", self.path(tenant, message, Utc::now()))
    }

    /// The address of an uploaded file under both bases.
    #[must_use]
    pub fn of_upload(&self, path: &str) -> MediaUrls {
        MediaUrls {
            internal: format!("{}/{path}", self.internal),
            public: format!("{}/{path}", self.public),
        }
    }

    fn at(&self, tenant: &TenantId, message: MessageId, now: DateTime<Utc>) -> MediaUrls {
        self.of_upload(&self.path(tenant, message, now))
    }

    fn path(&self, tenant: &TenantId, message: MessageId, now: DateTime<Utc>) -> String {
        let expiry = self.expiry(now);
        let mut token = expiry.to_be_bytes().to_vec();
        token.extend_from_slice(tenant.as_str().as_bytes());
        let signature = self.keys.sign(&signed(tenant, message, expiry));
        token.extend_from_slice(&signature.unwrap_or_default());
        format!("media/{message}?token={}", BASE64.encode(token))
    }

    /// At least a lifetime ahead, in steps of an eighth of it: whoever asks again and again gets the same link, and a
    /// browser keeps its copy of the file.
    fn expiry(&self, now: DateTime<Utc>) -> i64 {
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX / 4);
        let step = (lifetime / 8).max(1);
        let end = now.timestamp().saturating_add(lifetime);
        (end / step).saturating_add(1).saturating_mul(step)
    }

    /// Whose file the link is for, and how long it still holds.
    ///
    /// # Errors
    /// [`LinkRefused`] when it was changed, made up, is for another message or has expired.
    pub fn check(
        &self,
        message: MessageId,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<(TenantId, Duration), LinkRefused> {
        if token.len() > MAX_TOKEN {
            return Err(LinkRefused);
        }
        let bytes = BASE64.decode(token).map_err(|_| LinkRefused)?;
        let (expiry, rest) = bytes.split_first_chunk::<EXPIRY_BYTES>().ok_or(LinkRefused)?;
        let (tenant, signature) = rest.split_last_chunk::<SIGNATURE_BYTES>().ok_or(LinkRefused)?;
        let tenant = String::from_utf8(tenant.to_vec()).map_err(|_| LinkRefused)?;
        let tenant = TenantId::parse(tenant).map_err(|_| LinkRefused)?;
        let expiry = i64::from_be_bytes(*expiry);
        if !self.keys.verify(&signed(&tenant, message, expiry), signature) {
            return Err(LinkRefused);
        }
        let left = u64::try_from(expiry.saturating_sub(now.timestamp())).unwrap_or(0);
        if left == 0 {
            return Err(LinkRefused);
        }
        Ok((tenant, Duration::from_secs(left)))
    }
}

/// What is signed. The tenant stands last: the other two have fixed lengths, so no two links sign the same bytes.
fn signed(tenant: &TenantId, message: MessageId, expiry: i64) -> Vec<u8> {
    let mut bytes = expiry.to_be_bytes().to_vec();
    bytes.extend_from_slice(message.as_uuid().as_bytes());
    bytes.extend_from_slice(tenant.as_str().as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use runtime::config::Setting as _;

    use super::*;

    fn links() -> MediaLinks {
        let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        let ring = KeyRing::from_text(&format!("a:{key}")).unwrap();
        MediaLinks::new(
            &ring,
            "http://inside/uploads",
            "https://outside/uploads",
            Duration::from_secs(800),
        )
    }

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    fn token(url: &str) -> String {
        url.split_once("token=").unwrap().1.to_owned()
    }

    #[test]
    fn a_link_opens_its_own_file_until_it_expires() {
        let (links, message, now) = (links(), MessageId::generate(), Utc::now());
        let urls = links.at(&tenant("desa-satu"), message, now);
        let start = format!("https://outside/uploads/media/{message}?token=");
        assert!(urls.public.starts_with(&start), "{}", urls.public);
        assert!(urls.internal.starts_with("http://inside/uploads/media/"));
        let token = token(&urls.public);
        let (whose, left) = links.check(message, &token, now).unwrap();
        assert_eq!(whose, tenant("desa-satu"));
        assert!((800..=900).contains(&left.as_secs()), "{left:?}");
        let end = now + TimeDelta::from_std(left).unwrap();
        assert!(links.check(message, &token, end - TimeDelta::seconds(1)).is_ok());
        assert_eq!(links.check(message, &token, end), Err(LinkRefused));
    }

    #[test]
    fn a_link_stays_the_same_for_a_while() {
        let (links, message) = (links(), MessageId::generate());
        let at = |second: i64| {
            links.at(
                &tenant("t"),
                message,
                DateTime::from_timestamp(second, 0).unwrap(),
            )
        };
        assert_eq!(at(1_000_000_000), at(1_000_000_099));
        assert_ne!(at(1_000_000_000), at(1_000_000_100));
    }

    #[test]
    fn nothing_in_a_link_can_be_changed() {
        let (links, message, now) = (links(), MessageId::generate(), Utc::now());
        let good = token(&links.at(&tenant("desa-satu"), message, now).public);
        assert_eq!(links.check(MessageId::generate(), &good, now), Err(LinkRefused));
        let bytes = BASE64.decode(&good).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(
                links.check(message, &BASE64.encode(changed), now),
                Err(LinkRefused),
                "{at}"
            );
        }
        for wrong in ["", "a", "!!!!", &good[1..], &"A".repeat(300), &format!("{good}A")] {
            assert_eq!(links.check(message, wrong, now), Err(LinkRefused), "{wrong}");
        }
        // Another tenant's signature under our name.
        let other = BASE64
            .decode(token(&links.at(&tenant("desa-sat2"), message, now).public))
            .unwrap();
        let mut mixed = bytes;
        let signature = mixed.len() - SIGNATURE_BYTES;
        mixed[signature..].copy_from_slice(&other[signature..]);
        assert_eq!(links.check(message, &BASE64.encode(mixed), now), Err(LinkRefused));
    }
}
