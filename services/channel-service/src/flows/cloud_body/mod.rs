//! Orders to send as the WhatsApp Cloud API writes them (contract meta-cloud-api 3.1 to 3.3), and what they mean here: for
//! our own API and for the gate. Ids of messages and files are kept as they were written: what they mean is known to whoever
//! gave them out.
//!
//! Whatever cannot be meant is refused with the field and the rule, before anything is queued. A flow may also stand at the
//! top, as older clients write it: it becomes the interactive message that it is on the wire.

mod contact_card;

use domain::address::{ChatAddress, PhoneNumber, UserId};
use domain::ids::ProviderMessageId;
use domain::message::{
    GraphFile, InteractiveMessage, InvalidContent, Media, MediaId, MediaKind, MediaSource, MessageContent,
    TemplateMessage,
};
use domain::text::Text;
use serde_json::{Map, Value, json};

use crate::flows::identifier::can_be_written_to;
use crate::flows::load_media::web_address;
use contact_card::cards;

/// Longest words of a text.
const LONGEST_TEXT: usize = 4_096;
/// Longest words under a file.
const LONGEST_CAPTION: usize = 1_024;
/// Longest name of a file, and of a place.
const LONGEST_NAME: usize = 240;
/// Longest reference of the caller's.
const LONGEST_REFERENCE: usize = 512;

/// What a body asks for.
#[derive(Debug)]
pub enum Asked {
    /// A message to be sent.
    Send(Box<Message>),
    /// A message that came is marked as read, and perhaps somebody is shown to be writing.
    Read {
        /// Which.
        message: ProviderMessageId,
        /// Somebody is writing an answer.
        typing: bool,
    },
}

/// A message to be sent.
#[derive(Debug)]
pub struct Message {
    /// To whom.
    pub to: ChatAddress,
    /// What. A file is one of Meta's or of the gate's by its id, or lies at an address.
    pub content: MessageContent,
    /// The message it answers.
    pub answers: Option<ProviderMessageId>,
    /// Repeated in what is told of it.
    pub reference: Option<String>,
}

type Read<T> = Result<T, InvalidContent>;

fn broken(field: impl Into<String>, reason: &'static str) -> InvalidContent {
    InvalidContent::new(field, reason)
}

/// Reads a body. Fields that are not of the contract are the caller's business.
///
/// # Errors
/// [`InvalidContent`] for the first field that cannot be meant.
pub fn read(body: &Map<String, Value>) -> Read<Asked> {
    if let Some(product) = filled(body, "messaging_product")
        && product != "whatsapp"
    {
        return Err(broken("messaging_product", "must be whatsapp"));
    }
    match given(body, "status") {
        None => message(body).map(|message| Asked::Send(Box::new(message))),
        Some(Value::String(status)) if status == "read" => mark(body),
        Some(_) => Err(broken("status", "must be read")),
    }
}

fn mark(body: &Map<String, Value>) -> Read<Asked> {
    let typing = match given(body, "typing_indicator") {
        None => false,
        Some(Value::Object(indicator)) if filled(indicator, "type") == Some("text") => true,
        Some(_) => return Err(broken("typing_indicator.type", "must be text")),
    };
    let message = message_id(body, "message_id")?;
    Ok(Asked::Read { message, typing })
}

fn message(body: &Map<String, Value>) -> Read<Message> {
    let to = recipient(body)?;
    let kind = match given(body, "type") {
        None => "text",
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(broken("type", "must be a text")),
    };
    let content = content(body, kind)?;
    let answers = match given(body, "context") {
        None => None,
        Some(Value::Object(context)) => {
            Some(message_id(context, "message_id").map_err(|error| error.within("context"))?)
        }
        Some(_) => return Err(broken("context", "must be an object")),
    };
    let reference = match given(body, "biz_opaque_callback_data") {
        None => None,
        Some(Value::String(text)) if fits(text, LONGEST_REFERENCE) => Some(text.clone()),
        Some(_) => {
            return Err(broken(
                "biz_opaque_callback_data",
                "must be a text of at most 512 characters",
            ));
        }
    };
    Ok(Message {
        to,
        content,
        // A reaction is about a message already.
        answers: answers.filter(|_| kind != "reaction"),
        reference,
    })
}

