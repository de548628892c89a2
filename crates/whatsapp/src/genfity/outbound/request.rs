//! From our messages to the server's routes and bodies.

use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use domain::message::{ContactCard, MediaKind, MessageKind};
use domain::text::Text;
use serde::Serialize;

use crate::answer::IdOf;
use crate::genfity::wire::outbound::{Content, Context, Delete, Edit, QuotedMessage, React, Send, Source};
use crate::port::{
    MessageReference, OutboundContent, OutboundFile, OutboundMedia, OutboundMessage, OutboundQuote,
    RejectReason, ResendSafety,
};

/// One call: where to, with what.
pub(super) struct Request {
    pub(super) path: [&'static str; 3],
    pub(super) body: Vec<u8>,
    /// Bytes of a file in it; the call may take longer for them.
    pub(super) file_bytes: usize,
    pub(super) id_of: IdOf,
}

/// Which routes take our own id (wa-server contract 7).
pub(super) const fn resend_safety(kind: MessageKind) -> ResendSafety {
    match kind {
        // `Id` of `/chat/send/*` is the message's own.
        MessageKind::Text
        | MessageKind::Image
        | MessageKind::Video
        | MessageKind::Audio
        | MessageKind::Voice
        | MessageKind::Document
        | MessageKind::Sticker
        | MessageKind::Location
        | MessageKind::Contact => ResendSafety::SameIdIsOneMessage,
        // `Id` of these is the message they are about; their own is made by the server.
        MessageKind::Edit | MessageKind::Revoke | MessageKind::Reaction => ResendSafety::SameEffect,
        // No call of ours; were one made of them, nothing would be known about it.
        MessageKind::Poll
        | MessageKind::PollVote
        | MessageKind::InteractiveReply
        | MessageKind::Template
        | MessageKind::Interactive
        | MessageKind::Unsupported => ResendSafety::EachCallIsAMessage,
    }
}

/// The server fetches pictures and films itself, up to 10 MiB.
pub(super) const fn takes_links(kind: MediaKind) -> bool {
    matches!(kind, MediaKind::Image | MediaKind::Video)
}

/// The calls that send a message: one, or one for each contact card, because the route takes one card.
pub(super) fn requests(message: &OutboundMessage) -> Result<Vec<Request>, RejectReason> {
    let phone = recipient(&message.to).ok_or(RejectReason::InvalidRecipient)?;
    let id = message.id.as_str();
    let send = |path, id: &str, file_bytes, content| {
        send(path, phone, id, message.quoted.as_ref(), file_bytes, content)
    };
    let one = match &message.content {
        OutboundContent::Text(text) => send("text", id, 0, Content::Text { body: text.as_str() })?,
        OutboundContent::Media(media) => {
            let (path, content) = file(media)?;
            let file_bytes = match &media.file {
                OutboundFile::Bytes(bytes) => bytes.as_slice().len(),
                OutboundFile::Link(_) | OutboundFile::Uploaded(_) => 0,
            };
            send(path, id, file_bytes, content)?
        }
        OutboundContent::Location {
            latitude,
            longitude,
            name,
            address,
        } => {
            let content = Content::Location {
                latitude: not_zero(*latitude),
                longitude: not_zero(*longitude),
                name: filled(name.as_ref()).or(filled(address.as_ref())),
            };
            send("location", id, 0, content)?
        }
        OutboundContent::Contacts(cards) => {
            let calls = cards.iter().enumerate().map(|(place, card)| {
                let own_id = if place == 0 {
                    id.to_owned()
                } else {
                    format!("{id}{place:02X}")
                };
                send("contact", &own_id, 0, contact(card)?)
            });
            let calls = calls.collect::<Result<Vec<_>, _>>()?;
            return if calls.is_empty() {
                Err(RejectReason::Unprocessable)
            } else {
                Ok(calls)
            };
        }
        OutboundContent::Reaction { target, emoji } => react(phone, target, emoji.as_ref())?,
        OutboundContent::Edit { target, text } => {
            let body = Edit {
                phone,
                body: text.as_str(),
                target: target.as_str(),
            };
            about_another(["chat", "send", "edit"], &body)?
        }
        OutboundContent::Revoke { target } => {
            let body = Delete {
                phone,
                target: target.as_str(),
            };
            about_another(["chat", "delete", ""], &body)?
        }
        // Only Meta's own servers know them.
        OutboundContent::Template(_) | OutboundContent::Interactive(_) => {
            return Err(RejectReason::Unprocessable);
        }
    };
    Ok(vec![one])
}

fn send(
    path: &'static str,
    phone: &str,
    id: &str,
    quoted: Option<&OutboundQuote>,
    file_bytes: usize,
    content: Content<'_>,
) -> Result<Request, RejectReason> {
    // WhatsApp shows the quote only with its writer.
    let quoted = quoted.and_then(|quoted| Some((quoted, quoted.participant.as_ref()?)));
    let body = Send {
        phone,
        id,
        context: quoted.map(|(quoted, participant)| Context {
            stanza_id: quoted.id.as_str(),
            participant: participant.as_str(),
        }),
        quoted: quoted
            .map(|(quoted, _)| quoted)
            .and_then(|quoted| filled(quoted.text.as_ref()))
            .map(|conversation| QuotedMessage { conversation }),
        content,
    };
    Ok(Request {
        path: ["chat", "send", path],
        body: json(&body, file_bytes)?,
        file_bytes,
        id_of: IdOf::Answer,
    })
}

fn about_another(path: [&'static str; 3], body: &impl Serialize) -> Result<Request, RejectReason> {
    Ok(Request {
        path,
        body: json(body, 0)?,
        file_bytes: 0,
        id_of: IdOf::Order,
    })
}

fn react(phone: &str, target: &MessageReference, emoji: Option<&Text>) -> Result<Request, RejectReason> {
    let own = |id: &ProviderMessageId| {
        if target.ours {
            format!("me:{}", id.as_str())
        } else {
            id.as_str().to_owned()
        }
    };
    let body = React {
        phone,
        body: filled(emoji).unwrap_or("remove"),
        target: own(&target.id),
        participant: target.participant.as_ref().map(ChatAddress::as_str),
    };
    about_another(["chat", "react", ""], &body)
}

/// The body, in memory that is asked for once: growing a large one step by step would need twice of it.
fn json(body: &impl Serialize, file_bytes: usize) -> Result<Vec<u8>, RejectReason> {
    let mut bytes = Vec::with_capacity(file_bytes.div_ceil(3) * 4 + 1024);
    serde_json::to_writer(&mut bytes, body).map_err(|_| RejectReason::Unprocessable)?;
    Ok(bytes)
}

fn file(media: &OutboundMedia) -> Result<(&'static str, Content<'_>), RejectReason> {
    let declared = filled(media.mime_type.as_ref());
    let caption = filled(media.caption.as_ref());
    // What stands in the data URL has to begin as the route wants it; the type itself goes into a field of its own.
    let of_kind = |start: &str, otherwise: &'static str| match declared.map(essence) {
        Some(essence) if essence.starts_with(start) => essence,
        _ => otherwise,
    };
    Ok(match media.kind {
        MediaKind::Image => (
            "image",
            Content::Image {
                image: source(media, of_kind("image/", "image/jpeg"))?,
                caption,
                mime_type: declared,
            },
        ),
        MediaKind::Video => (
            "video",
            Content::Video {
                video: source(media, of_kind("video/", "video/mp4"))?,
                caption,
                mime_type: declared,
            },
        ),
        MediaKind::Audio | MediaKind::Voice => (
            "audio",
            Content::Audio {
                audio: source(media, of_kind("audio/", "audio/ogg"))?,
                ptt: media.kind == MediaKind::Voice,
                mime_type: declared,
                seconds: media.seconds,
            },
        ),
        MediaKind::Document => (
            "document",
            Content::Document {
                document: source(media, "application/octet-stream")?,
                file_name: filled(media.file_name.as_ref()).unwrap_or("file"),
                caption,
                mime_type: declared,
            },
        ),
        MediaKind::Sticker => (
            "sticker",
            Content::Sticker {
                sticker: source(media, of_kind("image/", "image/webp"))?,
                mime_type: declared,
            },
        ),
    })
}

fn source<'a>(media: &'a OutboundMedia, mime_type: &'a str) -> Result<Source<'a>, RejectReason> {
    match &media.file {
        OutboundFile::Bytes(bytes) => Ok(Source::Data {
            mime_type,
            bytes: bytes.as_slice(),
        }),
        OutboundFile::Link(url) if takes_links(media.kind) => Ok(Source::Link(url.as_str())),
        OutboundFile::Link(_) | OutboundFile::Uploaded(_) => Err(RejectReason::Unprocessable),
    }
}

/// A media type without its parameters, where it can stand in a data URL.
fn essence(mime_type: &str) -> &str {
    let essence = mime_type.split(';').next().unwrap_or_default().trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.+-_".contains(c);
    if essence.matches('/').count() == 1 && essence.chars().all(plain) {
        essence
    } else {
        ""
    }
}

fn contact(card: &ContactCard) -> Result<Content<'_>, RejectReason> {
    let vcard = filled(card.vcard.as_ref()).ok_or(RejectReason::Unprocessable)?;
    let name = filled(Some(&card.display_name)).unwrap_or("Contact");
    Ok(Content::Contact { name, vcard })
}

