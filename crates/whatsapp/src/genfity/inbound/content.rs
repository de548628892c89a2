//! What a message says: `event.Message` becomes [`MessageContent`].

use std::collections::BTreeMap;

use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use domain::message::{ContactCard, DownloadKeys, Media, MediaKind, MediaSource, MessageContent, Quoted};
use domain::text::{RawJson, Text};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::wire::{self, Loose};

/// Wrappers and edits inside each other that we follow. WhatsApp nests two; more is an attack on the stack.
const MAX_DEPTH: u8 = 4;

/// Longest kept address, key or path of a file, in bytes.
const MAX_REFERENCE: usize = 4096;

/// What came of reading a message.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every value is the large variant, and it is moved once"
)]
pub(super) enum Reading {
    /// Somebody said something, possibly in answer to something.
    Content(MessageContent, Option<Quoted>),
    /// Devices talked among themselves. Not kept: such messages carry keys.
    Housekeeping(&'static str),
}

/// The files that the envelope brings beside the message.
#[derive(Default)]
pub(super) struct Files<'a> {
    pub(super) s3: Option<wire::S3<'a>>,
    pub(super) inline_length: Option<u64>,
    pub(super) mime_type: Option<&'a str>,
}

/// Cleans texts and remembers whether one had to be cut.
#[derive(Default)]
pub(super) struct Cutter {
    pub(super) truncated: bool,
}

impl Cutter {
    fn text(&mut self, text: &str) -> Text {
        let (text, truncated) = Text::cut(text, Text::MAX_CHARS);
        self.truncated |= truncated;
        text
    }

    fn optional(&mut self, text: &Loose<'_>) -> Option<Text> {
        text.filled()
            .map(|text| self.text(text))
            .filter(|text| !text.is_empty())
    }

    fn list<T>(&mut self, list: Vec<T>, max: usize) -> impl Iterator<Item = T> + use<T> {
        self.truncated |= list.len() > max;
        list.into_iter().take(max)
    }
}

/// Reads `event.Message`. Whatever cannot be read is kept raw: a message with an id is never dropped for its shape.
pub(super) fn read(message: Option<&RawValue>, files: &Files<'_>, cutter: &mut Cutter) -> Reading {
    read_nested(message.map_or("null", RawValue::get), files, cutter, 0)
}

fn read_nested(json: &str, files: &Files<'_>, cutter: &mut Cutter, depth: u8) -> Reading {
    if !json.starts_with('{') || depth > MAX_DEPTH {
        return unsupported(json);
    }
    let Ok(message) = serde_json::from_str::<wire::Message<'_>>(json) else {
        return unsupported(json);
    };
    if let Some(inner) = wrapped(&message) {
        return read_nested(inner, files, cutter, depth + 1);
    }
    let mut reader = Reader { files, cutter, depth };
    if let Some(protocol) = message.protocol_message {
        return reader.protocol(protocol).unwrap_or_else(|| unsupported(json));
    }
    match reader.content(message) {
        Some((content, context)) => Reading::Content(content, context.and_then(|raw| reader.quoted(raw))),
        None => unsupported(json),
    }
}

/// What a wrapper holds. The server opens wrappers itself; one that is still there is opened here.
fn wrapped<'a>(message: &wire::Message<'a>) -> Option<&'a str> {
    let wrappers = [
        &message.ephemeral_message,
        &message.view_once_message,
        &message.view_once_message_v2,
        &message.view_once_message_v2_extension,
        &message.document_with_caption_message,
        &message.edited_message,
        &message.device_sent_message,
    ];
    wrappers
        .into_iter()
        .flatten()
        .find_map(|wrapper| wrapper.message)
        .map(RawValue::get)
}

/// Keeps what we do not understand under the name of its first telling key.
fn unsupported(json: &str) -> Reading {
    let keys: BTreeMap<String, IgnoredAny> = serde_json::from_str(json).unwrap_or_default();
    let mut names = keys
        .keys()
        .map(String::as_str)
        .filter(|name| *name != "messageContextInfo");
    let type_name = match names.next() {
        Some("senderKeyDistributionMessage") if names.next().is_none() => {
            return Reading::Housekeeping("Message.senderKeyDistributionMessage");
        }
        name => name.and_then(|name| Text::label(name, MessageContent::MAX_TYPE_NAME)),
    };
    let type_name = type_name.unwrap_or_else(|| Text::new("empty"));
    Reading::Content(
        MessageContent::Unsupported {
            type_name,
            raw: RawJson::keep(json),
        },
        None,
    )
}

type Found<'a> = Option<(MessageContent, Option<&'a RawValue>)>;

struct Reader<'r, 'f> {
    files: &'r Files<'f>,
    cutter: &'r mut Cutter,
    depth: u8,
}

