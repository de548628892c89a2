//! Bodies of `/admin`: JSON whatever the content type says, as the predecessor took them (contract 1.1), and each field
//! that is wrong named.

use ::web::{ApiError, read_body};
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Payload;
use domain::ids::{AccountId, TenantId};
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::store::inboxes::InboxKey;

/// Largest body, in bytes.
const LIMIT: usize = 64 * 1024;

/// A body's fields, and what is wrong with them. Values are never repeated: they may be secrets.
pub(crate) struct Body {
    fields: Map<String, Value>,
    wrong: Vec<(&'static str, String)>,
}

/// 422 that names each field and its rule.
pub(crate) fn invalid(wrong: impl IntoIterator<Item = (&'static str, String)>) -> ApiError {
    let fields: Map<String, Value> = wrong
        .into_iter()
        .map(|(field, rule)| (field.to_owned(), rule.into()))
        .collect();
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_fields",
        "Some fields are not what they have to be",
    )
    .with("fields", fields)
}

impl Body {
    /// Reads a JSON object.
    pub(crate) async fn read(request: &HttpRequest, payload: Payload) -> Result<Self, ApiError> {
        Self::parse(&read_body(request, payload, LIMIT).await?)
    }

    /// Fields that somebody else has read.
    pub(crate) const fn of(fields: Map<String, Value>) -> Self {
        Self {
            fields,
            wrong: Vec::new(),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(bytes)
            .map(Self::of)
            .map_err(|_| ApiError::bad_request("invalid_json", "The request body is not a JSON object"))
    }

    /// The value of a field, `null` included.
    pub(crate) fn given(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Is there nothing in it, as the predecessor saw that: absent, null, false, 0 or an empty text?
    pub(crate) fn is_nothing(&self, name: &str) -> bool {
        match self.given(name) {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Number(number)) => number.as_f64() == Some(0.0),
            Some(_) => false,
        }
    }

    pub(crate) fn wrong(&mut self, name: &'static str, rule: impl Into<String>) {
        self.wrong.push((name, rule.into()));
    }

    /// Ends the reading.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        if self.wrong.is_empty() {
            Ok(())
        } else {
            Err(invalid(self.wrong))
        }
    }

    fn typed<T>(
        &mut self,
        name: &'static str,
        rule: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.fields.get(name).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.wrong(name, rule);
        }
        read
    }

    /// A text of at most `most` characters.
    pub(crate) fn text(&mut self, name: &'static str, most: usize) -> Option<String> {
        let value = self.typed(name, "must be a text", |value| value.as_str().map(str::to_owned))?;
        if value.chars().nth(most).is_some() || value.contains('\0') {
            self.wrong(
                name,
                format!("must have at most {most} characters, none of them NUL"),
            );
            return None;
        }
        Some(value)
    }

    /// A text, or nothing where it is empty or `null`; the outer `None` where it is not given.
    pub(crate) fn text_or_nothing(&mut self, name: &'static str, most: usize) -> Option<Option<String>> {
        self.given(name)?;
        Some(self.text(name, most).filter(|text| !text.trim().is_empty()))
    }

    /// A secret, or nothing, as [`Self::text_or_nothing`].
    pub(crate) fn secret_or_nothing(
        &mut self,
        name: &'static str,
        least: usize,
    ) -> Option<Option<SecretString>> {
        let secret = self.text_or_nothing(name, 512)?;
        if secret.as_ref().is_some_and(|secret| secret.len() < least) {
            self.wrong(name, format!("must have at least {least} characters"));
        }
        Some(secret.map(SecretString::from))
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.typed(name, "must be true or false", Value::as_bool)
    }

    pub(crate) fn tenant(&mut self, name: &'static str) -> Option<TenantId> {
        self.typed(name, "must be a tenant's id", |value| {
            TenantId::parse(value.as_str()?).ok()
        })
    }

    pub(crate) fn account(&mut self, name: &'static str) -> Option<AccountId> {
        self.typed(name, "must be an account's id", |value| {
            value.as_str()?.parse().ok()
        })
    }

    pub(crate) fn installation(&mut self, name: &'static str) -> Option<String> {
        self.typed(
            name,
            "must have 1 to 64 letters, digits, '.', '_' or '-'",
            |value| {
                let text = value.as_str()?;
                InboxKey::is_installation(text).then(|| text.to_owned())
            },
        )
    }

    /// An id of Chatwoot's.
    pub(crate) fn id(&mut self, name: &'static str) -> Option<i64> {
        self.typed(name, "must be a whole number above 0", whole)
    }

    /// Texts of at most 100 characters each, at most `most` of them.
    pub(crate) fn texts(&mut self, name: &'static str, most: usize) -> Option<Vec<String>> {
        self.typed(name, "must be a list of texts", |value| texts(value, most))
    }

    /// The secrets under a name of an object, newest first.
    pub(crate) fn secrets(&mut self, object: &'static str, name: &str) -> Option<Vec<SecretString>> {
        let value = self.given(object)?.as_object()?.get(name)?.clone();
        let one = match value {
            Value::Null => Some(Vec::new()),
            Value::String(text) => Some(vec![text]),
            value => texts(&value, 2),
        };
        let secrets = one.filter(|all| all.iter().all(|secret| !secret.trim().is_empty()));
        if secrets.is_none() {
            self.wrong(object, "must have inbox and account, each with one or two texts");
        }
        Some(secrets?.into_iter().map(SecretString::from).collect())
    }

    /// `{"username": …, "password": …}`.
    pub(crate) fn credentials(&mut self, name: &'static str) -> Option<(String, SecretString)> {
        self.typed(name, "must have username and password", |value| {
            let text = |key: &str| value.get(key)?.as_str().filter(|text| text.len() <= 512);
            Some((
                text("username")?.to_owned(),
                SecretString::from(text("password")?),
            ))
        })
    }
}

fn texts(value: &Value, most: usize) -> Option<Vec<String>> {
    let list = value.as_array().filter(|list| list.len() <= most)?;
    let text = |value: &Value| {
        let text = value
            .as_str()
            .filter(|text| text.len() <= 200 && !text.contains('\0'))?;
        Some(text.to_owned())
    };
    list.iter().map(text).collect()
}

/// A whole number above 0, as number or in digits. Not what merely begins with some (contract 7.13).
pub(crate) fn whole(value: &Value) -> Option<i64> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => digits(text),
        _ => None,
    };
    number.filter(|number| *number > 0)
}

pub(crate) fn digits(text: &str) -> Option<i64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_whole_and_above_nothing() {
        for (value, expected) in [
            (json!(7), Some(7)),
            (json!("7"), Some(7)),
            (json!(99_999_999_999_i64), Some(99_999_999_999)),
            (json!("7zz"), None),
            (json!(-3), None),
            (json!(7.5), None),
            (json!(0), None),
            (json!("0"), None),
            (json!(""), None),
            (json!(true), None),
            (json!([7]), None),
            (json!("+7"), None),
            (json!(u64::MAX), None),
        ] {
            assert_eq!(whole(&value), expected, "{value}");
        }
    }
}
