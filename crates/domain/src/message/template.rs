//! Template messages: words that WhatsApp approved beforehand, with what is filled in this time.
//!
//! As JSON they are written as the business platform of WhatsApp writes them, which is how everybody knows them. Parts of
//! a type that we do not take apart go out as they came.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::invalid::{InvalidContent, counted, filled, misshapen, one_source, passed_on, type_of};
use crate::text::{RawJson, Text};

/// A template that is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemplateMessage {
    /// What it is called.
    pub name: Text,
    /// In which of its languages.
    pub language: TemplateLanguage,
    /// What is filled in. Empty where there is nothing to fill in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<TemplateComponent>,
}

/// A language of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateLanguage {
    /// `id`, `en_US`.
    pub code: Text,
}

/// What is filled into one part of a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TemplateComponent {
    /// Above the words: one text, file or place.
    #[serde(alias = "HEADER")]
    Header {
        /// One.
        #[serde(default)]
        parameters: Vec<TemplateParameter>,
    },
    /// The words.
    #[serde(alias = "BODY")]
    Body {
        /// In order, or each by its name.
        #[serde(default)]
        parameters: Vec<TemplateParameter>,
    },
    /// A button.
    #[serde(alias = "BUTTON")]
    Button {
        /// What it does: `quick_reply`, `url`, `flow`, `copy_code`, `catalog`, `mpm`, `voice_call`.
        #[serde(deserialize_with = "lower_case")]
        sub_type: Text,
        /// Which of the buttons, from 0.
        index: ButtonIndex,
        /// What is filled in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parameters: Vec<TemplateParameter>,
    },
    /// Another part, as it came.
    #[serde(untagged)]
    Other(RawJson),
}

/// Which of a template's buttons. Written as a text, read from a number, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ButtonIndex(pub u8);

/// Something that is filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TemplateParameter {
    /// Words.
    Text {
        /// In templates with named parameters, which one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameter_name: Option<Text>,
        /// The words.
        text: Text,
    },
    /// An amount of money.
    Currency {
        /// In templates with named parameters, which one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameter_name: Option<Text>,
        /// The amount.
        currency: Currency,
    },
    /// A moment.
    DateTime {
        /// In templates with named parameters, which one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameter_name: Option<Text>,
        /// The moment.
        date_time: DateTimeWords,
    },
    /// A picture.
    Image {
        /// Where it is.
        image: MediaReference,
    },
    /// A film.
    Video {
        /// Where it is.
        video: MediaReference,
    },
    /// A document.
    Document {
        /// Where it is.
        document: MediaReference,
    },
    /// A place.
    Location {
        /// Where it is.
        location: RawJson,
    },
    /// What comes back when a button is pressed.
    Payload {
        /// Ours to choose.
        payload: Text,
    },
    /// A code to copy.
    CouponCode {
        /// The code.
        coupon_code: Text,
    },
    /// What a button opens.
    Action {
        /// Flow tokens, catalogue entries and the like.
        action: RawJson,
    },
    /// Another sort, as it came.
    #[serde(untagged)]
    Other(RawJson),
}

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Currency {
    /// For phones that cannot write it themselves.
    pub fallback_value: Text,
    /// ISO 4217.
    pub code: Text,
    /// A thousand times the amount.
    pub amount_1000: i64,
}

/// A moment, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DateTimeWords {
    /// What is shown.
    pub fallback_value: Text,
}

/// A file of a template or an interactive message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaReference {
    /// The id it was uploaded under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Text>,
    /// Its name; documents only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<Text>,
}

/// The buttons of a template.
const MOST_BUTTONS: u8 = 10;
/// Longest words of a body's parameter.
const LONGEST_TEXT: usize = 32_768;

impl TemplateMessage {
    /// Could WhatsApp take it, as far as can be known without the template itself?
    ///
    /// # Errors
    /// [`InvalidContent`] for the first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidContent> {
        filled("name", &self.name, 512)?;
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !self.name.as_str().bytes().all(is_name) {
            return Err(InvalidContent::new(
                "name",
                "may hold only lower-case letters, digits and _",
            ));
        }
        let code = self.language.code.as_str();
        let is_code = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !(2..=15).contains(&code.len()) || !code.bytes().all(is_code) {
            return Err(InvalidContent::new(
                "language.code",
                "must be a language such as id or en_US",
            ));
        }
        counted("components", self.components.len(), 0, 20)?;
        let (mut headers, mut bodies, mut indices) = (0, 0, Vec::new());
        for (position, component) in self.components.iter().enumerate() {
            let place = format!("components[{position}]");
            component.validate().map_err(|error| error.within(&place))?;
            match component {
                TemplateComponent::Header { .. } => headers += 1,
                TemplateComponent::Body { .. } => bodies += 1,
                TemplateComponent::Button { index, .. } if indices.contains(index) => {
                    return Err(InvalidContent::new(format!("{place}.index"), "is there twice"));
                }
                TemplateComponent::Button { index, .. } => indices.push(*index),
                TemplateComponent::Other(_) => {}
            }
        }
        if headers > 1 || bodies > 1 {
            return Err(InvalidContent::new(
                "components",
                "may have one header and one body",
            ));
        }
        Ok(())
    }
}

