//! From the body that clients of Meta's Cloud API write to a message of ours (Cloud API contract 3.1 to 3.3).
//!
//! Ids of messages and files are kept as they were written: what they mean is known to whoever gave them out.

use std::borrow::Cow;

use domain::address::{ChatAddress, PhoneNumber, UserId};
use domain::ids::ProviderMessageId;
use domain::message::{
    ContactCard, GraphFile, InteractiveMessage, InvalidContent, Media, MediaId, MediaKind, MediaSource,
    MessageContent, TemplateMessage,
};
use domain::text::Text;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Longest words of a text.
const LONGEST_TEXT: usize = 4_096;
/// Longest words under a file.
const LONGEST_CAPTION: usize = 1_024;
/// Longest words that are repeated in statuses.
const LONGEST_CALLBACK: usize = 512;
/// Most contacts of one message.
const MOST_CONTACTS: usize = 257;

/// What a body asks for.
#[derive(Debug)]
pub enum CloudBody {
    /// Send a message.
    Send(Box<CloudSend>),
    /// Mark a message as read.
    Read {
        /// Which, as it was written.
        message: String,
        /// Show that an answer is being written, too.
        typing: bool,
    },
}

/// A message to be sent.
#[derive(Debug)]
pub struct CloudSend {
    /// To whom, as it was written.
    pub input: String,
    /// To whom.
    pub to: Recipient,
    /// What. A file is a [`MediaSource::Graph`] under the id it was uploaded as, or a [`MediaSource::Link`].
    pub content: MessageContent,
    /// The message it answers, as it was written.
    pub reply_to: Option<String>,
    /// What is repeated in statuses.
    pub callback_data: Option<String>,
}

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// Somebody's number.
    Phone(PhoneNumber),
    /// Somebody's user id.
    User(UserId),
    /// A group, by the id it has in webhooks.
    Group(ChatAddress),
}

/// Why a body cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    /// A field is missing.
    #[error("{0} is required")]
    Missing(String),
    /// A field holds what it may not.
    #[error(transparent)]
    Invalid(#[from] InvalidContent),
    /// There is no such kind of message, or it is not sent.
    #[error("messages of the type {0} are not sent")]
    Kind(String),
}

type Read<T> = Result<T, BodyRefusal>;

/// Reads a body.
///
/// # Errors
/// [`BodyRefusal`], for the first thing that is wrong.
pub fn read(body: &Value) -> Read<CloudBody> {
    let body = Fields::of(body, "")?;
    if body.required_text("messaging_product")? != "whatsapp" {
        return Err(invalid("messaging_product", "must be whatsapp"));
    }
    if let Some(status) = body.text("status")? {
        if status != "read" {
            return Err(invalid("status", "must be read"));
        }
        return Ok(CloudBody::Read {
            message: body.required_text("message_id")?.to_owned(),
            typing: body.object("typing_indicator")?.is_some(),
        });
    }
    let (input, to) = recipient(&body)?;
    let kind = body.text("type")?.unwrap_or("text");
    let content = content(kind, &body)?;
    let is_reaction = matches!(content, MessageContent::Reaction { .. });
    let context = body.object("context")?;
    let reply_to = match context {
        Some(context) => context.text("message_id")?.map(str::to_owned),
        None => None,
    };
    let callback_data = body.text("biz_opaque_callback_data")?;
    if callback_data.is_some_and(|text| text.chars().count() > LONGEST_CALLBACK || text.contains('\0')) {
        return Err(invalid(
            "biz_opaque_callback_data",
            "has more than 512 characters",
        ));
    }
    Ok(CloudBody::Send(Box::new(CloudSend {
        input,
        to,
        content,
        reply_to: reply_to.filter(|_| !is_reaction),
        callback_data: callback_data.map(str::to_owned),
    })))
}