/// A phone, a group, or in `recipient` a user id. A user id in `to` would be taken by Meta and then lost.
fn recipient(body: &Map<String, Value>) -> Read<ChatAddress> {
    let is_group = match given(body, "recipient_type") {
        None => false,
        Some(Value::String(kind)) if kind == "individual" => false,
        Some(Value::String(kind)) if kind == "group" => true,
        Some(_) => return Err(broken("recipient_type", "must be individual or group")),
    };
    let to = given(body, "to")
        .filter(|to| to.as_str() != Some(""))
        .map(|to| scalar(to).ok_or_else(|| broken("to", "must be a text")));
    match to.transpose()? {
        Some(to) if to.contains('@') => {
            let address = ChatAddress::parse(&to).map_err(|_| broken("to", "is no address"))?;
            can_be_written_to(&address)
                .then_some(address)
                .filter(|address| !matches!(address, ChatAddress::Visitor(_)))
                .ok_or_else(|| broken("to", "is nobody that can be written to"))
        }
        Some(to) if is_group => ChatAddress::parse(&format!("{to}@g.us"))
            .map_err(|_| broken("to", "must be a group's id, or its address, which ends in @g.us")),
        Some(to) => phone(&to).ok_or_else(|| {
            broken(
                "to",
                "must be a phone number with its country code: digits, with or without a plus sign",
            )
        }),
        None => match given(body, "recipient") {
            None => Err(InvalidContent::missing("to")),
            Some(Value::String(user)) => UserId::parse(user)
                .map(ChatAddress::User)
                .map_err(|_| broken("recipient", "must be a user id")),
            Some(_) => Err(broken("recipient", "must be a text")),
        },
    }
}

fn phone(text: &str) -> Option<ChatAddress> {
    let digits: String = text
        .trim()
        .chars()
        .filter(|c| !matches!(c, ' ' | '(' | ')' | '-'))
        .collect();
    let digits = digits.strip_prefix('+').unwrap_or(&digits);
    let phone = PhoneNumber::parse(digits).ok()?;
    (!digits.starts_with('0')).then_some(ChatAddress::Phone(phone))
}

fn content(body: &Map<String, Value>, kind: &str) -> Read<MessageContent> {
    let part = |name: &str| match given(body, name) {
        Some(Value::Object(part)) => Ok(part),
        Some(_) => Err(broken(name, "must be an object")),
        None => Err(InvalidContent::missing(name)),
    };
    let within = |error: InvalidContent| error.within(kind);
    match kind {
        "text" => {
            let text = words(part(kind)?, "body", LONGEST_TEXT).map_err(within)?;
            let text = text.ok_or_else(|| InvalidContent::missing("text.body"))?;
            Ok(MessageContent::Text { text })
        }
        "image" => file(part(kind)?, MediaKind::Image).map_err(within),
        "video" => file(part(kind)?, MediaKind::Video).map_err(within),
        "audio" => file(part(kind)?, MediaKind::Audio).map_err(within),
        "document" => file(part(kind)?, MediaKind::Document).map_err(within),
        "sticker" => file(part(kind)?, MediaKind::Sticker).map_err(within),
        "location" => place(part(kind)?).map_err(within),
        "contacts" => match given(body, kind) {
            Some(Value::Array(contacts)) => cards(contacts),
            Some(_) => Err(broken(kind, "must be a list")),
            None => Err(InvalidContent::missing(kind)),
        },
        "reaction" => reaction(part(kind)?).map_err(within),
        "template" => template(part(kind)?),
        "interactive" => interactive(Value::Object(part(kind)?.clone()), "interactive"),
        "flow" => interactive(flow(part(kind)?)?, "flow"),
        _ => Err(broken(
            "type",
            "must be text, template, image, video, audio, document, sticker, location, contacts, reaction, interactive or flow",
        )),
    }
}

fn file(part: &Map<String, Value>, kind: MediaKind) -> Read<MessageContent> {
    let source = match (given(part, "id").and_then(scalar), filled(part, "link")) {
        (Some(id), None) => {
            let id = MediaId::parse(id).map_err(|_| broken("id", "is no id of a file"))?;
            MediaSource::Graph(GraphFile { id, sha256: None })
        }
        (None, Some(link)) => {
            let url = web_address(link)
                .filter(|url| url.as_str().len() <= 2_000)
                .ok_or_else(|| {
                    broken(
                        "link",
                        "must be an http or https address of at most 2000 characters",
                    )
                })?;
            MediaSource::Link { url: url.into() }
        }
        (None, None) | (Some(_), Some(_)) => {
            return Err(broken("id", "or link must be there, and only one of them"));
        }
    };
    let caption = words(part, "caption", LONGEST_CAPTION)?;
    if caption.is_some() && matches!(kind, MediaKind::Audio | MediaKind::Sticker) {
        return Err(broken("caption", "may not be there"));
    }
    // Of other files nobody is shown a name.
    let file_name = words(part, "filename", LONGEST_NAME)?.filter(|_| kind == MediaKind::Document);
    let media_kind = match given(part, "voice") {
        None | Some(Value::Bool(false)) => kind,
        Some(Value::Bool(true)) if kind == MediaKind::Audio => MediaKind::Voice,
        Some(_) => return Err(broken("voice", "must be true or false, with audio only")),
    };
    Ok(MessageContent::Media(Media {
        media_kind,
        caption,
        mime_type: None,
        file_name,
        size: None,
        seconds: None,
        sha256: None,
        sources: vec![source],
    }))
}