impl TemplateComponent {
    fn validate(&self) -> Result<(), InvalidContent> {
        match self {
            Self::Header { parameters } => {
                counted("parameters", parameters.len(), 0, 1)?;
                for parameter in parameters {
                    parameter
                        .validate(60)
                        .map_err(|error| error.within("parameters[0]"))?;
                }
                Ok(())
            }
            Self::Body { parameters } => {
                counted("parameters", parameters.len(), 0, 100)?;
                each(parameters, LONGEST_TEXT)?;
                let named = parameters.iter().filter(|one| one.name().is_some()).count();
                if named != 0 && named != parameters.len() {
                    return Err(InvalidContent::new(
                        "parameters",
                        "must all have a parameter_name, or none",
                    ));
                }
                super::invalid::distinct(
                    "parameters.parameter_name",
                    parameters.iter().filter_map(TemplateParameter::name),
                )
            }
            Self::Button {
                sub_type,
                index,
                parameters,
            } => {
                filled("sub_type", sub_type, 64)?;
                if index.0 >= MOST_BUTTONS {
                    return Err(InvalidContent::new("index", "must be 0 to 9"));
                }
                counted("parameters", parameters.len(), 0, 10)?;
                each(parameters, 2_000)
            }
            Self::Other(raw) => match type_of(raw).map(str::to_ascii_lowercase).as_deref() {
                Some("header" | "body" | "button") => Err(InvalidContent::new("", misshapen::<Known>(raw))),
                _ => passed_on(raw),
            },
        }
    }
}

/// The known shapes without the refuge of [`TemplateComponent::Other`], to say what is amiss.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "read for its errors only")]
enum Known {
    #[serde(alias = "HEADER")]
    Header {
        #[serde(default)]
        parameters: Vec<TemplateParameter>,
    },
    #[serde(alias = "BODY")]
    Body {
        #[serde(default)]
        parameters: Vec<TemplateParameter>,
    },
    #[serde(alias = "BUTTON")]
    Button {
        sub_type: Text,
        index: ButtonIndex,
        #[serde(default)]
        parameters: Vec<TemplateParameter>,
    },
}

fn each(parameters: &[TemplateParameter], longest: usize) -> Result<(), InvalidContent> {
    for (position, parameter) in parameters.iter().enumerate() {
        let place = format!("parameters[{position}]");
        parameter
            .validate(longest)
            .map_err(|error| error.within(&place))?;
    }
    Ok(())
}

impl TemplateParameter {
    /// Which parameter it is, where they have names.
    #[must_use]
    pub const fn name(&self) -> Option<&Text> {
        match self {
            Self::Text { parameter_name, .. }
            | Self::Currency { parameter_name, .. }
            | Self::DateTime { parameter_name, .. } => parameter_name.as_ref(),
            _ => None,
        }
    }

    /// Its type, in the word it is written by.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Text { .. } => "text",
            Self::Currency { .. } => "currency",
            Self::DateTime { .. } => "date_time",
            Self::Image { .. } => "image",
            Self::Video { .. } => "video",
            Self::Document { .. } => "document",
            Self::Location { .. } => "location",
            Self::Payload { .. } => "payload",
            Self::CouponCode { .. } => "coupon_code",
            Self::Action { .. } => "action",
            Self::Other(raw) => type_of(raw).unwrap_or_default(),
        }
    }

    fn validate(&self, longest: usize) -> Result<(), InvalidContent> {
        if let Some(name) = self.name() {
            filled("parameter_name", name, 64)?;
        }
        match self {
            Self::Text { text, .. } => {
                filled("text", text, longest)?;
                one_line("text", text)
            }
            Self::Currency { currency, .. } => {
                filled("currency.fallback_value", &currency.fallback_value, 256)?;
                let code = currency.code.as_str();
                if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
                    return Err(InvalidContent::new(
                        "currency.code",
                        "must be three capital letters",
                    ));
                }
                Ok(())
            }
            Self::DateTime { date_time, .. } => {
                filled("date_time.fallback_value", &date_time.fallback_value, 256)
            }
            Self::Image { image } => image.validate("image"),
            Self::Video { video } => video.validate("video"),
            Self::Document { document } => document.validate("document"),
            Self::Location { location } => object("location", location),
            Self::Payload { payload } => filled("payload", payload, 256),
            Self::CouponCode { coupon_code } => filled("coupon_code", coupon_code, 64),
            Self::Action { action } => object("action", action),
            Self::Other(raw) => match type_of(raw) {
                Some(
                    "text" | "currency" | "date_time" | "image" | "video" | "document" | "location"
                    | "payload" | "coupon_code" | "action",
                ) => Err(InvalidContent::new("", "does not have the shape of its type")),
                _ => passed_on(raw),
            },
        }
    }
}

fn object(field: &str, raw: &RawJson) -> Result<(), InvalidContent> {
    let fits = raw.as_value().is_object() && raw.as_value().to_string().len() <= 32 * 1024;
    if fits {
        Ok(())
    } else {
        Err(InvalidContent::new(field, "must be an object of at most 32 KiB"))
    }
}

/// Parameters become part of a line: WhatsApp takes neither line ends nor tabs nor more than four blanks in a row.
fn one_line(field: &str, text: &Text) -> Result<(), InvalidContent> {
    if text.as_str().contains(['\n', '\r', '\t']) || text.as_str().contains("     ") {
        return Err(InvalidContent::new(
            field,
            "may hold neither line ends nor tabs nor more than four blanks in a row",
        ));
    }
    Ok(())
}

impl MediaReference {
    pub(super) fn validate(&self, field: &str) -> Result<(), InvalidContent> {
        one_source(field, self.id.as_ref(), self.link.as_ref())?;
        match &self.filename {
            Some(name) => filled(&format!("{field}.filename"), name, 240),
            None => Ok(()),
        }
    }
}

fn lower_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
    let text = Text::deserialize(deserializer)?;
    Ok(Text::from(text.as_str().to_ascii_lowercase()))
}

impl Serialize for ButtonIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ButtonIndex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u8),
            Words(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Number(index)) => Some(index),
            Ok(Written::Words(text)) => text.parse().ok(),
            Err(_) => None,
        }
        .map(Self)
        .ok_or_else(|| serde::de::Error::custom("index is not a small number"))
    }
}
