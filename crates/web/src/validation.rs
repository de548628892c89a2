//! The answer of routes that check each field of a request and name every one that is wrong
//! (channel-service contract 1.0).
//!
//! ```json
//! {"error": "Validation failed", "details": [
//!   {"type": "field", "value": "abc", "msg": "…", "path": "wa_user_id", "location": "query"}]}
//! ```

use actix_web::http::StatusCode;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// Most entries of an answer; one request breaks hardly more rules.
const MOST_DETAILS: usize = 100;
/// Longest value that is repeated to the caller, in characters.
const MOST_CHARS: usize = 256;

/// Where a field was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In the body.
    Body,
    /// In the query.
    Query,
}

impl Location {
    const fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Query => "query",
        }
    }
}

/// Collects the rules that a request broke. `Debug` shows how many only: the values are people's.
#[derive(Default)]
pub struct Validation(Vec<Value>);

impl std::fmt::Debug for Validation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Validation({} broken rules)", self.0.len())
    }
}

impl Validation {
    /// The text of a rule that has none of its own.
    pub const INVALID: &str = "Invalid value";

    /// Notes a broken rule. `value` is what was given, `None` when nothing was; `path` is empty for a rule about the
    /// whole body.
    pub fn broken(&mut self, location: Location, path: &str, value: Option<&Value>, msg: &str) {
        if self.0.len() >= MOST_DETAILS {
            return;
        }
        let mut detail = Map::new();
        detail.insert("type".to_owned(), "field".into());
        if let Some(value) = value {
            detail.insert("value".to_owned(), shown(value));
        }
        detail.insert("msg".to_owned(), msg.into());
        detail.insert("path".to_owned(), path.into());
        detail.insert("location".to_owned(), location.name().into());
        self.0.push(Value::Object(detail));
    }

    /// The outcome.
    ///
    /// # Errors
    /// 400 `validation_failed` with every broken rule.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let error = ApiError::new(StatusCode::BAD_REQUEST, "validation_failed", "Validation failed");
        Err(error.with("details", self.0))
    }
}

/// A value as it is repeated: long texts lose their end, nested things their content.
fn shown(value: &Value) -> Value {
    match value {
        Value::String(text) if text.chars().nth(MOST_CHARS).is_some() => {
            text.chars().take(MOST_CHARS).collect::<String>().into()
        }
        Value::Array(items) => items
            .iter()
            .take(10)
            .map(|item| match item {
                Value::Array(_) => Value::Array(Vec::new()),
                Value::Object(_) => Value::Object(Map::new()),
                plain => shown(plain),
            })
            .collect(),
        Value::Object(_) => Value::Object(Map::new()),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError as _;
    use actix_web::body::MessageBody as _;
    use serde_json::json;

    use super::*;

    fn answer(validation: Validation) -> Value {
        let bytes = validation.finish().unwrap_err().error_response().into_body();
        serde_json::from_slice(&bytes.try_into_bytes().unwrap()).unwrap()
    }

    #[test]
    fn every_broken_rule_is_named_and_an_absent_field_has_no_value() {
        let mut validation = Validation::default();
        validation.broken(Location::Query, "limit", Some(&json!("x")), "limit must be 1");
        validation.broken(Location::Body, "message", None, Validation::INVALID);
        let said = answer(validation);
        assert_eq!(
            (&said["error"], &said["code"]),
            (&json!("Validation failed"), &json!("validation_failed"))
        );
        assert_eq!(
            said["details"],
            json!([
                {"type": "field", "value": "x", "msg": "limit must be 1", "path": "limit", "location": "query"},
                {"type": "field", "msg": "Invalid value", "path": "message", "location": "body"},
            ])
        );
        assert!(Validation::default().finish().is_ok());
    }

    #[test]
    fn what_is_repeated_has_a_bound() {
        let mut validation = Validation::default();
        for _ in 0..500 {
            let long = json!("x".repeat(10_000));
            validation.broken(Location::Body, "message", Some(&long), "too long");
        }
        let said = answer(validation);
        assert_eq!(said["details"].as_array().map(Vec::len), Some(MOST_DETAILS));
        assert_eq!(
            said["details"][0]["value"].as_str().map(str::len),
            Some(MOST_CHARS)
        );
        let nested = shown(&json!([[1], {"a": 1}, "b", 7]));
        assert_eq!(nested, json!([[], {}, "b", 7]));
    }
}