fn recipient(body: &Fields<'_>) -> Read<(String, Recipient)> {
    let group = match body.text("recipient_type")? {
        None | Some("individual") => false,
        Some("group") => true,
        Some(_) => return Err(invalid("recipient_type", "must be individual or group")),
    };
    // With both, `to` counts.
    let Some(to) = body.scalar("to")?.filter(|to| !to.is_empty()) else {
        let user = body
            .text("recipient")?
            .ok_or_else(|| BodyRefusal::Missing("to".to_owned()))?;
        let id = UserId::parse(user).map_err(|_| invalid("recipient", "must be a user id"))?;
        return Ok((user.to_owned(), Recipient::User(id)));
    };
    if group {
        let plain = to
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let address = ChatAddress::parse(&format!("{to}@g.us")).ok().filter(|_| plain);
        let address = address.ok_or_else(|| invalid("to", "must be a group's id"))?;
        return Ok((to.into_owned(), Recipient::Group(address)));
    }
    let digits: String = to
        .chars()
        .filter(|c| !matches!(c, ' ' | '(' | ')' | '-' | '+'))
        .collect();
    let phone = PhoneNumber::parse(&digits)
        .map_err(|_| invalid("to", "must be a phone number with its country code"))?;
    Ok((to.into_owned(), Recipient::Phone(phone)))
}

fn content(kind: &str, body: &Fields<'_>) -> Read<MessageContent> {
    let part = || body.required_object(kind);
    Ok(match kind {
        "text" => {
            let words = part()?.required_words("body", LONGEST_TEXT)?;
            MessageContent::Text { text: words }
        }
        "image" => file(MediaKind::Image, &part()?)?,
        "video" => file(MediaKind::Video, &part()?)?,
        "audio" => file(MediaKind::Audio, &part()?)?,
        "document" => file(MediaKind::Document, &part()?)?,
        "sticker" => file(MediaKind::Sticker, &part()?)?,
        "location" => location(&part()?)?,
        "contacts" => contacts(body)?,
        "reaction" => {
            let reaction = part()?;
            let target = reaction.required_text("message_id")?;
            let target = ProviderMessageId::parse(target)
                .map_err(|_| invalid("reaction.message_id", "is no message's id"))?;
            let emoji = reaction.words("emoji", 32)?.filter(|emoji| !emoji.is_empty());
            MessageContent::Reaction { target, emoji }
        }
        "template" => {
            let template: TemplateMessage = typed("template", body)?;
            template.validate().map_err(|error| error.within("template"))?;
            MessageContent::Template { template }
        }
        "interactive" => {
            let interactive: InteractiveMessage = typed("interactive", body)?;
            interactive
                .validate()
                .map_err(|error| error.within("interactive"))?;
            MessageContent::Interactive {
                interactive: Box::new(interactive),
            }
        }
        other => return Err(BodyRefusal::Kind(other.chars().take(40).collect())),
    })
}

fn file(kind: MediaKind, part: &Fields<'_>) -> Read<MessageContent> {
    let source = match (part.scalar("id")?, part.text("link")?) {
        (Some(id), None) => {
            let id =
                MediaId::parse(id.into_owned()).map_err(|_| invalid(&part.path("id"), "is no media id"))?;
            MediaSource::Graph(GraphFile { id, sha256: None })
        }
        (None, Some(link)) => {
            if super::load_media::web_address(link).is_none() || link.len() > 2_000 {
                return Err(invalid(&part.path("link"), "must be an http or https address"));
            }
            MediaSource::Link { url: link.to_owned() }
        }
        _ => return Err(invalid(&part.at, "must have exactly one of id and link")),
    };
    let captioned = !matches!(kind, MediaKind::Audio | MediaKind::Sticker);
    let caption = part.words("caption", LONGEST_CAPTION)?;
    if caption.is_some() && !captioned {
        return Err(invalid(&part.path("caption"), "is not possible here"));
    }
    let voice = kind == MediaKind::Audio && part.map.get("voice") == Some(&Value::Bool(true));
    Ok(MessageContent::Media(Media {
        media_kind: if voice { MediaKind::Voice } else { kind },
        caption: caption.filter(|caption| !caption.is_empty()),
        mime_type: None,
        file_name: part.words("filename", Media::MAX_FILE_NAME)?,
        size: None,
        seconds: None,
        sha256: None,
        sources: vec![source],
    }))
}

