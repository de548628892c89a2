//! From our messages to the server's routes and bodies (chatwoot-bridge contract 4.4).

use bytes::Bytes;
use domain::address::ChatAddress;
use domain::message::{ContactCard, MediaKind, MessageKind};
use domain::text::Text;

use crate::answer::IdOf;
use crate::gowa::wire::Send;
use crate::port::{
    OutboundContent, OutboundFile, OutboundMedia, OutboundMessage, OutboundQuote, RejectReason, ResendSafety,
};

/// One call: where to, with what.
pub(super) struct Request {
    pub(super) path: Vec<String>,
    pub(super) payload: Payload,
    pub(super) id_of: IdOf,
}

pub(super) enum Payload {
    Json(Vec<u8>),
    Form(Form),
}

impl Payload {
    /// Bytes of a file in it; the call may take longer for them.
    pub(super) fn file_bytes(&self) -> u64 {
        match self {
            Self::Json(_) => 0,
            Self::Form(form) => u64::try_from(form.bytes.len()).unwrap_or(u64::MAX),
        }
    }
}

/// A file with what is said about it.
pub(super) struct Form {
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) part: &'static str,
    pub(super) bytes: Bytes,
    pub(super) file_name: String,
    pub(super) mime_type: String,
}

/// No route takes an id of ours.
pub(super) const fn resend_safety(kind: MessageKind) -> ResendSafety {
    match kind {
        MessageKind::Edit | MessageKind::Revoke | MessageKind::Reaction => ResendSafety::SameEffect,
        MessageKind::Text
        | MessageKind::Image
        | MessageKind::Video
        | MessageKind::Audio
        | MessageKind::Voice
        | MessageKind::Document
        | MessageKind::Sticker
        | MessageKind::Location
        | MessageKind::Contact
        | MessageKind::Poll
        | MessageKind::PollVote
        | MessageKind::InteractiveReply
        | MessageKind::Template
        | MessageKind::Interactive
        | MessageKind::Unsupported => ResendSafety::EachCallIsAMessage,
    }
}

/// The calls that send a message: one, or one for each contact card, because the route takes one card.
pub(super) fn requests(message: &OutboundMessage) -> Result<Vec<Request>, RejectReason> {
    let phone = recipient(&message.to).ok_or(RejectReason::InvalidRecipient)?;
    let reply_message_id = message.quoted.as_ref().map(|quoted| quoted.id.as_str());
    let one = match &message.content {
        OutboundContent::Text(text) => {
            let body = Send {
                phone,
                message: Some(text.as_str()),
                reply_message_id,
                ..Send::default()
            };
            send("message", &body)?
        }
        OutboundContent::Media(media) => file(phone, media, message.quoted.as_ref())?,
        // The route takes no name for the place.
        OutboundContent::Location {
            latitude, longitude, ..
        } => {
            let body = Send {
                phone,
                latitude: Some(latitude.to_string()),
                longitude: Some(longitude.to_string()),
                ..Send::default()
            };
            send("location", &body)?
        }
        OutboundContent::Contacts(cards) if !cards.is_empty() => {
            return cards.iter().map(|card| contact(phone, card)).collect();
        }
        OutboundContent::Contacts(_) => return Err(RejectReason::Unprocessable),
        OutboundContent::Reaction { target, emoji } => {
            let body = Send {
                phone,
                emoji: Some(filled(emoji.as_ref()).unwrap_or_default()),
                ..Send::default()
            };
            about_another(target.id.as_str(), "reaction", &body)?
        }
        OutboundContent::Edit { target, text } => {
            let body = Send {
                phone,
                message: Some(text.as_str()),
                ..Send::default()
            };
            about_another(target.as_str(), "update", &body)?
        }
        OutboundContent::Revoke { target } => {
            let body = Send {
                phone,
                ..Send::default()
            };
            about_another(target.as_str(), "revoke", &body)?
        }
        // Only Meta's own servers know them.
        OutboundContent::Template(_) | OutboundContent::Interactive(_) => {
            return Err(RejectReason::Unprocessable);
        }
    };
    Ok(vec![one])
}

