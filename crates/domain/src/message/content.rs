//! What a message says.

use serde::{Deserialize, Serialize};

use super::{InteractiveMessage, Media, MediaKind, MessageKind, TemplateMessage};
use crate::ids::ProviderMessageId;
use crate::text::{RawJson, Text};

/// What a message says, by kind. As JSON: `{"kind":"text","text":"…"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MessageContent {
    /// Words.
    Text {
        /// The words.
        text: Text,
    },
    /// A file. Its sort is in [`Media::media_kind`].
    Media(Media),
    /// A place.
    Location {
        /// Degrees north, -90 to 90.
        latitude: f64,
        /// Degrees east, -180 to 180.
        longitude: f64,
        /// What the place is called.
        name: Option<Text>,
        /// Where it is, in words.
        address: Option<Text>,
        /// The sender goes on sharing where they are.
        live: bool,
    },
    /// Contact cards.
    Contacts {
        /// At least one card.
        contacts: Vec<ContactCard>,
    },
    /// An emoji under another message.
    Reaction {
        /// The message reacted to.
        target: ProviderMessageId,
        /// The emoji; `None` takes an earlier one away.
        emoji: Option<Text>,
    },
    /// A question with answers to choose from.
    Poll {
        /// The question.
        question: Text,
        /// The answers, in order.
        options: Vec<Text>,
        /// How many may be chosen; 0 is any number.
        selectable: u32,
    },
    /// A vote in a poll; what was chosen is encrypted.
    PollVote {
        /// The poll.
        target: ProviderMessageId,
    },
    /// New content for an earlier message.
    Edit {
        /// The message that was changed.
        target: ProviderMessageId,
        /// What it says now. Never itself an edit.
        content: Box<MessageContent>,
    },
    /// An earlier message was deleted for everyone.
    Revoke {
        /// The message that was deleted.
        target: ProviderMessageId,
    },
    /// A button or list entry was chosen, a form was filled in, or goods were ordered.
    InteractiveReply {
        /// The chosen entry's own id, where given.
        id: Option<Text>,
        /// What the entry said, or what was filled in or ordered, in words.
        title: Text,
        /// What was answered besides, for machines: a form's fields, an order's items. A person's input: never believed
        /// unchecked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<RawJson>,
    },
    /// Words that WhatsApp approved beforehand, filled in.
    Template {
        /// Which, and what is filled in.
        template: TemplateMessage,
    },
    /// Words with something to press.
    Interactive {
        /// The words and what there is to press.
        interactive: Box<InteractiveMessage>,
    },
    /// Something we do not understand, kept raw.
    Unsupported {
        /// What the provider calls it.
        type_name: Text,
        /// The provider's own JSON.
        raw: RawJson,
    },
}

/// A contact card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactCard {
    /// The name shown on it.
    pub display_name: Text,
    /// The card itself (vCard 3.0), where given.
    pub vcard: Option<Text>,
}

impl MessageContent {
    /// Longest kept name of something we do not understand, in characters.
    pub const MAX_TYPE_NAME: usize = 64;
    /// Most contact cards kept of one message; WhatsApp sends at most 257.
    pub const MAX_CONTACTS: usize = 300;
    /// Most answers kept of one poll; WhatsApp allows 12.
    pub const MAX_OPTIONS: usize = 64;

    /// What is left of it when words are not kept any more: which message it is about, and which file it is. Everything
    /// else becomes something that nobody understands.
    #[must_use]
    pub fn without_words(self) -> Self {
        match self {
            Self::Media(media) => Self::Media(Media {
                caption: None,
                file_name: None,
                ..media
            }),
            Self::Reaction { target, .. } => Self::Reaction { target, emoji: None },
            Self::Edit { target, content } => Self::Edit {
                target,
                content: Box::new(content.without_words()),
            },
            about @ (Self::PollVote { .. } | Self::Revoke { .. }) => about,
            Self::Text { .. }
            | Self::Location { .. }
            | Self::Contacts { .. }
            | Self::Poll { .. }
            | Self::InteractiveReply { .. }
            | Self::Template { .. }
            | Self::Interactive { .. }
            | Self::Unsupported { .. } => Self::nothing(),
        }
    }

    /// What stands for words that are not kept any more.
    #[must_use]
    pub fn nothing() -> Self {
        Self::Unsupported {
            type_name: Text::cut("expired", Self::MAX_TYPE_NAME).0,
            raw: RawJson::keep("null"),
        }
    }