fn place(part: &Map<String, Value>) -> Read<MessageContent> {
    let degrees = |field: &'static str, most: f64| {
        let value = given(part, field).ok_or_else(|| InvalidContent::missing(field))?;
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .filter(|degrees: &f64| degrees.abs() <= most)
            .ok_or_else(|| broken(field, "must be a number of degrees on earth"))
    };
    Ok(MessageContent::Location {
        latitude: degrees("latitude", 90.0)?,
        longitude: degrees("longitude", 180.0)?,
        name: words(part, "name", LONGEST_TEXT)?,
        address: words(part, "address", LONGEST_TEXT)?,
        live: false,
    })
}

fn reaction(part: &Map<String, Value>) -> Read<MessageContent> {
    let target = message_id(part, "message_id")?;
    let emoji = match given(part, "emoji") {
        None => {
            return Err(broken(
                "emoji",
                "is missing; an empty one takes the reaction away",
            ));
        }
        Some(Value::String(emoji)) if fits(emoji, 32) => {
            Some(Text::new(emoji)).filter(|emoji| !emoji.is_empty())
        }
        Some(_) => return Err(broken("emoji", "must be an emoji")),
    };
    Ok(MessageContent::Reaction { target, emoji })
}

fn template(part: &Map<String, Value>) -> Read<MessageContent> {
    let mut part = part.clone();
    // `namespace` and `language.policy` are of older versions, and ignored by Meta.
    part.remove("namespace");
    for (field, holds) in [("name", "a text"), ("language", "an object with a code")] {
        let is_there = match part.get(field) {
            Some(Value::String(_)) => field == "name",
            Some(Value::Object(language)) => field == "language" && filled(language, "code").is_some(),
            _ => false,
        };
        if !is_there {
            return Err(InvalidContent::new(
                format!("template.{field}"),
                format!("must be {holds}"),
            ));
        }
    }
    let template: TemplateMessage = serde_json::from_value(Value::Object(part))
        .map_err(|_| broken("template.components", "must be a list of components"))?;
    template.validate().map_err(|error| error.within("template"))?;
    Ok(MessageContent::Template { template })
}

fn interactive(part: Value, written_as: &str) -> Read<MessageContent> {
    let interactive: InteractiveMessage = serde_json::from_value(part)
        .map_err(|_| broken(written_as, "does not have the shape of its type"))?;
    interactive.validate().map_err(|error| error.within(written_as))?;
    Ok(MessageContent::Interactive {
        interactive: Box::new(interactive),
    })
}

/// A flow at the top of a body: its parameters beside what stands around the button.
fn flow(part: &Map<String, Value>) -> Read<Value> {
    let nested = part.get("action").and_then(|action| action.get("parameters"));
    let parameters = nested.and_then(Value::as_object).unwrap_or(part);
    let mut wire = Map::new();
    for name in [
        "flow_message_version",
        "flow_token",
        "flow_id",
        "flow_name",
        "flow_cta",
        "mode",
        "flow_action",
        "flow_action_payload",
    ] {
        let short = name.strip_prefix("flow_").unwrap_or(name);
        if let Some(value) = given(parameters, name).or_else(|| given(parameters, short)) {
            wire.insert(name.to_owned(), value.clone());
        }
    }
    wire.entry("flow_message_version").or_insert_with(|| json!("3"));
    for (name, needed) in [
        ("flow_cta", !wire.contains_key("flow_cta")),
        ("body", !part.contains_key("body")),
    ] {
        if needed {
            return Err(InvalidContent::missing(format!("flow.{name}")));
        }
    }
    let mut message = json!({"type": "flow", "action": {"name": "flow", "parameters": wire}});
    for name in ["header", "body", "footer"] {
        match given(part, name) {
            // Words alone are the words.
            Some(Value::String(text)) if name == "header" => {
                message[name] = json!({"type": "text", "text": text});
            }
            Some(Value::String(text)) => message[name] = json!({"text": text}),
            Some(other) => message[name] = other.clone(),
            None => {}
        }
    }
    Ok(message)
}

fn given<'a>(part: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    part.get(name).filter(|value| !value.is_null())
}

fn filled<'a>(part: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    part.get(name)?
        .as_str()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn fits(text: &str, most: usize) -> bool {
    text.chars().nth(most).is_none() && !text.contains('\0')
}