fn send(route: &str, body: &Send<'_>) -> Result<Request, RejectReason> {
    Ok(Request {
        path: vec!["send".to_owned(), route.to_owned()],
        payload: Payload::Json(json(body)?),
        id_of: IdOf::Answer,
    })
}

fn about_another(target: &str, act: &str, body: &Send<'_>) -> Result<Request, RejectReason> {
    // Would be another path; no id of WhatsApp's is called so.
    if matches!(target, "." | "..") {
        return Err(RejectReason::InvalidRequest);
    }
    Ok(Request {
        path: vec!["message".to_owned(), target.to_owned(), act.to_owned()],
        payload: Payload::Json(json(body)?),
        id_of: IdOf::Order,
    })
}

fn json(body: &Send<'_>) -> Result<Vec<u8>, RejectReason> {
    serde_json::to_vec(body).map_err(|_| RejectReason::Unprocessable)
}

/// The route, the field of the file and the field of its address.
const fn route(kind: MediaKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        MediaKind::Image => ("image", "image", "image_url"),
        MediaKind::Video => ("video", "video", "video_url"),
        MediaKind::Audio | MediaKind::Voice => ("audio", "audio", "audio_url"),
        MediaKind::Document => ("file", "file", "file_url"),
        MediaKind::Sticker => ("sticker", "sticker", "sticker_url"),
    }
}

fn file(phone: &str, media: &OutboundMedia, quoted: Option<&OutboundQuote>) -> Result<Request, RejectReason> {
    let (route, part, address) = route(media.kind);
    let mut fields = vec![("phone", phone.to_owned())];
    let captioned = matches!(
        media.kind,
        MediaKind::Image | MediaKind::Video | MediaKind::Document
    );
    if let Some(caption) = filled(media.caption.as_ref()).filter(|_| captioned) {
        fields.push(("caption", caption.to_owned()));
    }
    match media.kind {
        // As it is: what was attached is what arrives.
        MediaKind::Image | MediaKind::Video => fields.push(("compress", "false".to_owned())),
        MediaKind::Voice => fields.push(("ptt", "true".to_owned())),
        MediaKind::Audio | MediaKind::Document | MediaKind::Sticker => {}
    }
    if let Some(quoted) = quoted.filter(|_| media.kind != MediaKind::Sticker) {
        fields.push(("reply_message_id", quoted.id.as_str().to_owned()));
    }
    let payload = match &media.file {
        OutboundFile::Bytes(bytes) => {
            let (mime_type, name) = described(media);
            Payload::Form(Form {
                fields,
                part,
                bytes: bytes.share(),
                file_name: filled(media.file_name.as_ref())
                    .map_or_else(|| name.to_owned(), ToOwned::to_owned),
                mime_type,
            })
        }
        OutboundFile::Link(url) => {
            fields.push((address, url.as_str().to_owned()));
            Payload::Json(with_address(&fields)?)
        }
        OutboundFile::Uploaded(_) => return Err(RejectReason::Unprocessable),
    };
    Ok(Request {
        path: vec!["send".to_owned(), route.to_owned()],
        payload,
        id_of: IdOf::Answer,
    })
}

