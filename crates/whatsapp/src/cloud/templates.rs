//! Approved templates: listed from Meta, and read (Cloud API contract 3.2).

use std::collections::BTreeSet;
use std::time::Duration;

use domain::ids::WabaId;
use domain::text::{RawJson, Text};
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::endpoint::{GraphEndpoint, NumberCredentials};
use super::http::{Body, Call, GraphFailure, Http};
use crate::credentials::SessionToken;
use crate::genfity::InvalidEndpoint;
use crate::port::OperatorText;

const SHORT: Duration = Duration::from_secs(20);
const FIELDS: &str =
    "id,name,language,status,category,parameter_format,components,quality_score,rejected_reason";
/// Templates of one page.
const PAGE: &str = "100";
/// Most pages that are read: a business has at most 6,000 templates.
const MOST_PAGES: usize = 80;

/// Templates of businesses, through one endpoint. Cheap to clone; one per endpoint.
#[derive(Debug, Clone)]
pub struct GraphTemplates {
    http: Http,
}

/// A template as Meta has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Meta's id of it.
    pub id: Text,
    /// What it is called; one name may have several languages.
    pub name: Text,
    /// `id`, `en_US`.
    pub language: Text,
    /// `APPROVED`, `PENDING`, `REJECTED`, `PAUSED`, `DISABLED`, ….
    pub status: Text,
    /// `MARKETING`, `UTILITY`, `AUTHENTICATION`.
    pub category: Text,
    /// What is above the words.
    pub header: Option<TemplateHeader>,
    /// What the words want filled in.
    pub body: Variables,
    /// The buttons, in order.
    pub buttons: Vec<TemplateButton>,
    /// All of it, as it came. [`Template::read`] reads it again.
    pub raw: RawJson,
}

/// What is above the words of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateHeader {
    /// A title, with what it wants filled in.
    Text(Variables),
    /// A file or a place, which is named with every message: `image`, `video`, `document`, `location`.
    Media(&'static str),
    /// Something that we do not know.
    Other,
}

/// What a text wants filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variables {
    /// So many, in order.
    Positional(usize),
    /// Each by its name.
    Named(BTreeSet<String>),
}

/// A button of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateButton {
    /// What it is called in a message: `quick_reply`, `url`, `copy_code`, ….
    pub sub_type: String,
    /// Something must be filled in.
    pub wants: bool,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Value>,
    #[serde(default)]
    paging: Paging,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Paging {
    cursors: Cursors,
    next: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cursors {
    after: Option<String>,
}

impl GraphTemplates {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GraphEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
        })
    }

    /// All templates of a business, page by page. `account`: whose access token is used; without one it is the
    /// endpoint's.
    ///
    /// # Errors
    /// [`GraphFailure`]; then nothing is known, not even of the pages that came.
    pub async fn list(
        &self,
        account: Option<&SessionToken>,
        waba: &WabaId,
    ) -> Result<Vec<Template>, GraphFailure> {
        let own = match account {
            Some(token) => Some(NumberCredentials::parse(token).ok_or(GraphFailure::Unsendable)?),
            None => None,
        };
        let bearer = match &own {
            Some(credentials) => credentials.bearer(&self.http.endpoint),
            None => self.http.endpoint.access_token(),
        };
        let mut templates = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let page = self.page(bearer, waba, after.as_deref()).await?;
            templates.extend(page.data.iter().filter_map(Template::read));
            // The address of the next page holds the token and may lead anywhere; the cursor does not.
            let next = page.paging.next.and(page.paging.cursors.after);
            match next {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                _ => return Ok(templates),
            }
        }
        Err(GraphFailure::Unreadable(OperatorText::of_library(
            "there is no end to the pages of templates",
        )))
    }

    async fn page(
        &self,
        bearer: &SecretString,
        waba: &WabaId,
        after: Option<&str>,
    ) -> Result<Page, GraphFailure> {
        let mut query = vec![("fields", FIELDS), ("limit", PAGE)];
        query.extend(after.map(|after| ("after", after)));
        self.http
            .ask(Call {
                method: Method::GET,
                path: &[waba.as_str(), "message_templates"],
                query: &query,
                body: Body::None,
                bearer,
                timeout: SHORT,
            })
            .await
    }
}

