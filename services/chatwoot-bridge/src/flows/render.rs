//! What agents see of a message: in words, whatever kind it is.

use std::fmt::Write as _;

use domain::ids::ProviderMessageId;
use domain::message::{ContactCard, Media, MediaKind, MessageContent};
use messaging::events::message_received::ChatMessage;

use super::markdown::from_whatsapp;

/// Cards of one message that are written out; the rest is counted.
const MOST_CARDS: usize = 20;
/// Lines of one card, and characters of one line.
const MOST_LINES: usize = 12;
const LONGEST_LINE: usize = 200;

/// Who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A person wrote to the tenant.
    FromPerson,
    /// The tenant wrote, on the phone itself.
    FromPhone,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As a message of whoever wrote it.
    Message,
    /// As a note that only agents read.
    Note,
    /// Not at all.
    Nothing,
}

/// A message as agents will see it.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    /// How.
    pub form: Form,
    /// The words; of a file: those under it, and maybe none.
    pub words: String,
    /// The earlier message it is about.
    pub about: Option<ProviderMessageId>,
    /// The file.
    pub file: Option<ShownFile>,
}

/// A file as agents will see it.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownFile {
    /// What it is, for whoever cannot see it: `[image]`, `[document: KK.pdf]`.
    pub label: String,
    /// What its sender called it.
    pub name: Option<String>,
    /// What sort it is.
    pub kind: MediaKind,
}

impl std::fmt::Debug for Shown {
    /// No words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown")
            .field("form", &self.form)
            .field("file", &self.file.as_ref().map(|file| file.kind))
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ShownFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownFile")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Shown {
    /// The words where the file cannot be seen, and why not.
    #[must_use]
    pub fn words_without_file(&self, why: &str) -> String {
        let Some(file) = &self.file else {
            return self.words.clone();
        };
        let mut words = self.words.clone();
        if !words.is_empty() {
            words.push('\n');
        }
        words.push_str(&file.label);
        if !why.is_empty() {
            words.push(' ');
            words.push_str(why);
        }
        words
    }
}

/// What agents see of a message.
#[must_use]
pub fn render(message: &ChatMessage, way: Way) -> Shown {
    let mut shown = match serde_json::from_str::<MessageContent>(message.content.get()) {
        Ok(content) => of_content(&content, way),
        // Of a newer release, or of an older one: what a person would read came along.
        Err(_) => plain(message.text.clone()),
    };
    shown.words = clean(&shown.words);
    if shown.form != Form::Nothing && shown.file.is_none() && shown.words.trim().is_empty() {
        // Never nothing: a message without words is shown by its kind.
        shown.words = format!("[{}]", message.kind);
    }
    if shown.about.is_none() {
        shown.about.clone_from(&message.quoted);
    }
    shown
}

/// Chatwoot's Postgres cannot store U+0000 either.
fn clean(words: &str) -> String {
    words.replace('\0', "")
}

fn plain(words: String) -> Shown {
    Shown {
        form: Form::Message,
        words,
        about: None,
        file: None,
    }
}

fn of_content(content: &MessageContent, way: Way) -> Shown {
    match content {
        MessageContent::Media(media) => of_media(media),
        MessageContent::Location {
            latitude,
            longitude,
            name,
            address,
            live,
        } => {
            let mut words = String::from(if *live {
                "📍 Live location"
            } else {
                "📍 Location"
            });
            for line in [name, address]
                .into_iter()
                .flatten()
                .filter(|line| !line.is_empty())
            {
                words.push('\n');
                words.push_str(line.as_str());
            }
            // A formatted write into a text cannot fail.
            let _fits = write!(words, "\nhttps://www.google.com/maps?q={latitude},{longitude}");
            plain(words)
        }
        MessageContent::Contacts { contacts } => plain(cards(contacts)),
        MessageContent::Reaction {
            target,
            emoji: Some(emoji),
        } => about(emoji.as_str().to_owned(), target),
        // Taking an emoji away is nothing that anybody has to read.
        MessageContent::Reaction {
            target: _,
            emoji: None,
        } => Shown {
            form: Form::Nothing,
            ..plain(String::new())
        },
        MessageContent::PollVote { target } => about("🗳️ A vote in this poll".to_owned(), target),
        MessageContent::Edit { target, content } => {
            let words = from_whatsapp(content.text_for_humans().as_str());
            about(format!("✏️ {words}"), target)
        }
        // What was said stays: agents may have answered it already.
        MessageContent::Revoke { target } => {
            let words = match way {
                Way::FromPerson => "🗑️ The person deleted this message in WhatsApp.",
                Way::FromPhone => "🗑️ This message was deleted in WhatsApp, on the phone.",
            };
            Shown {
                form: Form::Note,
                ..about(words.to_owned(), target)
            }
        }
        MessageContent::Text { text } => plain(from_whatsapp(text.as_str())),
        MessageContent::Poll { .. }
        | MessageContent::InteractiveReply { .. }
        | MessageContent::Template { .. }
        | MessageContent::Interactive { .. }
        | MessageContent::Unsupported { .. } => plain(content.text_for_humans().into_string()),
    }
}