/// The same fields in JSON, where flags are flags.
fn with_address(fields: &[(&'static str, String)]) -> Result<Vec<u8>, RejectReason> {
    let value = |text: &str| match text {
        "true" => serde_json::Value::Bool(true),
        "false" => serde_json::Value::Bool(false),
        text => serde_json::Value::String(text.to_owned()),
    };
    let body: serde_json::Map<String, serde_json::Value> = fields
        .iter()
        .map(|(name, text)| match *name {
            "compress" | "ptt" => ((*name).to_owned(), value(text)),
            _ => ((*name).to_owned(), serde_json::Value::String(text.clone())),
        })
        .collect();
    serde_json::to_vec(&body).map_err(|_| RejectReason::Unprocessable)
}

/// The type of a file, which the server goes by, and a name for one that has none.
fn described(media: &OutboundMedia) -> (String, &'static str) {
    let (start, otherwise, name) = match media.kind {
        MediaKind::Image => ("image/", "image/jpeg", "image.jpg"),
        MediaKind::Video => ("video/", "video/mp4", "video.mp4"),
        MediaKind::Audio | MediaKind::Voice => ("audio/", "audio/ogg", "audio.ogg"),
        MediaKind::Document => ("", "application/octet-stream", "file"),
        MediaKind::Sticker => ("image/", "image/webp", "sticker.webp"),
    };
    let declared = filled(media.mime_type.as_ref())
        .map(essence)
        .filter(|essence| !essence.is_empty() && essence.starts_with(start));
    (declared.unwrap_or(otherwise).to_owned(), name)
}

/// A media type without its parameters, where it is one.
fn essence(mime_type: &str) -> &str {
    let essence = mime_type.split(';').next().unwrap_or_default().trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.+-_".contains(c);
    if essence.matches('/').count() == 1 && essence.chars().all(plain) {
        essence
    } else {
        ""
    }
}

/// The route makes a card of its own out of a name and a number.
fn contact(phone: &str, card: &ContactCard) -> Result<Request, RejectReason> {
    let number = filled(card.vcard.as_ref())
        .and_then(number_on)
        .ok_or(RejectReason::Unprocessable)?;
    let body = Send {
        phone,
        contact_name: Some(filled(Some(&card.display_name)).unwrap_or("Contact")),
        contact_phone: Some(&number),
        ..Send::default()
    };
    send("contact", &body)
}

/// The first number on a card: as WhatsApp knows it (`waid=`), else as it is written there.
fn number_on(vcard: &str) -> Option<String> {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    vcard
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(head, _)| {
            let property = head.split(';').next().unwrap_or_default();
            let property = property.rsplit('.').next().unwrap_or_default();
            property.trim().eq_ignore_ascii_case("tel")
        })
        .map(|(head, value)| {
            let known = head.split(';').find_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                name.eq_ignore_ascii_case("waid").then(|| digits(value))
            });
            known
                .filter(|number| !number.is_empty())
                .unwrap_or_else(|| digits(value))
        })
        .find(|number| (5..=20).contains(&number.len()))
}

fn filled(text: Option<&Text>) -> Option<&str> {
    text.map(Text::as_str).filter(|text| !text.trim().is_empty())
}

/// Always the whole address: of bare digits the server takes more than fifteen for a group. A webchat visitor is nobody
/// WhatsApp knows, and a user id is known to Meta's own servers only.
pub(in crate::gowa) fn recipient(to: &ChatAddress) -> Option<&str> {
    match to {
        ChatAddress::Phone(_) | ChatAddress::Lid(_) | ChatAddress::Group(_) | ChatAddress::Other(_) => {
            Some(to.as_str())
        }
        ChatAddress::User(_) | ChatAddress::Visitor(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_on_a_card() {
        for (card, number) in [
            (
                "BEGIN:VCARD\nFN:A\nTEL;type=CELL;waid=628123:+62 812-3\nEND:VCARD",
                Some("628123"),
            ),
            (
                "item1.TEL;waid=6281200000001:+62 812-0000-0001",
                Some("6281200000001"),
            ),
            ("TEL;VALUE=uri:tel:+62-812-0000", Some("628120000")),
            ("tel:0812 0000", Some("08120000")),
            ("TEL:12\nTEL:+49 151 123", Some("49151123")),
            ("FN:TEL 628123456", None),
            ("TELEX:628123456", None),
            ("", None),
        ] {
            assert_eq!(number_on(card).as_deref(), number, "{card}");
        }
    }
}