    /// What sort of message it is.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Text { .. } => MessageKind::Text,
            Self::Media(media) => media.media_kind.message_kind(),
            Self::Location { .. } => MessageKind::Location,
            Self::Contacts { .. } => MessageKind::Contact,
            Self::Reaction { .. } => MessageKind::Reaction,
            Self::Poll { .. } => MessageKind::Poll,
            Self::PollVote { .. } => MessageKind::PollVote,
            Self::Edit { .. } => MessageKind::Edit,
            Self::Revoke { .. } => MessageKind::Revoke,
            Self::InteractiveReply { .. } => MessageKind::InteractiveReply,
            Self::Template { .. } => MessageKind::Template,
            Self::Interactive { .. } => MessageKind::Interactive,
            Self::Unsupported { .. } => MessageKind::Unsupported,
        }
    }

    /// The earlier message it is about: the one reacted to, voted in, edited or deleted.
    #[must_use]
    pub const fn target(&self) -> Option<&ProviderMessageId> {
        match self {
            Self::Reaction { target, .. }
            | Self::PollVote { target }
            | Self::Edit { target, .. }
            | Self::Revoke { target } => Some(target),
            Self::Text { .. }
            | Self::Media(_)
            | Self::Location { .. }
            | Self::Contacts { .. }
            | Self::Poll { .. }
            | Self::InteractiveReply { .. }
            | Self::Template { .. }
            | Self::Interactive { .. }
            | Self::Unsupported { .. } => None,
        }
    }

    /// The file, if it has one.
    #[must_use]
    pub const fn media(&self) -> Option<&Media> {
        match self {
            Self::Media(media) => Some(media),
            _ => None,
        }
    }

    /// What a person reads in a history or in Chatwoot: the words, the caption, or a placeholder; at
    /// most [`Text::MAX_CHARS`] characters.
    #[must_use]
    pub fn text_for_humans(&self) -> Text {
        match self {
            Self::Text { text } => text.clone(),
            Self::Edit { content, target: _ } => content.text_for_humans(),
            Self::InteractiveReply {
                title,
                id: _,
                data: _,
            } => title.clone(),
            Self::Media(Media {
                caption: Some(caption),
                ..
            }) if !caption.is_empty() => caption.clone(),
            Self::Media(media) => Text::from(placeholder(media)),
            Self::Location {
                latitude,
                longitude,
                name,
                address,
                live,
            } => {
                let place = name.as_ref().or(address.as_ref()).map(Text::as_str);
                let place = place.unwrap_or(if *live { "Live location" } else { "Location" });
                Text::from(format!("📍 {place} ({latitude}, {longitude})"))
            }
            Self::Contacts { contacts } => {
                let names: Vec<&str> = contacts.iter().map(|card| card.display_name.as_str()).collect();
                let word = if contacts.len() > 1 { "Contacts" } else { "Contact" };
                Text::from(format!("👤 {word}: {}", names.join(", ")))
            }
            Self::Reaction {
                emoji: Some(emoji),
                target: _,
            } => Text::from(format!("[reaction {}]", emoji.as_str())),
            Self::Reaction {
                emoji: None,
                target: _,
            } => Text::from("[reaction removed]"),
            Self::Poll {
                question,
                options,
                selectable: _,
            } => {
                let mut text = format!("📊 {}", question.as_str());
                for option in options {
                    text.push_str("\n- ");
                    text.push_str(option.as_str());
                }
                Text::from(text)
            }
            Self::PollVote { target: _ } => Text::from("[poll vote]"),
            Self::Revoke { target: _ } => Text::from("[message deleted]"),
            Self::Template { template } => Text::from(format!("[template: {}]", template.name.as_str())),
            Self::Interactive { interactive } => interactive.text_for_humans(),
            Self::Unsupported { type_name, raw: _ } => {
                Text::from(format!("[unsupported message: {}]", type_name.as_str()))
            }
        }
    }
}