fn about(words: String, target: &ProviderMessageId) -> Shown {
    Shown {
        about: Some(target.clone()),
        ..plain(words)
    }
}

fn of_media(media: &Media) -> Shown {
    let bare = Media {
        caption: None,
        sources: Vec::new(),
        ..media.clone()
    };
    let label = clean(MessageContent::Media(bare).text_for_humans().as_str());
    let words = media
        .caption
        .as_ref()
        .map(|caption| from_whatsapp(caption.as_str()));
    Shown {
        file: Some(ShownFile {
            label,
            name: media.file_name.as_ref().map(|name| clean(name.as_str())),
            kind: media.media_kind,
        }),
        ..plain(words.unwrap_or_default())
    }
}

/// Contact cards, readable: names, and whatever of numbers, addresses and firms is on them.
fn cards(contacts: &[ContactCard]) -> String {
    let mut words = String::new();
    for card in contacts.iter().take(MOST_CARDS) {
        if !words.is_empty() {
            words.push_str("\n\n");
        }
        words.push_str("👤 ");
        words.push_str(card.display_name.as_str());
        for line in card_lines(card.vcard.as_ref().map_or("", |vcard| vcard.as_str())) {
            words.push('\n');
            words.push_str(&line);
        }
    }
    if contacts.len() > MOST_CARDS {
        let _fits = write!(words, "\n\n… and {} more", contacts.len() - MOST_CARDS);
    }
    words
}

/// The lines of a vCard that a person wants to read. Long lines are folded over several.
fn card_lines(vcard: &str) -> Vec<String> {
    let unfolded = vcard.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "");
    let mut lines: Vec<String> = Vec::new();
    for line in unfolded.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        // `item1.TEL;type=CELL;waid=628…`: group and parameters are for machines.
        let key = key.split(';').next().unwrap_or_default();
        let key = key.rsplit('.').next().unwrap_or_default();
        if !["TEL", "EMAIL", "ORG", "TITLE", "URL"]
            .iter()
            .any(|known| key.eq_ignore_ascii_case(known))
        {
            continue;
        }
        let value: String = value
            .replace("\\n", " ")
            .replace("\\,", ",")
            .replace("\\;", ";")
            .chars()
            .filter(|c| !c.is_control())
            .take(LONGEST_LINE)
            .collect();
        let value = value.trim().trim_end_matches(';').to_owned();
        if !value.is_empty() && !lines.contains(&value) && lines.len() < MOST_LINES {
            lines.push(value);
        }
    }
    lines
}

