//! A request body the way the WA server's decoder reads it: field names match in any case, unknown ones are ignored.

use std::collections::HashMap;

use serde_json::Value;

use super::error;
use crate::http::Answer;

#[derive(Debug, Default)]
pub(super) struct Fields(HashMap<String, Value>);

impl Fields {
    /// `could not decode Payload` for anything that is not a JSON object, the empty body included (§2).
    pub(super) fn parse(body: &[u8]) -> Result<Self, Answer> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self::from_members(members)),
            _ => Err(undecodable()),
        }
    }

    fn from_members(members: serde_json::Map<String, Value>) -> Self {
        Self(
            members
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.to_lowercase(), value))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(&name.to_lowercase())
    }

    /// The text of a field, empty when absent.
    pub(super) fn text(&self, name: &str) -> Result<String, Answer> {
        match self.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(undecodable()),
        }
    }

    /// The text of a field that must not be empty: 400 `missing <name> in Payload`.
    pub(super) fn required(&self, name: &str) -> Result<String, Answer> {
        let text = self.text(name)?;
        if text.is_empty() {
            return Err(missing(name));
        }
        Ok(text)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Answer> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(undecodable()),
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<i64, Answer> {
        match self.get(name) {
            None => Ok(0),
            Some(value) => value.as_i64().ok_or_else(undecodable),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<f64, Answer> {
        match self.get(name) {
            None => Ok(0.0),
            Some(value) => value.as_f64().ok_or_else(undecodable),
        }
    }

    /// A list of texts; `None` when absent, which some routes tell apart from an empty list.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Answer> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Value::Array(items) = value else {
            return Err(undecodable());
        };
        items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(undecodable))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A nested object, empty when absent.
    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, Answer> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self::from_members(members.clone()))),
            Some(_) => Err(undecodable()),
        }
    }
}

pub(super) fn missing(name: &str) -> Answer {
    error(400, &format!("missing {name} in Payload"))
}

fn undecodable() -> Answer {
    error(400, "could not decode Payload")
}
