//! What a message holds, whatever kind it is: a file, a place, cards, choices, or words alone.

use domain::ids::MessageId;
use domain::message::{ContactCard, Media, MediaKind, MediaState, MessageContent, TemplateMessage};
use serde_json::Value;

use super::bubble::Shown;
use super::words;
use crate::flows::thread::Said;
use crate::media::file_type;

/// Numbers that are shown of one contact card.
const MOST_NUMBERS: usize = 3;
/// Cards that are shown of one message.
const MOST_CARDS: usize = 20;

/// What a message holds besides words.
pub(super) enum Part {
    Nothing,
    Picture {
        src: String,
        alt: String,
        sticker: bool,
    },
    Film {
        src: String,
        name: String,
    },
    Sound {
        src: String,
        name: String,
    },
    File {
        src: String,
        name: String,
        about: String,
    },
    Missing {
        tone: &'static str,
        name: String,
        why: String,
    },
    Place {
        spot: Spot,
        name: String,
        at: String,
        map: String,
    },
    Cards(Vec<Card>),
    Choices(Vec<String>),
}

/// Where a place is on a plain drawing of the world, 240 wide and 120 high.
pub(super) struct Spot {
    pub(super) x: String,
    pub(super) y: String,
}

/// A contact card.
pub(super) struct Card {
    pub(super) name: String,
    pub(super) numbers: Vec<String>,
}