/// A size, readable: `350 KB`, `61.4 MB`.
#[must_use]
pub fn readable_size(bytes: u64) -> String {
    const KB: u64 = 1_024;
    const MB: u64 = KB * KB;
    if bytes < MB {
        return format!("{} KB", bytes.div_ceil(KB));
    }
    let tenths = bytes.saturating_mul(10) / MB;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use domain::ids::{AccountId, ChatId, MessageId};
    use messaging::events::message_received::ChatPartner;
    use serde_json::{Value, json};

    use super::*;

    fn message(content: &Value) -> ChatMessage {
        ChatMessage {
            account_id: AccountId::generate(),
            chat_id: ChatId::generate(),
            partner: ChatPartner {
                address: "628123450001@s.whatsapp.net".into(),
                phone: None,
                name: None,
            },
            place: None,
            sender: None,
            message_id: MessageId::generate(),
            provider_message_id: "3EB01".parse().unwrap(),
            kind: content["kind"].as_str().unwrap_or("odd").into(),
            text: "what a person would read".into(),
            content: serde_json::value::to_raw_value(content).unwrap(),
            media: None,
            quoted: None,
            sent_at: Utc::now(),
        }
    }

    fn words(content: &Value) -> String {
        render(&message(content), Way::FromPerson).words
    }

    #[test]
    fn every_kind_can_be_read() {
        for (content, expected) in [
            (json!({"kind": "text", "text": "halo\u{0} kak"}), "halo kak"),
            (json!({"kind": "text", "text": " "}), "[text]"),
            (
                json!({"kind": "text", "text": "ini *penting*"}),
                "ini **penting**",
            ),
            (
                json!({"kind": "location", "latitude": -6.2, "longitude": 106.816_667, "name": "Monas",
                       "address": "Jakarta Pusat", "live": false}),
                "📍 Location\nMonas\nJakarta Pusat\nhttps://www.google.com/maps?q=-6.2,106.816667",
            ),
            (
                json!({"kind": "location", "latitude": 1.0, "longitude": 2.5, "name": null, "address": null,
                       "live": true}),
                "📍 Live location\nhttps://www.google.com/maps?q=1,2.5",
            ),
            (
                json!({"kind": "contacts", "contacts": [
                    {"display_name": "Pak Lurah", "vcard": "BEGIN:VCARD\r\nFN:Pak Lurah\r\nORG:Balai Desa;\r\n\
                     item1.TEL;type=CELL;waid=628120000001:+62 812-0000-0001\r\n\
                     TEL:+62 812-0000-0001\r\nEMAIL:lurah@desa.exam\r\n ple\r\nEND:VCARD"},
                    {"display_name": "Bu Ani", "vcard": null}]}),
                "👤 Pak Lurah\nBalai Desa\n+62 812-0000-0001\nlurah@desa.example\n\n👤 Bu Ani",
            ),
            (
                json!({"kind": "reaction", "target": "3EB0T", "emoji": "👍"}),
                "👍",
            ),
            (
                json!({"kind": "edit", "target": "3EB0T", "content": {"kind": "text", "text": "yang benar"}}),
                "✏️ yang benar",
            ),
            (
                json!({"kind": "poll", "question": "Kapan?", "options": ["Sabtu"], "selectable": 1}),
                "📊 Kapan?\n- Sabtu",
            ),
            (
                json!({"kind": "poll_vote", "target": "3EB0T"}),
                "🗳️ A vote in this poll",
            ),
            (
                json!({"kind": "interactive_reply", "id": "a", "title": "Ya, setuju"}),
                "Ya, setuju",
            ),
            (
                json!({"kind": "unsupported", "type_name": "viewOnceMessage", "raw": {}}),
                "[unsupported message: viewOnceMessage]",
            ),
            (json!({"kind": "from the future"}), "what a person would read"),
        ] {
            assert_eq!(words(&content), expected, "{content}");
        }
    }

    #[test]
    fn what_is_about_another_message_quotes_it_and_a_deletion_is_a_note() {
        for (content, form) in [
            (
                json!({"kind": "reaction", "target": "3EB0T", "emoji": "👍"}),
                Form::Message,
            ),
            (
                json!({"kind": "reaction", "target": "3EB0T", "emoji": null}),
                Form::Nothing,
            ),
            (json!({"kind": "revoke", "target": "3EB0T"}), Form::Note),
            (
                json!({"kind": "edit", "target": "3EB0T", "content": {"kind": "text", "text": "x"}}),
                Form::Message,
            ),
        ] {
            let shown = render(&message(&content), Way::FromPerson);
            assert_eq!(shown.form, form, "{content}");
            if form != Form::Nothing {
                assert_eq!(shown.about.unwrap().as_str(), "3EB0T", "{content}");
            }
        }
        let revoke = message(&json!({"kind": "revoke", "target": "3EB0T"}));
        assert_ne!(
            render(&revoke, Way::FromPhone).words,
            render(&revoke, Way::FromPerson).words
        );
        let mut answer = message(&json!({"kind": "text", "text": "ya"}));
        answer.quoted = Some("3EB0Q".parse().unwrap());
        assert_eq!(render(&answer, Way::FromPerson).about.unwrap().as_str(), "3EB0Q");
    }

    #[test]
    fn a_files_words_are_those_under_it() {
        let shown = |caption: Option<&str>| {
            let content =
                json!({"kind": "media", "media_kind": "document", "caption": caption, "file_name": "KK.pdf"});
            render(&message(&content), Way::FromPerson)
        };
        let bare = shown(None);
        assert_eq!(bare.words, "");
        assert_eq!(bare.words_without_file(""), "[document: KK.pdf]");
        let with_words = shown(Some("ini KK saya"));
        assert_eq!(with_words.words, "ini KK saya");
        assert_eq!(
            with_words.words_without_file("is on its way"),
            "ini KK saya\n[document: KK.pdf] is on its way"
        );
        assert_eq!(with_words.file.unwrap().name.as_deref(), Some("KK.pdf"));
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, expected) in [
            (1, "1 KB"),
            (358_400, "350 KB"),
            (64_382_566, "61.3 MB"),
            (41_943_040, "40.0 MB"),
        ] {
            assert_eq!(readable_size(bytes), expected);
        }
    }
}
