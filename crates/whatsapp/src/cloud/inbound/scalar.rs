//! Scalars as Meta writes them: ids as texts or numbers, times as either, and an empty text for nothing.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use domain::address::{PhoneNumber, UserId};
use domain::ids::ProviderMessageId;
use domain::text::Text;
use serde_json::value::RawValue;

use super::wire::{self, Loose};
use crate::error::Unusable;

/// Longest kept word of Meta's own: an event's or a category's name.
const MAX_WORD: usize = 128;

pub(super) fn of(raw: &RawValue) -> Loose<'_> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

pub(super) fn of_some(raw: Option<&RawValue>) -> Loose<'_> {
    raw.map(of).unwrap_or_default()
}

/// An id or a code, written as a text or as a whole number.
pub(super) fn text<'l>(scalar: &'l Loose<'_>) -> Option<Cow<'l, str>> {
    match scalar {
        Loose::Whole(number) => Some(Cow::Owned(number.to_string())),
        _ => scalar.filled().map(Cow::Borrowed),
    }
}

/// A whole number that a `f64` may not hold.
pub(super) fn large(raw: Option<&RawValue>) -> Option<u64> {
    raw?.get().trim_matches('"').parse().ok()
}

/// Seconds since 1970, as a text or as a number.
pub(super) fn time(scalar: &Loose<'_>) -> Option<DateTime<Utc>> {
    match scalar.whole() {
        Some(seconds) => DateTime::from_timestamp(seconds, 0),
        None => scalar.time(),
    }
}

pub(super) fn degrees(scalar: &Loose<'_>, most: f64) -> Option<f64> {
    let degrees = match scalar.text() {
        Some(text) => text.trim().parse().ok()?,
        None => scalar.real()?,
    };
    // Also what is no number at all.
    (degrees.abs() <= most).then_some(degrees)
}

/// A phone number, with or without a plus before it.
pub(super) fn phone(scalar: &Loose<'_>) -> Option<PhoneNumber> {
    let digits = text(scalar)?;
    PhoneNumber::parse(digits.strip_prefix('+').unwrap_or(&digits)).ok()
}

pub(super) fn user(scalar: &Loose<'_>) -> Option<UserId> {
    UserId::parse(scalar.filled()?).ok()
}

pub(super) fn message_id(scalar: &Loose<'_>) -> Result<ProviderMessageId, Unusable> {
    ProviderMessageId::parse(text(scalar).unwrap_or_default()).map_err(|_| Unusable::MessageId)
}

/// A word of Meta's.
pub(super) fn word(scalar: &Loose<'_>) -> Option<Text> {
    Text::label(&text(scalar)?, MAX_WORD)
}

/// A sentence of Meta's.
pub(super) fn sentence(scalar: &Loose<'_>) -> Option<Text> {
    let (sentence, _) = Text::cut(scalar.filled()?, super::super::GraphError::MAX_WORDS);
    (!sentence.is_empty()).then_some(sentence)
}

/// The object under a key; an empty one where there is none.
pub(super) fn part<'a, T: serde::Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| wire::object(raw.get())).unwrap_or_default()
}
