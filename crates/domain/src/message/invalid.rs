//! Why a content cannot be sent, said before anything is queued.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::text::{RawJson, Text};

/// A content that WhatsApp would refuse. Says where and which rule, never what was written there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct InvalidContent {
    field: String,
    reason: Cow<'static, str>,
}

const MISSING: &str = "is missing";

impl InvalidContent {
    /// What is wrong with a field: `components[1].parameters[0].text`, `is empty`.
    #[must_use]
    pub fn new(field: impl Into<String>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// Nothing is written where something has to be.
    #[must_use]
    pub fn missing(field: impl Into<String>) -> Self {
        Self::new(field, MISSING)
    }

    /// Is that all that is wrong with it?
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.reason == MISSING
    }

    /// The field, as a path within the content.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The rule, to be read after the field.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The same, seen from what the content is a part of.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') {
            ""
        } else {
            "."
        };
        self.field = format!("{parent}{dot}{}", self.field);
        self
    }
}

/// Something is written there, and not too much.
pub(super) fn filled(field: &str, text: &Text, most: usize) -> Result<(), InvalidContent> {
    if text.as_str().trim().is_empty() {
        return Err(InvalidContent::new(field, "is empty"));
    }
    no_longer(field, text, most)
}

/// Not too much is written there.
pub(super) fn no_longer(field: &str, text: &Text, most: usize) -> Result<(), InvalidContent> {
    if text.as_str().chars().nth(most).is_some() {
        return Err(InvalidContent::new(
            field,
            format!("has more than {most} characters"),
        ));
    }
    Ok(())
}

/// There are some, and not too many.
pub(super) fn counted(field: &str, count: usize, least: usize, most: usize) -> Result<(), InvalidContent> {
    if (least..=most).contains(&count) {
        return Ok(());
    }
    let reason = if least == most {
        format!("must have exactly {least} entries")
    } else {
        format!("must have {least} to {most} entries")
    };
    Err(InvalidContent::new(field, reason))
}

/// Nothing is there twice.
pub(super) fn distinct<'a>(
    field: &str,
    texts: impl IntoIterator<Item = &'a Text>,
) -> Result<(), InvalidContent> {
    let mut seen = std::collections::HashSet::new();
    if texts.into_iter().all(|text| seen.insert(text.as_str())) {
        Ok(())
    } else {
        Err(InvalidContent::new(field, "is there twice"))
    }
}

/// A media file of a header: told by the id it was uploaded under, or by its address.
pub(super) fn one_source(field: &str, id: Option<&Text>, link: Option<&Text>) -> Result<(), InvalidContent> {
    match (id, link) {
        (Some(id), None) => filled(&format!("{field}.id"), id, 128),
        (None, Some(link)) => web_address(&format!("{field}.link"), link),
        (None, None) | (Some(_), Some(_)) => {
            Err(InvalidContent::new(field, "must have exactly one of id and link"))
        }
    }
}

/// An address that a browser opens.
pub(super) fn web_address(field: &str, link: &Text) -> Result<(), InvalidContent> {
    filled(field, link, 2_000)?;
    let text = link.as_str();
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_address = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if is_address {
        Ok(())
    } else {
        Err(InvalidContent::new(field, "must be an http or https address"))
    }
}

/// The word under which a part of unknown shape goes.
pub(super) fn type_of(raw: &RawJson) -> Option<&str> {
    raw.as_value().get("type").and_then(serde_json::Value::as_str)
}

/// Why a part is not of the shape of its type. Only what names a field of ours is repeated: a reader's other words may
/// hold what was written.
pub(super) fn misshapen<T: DeserializeOwned>(raw: &RawJson) -> Cow<'static, str> {
    let told = serde_json::from_value::<T>(raw.as_value().clone())
        .err()
        .map(|error| error.to_string())
        .filter(|told| told.starts_with("missing field"));
    told.map_or(Cow::Borrowed("does not have the shape of its type"), Cow::Owned)
}

/// Most bytes of a part that goes out as it came.
const MOST_RAW: usize = 32 * 1024;

/// A part whose type we do not take apart: bounded, and called something.
pub(super) fn passed_on(raw: &RawJson) -> Result<(), InvalidContent> {
    let is_word = type_of(raw).is_some_and(|word| {
        (1..=64).contains(&word.len())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    if !is_word {
        return Err(InvalidContent::new(
            "type",
            "must be a word of letters, digits and _",
        ));
    }
    if raw.as_value().to_string().len() > MOST_RAW {
        return Err(InvalidContent::new("", "is larger than 32 KiB"));
    }
    Ok(())
}