impl Reader<'_, '_> {
    /// The content and the raw context of its reply. The order is wa-server contract 13's.
    fn content<'a>(&mut self, message: wire::Message<'a>) -> Found<'a> {
        if let Some(text) = self.cutter.optional(&message.conversation) {
            return Some((MessageContent::Text { text }, None));
        }
        if let Some(extended) = message.extended_text_message
            && let Some(text) = self.cutter.optional(&extended.text)
        {
            return Some((MessageContent::Text { text }, extended.context_info));
        }
        let files = [
            (MediaKind::Image, message.image_message),
            (MediaKind::Video, message.video_message),
            (MediaKind::Video, message.ptv_message),
            (MediaKind::Audio, message.audio_message),
            (MediaKind::Document, message.document_message),
            (MediaKind::Sticker, message.sticker_message),
        ];
        if let Some((kind, file)) = files
            .into_iter()
            .find_map(|(kind, file)| file.map(|file| (kind, file)))
        {
            let kind = if kind == MediaKind::Audio && file.ptt.is_true() {
                MediaKind::Voice
            } else {
                kind
            };
            return Some((MessageContent::Media(self.media(kind, &file)), file.context_info));
        }
        if let Some(location) = message.location_message {
            return self
                .location(&location, false)
                .map(|content| (content, location.context_info));
        }
        if let Some(location) = message.live_location_message {
            return self
                .location(&location, true)
                .map(|content| (content, location.context_info));
        }
        if let Some(contact) = message.contact_message {
            let context = contact.context_info;
            return self.contacts(vec![contact]).map(|content| (content, context));
        }
        if let Some(list) = message.contacts_array_message {
            return self
                .contacts(list.contacts.unwrap_or_default())
                .map(|content| (content, list.context_info));
        }
        if let Some(reaction) = message.reaction_message {
            let emoji = reaction.text.filled().and_then(|text| Text::label(text, 64));
            return target(reaction.key).map(|target| (MessageContent::Reaction { target, emoji }, None));
        }
        let polls = [
            message.poll_creation_message,
            message.poll_creation_message_v2,
            message.poll_creation_message_v3,
        ];
        if let Some(poll) = polls.into_iter().flatten().next() {
            let context = poll.context_info;
            return self.poll(poll).map(|content| (content, context));
        }
        if let Some(vote) = message.poll_update_message {
            return target(vote.poll).map(|target| (MessageContent::PollVote { target }, None));
        }
        if let Some(reply) = message.buttons_response_message {
            return self
                .choice(&reply.id, &reply.selected_display_text)
                .map(|content| (content, reply.context_info));
        }
        if let Some(reply) = message.list_response_message {
            let id = reply.single_select_reply.map(|row| row.id).unwrap_or_default();
            return self
                .choice(&id, &reply.title)
                .map(|content| (content, reply.context_info));
        }
        if let Some(reply) = message.template_button_reply_message {
            return self
                .choice(&reply.id, &reply.selected_display_text)
                .map(|content| (content, reply.context_info));
        }
        let reply = message.interactive_response_message?;
        let title = reply.body.map(|body| body.text).unwrap_or_default();
        self.choice(&Loose::Nothing, &title)
            .map(|content| (content, reply.context_info))
    }

    /// Edits and deletions; every other protocol message is devices' housekeeping. `None`: unreadable, keep it raw.
    fn protocol(&mut self, protocol: wire::Protocol<'_>) -> Option<Reading> {
        match protocol.kind.whole() {
            Some(0) => Some(Reading::Content(
                MessageContent::Revoke {
                    target: target(protocol.key)?,
                },
                None,
            )),
            Some(14) => {
                let target = target(protocol.key)?;
                let edited = protocol.edited_message?.get();
                match read_nested(edited, &Files::default(), self.cutter, self.depth + 1) {
                    Reading::Content(MessageContent::Edit { .. } | MessageContent::Revoke { .. }, _) => None,
                    Reading::Content(content, quoted) => Some(Reading::Content(
                        MessageContent::Edit {
                            target,
                            content: Box::new(content),
                        },
                        quoted,
                    )),
                    Reading::Housekeeping(_) => None,
                }
            }
            _ => Some(Reading::Housekeeping("Message.protocolMessage")),
        }
    }

    fn media(&mut self, media_kind: MediaKind, file: &wire::File<'_>) -> Media {
        let mut sources = Vec::with_capacity(2);
        let s3 = self.files.s3.as_ref();
        if let Some(s3) = s3
            && let Some(url) = reference(&s3.url)
        {
            let key = reference(&s3.key).unwrap_or_default();
            sources.push(MediaSource::S3 {
                url,
                key,
                bucket: reference(&s3.bucket).unwrap_or_default(),
            });
        }
        if let Some(encoded_length) = self.files.inline_length {
            sources.push(MediaSource::Inline { encoded_length });
        }
        sources.extend(download_keys(file).map(MediaSource::WhatsApp));

        // The sender's own type and name: what the server adds is sniffed and often odd (`application/ogg`, `.jpe`).
        let declared = file
            .mimetype
            .filled()
            .or(s3.and_then(|s3| s3.mime_type.filled()))
            .or(self.files.mime_type);
        Media {
            media_kind,
            caption: self.cutter.optional(&file.caption),
            mime_type: declared.and_then(|declared| Text::label(declared, Media::MAX_MIME_TYPE)),
            file_name: file
                .file_name
                .filled()
                .or(file.title.filled())
                .and_then(|name| Text::label(name, Media::MAX_FILE_NAME)),
            size: file.file_length.size().or(s3.and_then(|s3| s3.size.size())),
            seconds: file
                .seconds
                .size()
                .and_then(|seconds| u32::try_from(seconds).ok()),
            sha256: reference(&file.file_sha256),
            sources,
        }
    }

    fn location(&mut self, location: &wire::Location<'_>, live: bool) -> Option<MessageContent> {
        let latitude = location
            .degrees_latitude
            .real()
            .filter(|degrees| degrees.abs() <= 90.0)?;
        let longitude = location
            .degrees_longitude
            .real()
            .filter(|degrees| degrees.abs() <= 180.0)?;
        let name = self
            .cutter
            .optional(&location.name)
            .or_else(|| self.cutter.optional(&location.caption));
        let address = self.cutter.optional(&location.address);
        Some(MessageContent::Location {
            latitude,
            longitude,
            name,
            address,
            live,
        })
    }

    fn contacts(&mut self, contacts: Vec<wire::Contact<'_>>) -> Option<MessageContent> {
        let contacts: Vec<ContactCard> = self
            .cutter
            .list(contacts, MessageContent::MAX_CONTACTS)
            .map(|contact| ContactCard {
                display_name: self.cutter.optional(&contact.display_name).unwrap_or_default(),
                vcard: self.cutter.optional(&contact.vcard),
            })
            .filter(|card| !card.display_name.is_empty() || card.vcard.is_some())
            .collect();
        if contacts.is_empty() {
            None
        } else {
            Some(MessageContent::Contacts { contacts })
        }
    }

    fn poll(&mut self, poll: wire::Poll<'_>) -> Option<MessageContent> {
        let question = self.cutter.optional(&poll.name)?;
        let options = self
            .cutter
            .list(poll.options.unwrap_or_default(), MessageContent::MAX_OPTIONS)
            .filter_map(|option| self.cutter.optional(&option.name))
            .collect();
        let selectable = poll
            .selectable_options_count
            .size()
            .and_then(|count| u32::try_from(count).ok());
        Some(MessageContent::Poll {
            question,
            options,
            selectable: selectable.unwrap_or(0),
        })
    }

    fn choice(&mut self, id: &Loose<'_>, title: &Loose<'_>) -> Option<MessageContent> {
        let id = self.cutter.optional(id);
        let title = self.cutter.optional(title).or_else(|| id.clone())?;
        Some(MessageContent::InteractiveReply {
            id,
            title,
            data: None,
        })
    }

    /// What is answered. An unreadable quote costs the quote, never the answer.
    fn quoted(&mut self, context: &RawValue) -> Option<Quoted> {
        let context: wire::ContextInfo<'_> = serde_json::from_str(context.get()).ok()?;
        let provider_message_id = ProviderMessageId::parse(context.stanza_id.text()?).ok()?;
        let text = context.quoted_message.and_then(|raw| {
            // A cut quote is not a cut message.
            match read_nested(raw.get(), &Files::default(), &mut Cutter::default(), MAX_DEPTH) {
                Reading::Content(MessageContent::Unsupported { .. }, _) | Reading::Housekeeping(_) => None,
                Reading::Content(content, _) => Some(content.text_for_humans()),
            }
        });
        let participant = context
            .participant
            .filled()
            .and_then(|text| ChatAddress::parse(text).ok());
        Some(Quoted {
            provider_message_id,
            participant,
            text,
        })
    }
}

fn target(key: Option<wire::Key<'_>>) -> Option<ProviderMessageId> {
    ProviderMessageId::parse(key?.id.text()?).ok()
}

fn download_keys(file: &wire::File<'_>) -> Option<DownloadKeys> {
    let keys = DownloadKeys {
        url: reference(&file.url),
        direct_path: reference(&file.direct_path),
        media_key: reference(&file.media_key)?,
        file_enc_sha256: reference(&file.file_enc_sha256),
        file_sha256: reference(&file.file_sha256),
        file_length: file.file_length.size(),
    };
    (keys.url.is_some() || keys.direct_path.is_some()).then_some(keys)
}

/// An address, key or path that another step will use: bounded and printable, or not kept at all. Cutting one would
/// make another one of it.
fn reference(text: &Loose<'_>) -> Option<String> {
    let text = text.filled()?;
    (text.len() <= MAX_REFERENCE && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned())
}
