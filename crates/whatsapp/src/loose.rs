//! A scalar that never makes its surroundings unreadable.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Whatever scalar a field holds; an object, a list or `null` counts as nothing.
///
/// One odd field (a sender as an object, a length as a string) must not cost us a message: readers ask for the
/// type they need and get `None` for any other.
#[derive(Default)]
pub(crate) enum Loose<'a> {
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    Whole(i64),
    Real(f64),
    Flag(bool),
}

impl Loose<'_> {
    /// The text, `""` included.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text, unless it is empty.
    pub(crate) fn filled(&self) -> Option<&str> {
        self.text().filter(|text| !text.is_empty())
    }

    /// A whole number, also when written as a text or as `5.0`.
    pub(crate) fn whole(&self) -> Option<i64> {
        /// Whole numbers are exact in an f64 up to here, and the server's went through one.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Whole(number) => Some(*number),
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
            Self::Real(number) if number.fract() == 0.0 && number.abs() <= EXACT => Some(*number as i64),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A size or count.
    pub(crate) fn size(&self) -> Option<u64> {
        self.whole().and_then(|number| u64::try_from(number).ok())
    }

    /// A real number.
    pub(crate) fn real(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "degrees, not counters")]
            Self::Whole(number) => Some(*number as f64),
            Self::Real(number) => Some(*number),
            _ => None,
        }
    }

    /// A flag.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Is it `true`? Anything else is not.
    pub(crate) fn is_true(&self) -> bool {
        matches!(self, Self::Flag(true))
    }

    /// A moment: RFC 3339, or seconds since 1970.
    pub(crate) fn time(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Text(text) => DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()),
            _ => DateTime::from_timestamp(self.whole()?, 0),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Loose::Whole(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "beyond i64 no count of ours is meant exactly"
        )]
        Ok(i64::try_from(number).map_or(Loose::Real(number as f64), Loose::Whole))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Loose::Real(number))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Loose::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Loose::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Loose<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn odd_types_are_nothing_and_never_an_error() {
        for odd in ["null", "{\"User\":\"1\"}", "[1,[2]]", "true"] {
            assert!(read(odd).text().is_none(), "{odd}");
            assert!(read(odd).whole().is_none(), "{odd}");
            assert!(read(odd).time().is_none(), "{odd}");
        }
        assert_eq!(read("\"\"").text(), Some(""));
        assert_eq!(read("\"\"").filled(), None);
    }

    #[test]
    fn numbers_are_read_however_they_are_written() {
        for five in ["5", "5.0", "\"5\"", "5e0"] {
            assert_eq!(read(five).size(), Some(5), "{five}");
        }
        for none in ["-5", "5.5", "1e300", "18446744073709551615", "\"x\""] {
            assert_eq!(read(none).size(), None, "{none}");
        }
    }

    #[test]
    fn times_are_rfc_3339_or_seconds() {
        let at: DateTime<Utc> = "2026-02-17T12:15:04Z".parse().unwrap();
        assert_eq!(read("\"2026-02-17T09:15:04-03:00\"").time(), Some(at));
        assert_eq!(read("1771330504").time(), Some(at));
        for none in ["\"yesterday\"", "\"\"", "9e18", "{}"] {
            assert_eq!(read(none).time(), None, "{none}");
        }
    }
}
