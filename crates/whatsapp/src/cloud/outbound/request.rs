//! From our messages to the bodies of `POST /{number}/messages` (Cloud API contract 3.1 and 3.2).

use domain::address::ChatAddress;
use domain::message::{InvalidContent, MediaId, MediaKind, MessageKind};
use domain::text::Text;
use serde_json::{Map, Value, json};

use super::card;
use crate::port::{
    OperatorText, OutboundContent, OutboundFile, OutboundMedia, OutboundMessage, RejectReason, ResendSafety,
};

/// Longest words of a text.
const LONGEST_TEXT: usize = 4_096;
/// Longest words under a file.
const LONGEST_CAPTION: usize = 1_024;
/// Most contacts of one message.
const MOST_CONTACTS: usize = 257;

/// A message that cannot be said, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsayable {
    pub(super) reason: RejectReason,
    pub(super) detail: OperatorText,
}

fn no(reason: RejectReason, why: &str) -> Unsayable {
    Unsayable {
        reason,
        detail: OperatorText::of_library(why),
    }
}

fn broken(error: &InvalidContent) -> Unsayable {
    no(RejectReason::InvalidRequest, &error.to_string())
}

/// Meta takes no id of ours: only a reaction that is put where it is already changes nothing.
pub(super) const fn resend_safety(kind: MessageKind) -> ResendSafety {
    match kind {
        MessageKind::Reaction => ResendSafety::SameEffect,
        MessageKind::Text
        | MessageKind::Image
        | MessageKind::Video
        | MessageKind::Audio
        | MessageKind::Voice
        | MessageKind::Document
        | MessageKind::Sticker
        | MessageKind::Location
        | MessageKind::Contact
        | MessageKind::Edit
        | MessageKind::Revoke
        | MessageKind::Poll
        | MessageKind::PollVote
        | MessageKind::InteractiveReply
        | MessageKind::Template
        | MessageKind::Interactive
        | MessageKind::Unsupported => ResendSafety::EachCallIsAMessage,
    }
}

/// Can it be said, once its file is up?
pub(super) fn check(message: &OutboundMessage) -> Result<(), Unsayable> {
    body_with(message, Some("0")).map(|_| ())
}

/// The body that sends a message. A file must be up already: `uploaded` is what it is called there.
pub(super) fn body(message: &OutboundMessage, uploaded: Option<&MediaId>) -> Result<Value, Unsayable> {
    body_with(message, uploaded.map(MediaId::as_str))
}

fn body_with(message: &OutboundMessage, uploaded: Option<&str>) -> Result<Value, Unsayable> {
    let mut body = Map::new();
    body.insert("messaging_product".to_owned(), json!("whatsapp"));
    body.insert("recipient_type".to_owned(), json!("individual"));
    let (field, to) = recipient(&message.to)?;
    body.insert(field.to_owned(), json!(to));
    let (kind, content) = content(&message.content, uploaded)?;
    body.insert("type".to_owned(), json!(kind));
    body.insert(kind.to_owned(), content);
    let is_reaction = matches!(message.content, OutboundContent::Reaction { .. });
    if let Some(quoted) = message.quoted.as_ref().filter(|_| !is_reaction) {
        let context = json!({"message_id": quoted.id.as_str()});
        body.insert("context".to_owned(), context);
    }
    body.insert("biz_opaque_callback_data".to_owned(), json!(message.id.as_str()));
    Ok(Value::Object(body))
}

/// Numbers with a plus sign, else Meta may put the sender's own country before them. A user id in `to` would be taken and
/// then lost, so it has a field of its own.
fn recipient(to: &ChatAddress) -> Result<(&'static str, String), Unsayable> {
    match to {
        ChatAddress::Phone(phone) => Ok(("to", format!("+{}", phone.as_str()))),
        ChatAddress::User(user) => Ok(("recipient", user.as_str().to_owned())),
        ChatAddress::Lid(_) | ChatAddress::Group(_) | ChatAddress::Other(_) | ChatAddress::Visitor(_) => {
            Err(no(
                RejectReason::InvalidRecipient,
                "the Cloud API writes to phone numbers and user ids only",
            ))
        }
    }
}