fn location(part: &Fields<'_>) -> Read<MessageContent> {
    let degrees = |name: &'static str, most: f64| -> Read<f64> {
        let text = part
            .scalar(name)?
            .ok_or_else(|| BodyRefusal::Missing(part.path(name)))?;
        let degrees: Option<f64> = text.trim().parse().ok();
        degrees
            .filter(|degrees| degrees.abs() <= most)
            .ok_or_else(|| invalid(&part.path(name), "must be degrees"))
    };
    Ok(MessageContent::Location {
        latitude: degrees("latitude", 90.0)?,
        longitude: degrees("longitude", 180.0)?,
        name: part.words("name", 1_000)?,
        address: part.words("address", 1_000)?,
        live: false,
    })
}

fn contacts(body: &Fields<'_>) -> Read<MessageContent> {
    let cards = match body.map.get("contacts") {
        Some(Value::Array(cards)) if (1..=MOST_CONTACTS).contains(&cards.len()) => cards,
        Some(_) => return Err(invalid("contacts", "must have 1 to 257 entries")),
        None => return Err(BodyRefusal::Missing("contacts".to_owned())),
    };
    let mut contacts = Vec::with_capacity(cards.len());
    for (at, card) in cards.iter().enumerate() {
        let place = format!("contacts[{at}]");
        let card = Fields::of(card, &place)?;
        let name = card.required_object("name")?;
        let shown = name.required_words("formatted_name", 500)?;
        contacts.push(ContactCard {
            vcard: Some(vcard(&shown, &name, &card)?),
            display_name: shown,
        });
    }
    Ok(MessageContent::Contacts { contacts })
}

/// A card in the form that every provider takes (vCard 3.0).
fn vcard(shown: &Text, name: &Fields<'_>, card: &Fields<'_>) -> Read<Text> {
    let part = |of: &Fields<'_>, field: &'static str| -> Read<String> {
        Ok(of.scalar(field)?.map(|text| escaped(&text)).unwrap_or_default())
    };
    let mut lines = vec!["BEGIN:VCARD".to_owned(), "VERSION:3.0".to_owned()];
    lines.push(format!(
        "N:{};{};{};{};{}",
        part(name, "last_name")?,
        part(name, "first_name")?,
        part(name, "middle_name")?,
        part(name, "prefix")?,
        part(name, "suffix")?
    ));
    lines.push(format!("FN:{}", escaped(shown.as_str())));
    if let Some(org) = card.object("org")? {
        lines.push(format!(
            "ORG:{};{}",
            part(&org, "company")?,
            part(&org, "department")?
        ));
        lines.push(format!("TITLE:{}", part(&org, "title")?));
    }
    for phone in card.list("phones")? {
        let number = part(&phone, "phone")?;
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let waid: String = part(&phone, "wa_id")?
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        let kind: String = part(&phone, "type")?
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let kind = if kind.is_empty() { "CELL".to_owned() } else { kind };
        if waid.is_empty() {
            let number = if number.is_empty() { digits } else { number };
            lines.push(format!("TEL;type={kind}:{number}"));
        } else {
            let number = if number.is_empty() {
                format!("+{waid}")
            } else {
                number
            };
            lines.push(format!("TEL;type={kind};waid={waid}:{number}"));
        }
    }
    for email in card.list("emails")? {
        lines.push(format!("EMAIL:{}", part(&email, "email")?));
    }
    for url in card.list("urls")? {
        lines.push(format!("URL:{}", part(&url, "url")?));
    }
    for address in card.list("addresses")? {
        lines.push(format!(
            "ADR:;;{};{};{};{};{}",
            part(&address, "street")?,
            part(&address, "city")?,
            part(&address, "state")?,
            part(&address, "zip")?,
            part(&address, "country")?
        ));
    }
    if let Some(birthday) = card.text("birthday")? {
        lines.push(format!("BDAY:{}", escaped(birthday)));
    }
    lines.push("END:VCARD".to_owned());
    Ok(Text::new(&lines.join("\n")))
}

/// A value cannot end its line or its field.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\r' => {}
            '\n' => escaped.push_str("\\n"),
            ',' | ';' | '\\' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn typed<T: DeserializeOwned>(name: &str, body: &Fields<'_>) -> Read<T> {
    let part = body.required_object(name)?;
    let value = Value::Object(part.map.clone());
    // A reader's words may hold what was written; only what names a field of ours is repeated.
    serde_json::from_value(value).map_err(|error| {
        let told = error.to_string();
        let rule = if told.starts_with("missing field") {
            Cow::Owned(told)
        } else {
            Cow::Borrowed("does not have the shape of its type")
        };
        InvalidContent::new(name, rule).into()
    })
}

