//! Texts that people wrote: cleaned for the database, bounded, and never shown by `Debug`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A person's words. Holds no U+0000 (Postgres cannot store it) and at most [`Text::MAX_CHARS`] characters.
///
/// `Debug` prints the length only, so that a struct with a text in it may be logged.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Text(String);

impl Text {
    /// Longest kept text, in characters; WhatsApp's own limit is the same 65,536.
    pub const MAX_CHARS: usize = 65_536;

    /// Cleans a text; what is longer than [`Text::MAX_CHARS`] is cut.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::cut(text, Self::MAX_CHARS).0
    }

    /// Cleans a text and cuts it at `max_chars` characters. The flag says whether something was cut off.
    #[must_use]
    pub fn cut(text: &str, max_chars: usize) -> (Self, bool) {
        let max = max_chars.min(Self::MAX_CHARS);
        // Bytes are never fewer than characters: a short text needs no counting.
        let kept = match (text.len() > max).then(|| text.char_indices().nth(max)).flatten() {
            Some((end, _)) => &text[..end],
            None => text,
        };
        let truncated = kept.len() < text.len();
        let clean = if kept.contains('\0') {
            kept.replace('\0', "")
        } else {
            kept.to_owned()
        };
        (Self(clean), truncated)
    }

    /// A short label such as a name: control characters become blanks, the ends are trimmed, the rest is cut at
    /// `max_chars`. `None` when nothing is left.
    #[must_use]
    pub fn label(text: &str, max_chars: usize) -> Option<Self> {
        // Direction overrides and other format characters may stay: names use them; controls never belong.
        let visible: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(max_chars * 4)
            .collect();
        let (label, _) = Self::cut(visible.trim(), max_chars);
        if label.is_empty() { None } else { Some(label) }
    }

    /// The words themselves.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the words away.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        // The usual case (already clean) keeps its allocation.
        if text.len() <= Self::MAX_CHARS && !text.contains('\0') {
            Self(text)
        } else {
            Self::new(&text)
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

/// A piece of a provider's JSON that we keep because we do not understand it.
///
/// Safe for a `jsonb` column: strings and keys hold no U+0000 and the whole has a bound. Holds people's words, so
/// `Debug` prints the size only.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Value);

impl RawJson {
    /// Longest kept JSON text, in bytes. A longer one is kept as its beginning, in a string.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// Keeps a JSON text. What cannot be read as JSON (too deep, numbers out of range) is kept as a string.
    #[must_use]
    pub fn keep(json: &str) -> Self {
        let value = match serde_json::from_str::<Value>(json) {
            Ok(mut value) if json.len() <= Self::MAX_BYTES => {
                clean(&mut value);
                value
            }
            _ => Value::String(Text::cut(json, Text::MAX_CHARS).0.into_string()),
        };
        Self(value)
    }

    /// The kept JSON.
    #[must_use]
    pub const fn as_value(&self) -> &Value {
        &self.0
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = match &self.0 {
            Value::Object(map) => return write!(f, "RawJson(object with {} keys)", map.len()),
            Value::Array(list) => return write!(f, "RawJson(list of {})", list.len()),
            Value::String(text) => return write!(f, "RawJson(string of {} bytes)", text.len()),
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
        };
        write!(f, "RawJson({shape})")
    }
}

/// Takes U+0000 out of every string and key. Depth is bounded by the parser that made the value.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', ""),
        Value::Array(list) => list.iter_mut().for_each(clean),
        Value::Object(map) => {
            if map.keys().any(|key| key.contains('\0')) {
                *map = std::mem::take(map)
                    .into_iter()
                    .map(|(key, value)| (key.replace('\0', ""), value))
                    .collect();
            }
            map.values_mut().for_each(clean);
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_never_shows_in_debug_and_holds_no_nul() {
        let text = Text::new("rahasia\0 warga");
        assert_eq!(text.as_str(), "rahasia warga");
        assert_eq!(format!("{text:?}"), "Text(13 bytes)");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let (text, truncated) = Text::cut("añb👍c", 4);
        assert_eq!((text.as_str(), truncated), ("añb👍", true));
        assert!(!Text::cut("añb👍", 4).1);
        assert_eq!(
            Text::new(&"👍".repeat(Text::MAX_CHARS + 9))
                .as_str()
                .chars()
                .count(),
            Text::MAX_CHARS
        );
    }

    #[test]
    fn labels_have_no_controls_and_are_not_blank() {
        assert_eq!(
            Text::label("  Budi\nSantoso\u{7} ", 20).unwrap().as_str(),
            "Budi Santoso"
        );
        assert_eq!(Text::label("\u{0}\n ", 20), None);
    }

    #[test]
    fn serde_cannot_bring_a_nul_in() {
        let text: Text = serde_json::from_str("\"a\\u0000b\"").unwrap();
        assert_eq!(text.as_str(), "ab");
    }

    #[test]
    fn raw_json_is_clean_bounded_and_silent() {
        let raw = RawJson::keep(r#"{"a\u0000b":["x\u0000",{"y":"\u0000"}]}"#);
        assert_eq!(raw.as_value(), &serde_json::json!({"ab": ["x", {"y": ""}]}));
        assert_eq!(format!("{raw:?}"), "RawJson(object with 1 keys)");
        assert!(RawJson::keep(&"[".repeat(5000)).as_value().is_string());
        let huge = format!("\"{}\"", "x".repeat(RawJson::MAX_BYTES));
        assert_eq!(
            RawJson::keep(&huge).as_value().as_str().map(str::len),
            Some(Text::MAX_CHARS)
        );
    }
}