fn content(content: &OutboundContent, uploaded: Option<&str>) -> Result<(&'static str, Value), Unsayable> {
    let said = match content {
        OutboundContent::Text(text) => {
            within(text, LONGEST_TEXT, "the text is longer than 4096 characters")?;
            if text.as_str().trim().is_empty() {
                return Err(no(RejectReason::InvalidRequest, "the text is empty"));
            }
            // A preview is fetched by Meta, and some links open once only.
            ("text", json!({"preview_url": false, "body": text.as_str()}))
        }
        OutboundContent::Media(media) => file(media, uploaded)?,
        OutboundContent::Location {
            latitude,
            longitude,
            name,
            address,
        } => {
            let mut place = Map::new();
            place.insert("latitude".to_owned(), json!(latitude.to_string()));
            place.insert("longitude".to_owned(), json!(longitude.to_string()));
            // Without a name nobody is shown the address.
            match (filled(name.as_ref()), filled(address.as_ref())) {
                (Some(name), Some(address)) => {
                    place.insert("name".to_owned(), json!(name));
                    place.insert("address".to_owned(), json!(address));
                }
                (Some(one), None) | (None, Some(one)) => {
                    place.insert("name".to_owned(), json!(one));
                }
                (None, None) => {}
            }
            ("location", Value::Object(place))
        }
        OutboundContent::Contacts(cards) => {
            if cards.is_empty() || cards.len() > MOST_CONTACTS {
                return Err(no(
                    RejectReason::Unprocessable,
                    "there are no contact cards, or more than 257",
                ));
            }
            if cards.iter().any(|card| filled(card.vcard.as_ref()).is_none()) {
                return Err(no(RejectReason::Unprocessable, "a contact has no card"));
            }
            ("contacts", cards.iter().map(card::contact).collect())
        }
        OutboundContent::Reaction { target, emoji } => {
            let emoji = filled(emoji.as_ref()).unwrap_or_default();
            let said = json!({"message_id": target.id.as_str(), "emoji": emoji});
            ("reaction", said)
        }
        OutboundContent::Template(template) => {
            template
                .validate()
                .map_err(|error| broken(&error.within("template")))?;
            ("template", written(template)?)
        }
        OutboundContent::Interactive(interactive) => {
            interactive
                .validate()
                .map_err(|error| broken(&error.within("interactive")))?;
            ("interactive", written(interactive)?)
        }
        OutboundContent::Edit { .. } | OutboundContent::Revoke { .. } => {
            return Err(no(
                RejectReason::Unprocessable,
                "the Cloud API neither edits nor deletes messages",
            ));
        }
    };
    Ok(said)
}

fn written(content: &impl serde::Serialize) -> Result<Value, Unsayable> {
    serde_json::to_value(content).map_err(|_| no(RejectReason::Unprocessable, "it cannot be written as JSON"))
}

fn file(media: &OutboundMedia, uploaded: Option<&str>) -> Result<(&'static str, Value), Unsayable> {
    let mut file = Map::new();
    let id = match &media.file {
        OutboundFile::Uploaded(id) => Some(id.as_str()),
        OutboundFile::Bytes(_) => uploaded,
        OutboundFile::Link(_) => None,
    };
    match (id, &media.file) {
        (Some(id), _) => file.insert("id".to_owned(), json!(id)),
        (None, OutboundFile::Link(url)) => file.insert("link".to_owned(), json!(url.as_str())),
        (None, _) => return Err(no(RejectReason::Unprocessable, "the file is not up")),
    };
    let captioned = matches!(
        media.kind,
        MediaKind::Image | MediaKind::Video | MediaKind::Document
    );
    if let Some(caption) = media.caption.as_ref().filter(|_| captioned) {
        within(
            caption,
            LONGEST_CAPTION,
            "the caption is longer than 1024 characters",
        )?;
        if let Some(caption) = filled(Some(caption)) {
            file.insert("caption".to_owned(), json!(caption));
        }
    }
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
        MediaKind::Voice => {
            // Of anything but Opus in Ogg Meta makes no voice note.
            let is_opus = filled(media.mime_type.as_ref()).is_none_or(super::super::media_type::is_voice);
            if is_opus {
                file.insert("voice".to_owned(), json!(true));
            }
            "audio"
        }
        MediaKind::Document => {
            if let Some(name) = filled(media.file_name.as_ref()) {
                file.insert("filename".to_owned(), json!(name));
            }
            "document"
        }
        MediaKind::Sticker => "sticker",
    };
    Ok((kind, Value::Object(file)))
}

fn within(text: &Text, most: usize, why: &str) -> Result<(), Unsayable> {
    match text.as_str().chars().nth(most) {
        Some(_) => Err(no(RejectReason::TooLarge, why)),
        None => Ok(()),
    }
}

fn filled(text: Option<&Text>) -> Option<&str> {
    text.map(Text::as_str).filter(|text| !text.trim().is_empty())
}