impl Shown<'_> {
    /// What sort it is, what it holds, and its words as people read them now.
    pub(super) fn content(&self, said: &Said) -> (String, Part, String) {
        let l = self.l;
        let label = |en: &'static str, id: &'static str| l.t(en, id).to_owned();
        let body = said.row.body.clone();
        let Some(content) = &said.content else {
            return (
                label(
                    "Of a kind that this version cannot show",
                    "Jenis yang belum dapat ditampilkan",
                ),
                Part::Nothing,
                body,
            );
        };
        match content {
            MessageContent::Text { .. } => (String::new(), Part::Nothing, body),
            MessageContent::Media(media) => {
                let caption = media.caption.as_ref().map(|caption| caption.as_str().to_owned());
                let edited = said.row.edited_at.is_some().then_some(body);
                let text = edited.or(caption).unwrap_or_default();
                let label = if media.media_kind == MediaKind::Voice {
                    label("Voice note", "Pesan suara")
                } else {
                    String::new()
                };
                (label, self.file(said, media), text)
            }
            MessageContent::Location {
                latitude,
                longitude,
                name,
                address,
                live,
            } => {
                let sort = if *live {
                    label("Live location", "Lokasi langsung")
                } else {
                    label("Location", "Lokasi")
                };
                let named = name.as_ref().map(|name| name.as_str().to_owned());
                let part = Part::Place {
                    spot: spot(*latitude, *longitude),
                    name: named.unwrap_or_default(),
                    at: format!("{latitude:.5}, {longitude:.5}"),
                    map: format!(
                        "https://www.openstreetmap.org/?mlat={latitude:.6}&mlon={longitude:.6}#map=16/{latitude:.6}/{longitude:.6}"
                    ),
                };
                let address = address.as_ref().map(|address| address.as_str().to_owned());
                (sort, part, address.unwrap_or_default())
            }
            MessageContent::Contacts { contacts } => {
                let sort = if contacts.len() > 1 {
                    label("Contacts", "Kontak")
                } else {
                    label("Contact", "Kontak")
                };
                let cards = contacts.iter().take(MOST_CARDS).map(card).collect();
                (sort, Part::Cards(cards), String::new())
            }
            MessageContent::Poll {
                question, options, ..
            } => {
                let options = options.iter().map(|option| option.as_str().to_owned()).collect();
                let question = question.as_str().to_owned();
                (label("Poll", "Polling"), Part::Choices(options), question)
            }
            MessageContent::PollVote { .. } => (
                String::new(),
                Part::Nothing,
                label(
                    "Voted in a poll. WhatsApp does not tell us for what.",
                    "Memilih dalam polling. WhatsApp tidak memberi tahu pilihannya.",
                ),
            ),
            MessageContent::Reaction {
                emoji: Some(emoji), ..
            } => (
                label("Reacted to a message", "Bereaksi pada sebuah pesan"),
                Part::Nothing,
                emoji.as_str().to_owned(),
            ),
            MessageContent::Reaction { emoji: None, .. } => (
                String::new(),
                Part::Nothing,
                label("Took a reaction back", "Membatalkan reaksi"),
            ),
            MessageContent::Edit { .. } => (
                label(
                    "Edited a message that is not here",
                    "Mengubah pesan yang tidak ada di sini",
                ),
                Part::Nothing,
                body,
            ),
            MessageContent::Revoke { .. } => (
                String::new(),
                Part::Nothing,
                label(
                    "Deleted a message that is not here",
                    "Menghapus pesan yang tidak ada di sini",
                ),
            ),
            MessageContent::InteractiveReply { title, .. } => (
                label("Chose an answer", "Memilih jawaban"),
                Part::Nothing,
                title.as_str().to_owned(),
            ),
            MessageContent::Template { template } => {
                let (name, language) = (template.name.as_str(), template.language.code.as_str());
                let sort = format!("{} {name} ({language})", l.t("Template", "Templat"));
                (sort, Part::Choices(filled_in(template)), String::new())
            }
            MessageContent::Interactive { interactive } => (
                label("With something to press", "Dengan tombol pilihan"),
                Part::Nothing,
                interactive.text_for_humans().into_string(),
            ),
            MessageContent::Unsupported { type_name, .. } => (
                label(
                    "Of a kind that cannot be shown here",
                    "Jenis yang tidak dapat ditampilkan di sini",
                ),
                Part::Nothing,
                type_name.as_str().to_owned(),
            ),
        }
    }

    fn file(&self, said: &Said, media: &Media) -> Part {
        let (l, row) = (self.l, &said.row);
        let claimed = media.file_name.as_ref().map(|name| name.as_str().to_owned());
        let name = row.media_name.clone().or(claimed).unwrap_or_default();
        let missing = |tone, why: String| Part::Missing {
            tone,
            name: name.clone(),
            why,
        };
        if let Some(upload) = &said.upload {
            let src = self
                .links
                .here(self.scope.tenant(), MessageId::from_uuid(upload.id));
            let name = upload.file_name.clone().unwrap_or(name);
            return self.there(media.media_kind, src, name, &upload.mime_type, upload.size);
        }
        let why = |en: &'static str, id: &'static str| l.t(en, id).to_owned();
        let state = row.media_state.as_deref().map(str::parse::<MediaState>);
        match state {
            Some(Ok(MediaState::Stored)) => {
                let src = self.links.here(self.scope.tenant(), MessageId::from_uuid(row.id));
                let mime = row.media_type.as_deref().unwrap_or_default();
                self.there(
                    media.media_kind,
                    src,
                    name,
                    mime,
                    row.media_size.unwrap_or_default(),
                )
            }
            Some(Ok(MediaState::Pending)) => missing(
                "idle",
                why("The file is being fetched.", "Berkas sedang diambil."),
            ),
            Some(Ok(MediaState::TooLarge)) => missing(
                "warn",
                why(
                    "The file is larger than we keep.",
                    "Berkas lebih besar dari batas penyimpanan.",
                ),
            ),
            Some(Ok(MediaState::Quarantined)) => {
                let reason = words::dangerous(l, row.media_reason.as_deref().unwrap_or_default());
                let kept = l.t("The file is not handed out:", "Berkas tidak diberikan:");
                missing("bad", format!("{kept} {reason}."))
            }
            Some(Ok(MediaState::Failed)) => missing(
                "bad",
                why(
                    "The file could not be fetched. Ask for it to be sent again.",
                    "Berkas tidak dapat diambil. Minta agar dikirim lagi.",
                ),
            ),
            Some(Ok(MediaState::Nowhere) | Err(_)) => missing(
                "warn",
                why("The message brought no file.", "Pesan ini tidak membawa berkas."),
            ),
            None => missing(
                "idle",
                why(
                    "The file is not kept here (any more).",
                    "Berkas tidak (lagi) disimpan di sini.",
                ),
            ),
        }
    }

    fn there(&self, kind: MediaKind, src: String, name: String, mime: &str, size: i64) -> Part {
        let file_type = file_type::named(mime);
        let about = format!("{}, {}", file_type.extension.to_uppercase(), self.l.size(size));
        let named = |fallback: &str| {
            if name.is_empty() {
                fallback.to_owned()
            } else {
                name.clone()
            }
        };
        // What a browser may not show is saved to disk, whatever the message calls it.
        let sort = mime.split('/').next().unwrap_or_default();
        match (kind, sort) {
            (MediaKind::Image, "image") if file_type.shown => Part::Picture {
                alt: self.l.t("Picture", "Gambar").to_owned(),
                src,
                sticker: false,
            },
            (MediaKind::Sticker, "image") if file_type.shown => Part::Picture {
                alt: self.l.t("Sticker", "Stiker").to_owned(),
                src,
                sticker: true,
            },
            (MediaKind::Video, "video") if file_type.shown => Part::Film {
                name: named(self.l.t("Video", "Video")),
                src,
            },
            (MediaKind::Audio | MediaKind::Voice, "audio" | "video") if file_type.shown => Part::Sound {
                name: named(self.l.t("Sound", "Audio")),
                src,
            },
            _ => Part::File {
                name: named(self.l.t("File", "Berkas")),
                src,
                about,
            },
        }
    }
}

