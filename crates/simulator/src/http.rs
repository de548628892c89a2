//! A request and an answer as the imitated servers see them: plain values, so every handler is an ordinary function.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::web::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// One request, read completely.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// The whole path, with its mount.
    pub(crate) path: String,
    /// The path below the mount, split at slashes and decoded.
    pub(crate) segments: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    /// Header names in lower case; of repeated headers the last one.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn query_number(&self, name: &str) -> Option<u64> {
        self.query(name).and_then(|text| text.parse().ok())
    }

    /// `?limit=` of the readback routes.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.query("limit").and_then(|text| text.parse().ok())
    }

    /// The body as JSON; an empty body counts as `{}`.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        if self.body.is_empty() {
            return serde_json::from_slice(b"{}");
        }
        serde_json::from_slice(&self.body)
    }
}

/// What goes back, or that the connection is to be closed without an answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) retry_after: Option<String>,
    /// More headers; one of them may replace the content type.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// How long the answer, or the end of the connection, is held back.
    pub(crate) hold: Duration,
    pub(crate) cut: bool,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: serde_json::to_vec(body).unwrap_or_default(),
            retry_after: None,
            headers: Vec::new(),
            hold: Duration::ZERO,
            cut: false,
        }
    }

    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self::json(200, body)
    }

    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into().into_bytes(),
            retry_after: None,
            headers: Vec::new(),
            hold: Duration::ZERO,
            cut: false,
        }
    }

    /// The connection closes without a complete answer.
    pub(crate) fn cut() -> Self {
        Self {
            cut: true,
            ..Self::text(502, "")
        }
    }

    /// A problem with a control call; the imitated servers never use this shape.
    pub(crate) fn problem(status: u16, detail: impl std::fmt::Display) -> Self {
        Self::json(status, &json!({"error": detail.to_string()}))
    }
}

/// The members of a JSON object value, or none.
pub(crate) fn object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}