/// The route takes exactly zero for "not given"; a centimetre beside it is as good.
fn not_zero(degrees: f64) -> f64 {
    if degrees == 0.0 { 1e-7 } else { degrees }
}

fn filled(text: Option<&Text>) -> Option<&str> {
    text.map(Text::as_str).filter(|text| !text.trim().is_empty())
}

/// Digits for numbers, the whole address for anything else. Nothing is ever put in front of a number. A webchat visitor
/// is nobody WhatsApp knows, and a user id is known to Meta's own servers only.
pub(in crate::genfity) fn recipient(to: &ChatAddress) -> Option<&str> {
    match to {
        ChatAddress::Phone(phone) => Some(phone.as_str()),
        ChatAddress::Lid(_) | ChatAddress::Group(_) | ChatAddress::Other(_) => Some(to.as_str()),
        ChatAddress::User(_) | ChatAddress::Visitor(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lid_goes_out_as_an_address_and_a_number_as_digits() {
        for (to, phone) in [
            ("4915112345678@s.whatsapp.net", Some("4915112345678")),
            ("190000000000001@lid", Some("190000000000001@lid")),
            ("120363040000000001@g.us", Some("120363040000000001@g.us")),
            ("web_abc", None),
        ] {
            assert_eq!(recipient(&ChatAddress::parse(to).unwrap()), phone);
        }
    }

    #[test]
    fn a_type_in_a_data_url_has_no_parameters() {
        for (declared, shown) in [
            ("audio/ogg; codecs=opus", "audio/ogg"),
            ("image/svg+xml", "image/svg+xml"),
            ("image", ""),
            ("image/a,b", ""),
        ] {
            assert_eq!(essence(declared), shown);
        }
    }
}