/// Words that may be missing. Blank ones are none.
fn words(part: &Map<String, Value>, field: &'static str, most: usize) -> Read<Option<Text>> {
    match given(part, field) {
        None => Ok(None),
        Some(Value::String(text)) if text.chars().nth(most).is_some() => Err(InvalidContent::new(
            field,
            format!("has more than {most} characters"),
        )),
        Some(Value::String(text)) => {
            let text = Text::new(text);
            Ok(Some(text).filter(|text| !text.as_str().trim().is_empty()))
        }
        Some(_) => Err(broken(field, "must be a text")),
    }
}

fn message_id(part: &Map<String, Value>, field: &'static str) -> Read<ProviderMessageId> {
    let id = filled(part, field).ok_or_else(|| InvalidContent::missing(field))?;
    ProviderMessageId::parse(id).map_err(|_| broken(field, "is no id of a message"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn send(mut body: Value) -> Read<Message> {
        body["messaging_product"] = json!("whatsapp");
        if body.get("to").is_none() && body.get("recipient").is_none() {
            body["to"] = json!("+62 811-0000-001");
        }
        match read(body.as_object().unwrap())? {
            Asked::Send(message) => Ok(*message),
            Asked::Read { .. } => panic!("a read mark"),
        }
    }

    #[test]
    fn each_kind_is_read() {
        for (body, kind) in [
            (json!({"text": {"body": "Halo"}}), "text"),
            (
                json!({"type": "image", "image": {"id": "19", "caption": "Peta"}}),
                "image",
            ),
            (
                json!({"type": "video", "video": {"link": "https://cdn.example.test/v.mp4"}}),
                "video",
            ),
            (
                json!({"type": "audio", "audio": {"id": 19, "voice": true}}),
                "voice",
            ),
            (json!({"type": "audio", "audio": {"id": "19"}}), "audio"),
            (
                json!({"type": "document", "document": {"id": "19", "filename": "a.pdf"}}),
                "document",
            ),
            (json!({"type": "sticker", "sticker": {"id": "19"}}), "sticker"),
            (
                json!({"type": "location", "location": {"latitude": "-6.1", "longitude": 106.8}}),
                "location",
            ),
            (
                json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "Budi", "first_name": "Budi"},
                "phones": [{"phone": "+628110000002", "wa_id": "628110000002"}]}]}),
                "contact",
            ),
            (
                json!({"type": "reaction", "reaction": {"message_id": "wamid.A==", "emoji": "👍"}}),
                "reaction",
            ),
            (
                json!({"type": "template", "template": {"name": "halo", "language": {"code": "id"}}}),
                "template",
            ),
            (
                json!({"type": "interactive", "interactive": {"type": "button", "body": {"text": "Hadir?"},
                "action": {"buttons": [{"type": "reply", "reply": {"id": "1", "title": "Ya"}}]}}}),
                "interactive",
            ),
        ] {
            let sent = send(body).unwrap();
            assert_eq!(sent.content.kind().as_str(), kind);
            assert_eq!(
                sent.to,
                ChatAddress::Phone(PhoneNumber::parse("628110000001").unwrap())
            );
        }
    }

    #[test]
    fn a_card_cannot_leave_its_line() {
        let sent =
            send(json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "A\r\nTEL:1;x"}}]}));
        let MessageContent::Contacts { contacts } = sent.unwrap().content else {
            panic!("no contacts");
        };
        let card = contacts[0].vcard.as_ref().unwrap().as_str();
        assert!(card.contains("\nFN:A\\nTEL:1\\;x\n"), "{card}");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_its_field() {
        for (body, says) in [
            (json!({"text": {"body": " "}}), "text.body is missing"),
            (json!({"text": "Halo"}), "text must be an object"),
            (
                json!({"text": {"body": "x".repeat(4_097)}}),
                "text.body has more than 4096 characters",
            ),
            (
                json!({"type": "image", "image": {}}),
                "image.id or link must be there, and only one of them",
            ),
            (
                json!({"type": "image", "image": {"link": "ftp://x"}}),
                "image.link must be an http or https address of at most 2000 characters",
            ),
            (
                json!({"type": "audio", "audio": {"id": "1", "caption": "x"}}),
                "audio.caption may not be there",
            ),
            (
                json!({"type": "location", "location": {"latitude": 91, "longitude": 0}}),
                "location.latitude must be a number of degrees on earth",
            ),
            (json!({"type": "flow", "flow": {}}), "flow.flow_cta is missing"),
            (
                json!({"to": "abc", "text": {"body": "x"}}),
                "to must be a phone number with its country code: digits, with or without a plus sign",
            ),
            (
                json!({"recipient": "a b", "text": {"body": "x"}}),
                "recipient must be a user id",
            ),
        ] {
            assert_eq!(send(body).unwrap_err().to_string(), says);
        }
    }
}
