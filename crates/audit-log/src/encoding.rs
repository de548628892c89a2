//! What an entry's hash is made of. The same is written in SQL (`audit_hash` in the migrations), and both must agree.
//!
//! One byte for the version of this encoding, then the entry's number, the hash before it, its time in microseconds since
//! 2000 began, and its id: each of a fixed length, numbers with the highest byte first. Then the texts: each with its
//! length in bytes as four bytes before it, or -1 where there is none. So no two entries are written alike.

use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const VERSION: u8 = 1;
/// 2000-01-01, in microseconds since 1970.
const YEAR_2000: i64 = 946_684_800_000_000;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// What stands in a chain's first entry for the hash of the one before.
pub const GENESIS: Hash = Hash([0; 32]);

impl Hash {
    /// A hash as it is stored; none when it is not one.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        let bytes = hex::decode(text).map_err(serde::de::Error::custom)?;
        Self::of_bytes(&bytes).ok_or_else(|| serde::de::Error::custom("a hash has 64 hexadecimal digits"))
    }
}

/// An entry's fields, but for its number and the hash before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// The tenant; none for an act about the platform.
    pub tenant: Option<String>,
    /// Its id.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: Option<String>,
    /// What else.
    pub detail: Option<String>,
    /// From where.
    pub source: Option<String>,
}

/// The hash of the entry `seq` that follows the one with the hash `before`.
#[must_use]
pub fn hash_of(seq: i64, before: &Hash, fields: &Fields) -> Hash {
    let mut sha = Sha256::new();
    sha.update([VERSION]);
    sha.update(seq.to_be_bytes());
    sha.update(before.0);
    sha.update(
        fields
            .at
            .timestamp_micros()
            .saturating_sub(YEAR_2000)
            .to_be_bytes(),
    );
    sha.update(fields.id.as_bytes());
    let texts = [
        fields.tenant.as_deref(),
        Some(fields.actor.as_str()),
        Some(fields.action.as_str()),
        fields.subject.as_deref(),
        fields.detail.as_deref(),
        fields.source.as_deref(),
    ];
    for text in texts {
        // Postgres holds no text of two gibibytes.
        let length = text.map_or(-1, |text| i32::try_from(text.len()).unwrap_or(i32::MAX));
        sha.update(length.to_be_bytes());
        sha.update(text.unwrap_or_default());
    }
    Hash(sha.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields {
            tenant: Some("desa".to_owned()),
            id: Uuid::nil(),
            at: DateTime::from_timestamp_micros(YEAR_2000 + 1).unwrap(),
            actor: "a".to_owned(),
            action: "b".to_owned(),
            subject: None,
            detail: None,
            source: Some(String::new()),
        }
    }

    #[test]
    fn no_two_entries_are_encoded_alike() {
        let one = hash_of(1, &GENESIS, &fields());
        let change = |change: fn(&mut Fields)| {
            let mut changed = fields();
            change(&mut changed);
            hash_of(1, &GENESIS, &changed)
        };
        let others = [
            hash_of(2, &GENESIS, &fields()),
            hash_of(1, &one, &fields()),
            change(|f| f.tenant = None),
            change(|f| f.id = Uuid::max()),
            change(|f| f.at += chrono::TimeDelta::microseconds(1)),
            change(|f| (f.actor, f.action) = ("ab".to_owned(), String::new())),
            change(|f| (f.actor, f.action) = (String::new(), "ab".to_owned())),
            change(|f| f.subject = Some(String::new())),
            change(|f| (f.subject, f.source) = (Some(String::new()), None)),
            change(|f| (f.detail, f.source) = (Some(String::new()), None)),
            change(|f| f.source = None),
        ];
        for (place, other) in others.iter().enumerate() {
            assert_ne!(*other, one);
            assert!(!others.iter().skip(place + 1).any(|next| next == other));
        }
    }

    #[test]
    fn a_hash_is_read_as_it_is_shown() {
        let hash = hash_of(1, &GENESIS, &fields());
        let text = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<Hash>(&text).unwrap(), hash);
        for wrong in ["\"00\"", "\"zz\"", "7"] {
            assert!(serde_json::from_str::<Hash>(wrong).is_err());
        }
    }
}
