//! Bodies and queries as old clients send them: any of them absent, unknown keys, `null` for "not given".
//!
//! | what comes | what it is |
//! |---|---|
//! | no body, with or without a content type | no fields |
//! | a JSON object, or a urlencoded form | its fields |
//! | a field that is absent or `null` | not given |
//! | a field of another type than asked for | 400 `invalid_field`, which names it |
//! | a key that the endpoint does not know | passed over, or 400 `unknown_field` where it asks for that |
//! | a repeated key of a query or form | the first value |
//! | JSON that is no object, broken JSON, another content type with a body | 400, 415 |

use std::pin::Pin;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpRequest, dev, web};
use serde_json::{Map, Value};

use crate::body::read_body;
use crate::error::ApiError;

/// Largest body of fields, in bytes (channel-service contract 1.0).
pub const FIELDS_LIMIT: usize = 10 * 1024 * 1024;

/// The fields of a request's body. `Debug` shows no values: they may be people's words.
#[derive(Clone, Default)]
pub struct Fields(Map<String, Value>);

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Fields {
    /// Reads fields out of a body that was read already.
    ///
    /// # Errors
    /// 400 `invalid_json` for what is no JSON object, 415 for another content type.
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, ApiError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let kind = content_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        match kind.trim().to_ascii_lowercase().as_str() {
            "application/json" => serde_json::from_slice(body)
                .map(Self)
                .map_err(|_| ApiError::bad_request("invalid_json", "The request body is not a JSON object")),
            "application/x-www-form-urlencoded" => {
                let mut fields = Map::new();
                for (name, value) in form_urlencoded::parse(body) {
                    fields
                        .entry(name.into_owned())
                        .or_insert_with(|| Value::String(value.into_owned()));
                }
                Ok(Self(fields))
            }
            _ => Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_type",
                "The content type must be application/json or application/x-www-form-urlencoded",
            )),
        }
    }

    /// All that was given, as it came.
    #[must_use]
    pub const fn raw(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The raw value of a field that was given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Refuses a body with keys that the endpoint does not know: a mistyped name must not pass for "not given".
    ///
    /// # Errors
    /// 400 `unknown_field`, which names one of them.
    pub fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        let Some(unknown) = self.0.keys().find(|name| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        // Whatever somebody wrote, in a length that can be read.
        let unknown: String = unknown.chars().take(60).collect();
        let text = format!("There is no field {unknown}; there are {}", known.join(", "));
        Err(ApiError::bad_request("unknown_field", text).with("field", unknown))
    }

    /// A text.
    ///
    /// # Errors
    /// 400 when it is given and no text.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, ApiError> {
        self.typed(name, "a text", Value::as_str)
    }

    /// A text that is not empty; an empty one counts as not given.
    ///
    /// # Errors
    /// 400 when it is given and no text.
    pub fn filled(&self, name: &'static str) -> Result<Option<&str>, ApiError> {
        Ok(self.text(name)?.filter(|text| !text.trim().is_empty()))
    }

    /// True or false.
    ///
    /// # Errors
    /// 400 when it is given and neither.
    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 when it is given and no whole number.
    pub fn whole(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        self.typed(name, "a whole number", Value::as_i64)
    }

    /// A list of texts of at most `most` entries.
    ///
    /// # Errors
    /// 400 when it is given and no such list.
    pub fn texts(&self, name: &'static str, most: usize) -> Result<Option<Vec<&str>>, ApiError> {
        self.typed(name, "a list of texts", |value| {
            let list = value.as_array().filter(|list| list.len() <= most)?;
            list.iter().map(Value::as_str).collect()
        })
    }

    /// An object.
    ///
    /// # Errors
    /// 400 when it is given and no object.
    pub fn object(&self, name: &'static str) -> Result<Option<Self>, ApiError> {
        self.typed(name, "an object", |value| value.as_object().cloned().map(Self))
    }

    fn typed<'a, T>(
        &'a self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.get(name)
            .map(|value| {
                read(value).ok_or_else(|| {
                    ApiError::bad_request("invalid_field", format!("{name} must be {expected}"))
                        .with("field", name)
                })
            })
            .transpose()
    }
}

impl From<Map<String, Value>> for Fields {
    fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }
}

impl FromRequest for Fields {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        let payload = web::Payload::from_request(&request, payload);
        Box::pin(async move {
            let payload = payload.await.map_err(|_| ApiError::internal())?;
            let body = read_body(&request, payload, FIELDS_LIMIT).await?;
            let content_type = request
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            Self::parse(content_type, &body)
        })
    }
}

/// The query of a request. Of a repeated key the first value counts.
#[derive(Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Query {
    /// Reads the part behind the `?`.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first value of a key; an empty one counts as not given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// Every value of a key, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

impl FromRequest for Query {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut dev::Payload) -> Self::Future {
        std::future::ready(Ok(Self::parse(request.query_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Fields, ApiError> {
        Fields::parse(Some("application/json; charset=utf-8"), text.as_bytes())
    }

    #[test]
    fn no_body_is_no_fields_whatever_its_type() {
        for content_type in [None, Some("application/json"), Some("text/plain")] {
            assert!(Fields::parse(content_type, b" \n").unwrap().get("a").is_none());
        }
    }

    #[test]
    fn null_and_absent_are_alike_and_a_wrong_type_names_its_field() {
        let fields = json(r#"{"a": null, "b": 7, "c": "x", "d": true, "e": ["1", "2"]}"#).unwrap();
        assert_eq!(fields.text("a").unwrap(), None);
        assert_eq!(fields.text("z").unwrap(), None);
        assert_eq!(fields.text("c").unwrap(), Some("x"));
        assert_eq!(fields.flag("d").unwrap(), Some(true));
        assert_eq!(fields.texts("e", 2).unwrap(), Some(vec!["1", "2"]));
        assert_eq!(fields.text("b").unwrap_err().code(), "invalid_field");
        assert_eq!(fields.texts("e", 1).unwrap_err().code(), "invalid_field");
        assert_eq!(fields.flag("c").unwrap_err().code(), "invalid_field");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for wrong in ["[]", "7", "\"x\"", "{", "null"] {
            assert_eq!(json(wrong).unwrap_err().code(), "invalid_json", "{wrong}");
        }
        let other = Fields::parse(Some("text/plain"), b"a=b").unwrap_err();
        assert_eq!(other.code(), "unsupported_content_type");
    }

    #[test]
    fn a_key_that_nobody_knows_is_named() {
        let fields = json(r#"{"a": 1, "b": null}"#).unwrap();
        assert!(fields.only(&["a", "b", "c"]).is_ok());
        assert_eq!(fields.only(&["a"]).unwrap_err().code(), "unknown_field");
        assert!(Fields::default().only(&[]).is_ok());
    }

    #[test]
    fn of_a_repeated_key_the_first_value_counts() {
        let form = Fields::parse(Some("application/x-www-form-urlencoded"), b"a=1&a=2").unwrap();
        assert_eq!(form.text("a").unwrap(), Some("1"));
        let query = Query::parse("a=1&a=2&b=");
        assert_eq!(
            (query.get("a"), query.get("b"), query.get("c")),
            (Some("1"), None, None)
        );
        assert_eq!(query.all("a").count(), 2);
    }

    #[test]
    fn debug_shows_no_values() {
        let fields = json(r#"{"message": "rahasia"}"#).unwrap();
        assert!(!format!("{fields:?} {:?}", Query::parse("token=rahasia")).contains("rahasia"));
    }
}