fn placeholder(media: &Media) -> String {
    let word = match media.media_kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
        MediaKind::Voice => "voice note",
        MediaKind::Document => "document",
        MediaKind::Sticker => "sticker",
    };
    match &media.file_name {
        Some(name) if media.media_kind == MediaKind::Document => format!("[{word}: {}]", name.as_str()),
        _ => format!("[{word}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(media_kind: MediaKind, caption: Option<&str>, file_name: Option<&str>) -> MessageContent {
        MessageContent::Media(Media {
            media_kind,
            caption: caption.map(Text::new),
            mime_type: None,
            file_name: file_name.map(Text::new),
            size: None,
            seconds: None,
            sha256: None,
            sources: Vec::new(),
        })
    }

    fn id(text: &str) -> ProviderMessageId {
        ProviderMessageId::parse(text).unwrap()
    }

    fn every_kind() -> Vec<(MessageContent, &'static str)> {
        let text = |t: &str| MessageContent::Text { text: Text::new(t) };
        let place = |name: Option<&str>, live| MessageContent::Location {
            latitude: -5.1477,
            longitude: 119.4327,
            name: name.map(Text::new),
            address: None,
            live,
        };
        let card = |name: &str| ContactCard {
            display_name: Text::new(name),
            vcard: None,
        };
        let target = id("3EB0C1A2B3D4E5F60718");
        vec![
            (text("Selamat pagi"), "Selamat pagi"),
            (media(MediaKind::Image, Some("jalan rusak"), None), "jalan rusak"),
            (media(MediaKind::Image, Some(""), None), "[image]"),
            (media(MediaKind::Video, None, None), "[video]"),
            (media(MediaKind::Audio, None, None), "[audio]"),
            (media(MediaKind::Voice, None, None), "[voice note]"),
            (
                media(MediaKind::Document, None, Some("KK.pdf")),
                "[document: KK.pdf]",
            ),
            (media(MediaKind::Sticker, None, Some("x.webp")), "[sticker]"),
            (
                place(Some("Balai Desa"), false),
                "📍 Balai Desa (-5.1477, 119.4327)",
            ),
            (place(None, true), "📍 Live location (-5.1477, 119.4327)"),
            (
                MessageContent::Contacts {
                    contacts: vec![card("Pak Lurah")],
                },
                "👤 Contact: Pak Lurah",
            ),
            (
                MessageContent::Contacts {
                    contacts: vec![card("A"), card("B")],
                },
                "👤 Contacts: A, B",
            ),
            (
                MessageContent::Reaction {
                    target: target.clone(),
                    emoji: Some("👍".into()),
                },
                "[reaction 👍]",
            ),
            (
                MessageContent::Reaction {
                    target: target.clone(),
                    emoji: None,
                },
                "[reaction removed]",
            ),
            (
                MessageContent::Poll {
                    question: "Kapan?".into(),
                    options: vec!["Sabtu".into()],
                    selectable: 1,
                },
                "📊 Kapan?\n- Sabtu",
            ),
            (
                MessageContent::PollVote {
                    target: target.clone(),
                },
                "[poll vote]",
            ),
            (
                MessageContent::Edit {
                    target: target.clone(),
                    content: Box::new(text("baru")),
                },
                "baru",
            ),
            (MessageContent::Revoke { target }, "[message deleted]"),
            (
                MessageContent::InteractiveReply {
                    id: Some("b1".into()),
                    title: "Ya".into(),
                    data: Some(RawJson::keep("{\"a\":1}")),
                },
                "Ya",
            ),
            (
                MessageContent::Template {
                    template: TemplateMessage {
                        name: "janji_temu".into(),
                        language: crate::message::TemplateLanguage { code: "id".into() },
                        components: Vec::new(),
                    },
                },
                "[template: janji_temu]",
            ),
            (
                MessageContent::Interactive {
                    interactive: serde_json::from_str(
                        r#"{"type":"button","body":{"text":"Hadir besok?"},"action":{"buttons":[
                            {"type":"reply","reply":{"id":"1","title":"Ya"}}]}}"#,
                    )
                    .unwrap(),
                },
                "Hadir besok?\n- Ya",
            ),
            (
                MessageContent::Unsupported {
                    type_name: "orderMessage".into(),
                    raw: RawJson::keep("{\"a\":1}"),
                },
                "[unsupported message: orderMessage]",
            ),
        ]
    }

    #[test]
    fn every_kind_has_words_for_people_and_survives_json() {
        for (content, words) in every_kind() {
            assert_eq!(content.text_for_humans().as_str(), words);
            let json = serde_json::to_string(&content).unwrap();
            assert_eq!(
                serde_json::from_str::<MessageContent>(&json).unwrap(),
                content,
                "{json}"
            );
        }
        for &kind in MessageKind::ALL {
            assert!(
                every_kind().iter().any(|(content, _)| content.kind() == kind),
                "no sample of {kind}"
            );
        }
    }

    #[test]
    fn words_for_people_are_bounded() {
        let long = Text::new(&"x".repeat(Text::MAX_CHARS));
        let poll = MessageContent::Poll {
            question: long.clone(),
            options: vec![long],
            selectable: 1,
        };
        assert_eq!(poll.text_for_humans().as_str().chars().count(), Text::MAX_CHARS);
    }

    #[test]
    fn debug_shows_no_words() {
        for (content, words) in every_kind() {
            // Two-letter samples would be found by accident.
            if words.len() > 4 && !words.starts_with('[') {
                assert!(!format!("{content:?}").contains(words), "{content:?}");
            }
        }
    }
}