fn spot(latitude: f64, longitude: f64) -> Spot {
    let x = (longitude.clamp(-180.0, 180.0) + 180.0) / 360.0 * 240.0;
    let y = (90.0 - latitude.clamp(-90.0, 90.0)) / 180.0 * 120.0;
    Spot {
        x: format!("{x:.1}"),
        y: format!("{y:.1}"),
    }
}

fn card(card: &ContactCard) -> Card {
    let vcard = card
        .vcard
        .as_ref()
        .map(|vcard| vcard.as_str())
        .unwrap_or_default();
    let numbers = vcard
        .lines()
        .filter(|line| {
            let name = line.split([';', ':']).next().unwrap_or_default();
            let name = name.rsplit('.').next().unwrap_or_default();
            name.eq_ignore_ascii_case("TEL")
        })
        .filter_map(|line| line.split_once(':'))
        .map(|(_, number)| words::shortened(number.trim(), 30))
        .take(MOST_NUMBERS);
    Card {
        name: words::shortened(card.display_name.as_str(), 100),
        numbers: numbers.collect(),
    }
}

/// The texts that were filled into a template.
fn filled_in(template: &TemplateMessage) -> Vec<String> {
    fn gather(value: &Value, texts: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if name == "text" => texts.push(text.clone()),
                        other => gather(other, texts),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| gather(value, texts)),
            _ => {}
        }
    }
    let mut texts = Vec::new();
    if let Ok(components) = serde_json::to_value(&template.components) {
        gather(&components, &mut texts);
    }
    texts
}

#[cfg(test)]
mod tests {
    use domain::text::Text;

    use super::*;

    #[test]
    fn numbers_are_read_off_a_card_however_it_is_written() {
        let made = ContactCard {
            display_name: Text::new("Budi"),
            vcard: Some(Text::new(
                "BEGIN:VCARD\nFN:Budi\nTEL;type=CELL;waid=62812:+62 812-9000-0044\nitem1.TEL:110\nNOTE:TEL:1\nEND:VCARD",
            )),
        };
        assert_eq!(card(&made).numbers, ["+62 812-9000-0044", "110"]);
    }

    #[test]
    fn a_place_is_on_the_drawing_wherever_it_is() {
        for (latitude, longitude, x, y) in [
            (0.0, 0.0, "120.0", "60.0"),
            (90.0, -180.0, "0.0", "0.0"),
            (-5.1477, 119.4327, "199.6", "63.4"),
            (-95.0, 500.0, "240.0", "120.0"),
        ] {
            let spot = spot(latitude, longitude);
            assert_eq!((spot.x.as_str(), spot.y.as_str()), (x, y));
        }
    }
}
