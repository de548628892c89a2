//! Errors as Meta writes them: in webhooks, and in answers to calls.

use std::fmt;

use domain::text::Text;
use serde::{Deserialize, Serialize};

use super::wire;

/// One error of Meta's. The code says what it is; the words are for people, and some name the number written to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphError {
    /// The code. 0 where none was given.
    pub code: i64,
    /// A finer code, in answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subcode: Option<i64>,
    /// What it is called.
    pub title: Text,
    /// The same in a sentence.
    pub message: Text,
    /// What happened this time.
    pub details: Text,
    /// Which call it was, for Meta's support, in answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Text>,
}

impl GraphError {
    /// Longest kept title, message or details, in characters.
    pub const MAX_WORDS: usize = 1_024;
    /// Most errors kept of one list.
    pub const MAX_ERRORS: usize = 16;

    /// Reads an error object. `None` when it is no object.
    #[must_use]
    pub fn read(json: &str) -> Option<Self> {
        let error: wire::Error<'_> = wire::object(json)?;
        let data: Option<wire::ErrorData<'_>> = error.error_data.and_then(|raw| wire::object(raw.get()));
        let words = |text: Option<&str>| Text::cut(text.unwrap_or_default(), Self::MAX_WORDS).0;
        Some(Self {
            code: error.code.whole().unwrap_or_default(),
            subcode: error.error_subcode.whole(),
            title: words(error.title.text().or(error.kind.text())),
            message: words(error.message.text()),
            details: words(data.as_ref().and_then(|data| data.details.text())),
            trace: error
                .fbtrace_id
                .filled()
                .and_then(|trace| Text::label(trace, 128)),
        })
    }

    /// Reads a list of error objects; what in it is none is left out.
    #[must_use]
    pub fn read_list(json: &str) -> Vec<Self> {
        wire::list(json)
            .unwrap_or_default()
            .into_iter()
            .take(Self::MAX_ERRORS)
            .filter_map(|raw| Self::read(raw.get()))
            .collect()
    }
}

impl fmt::Debug for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphError")
            .field("code", &self.code)
            .field("subcode", &self.subcode)
            .finish_non_exhaustive()
    }
}