fn invalid(field: &str, rule: &'static str) -> BodyRefusal {
    InvalidContent::new(field, rule).into()
}

/// An object and where it stands.
struct Fields<'a> {
    map: &'a Map<String, Value>,
    at: String,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, at: &str) -> Read<Self> {
        match value {
            Value::Object(map) => Ok(Self {
                map,
                at: at.to_owned(),
            }),
            _ if at.is_empty() => Err(invalid("body", "must be an object")),
            _ => Err(invalid(at, "must be an object")),
        }
    }

    fn path(&self, name: &str) -> String {
        if self.at.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.at)
        }
    }

    /// A missing field and null are alike.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Read<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(&self.path(name), "must be a text")),
        }
    }

    fn required_text(&self, name: &str) -> Read<&'a str> {
        self.text(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| BodyRefusal::Missing(self.path(name)))
    }

    /// A text, or a number as it would be written.
    fn scalar(&self, name: &str) -> Read<Option<Cow<'a, str>>> {
        match self.get(name) {
            Some(Value::Number(number)) => Ok(Some(Cow::Owned(number.to_string()))),
            _ => Ok(self.text(name)?.map(Cow::Borrowed)),
        }
    }

    fn words(&self, name: &str, most: usize) -> Read<Option<Text>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        if text.chars().nth(most).is_some() {
            let rule = format!("has more than {most} characters");
            return Err(InvalidContent::new(self.path(name), rule).into());
        }
        Ok(Some(Text::new(text)))
    }

    fn required_words(&self, name: &str, most: usize) -> Read<Text> {
        self.words(name, most)?
            .filter(|words| !words.as_str().trim().is_empty())
            .ok_or_else(|| BodyRefusal::Missing(self.path(name)))
    }

    fn object(&self, name: &str) -> Read<Option<Self>> {
        self.get(name)
            .map(|value| Self::of(value, &self.path(name)))
            .transpose()
    }

    fn required_object(&self, name: &str) -> Read<Self> {
        self.object(name)?
            .ok_or_else(|| BodyRefusal::Missing(self.path(name)))
    }

    /// Objects, at most twenty; none where nobody says any.
    fn list(&self, name: &str) -> Read<Vec<Self>> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() <= 20 => items
                .iter()
                .map(|item| Self::of(item, &self.path(name)))
                .collect(),
            Some(_) => Err(invalid(&self.path(name), "must be a list of at most 20 entries")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn send(mut body: Value) -> Result<CloudSend, BodyRefusal> {
        body["messaging_product"] = json!("whatsapp");
        if body.get("to").is_none() && body.get("recipient").is_none() {
            body["to"] = json!("+62 811-0000-001");
        }
        match read(&body)? {
            CloudBody::Send(send) => Ok(*send),
            CloudBody::Read { .. } => panic!("a read mark"),
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
                Recipient::Phone(PhoneNumber::parse("628110000001").unwrap())
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
            (json!({"text": {"body": " "}}), "text.body is required"),
            (json!({"text": "Halo"}), "text must be an object"),
            (
                json!({"text": {"body": "x".repeat(4_097)}}),
                "text.body has more than 4096 characters",
            ),
            (
                json!({"type": "image", "image": {}}),
                "image must have exactly one of id and link",
            ),
            (
                json!({"type": "image", "image": {"link": "ftp://x"}}),
                "image.link must be an http or https address",
            ),
            (
                json!({"type": "audio", "audio": {"id": "1", "caption": "x"}}),
                "audio.caption is not possible here",
            ),
            (
                json!({"type": "location", "location": {"latitude": 91, "longitude": 0}}),
                "location.latitude must be degrees",
            ),
            (
                json!({"type": "flow", "flow": {}}),
                "messages of the type flow are not sent",
            ),
            (
                json!({"to": "abc", "text": {"body": "x"}}),
                "to must be a phone number with its country code",
            ),
            (
                json!({"recipient": "a b", "text": {"body": "x"}}),
                "recipient must be a user id",
            ),
        ] {
            assert_eq!(send(body).unwrap_err().to_string(), says);
        }
        assert_eq!(
            read(&json!([])).unwrap_err().to_string(),
            "body must be an object"
        );
    }
}
