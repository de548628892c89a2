//! Interactive messages: words with something to press. Written as JSON like templates are.

use serde::{Deserialize, Serialize};

use super::invalid::{
    InvalidContent, counted, distinct, filled, misshapen, no_longer, passed_on, type_of, web_address,
};
use super::template::MediaReference;
use crate::text::{RawJson, Text};

/// A message with something to press.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InteractiveMessage {
    /// Up to three buttons.
    Button(Framed<ReplyButtons>),
    /// A list that opens.
    List(Framed<ListOfRows>),
    /// A button that opens a page.
    CtaUrl(Framed<OpenPage>),
    /// A button that opens a form.
    Flow(Framed<OpenFlow>),
    /// One product.
    Product(Framed<OneProduct>),
    /// Several products.
    ProductList(Framed<Products>),
    /// Asks where somebody is.
    LocationRequestMessage(Framed<AskLocation>),
    /// Another sort, which goes out as it came.
    #[serde(untagged)]
    Raw(RawJson),
}

/// What stands around the thing to press.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framed<A> {
    /// Above the words.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub header: Option<InteractiveHeader>,
    /// The words.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub body: Option<Words>,
    /// Small words below.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub footer: Option<Words>,
    /// What there is to press.
    pub action: A,
}

/// Words in a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// The words.
    pub text: Text,
}

/// What stands above the words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum InteractiveHeader {
    /// A title.
    Text {
        /// The title.
        text: Text,
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
}

/// Buttons that answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyButtons {
    /// One to three.
    pub buttons: Vec<ReplyButton>,
}

/// A button that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ReplyButton {
    /// The only sort there is.
    Reply {
        /// The answer.
        reply: Reply,
    },
}

/// An answer to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// What comes back; ours to choose.
    pub id: Text,
    /// What is read on the button.
    pub title: Text,
}

/// A list that opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListOfRows {
    /// What is read on the button that opens it.
    pub button: Text,
    /// One to ten parts.
    pub sections: Vec<RowSection>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowSection {
    /// Its title, required where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// What can be chosen.
    pub rows: Vec<Row>,
}

/// A row of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What comes back; ours to choose.
    pub id: Text,
    /// What is read.
    pub title: Text,
    /// Small words under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text>,
}

/// A button that opens a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", content = "parameters", rename_all = "snake_case")]
pub enum OpenPage {
    /// The only sort there is.
    CtaUrl {
        /// What is read on the button.
        display_text: Text,
        /// The page.
        url: Text,
    },
}

/// A button that opens a form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", content = "parameters", rename_all = "snake_case")]
pub enum OpenFlow {
    /// The only sort there is.
    Flow(FlowParameters),
}

/// Which form, and how it opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowParameters {
    /// The version of this message's shape.
    #[serde(default = "flow_version")]
    pub flow_message_version: Text,
    /// What the form's answers are known by; ours to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_token: Option<Text>,
    /// The form, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_id: Option<Text>,
    /// The form, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_name: Option<Text>,
    /// What is read on the button.
    pub flow_cta: Text,
    /// A draft, for those who test it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FlowMode>,
    /// What opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_action: Option<FlowAction>,
    /// The first screen and what it begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_action_payload: Option<FlowPayload>,
}

fn flow_version() -> Text {
    Text::from("3")
}

/// Which state of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowMode {
    /// Not published yet.
    Draft,
    /// What everybody sees.
    Published,
}

/// What opens a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowAction {
    /// The phone shows a screen.
    Navigate,
    /// The form's server is asked.
    DataExchange,
}

/// The first screen of a form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowPayload {
    /// Which.
    pub screen: Text,
    /// What it begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RawJson>,
}

/// One product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneProduct {
    /// The catalogue.
    pub catalog_id: Text,
    /// The product in it.
    pub product_retailer_id: Text,
}

/// Several products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Products {
    /// The catalogue.
    pub catalog_id: Text,
    /// One to ten parts.
    pub sections: Vec<ProductSection>,
}

/// A part of a list of products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductSection {
    /// Its title, required where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// The products.
    pub product_items: Vec<ProductItem>,
}

/// A product in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductItem {
    /// The product in the catalogue.
    pub product_retailer_id: Text,
}

/// Asks where somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum AskLocation {
    /// The only sort there is.
    SendLocation,
}

const BODY: usize = 1_024;
const LIST_BODY: usize = 4_096;
const FOOTER: usize = 60;
const TITLE: usize = 60;

/// Which headers a sort of message may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Headers {
    None,
    Title,
    TitleRequired,
    Any,
}