impl Template {
    /// How people take it, where Meta says so: `GREEN`, `YELLOW`, `RED`, `UNKNOWN`.
    #[must_use]
    pub fn quality(&self) -> Option<Text> {
        let score = self.raw.as_value().get("quality_score")?.get("score")?;
        Text::label(score.as_str()?, Self::LONGEST)
    }

    /// Longest kept name, language or status, in characters.
    const LONGEST: usize = 512;

    /// Reads one of a list. `None`: it has no name or no language.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let word = |field: &str| {
            let text = value.get(field).and_then(Value::as_str).unwrap_or_default();
            Text::label(text, Self::LONGEST)
        };
        let named = value
            .get("parameter_format")
            .and_then(Value::as_str)
            .is_some_and(|format| format.eq_ignore_ascii_case("NAMED"));
        let mut template = Self {
            id: word("id").unwrap_or_default(),
            name: word("name")?,
            language: word("language")?,
            status: word("status").unwrap_or_default(),
            category: word("category").unwrap_or_default(),
            header: None,
            body: Variables::of("", named),
            buttons: Vec::new(),
            raw: RawJson::keep(&value.to_string()),
        };
        let components = value.get("components").and_then(Value::as_array);
        for component in components.into_iter().flatten() {
            let text = |field: &str| component.get(field).and_then(Value::as_str).unwrap_or_default();
            match text("type").to_ascii_uppercase().as_str() {
                "HEADER" => template.header = Some(TemplateHeader::read(text("format"), text("text"), named)),
                "BODY" => template.body = Variables::of_body(&template.category, component, named),
                "BUTTONS" => {
                    let buttons = component.get("buttons").and_then(Value::as_array);
                    template.buttons = buttons.into_iter().flatten().map(TemplateButton::read).collect();
                }
                _ => {}
            }
        }
        Some(template)
    }

    /// May it be sent?
    #[must_use]
    pub fn is_approved(&self) -> bool {
        self.status.as_str().eq_ignore_ascii_case("APPROVED")
    }
}

impl TemplateHeader {
    fn read(format: &str, text: &str, named: bool) -> Self {
        match format.to_ascii_uppercase().as_str() {
            "TEXT" => Self::Text(Variables::of(text, named)),
            "IMAGE" => Self::Media("image"),
            "VIDEO" => Self::Media("video"),
            "DOCUMENT" => Self::Media("document"),
            "LOCATION" => Self::Media("location"),
            _ => Self::Other,
        }
    }
}

impl Variables {
    /// What stands in double braces.
    fn of(text: &str, named: bool) -> Self {
        let names: BTreeSet<String> = text
            .split("{{")
            .skip(1)
            .filter_map(|rest| rest.split_once("}}"))
            .map(|(name, _)| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        if named {
            Self::Named(names)
        } else {
            Self::Positional(names.len())
        }
    }

    /// The words of an authentication template are Meta's own and are not told; what they want is the code.
    fn of_body(category: &Text, component: &Value, named: bool) -> Self {
        let text = component.get("text").and_then(Value::as_str).unwrap_or_default();
        if category.as_str().eq_ignore_ascii_case("AUTHENTICATION") && !text.contains("{{") {
            return Self::Positional(1);
        }
        Self::of(text, named)
    }
}

impl TemplateButton {
    fn read(button: &Value) -> Self {
        let text = |field: &str| button.get(field).and_then(Value::as_str).unwrap_or_default();
        let kind = text("type").to_ascii_uppercase();
        match kind.as_str() {
            "URL" => Self::new("url", text("url").contains("{{")),
            // A code is handed over like the end of an address.
            "OTP" => Self::new("url", true),
            "COPY_CODE" => Self::new("copy_code", true),
            "MPM" => Self::new("mpm", true),
            _ => Self::new(&kind.to_ascii_lowercase(), false),
        }
    }

    fn new(sub_type: &str, wants: bool) -> Self {
        Self {
            sub_type: sub_type.to_owned(),
            wants,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_template_is_left_out() {
        for odd in [
            json!(null),
            json!({}),
            json!({"name": "x"}),
            json!({"name": 1, "language": "id"}),
        ] {
            assert_eq!(Template::read(&odd), None, "{odd}");
        }
        let bare = Template::read(&json!({"name": "x", "language": "id", "components": "none"})).unwrap();
        assert!(!bare.is_approved());
        assert_eq!(bare.buttons, []);
    }
}
