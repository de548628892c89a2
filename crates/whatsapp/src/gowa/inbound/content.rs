//! What a message says: the payload of a `message` becomes [`MessageContent`].

use std::collections::BTreeMap;

use domain::ids::ProviderMessageId;
use domain::message::{ContactCard, Media, MediaKind, MediaSource, MessageContent, ServerFile};
use domain::text::{RawJson, Text};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::http::static_path;
use super::wire::{self, Loose};

/// Longest kept path of a file, in bytes.
const MAX_PATH: usize = 1024;

/// Cleans texts and remembers whether something had to be cut.
#[derive(Default)]
pub(super) struct Cutter {
    pub(super) truncated: bool,
}

impl Cutter {
    pub(super) fn optional(&mut self, text: &Loose<'_>) -> Option<Text> {
        let (text, truncated) = Text::cut(text.filled()?, Text::MAX_CHARS);
        self.truncated |= truncated;
        Some(text).filter(|text| !text.is_empty())
    }
}

/// Reads the payload of a message. Whatever cannot be read is kept raw: a message with an id is never dropped for its
/// shape.
pub(super) fn read(
    message: &wire::Message<'_>,
    id: &ProviderMessageId,
    raw: &str,
    cutter: &mut Cutter,
) -> MessageContent {
    if let Some(media) = media(message, id, cutter) {
        return MessageContent::Media(media);
    }
    location(message, cutter)
        .or_else(|| contacts(message, cutter))
        .or_else(|| {
            cutter
                .optional(&message.body)
                .map(|text| MessageContent::Text { text })
        })
        .unwrap_or_else(|| of_unknown_kind(message, id, raw))
}

fn media(message: &wire::Message<'_>, id: &ProviderMessageId, cutter: &mut Cutter) -> Option<Media> {
    let files = [
        (MediaKind::Image, message.image),
        (MediaKind::Video, message.video),
        (MediaKind::Video, message.video_note),
        (MediaKind::Document, message.document),
        (MediaKind::Audio, message.audio),
        (MediaKind::Sticker, message.sticker),
    ];
    let (kind, raw) = match files
        .into_iter()
        .find_map(|(kind, file)| file.map(|file| (kind, file)))
    {
        Some((kind, file)) => (kind, file.get()),
        None => {
            // Several at once, of which one message can hold the first.
            let list: Vec<&RawValue> = serde_json::from_str(message.interactive_media?.get()).ok()?;
            cutter.truncated |= list.len() > 1;
            (MediaKind::Document, list.first()?.get())
        }
    };
    let file = file(raw)?;
    let path = file
        .path
        .filled()
        .filter(|path| path.len() <= MAX_PATH && static_path(path).is_some())
        .map(str::to_owned);
    // What is spoken into the phone is Opus in Ogg; a sound file that was attached is something else.
    let spoken = path
        .as_deref()
        .and_then(|path| path.rsplit_once('.'))
        .is_some_and(|(_, extension)| {
            ["ogg", "oga", "opus"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        });
    let kind = if kind == MediaKind::Audio && (spoken || path.is_none()) {
        MediaKind::Voice
    } else {
        kind
    };
    // The words stand in `caption` and in `body`, and are shown once.
    let caption = cutter
        .optional(&file.caption)
        .or_else(|| cutter.optional(&message.body));
    Some(Media {
        media_kind: kind,
        caption,
        mime_type: None,
        file_name: file
            .filename
            .filled()
            .and_then(|name| Text::label(name, Media::MAX_FILE_NAME)),
        size: None,
        seconds: None,
        sha256: None,
        sources: vec![server_file(message, id, path)],
    })
}

/// A path, or an object with one. An address of WhatsApp's own, which is told where the server downloads nothing by
/// itself, is of no use without keys; the server can then be asked to download the file.
fn file(raw: &str) -> Option<wire::File<'_>> {
    match raw.as_bytes().first()? {
        b'"' => Some(wire::File {
            path: serde_json::from_str(raw).ok()?,
            ..wire::File::default()
        }),
        b'{' => serde_json::from_str(raw).ok(),
        _ => None,
    }
}

fn server_file(message: &wire::Message<'_>, id: &ProviderMessageId, path: Option<String>) -> MediaSource {
    MediaSource::Server(ServerFile {
        path,
        message: id.clone(),
        chat: message.chat_id.text().unwrap_or_default().to_owned(),
    })
}

fn location(message: &wire::Message<'_>, cutter: &mut Cutter) -> Option<MessageContent> {
    let (raw, live) = match (message.location, message.live_location) {
        (Some(raw), _) => (raw, false),
        (None, Some(raw)) => (raw, true),
        (None, None) => return None,
    };
    let place: wire::Location<'_> = object(raw)?;
    let degrees = |degrees: &Loose<'_>, most: f64| degrees.real().filter(|degrees| degrees.abs() <= most);
    Some(MessageContent::Location {
        latitude: degrees(&place.degrees_latitude, 90.0)?,
        longitude: degrees(&place.degrees_longitude, 180.0)?,
        name: cutter.optional(&place.name),
        address: cutter.optional(&place.address),
        live,
    })
}

fn contacts(message: &wire::Message<'_>, cutter: &mut Cutter) -> Option<MessageContent> {
    let cards: Vec<wire::Contact<'_>> = match (message.contact, message.contacts_array) {
        (Some(raw), _) => vec![object(raw)?],
        (None, Some(raw)) => {
            let list: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
            cutter.truncated |= list.len() > MessageContent::MAX_CONTACTS;
            list.into_iter()
                .take(MessageContent::MAX_CONTACTS)
                .filter_map(object)
                .collect()
        }
        (None, None) => return None,
    };
    let contacts: Vec<ContactCard> = cards
        .iter()
        .map(|card| ContactCard {
            display_name: cutter
                .optional(&card.display_name)
                .or_else(|| cutter.optional(&card.phone_number))
                .unwrap_or_default(),
            vcard: cutter.optional(&card.vcard),
        })
        .filter(|card| !card.display_name.is_empty() || card.vcard.is_some())
        .collect();
    (!contacts.is_empty()).then_some(MessageContent::Contacts { contacts })
}

fn object<'a, T: serde::Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    raw.get()
        .starts_with('{')
        .then(|| serde_json::from_str(raw.get()).ok())
        .flatten()
}

/// Keeps what we do not understand under the name of its first telling key. Where there is none, the likeliest reason is a
/// file that the server did not get: its key is then simply missing. So the server is asked for it once more, under the
/// kind that promises least; only what it says then tells whether there is one.
fn of_unknown_kind(message: &wire::Message<'_>, id: &ProviderMessageId, raw: &str) -> MessageContent {
    let keys: BTreeMap<String, IgnoredAny> = serde_json::from_str(raw).unwrap_or_default();
    let telling = keys
        .keys()
        .find(|key| !wire::TELL_NOTHING.contains(&key.as_str()))
        .and_then(|key| Text::label(key, MessageContent::MAX_TYPE_NAME));
    match telling {
        Some(type_name) => MessageContent::Unsupported {
            type_name,
            raw: RawJson::keep(raw),
        },
        None => MessageContent::Media(Media {
            media_kind: MediaKind::Document,
            caption: None,
            mime_type: None,
            file_name: None,
            size: None,
            seconds: None,
            sha256: None,
            sources: vec![server_file(message, id, None)],
        }),
    }
}