impl InteractiveMessage {
    /// Could WhatsApp take it?
    ///
    /// # Errors
    /// [`InvalidContent`] for the first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidContent> {
        match self {
            Self::Button(message) => {
                message.frame(Headers::Any, Some(BODY))?;
                reply_buttons(&message.action.buttons)
            }
            Self::List(message) => {
                message.frame(Headers::Title, Some(LIST_BODY))?;
                list(&message.action)
            }
            Self::CtaUrl(message) => {
                message.frame(Headers::Any, Some(BODY))?;
                let OpenPage::CtaUrl { display_text, url } = &message.action;
                filled("action.parameters.display_text", display_text, 20)?;
                web_address("action.parameters.url", url)
            }
            Self::Flow(message) => {
                message.frame(Headers::Any, Some(BODY))?;
                let OpenFlow::Flow(parameters) = &message.action;
                flow(parameters).map_err(|error| error.within("action.parameters"))
            }
            Self::Product(message) => {
                message.frame(Headers::None, None)?;
                filled("action.catalog_id", &message.action.catalog_id, 64)?;
                filled(
                    "action.product_retailer_id",
                    &message.action.product_retailer_id,
                    256,
                )
            }
            Self::ProductList(message) => {
                message.frame(Headers::TitleRequired, Some(BODY))?;
                products(&message.action)
            }
            Self::LocationRequestMessage(message) => {
                message.frame(Headers::None, Some(BODY))?;
                match message.footer {
                    Some(_) => Err(InvalidContent::new("footer", "may not be there")),
                    None => Ok(()),
                }
            }
            Self::Raw(raw) => passed(raw),
        }
    }

    /// What a person reads: the words and what can be pressed.
    #[must_use]
    pub fn text_for_humans(&self) -> Text {
        let (body, options) = match self {
            Self::Button(message) => {
                let titles = message.action.buttons.iter();
                let titles = titles.map(|ReplyButton::Reply { reply }| reply.title.as_str());
                (message.words(), titles.collect())
            }
            Self::List(message) => {
                let rows = message.action.sections.iter().flat_map(|section| &section.rows);
                (message.words(), rows.map(|row| row.title.as_str()).collect())
            }
            Self::CtaUrl(message) => {
                let OpenPage::CtaUrl { display_text, .. } = &message.action;
                (message.words(), vec![display_text.as_str()])
            }
            Self::Flow(message) => {
                let OpenFlow::Flow(parameters) = &message.action;
                (message.words(), vec![parameters.flow_cta.as_str()])
            }
            Self::Product(message) => (message.words(), Vec::new()),
            Self::ProductList(message) => (message.words(), Vec::new()),
            Self::LocationRequestMessage(message) => (message.words(), Vec::new()),
            Self::Raw(raw) => {
                let body = raw.as_value().pointer("/body/text");
                (body.and_then(serde_json::Value::as_str), Vec::new())
            }
        };
        let mut text = body.unwrap_or("[interactive message]").to_owned();
        for option in options {
            text.push_str("\n- ");
            text.push_str(option);
        }
        Text::from(text)
    }
}

impl<A> Framed<A> {
    fn words(&self) -> Option<&str> {
        self.body.as_ref().map(|body| body.text.as_str())
    }

    /// `longest`: of the body, which must then be there.
    fn frame(&self, headers: Headers, longest: Option<usize>) -> Result<(), InvalidContent> {
        match (&self.header, headers) {
            (None, Headers::TitleRequired) => return Err(InvalidContent::new("header", "is missing")),
            (None, _) => {}
            (Some(_), Headers::None) => return Err(InvalidContent::new("header", "may not be there")),
            (Some(InteractiveHeader::Text { text }), _) => filled("header.text", text, TITLE)?,
            (Some(_), Headers::Title | Headers::TitleRequired) => {
                return Err(InvalidContent::new("header.type", "must be text"));
            }
            (Some(InteractiveHeader::Image { image }), Headers::Any) => image.validate("header.image")?,
            (Some(InteractiveHeader::Video { video }), Headers::Any) => video.validate("header.video")?,
            (Some(InteractiveHeader::Document { document }), Headers::Any) => {
                document.validate("header.document")?;
            }
        }
        match (&self.body, longest) {
            (Some(body), longest) => filled("body.text", &body.text, longest.unwrap_or(BODY))?,
            (None, Some(_)) => return Err(InvalidContent::new("body", "is missing")),
            (None, None) => {}
        }
        match &self.footer {
            Some(footer) => filled("footer.text", &footer.text, FOOTER),
            None => Ok(()),
        }
    }
}

fn reply_buttons(buttons: &[ReplyButton]) -> Result<(), InvalidContent> {
    counted("action.buttons", buttons.len(), 1, 3)?;
    for (position, ReplyButton::Reply { reply }) in buttons.iter().enumerate() {
        let place = format!("action.buttons[{position}].reply");
        filled(&format!("{place}.id"), &reply.id, 256)?;
        filled(&format!("{place}.title"), &reply.title, 20)?;
    }
    let replies = || buttons.iter().map(|ReplyButton::Reply { reply }| reply);
    distinct("action.buttons.reply.id", replies().map(|reply| &reply.id))?;
    distinct("action.buttons.reply.title", replies().map(|reply| &reply.title))
}

