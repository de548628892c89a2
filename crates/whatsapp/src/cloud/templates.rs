//! Approved templates: listed from Meta, read, and held against what somebody wants to send (Cloud API contract 3.2).

use std::collections::BTreeSet;
use std::time::Duration;

use domain::ids::WabaId;
use domain::message::{InvalidContent, TemplateComponent, TemplateMessage, TemplateParameter};
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

    fn check(&self, given: &[TemplateParameter]) -> Result<(), InvalidContent> {
        match self {
            Self::Positional(wanted) if given.len() != *wanted => Err(InvalidContent::new(
                "parameters",
                format!("must have exactly {wanted}, and {} are given", given.len()),
            )),
            Self::Positional(_) => match given.iter().position(|one| one.name().is_some()) {
                Some(position) => Err(InvalidContent::new(
                    format!("parameters[{position}].parameter_name"),
                    "may not be there: the template's parameters have no names",
                )),
                None => Ok(()),
            },
            Self::Named(wanted) => named(wanted, given),
        }
    }
}

fn named(wanted: &BTreeSet<String>, given: &[TemplateParameter]) -> Result<(), InvalidContent> {
    for (position, parameter) in given.iter().enumerate() {
        let known = parameter
            .name()
            .is_some_and(|name| wanted.contains(name.as_str()));
        if !known {
            return Err(InvalidContent::new(
                format!("parameters[{position}].parameter_name"),
                "is none of the template's",
            ));
        }
    }
    let is_given = |name: &String| {
        let mut names = given.iter().filter_map(TemplateParameter::name);
        names.any(|given| given.as_str() == name)
    };
    match wanted.iter().find(|name| !is_given(name)) {
        Some(missing) => Err(InvalidContent::new(
            "parameters",
            format!("must have one named {missing}"),
        )),
        None => Ok(()),
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

/// Does a message fill in what a template wants? Everything that Meta would answer with 132000, 132001 or 132012.
///
/// # Errors
/// [`InvalidContent`] for the first field that does not fit.
pub fn check(message: &TemplateMessage, template: &Template) -> Result<(), InvalidContent> {
    message.validate()?;
    if message.name != template.name {
        return Err(InvalidContent::new("name", "is not this template's"));
    }
    if message.language.code != template.language {
        return Err(InvalidContent::new("language.code", "is not this template's"));
    }
    if !template.is_approved() {
        return Err(InvalidContent::new("name", "is a template that is not approved"));
    }
    let (mut header, mut body) = (None, None);
    let mut filled = BTreeSet::new();
    for (position, component) in message.components.iter().enumerate() {
        let place = format!("components[{position}]");
        match component {
            TemplateComponent::Header { parameters } => header = Some((place, parameters.as_slice())),
            TemplateComponent::Body { parameters } => body = Some((place, parameters.as_slice())),
            TemplateComponent::Button {
                sub_type,
                index,
                parameters,
            } => {
                check_button(template, usize::from(index.0), sub_type, parameters)
                    .map_err(|error| error.within(&place))?;
                filled.insert(usize::from(index.0));
            }
            // What we do not take apart, we do not judge.
            TemplateComponent::Other(_) => {}
        }
    }
    let (place, given) = header.unwrap_or_else(|| ("components.header".to_owned(), &[]));
    check_header(template.header.as_ref(), given).map_err(|error| error.within(&place))?;
    let (place, given) = body.unwrap_or_else(|| ("components.body".to_owned(), &[]));
    template.body.check(given).map_err(|error| error.within(&place))?;
    let empty = template
        .buttons
        .iter()
        .enumerate()
        .find(|(index, button)| button.wants && !filled.contains(index));
    match empty {
        Some((index, _)) => Err(InvalidContent::new(
            "components",
            format!("must have one for button {index}"),
        )),
        None => Ok(()),
    }
}

fn check_header(header: Option<&TemplateHeader>, given: &[TemplateParameter]) -> Result<(), InvalidContent> {
    match header {
        None => Variables::Positional(0).check(given),
        Some(TemplateHeader::Text(variables)) => variables.check(given),
        Some(TemplateHeader::Media(kind)) => match given {
            [one] if one.type_name() == *kind => Ok(()),
            [_] => Err(InvalidContent::new(
                "parameters[0].type",
                format!("must be {kind}"),
            )),
            _ => Err(InvalidContent::new(
                "parameters",
                format!("must have exactly one of type {kind}"),
            )),
        },
        Some(TemplateHeader::Other) => Ok(()),
    }
}

fn check_button(
    template: &Template,
    index: usize,
    sub_type: &Text,
    given: &[TemplateParameter],
) -> Result<(), InvalidContent> {
    let Some(button) = template.buttons.get(index) else {
        return Err(InvalidContent::new(
            "index",
            format!("is beyond the template's {} buttons", template.buttons.len()),
        ));
    };
    if sub_type.as_str() != button.sub_type {
        return Err(InvalidContent::new(
            "sub_type",
            format!("must be {}", button.sub_type),
        ));
    }
    let fits = if button.wants {
        !given.is_empty()
    } else {
        // An address without an end to fill in takes none; other buttons may be told what comes back.
        given.is_empty() || button.sub_type != "url"
    };
    if fits {
        Ok(())
    } else {
        let rule = if button.wants {
            "must have one entry"
        } else {
            "may not be there: the button wants nothing filled in"
        };
        Err(InvalidContent::new("parameters", rule))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(value: &Value) -> Template {
        Template::read(value).unwrap()
    }

    fn court() -> Value {
        json!({
            "id": "1", "name": "pengingat_sidang", "language": "id", "status": "APPROVED", "category": "UTILITY",
            "parameter_format": "POSITIONAL",
            "components": [
                {"type": "HEADER", "format": "DOCUMENT"},
                {"type": "BODY", "text": "Yth. {{1}}, sidang {{2}}, biaya {{3}}; {{1}}"},
                {"type": "BUTTONS", "buttons": [
                    {"type": "QUICK_REPLY", "text": "Ya"},
                    {"type": "URL", "text": "Lihat", "url": "https://example.test/{{1}}"},
                ]},
            ],
        })
    }

    /// The contract's first sample.
    fn summons() -> Value {
        json!({
            "name": "pengingat_sidang", "language": {"code": "id"},
            "components": [
                {"type": "header", "parameters": [
                    {"type": "document", "document": {"id": "1900000000000010", "filename": "panggilan.pdf"}}]},
                {"type": "body", "parameters": [
                    {"type": "text", "text": "Sari"},
                    {"type": "date_time", "date_time": {"fallback_value": "22 November 2026"}},
                    {"type": "currency",
                     "currency": {"fallback_value": "Rp 150.000", "code": "IDR", "amount_1000": 150_000_000}}]},
                {"type": "button", "sub_type": "quick_reply", "index": "0",
                 "parameters": [{"type": "payload", "payload": "confirm:4711"}]},
                {"type": "button", "sub_type": "url", "index": "1",
                 "parameters": [{"type": "text", "text": "perkara/4711"}]},
            ],
        })
    }

    fn told(message: Value, template: &Template) -> String {
        let message: TemplateMessage = serde_json::from_value(message).unwrap();
        check(&message, template).map_or_else(|error| error.to_string(), |()| "fits".to_owned())
    }

    #[test]
    fn a_message_fits_its_template_or_says_where_not() {
        let court = template(&court());
        assert_eq!(told(summons(), &court), "fits");
        type Change = fn(&mut Value);
        let changes: [(Change, &str); 9] = [
            (|m| m["name"] = json!("lain"), "name is not this template's"),
            (
                |m| m["language"]["code"] = json!("en"),
                "language.code is not this template's",
            ),
            (
                |m| m["components"][0]["parameters"] = json!([]),
                "components[0].parameters must have exactly one of type document",
            ),
            (
                |m| m["components"][0]["parameters"] = json!([{"type": "image", "image": {"id": "1"}}]),
                "components[0].parameters[0].type must be document",
            ),
            (
                |m| drop(m["components"][1]["parameters"].as_array_mut().unwrap().pop()),
                "components[1].parameters must have exactly 3, and 2 are given",
            ),
            (
                |m| {
                    for one in m["components"][1]["parameters"].as_array_mut().unwrap() {
                        one["parameter_name"] = json!(one["type"].as_str().unwrap());
                    }
                },
                "components[1].parameters[0].parameter_name may not be there: the template's parameters have no names",
            ),
            (
                |m| m["components"][2]["sub_type"] = json!("url"),
                "components[2].sub_type must be quick_reply",
            ),
            (
                |m| drop(m["components"].as_array_mut().unwrap().pop()),
                "components must have one for button 1",
            ),
            (
                |m| m["components"][3]["index"] = json!(2),
                "components[3].index is beyond the template's 2 buttons",
            ),
        ];
        for (change, expected) in changes {
            let mut message = summons();
            change(&mut message);
            assert_eq!(told(message, &court), expected);
        }
    }

    #[test]
    fn named_parameters_are_matched_by_name() {
        let template = template(&json!({
            "name": "janji_temu", "language": "id", "status": "APPROVED", "parameter_format": "NAMED",
            "components": [{"type": "BODY", "text": "Halo {{nama}}, jam {{jam}}"}],
        }));
        let message = |names: &[&str]| {
            let parameters: Vec<Value> = names
                .iter()
                .map(|name| json!({"type": "text", "parameter_name": name, "text": "x"}))
                .collect();
            json!({"name": "janji_temu", "language": {"code": "id"},
                   "components": [{"type": "body", "parameters": parameters}]})
        };
        assert_eq!(told(message(&["jam", "nama"]), &template), "fits");
        assert_eq!(
            told(message(&["nama"]), &template),
            "components[0].parameters must have one named jam"
        );
        assert_eq!(
            told(message(&["nama", "jam", "tempat"]), &template),
            "components[0].parameters[2].parameter_name is none of the template's"
        );
    }

    #[test]
    fn what_is_not_approved_is_not_sent() {
        let mut paused = court();
        paused["status"] = json!("PAUSED");
        assert_eq!(
            told(summons(), &template(&paused)),
            "name is a template that is not approved"
        );
    }

    #[test]
    fn a_code_fills_the_words_and_the_button() {
        let template = template(&json!({
            "name": "kode_masuk", "language": "id", "status": "APPROVED", "category": "AUTHENTICATION",
            "components": [
                {"type": "BODY", "add_security_recommendation": true},
                {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE"}]}],
        }));
        let code = json!({
            "name": "kode_masuk", "language": {"code": "id"},
            "components": [
                {"type": "body", "parameters": [{"type": "text", "text": "493021"}]},
                {"type": "button", "sub_type": "url", "index": "0",
                 "parameters": [{"type": "text", "text": "493021"}]}],
        });
        assert_eq!(told(code, &template), "fits");
    }

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
        let bare = template(&json!({"name": "x", "language": "id", "components": "none"}));
        assert!(!bare.is_approved());
        assert_eq!(bare.buttons, []);
    }
}