fn list(action: &ListOfRows) -> Result<(), InvalidContent> {
    filled("action.button", &action.button, 20)?;
    counted("action.sections", action.sections.len(), 1, 10)?;
    for (position, section) in action.sections.iter().enumerate() {
        let place = format!("action.sections[{position}]");
        section_title(&place, section.title.as_ref(), action.sections.len())?;
        counted(&format!("{place}.rows"), section.rows.len(), 1, 10)?;
        for (position, row) in section.rows.iter().enumerate() {
            let place = format!("{place}.rows[{position}]");
            filled(&format!("{place}.id"), &row.id, 200)?;
            filled(&format!("{place}.title"), &row.title, 24)?;
            if let Some(description) = &row.description {
                no_longer(&format!("{place}.description"), description, 72)?;
            }
        }
    }
    let rows = || action.sections.iter().flat_map(|section| &section.rows);
    counted("action.sections.rows", rows().count(), 1, 10)?;
    distinct("action.sections.rows.id", rows().map(|row| &row.id))
}

fn section_title(place: &str, title: Option<&Text>, sections: usize) -> Result<(), InvalidContent> {
    match title {
        Some(title) => filled(&format!("{place}.title"), title, 24),
        None if sections > 1 => Err(InvalidContent::new(format!("{place}.title"), "is missing")),
        None => Ok(()),
    }
}

fn flow(parameters: &FlowParameters) -> Result<(), InvalidContent> {
    match (&parameters.flow_id, &parameters.flow_name) {
        (Some(id), None) => filled("flow_id", id, 64)?,
        (None, Some(name)) => filled("flow_name", name, 256)?,
        (None, None) | (Some(_), Some(_)) => {
            return Err(InvalidContent::new(
                "flow_id",
                "or flow_name must be there, and only one of them",
            ));
        }
    }
    filled("flow_message_version", &parameters.flow_message_version, 8)?;
    filled("flow_cta", &parameters.flow_cta, 30)?;
    if parameters
        .flow_cta
        .as_str()
        .chars()
        .any(|c| u32::from(c) >= 0x1_F000)
    {
        return Err(InvalidContent::new("flow_cta", "may not hold an emoji"));
    }
    if let Some(token) = &parameters.flow_token {
        filled("flow_token", token, 512)?;
    }
    let Some(payload) = &parameters.flow_action_payload else {
        return Ok(());
    };
    if parameters.flow_action == Some(FlowAction::DataExchange) {
        return Err(InvalidContent::new(
            "flow_action_payload",
            "may be there with navigate only",
        ));
    }
    filled("flow_action_payload.screen", &payload.screen, 128)?;
    let is_filled = |data: &RawJson| data.as_value().as_object().is_some_and(|data| !data.is_empty());
    match &payload.data {
        Some(data) if !is_filled(data) => Err(InvalidContent::new(
            "flow_action_payload.data",
            "must be an object with something in it",
        )),
        _ => Ok(()),
    }
}

fn products(action: &Products) -> Result<(), InvalidContent> {
    filled("action.catalog_id", &action.catalog_id, 64)?;
    counted("action.sections", action.sections.len(), 1, 10)?;
    for (position, section) in action.sections.iter().enumerate() {
        let place = format!("action.sections[{position}]");
        section_title(&place, section.title.as_ref(), action.sections.len())?;
        counted(
            &format!("{place}.product_items"),
            section.product_items.len(),
            1,
            30,
        )?;
        for (position, item) in section.product_items.iter().enumerate() {
            let place = format!("{place}.product_items[{position}].product_retailer_id");
            filled(&place, &item.product_retailer_id, 256)?;
        }
    }
    let items = action.sections.iter().map(|section| section.product_items.len());
    counted("action.sections.product_items", items.sum(), 1, 30)
}

/// The known sorts without the refuge of [`InteractiveMessage::Raw`], to say what is amiss.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "read for its errors only")]
enum Known {
    Button(Framed<ReplyButtons>),
    List(Framed<ListOfRows>),
    CtaUrl(Framed<OpenPage>),
    Flow(Framed<OpenFlow>),
    Product(Framed<OneProduct>),
    ProductList(Framed<Products>),
    LocationRequestMessage(Framed<AskLocation>),
}

fn passed(raw: &RawJson) -> Result<(), InvalidContent> {
    match type_of(raw) {
        Some(
            "button" | "list" | "cta_url" | "flow" | "product" | "product_list" | "location_request_message",
        ) => Err(InvalidContent::new("interactive", misshapen::<Known>(raw))),
        Some("carousel") => {
            passed_on(raw)?;
            let cards = raw
                .as_value()
                .pointer("/action/cards")
                .and_then(serde_json::Value::as_array);
            counted("action.cards", cards.map_or(0, Vec::len), 2, 10)
        }
        _ => passed_on(raw),
    }
}
