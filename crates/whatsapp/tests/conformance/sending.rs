//! Rows about messages that go out.

use domain::message::{ContactCard, MediaKind, MessageKind};
use domain::text::Text;
use whatsapp::port::{FileBytes, MessageReference, OutboundContent, OutboundFile, OutboundMedia};

use crate::cases::{Case, Does};
use crate::provider::{FILE, GROUP};

/// Where a file lies that a provider may fetch.
pub(crate) const LINK: &str = "https://files.example/f";

pub(crate) fn text(text: &str) -> OutboundContent {
    OutboundContent::Text(Text::new(text))
}

pub(crate) fn file(
    kind: MediaKind,
    mime: &str,
    caption: Option<&str>,
    name: Option<&str>,
) -> OutboundContent {
    let bytes = FileBytes::new(bytes::Bytes::from_static(FILE)).unwrap();
    media(kind, OutboundFile::Bytes(bytes), mime, caption, name)
}

fn link(kind: MediaKind, mime: &str) -> OutboundContent {
    media(kind, OutboundFile::Link(LINK.parse().unwrap()), mime, None, None)
}

fn media(
    kind: MediaKind,
    file: OutboundFile,
    mime: &str,
    caption: Option<&str>,
    name: Option<&str>,
) -> OutboundContent {
    OutboundContent::Media(OutboundMedia {
        kind,
        file,
        mime_type: Some(Text::new(mime)),
        caption: caption.map(Text::new),
        file_name: name.map(Text::new),
        seconds: None,
    })
}

pub(crate) fn cards(names: &[(&str, &str)]) -> OutboundContent {
    let card = |(name, number): &(&str, &str)| ContactCard {
        display_name: Text::new(name),
        vcard: Some(Text::new(&format!(
            "BEGIN:VCARD\nVERSION:3.0\nFN:{name}\nTEL;type=CELL;waid={number}:+{number}\nEND:VCARD"
        ))),
    };
    OutboundContent::Contacts(names.iter().map(card).collect())
}

fn place(name: Option<&str>) -> OutboundContent {
    OutboundContent::Location {
        latitude: -5.1477,
        longitude: 119.4327,
        name: name.map(Text::new),
        address: None,
    }
}

pub(crate) fn react(target: domain::ids::ProviderMessageId, emoji: Option<&str>) -> OutboundContent {
    OutboundContent::Reaction {
        target: MessageReference {
            id: target,
            ours: true,
            participant: None,
        },
        emoji: emoji.map(Text::new),
    }
}

pub(crate) const fn row(name: &'static str, does: Does, expect: &'static str) -> Case {
    Case { name, does, expect }
}

pub(crate) fn messages() -> Vec<Case> {
    use Does::{About, Answer, IdOfReceipts, ReactToTheirs, Repeat, Send, SendTo, SendTwice};
    use MediaKind::{Audio, Document, Image, Sticker, Video, Voice};
    vec![
        row(
            "text",
            Send(text("Syaratnya KTP & KK \"asli\"")),
            "accepted; 'Syaratnya KTP & KK \"asli\"'",
        ),
        row(
            "text in many scripts",
            Send(text("नमस्ते 你好 👩🏽‍🌾🇮🇩 \u{202e}abc")),
            "accepted; 'नमस्ते 你好 👩🏽‍🌾🇮🇩 \u{202e}abc'",
        ),
        row(
            "text of several lines",
            Send(text("satu\n\n  dua\\n")),
            "accepted; 'satu\n\n  dua\\n'",
        ),
        row(
            "longest text",
            Send(text(&"panjang 👍 ".repeat(6_000))),
            "accepted; 60000 characters",
        ),
        row(
            "text to a hidden id",
            SendTo("190000000000099@lid"),
            "accepted; 'Halo'",
        ),
        row("text to a group", SendTo(GROUP), "accepted; 'Halo'"),
        row(
            "text to a foreign number",
            SendTo("4915112345678@s.whatsapp.net"),
            "accepted; 'Halo'",
        ),
        row(
            "text to a webchat visitor",
            SendTo("web_abc"),
            "rejected invalid_recipient; nothing shown",
        ),
        row(
            "answer",
            Answer(text("Ya"), "3EB0QUOTED"),
            "accepted; 'Ya' answering 3EB0QUOTED",
        ),
        row(
            "answer to nobody knows whom",
            Does::AnswerWithoutWriter(text("Ya"), "3EB0QUOTED"),
            "accepted; 'Ya' answering 3EB0QUOTED",
        ),
        row(
            "answer with a picture",
            Answer(file(Image, "image/jpeg", None, None), "3EB0QUOTED"),
            "accepted; image image/jpeg whole answering 3EB0QUOTED",
        ),
        row(
            "picture",
            Send(file(Image, "image/jpeg", None, None)),
            "accepted; image image/jpeg whole",
        ),
        row(
            "picture with words",
            Send(file(Image, "image/png", Some("Ini & itu"), None)),
            "accepted; image image/png whole 'Ini & itu'",
        ),
        row(
            "film with words",
            Send(file(Video, "video/mp4", Some("Lihat"), None)),
            "accepted; video video/mp4 whole 'Lihat'",
        ),
        row(
            "sound",
            Send(file(Audio, "audio/mpeg", None, None)),
            "accepted; audio audio/mpeg whole",
        ),
        row(
            "voice note",
            Send(file(Voice, "audio/ogg; codecs=opus", None, None)),
            "accepted; voice audio/ogg whole",
        ),
        row(
            "voice note with words it cannot carry",
            Send(file(Voice, "audio/ogg", Some("tidak tampil"), None)),
            "accepted; voice audio/ogg whole",
        ),
        row(
            "document",
            Send(file(
                Document,
                "application/pdf",
                Some("Formulir"),
                Some("Formulir F-1.pdf"),
            )),
            "accepted; document application/pdf whole 'Formulir' named Formulir F-1.pdf",
        ),
        row(
            "sticker",
            Send(file(Sticker, "image/webp", None, None)),
            "accepted; sticker image/webp whole",
        ),
        row(
            "picture by link",
            Send(link(Image, "image/jpeg")),
            "accepted; image  by link",
        ),
        row(
            "film by link",
            Send(link(Video, "video/mp4")),
            "accepted; video  by link",
        ),
        row(
            "sound by link",
            Send(link(Audio, "audio/mpeg")),
            "accepted; audio  by link",
        ),
        row(
            "voice note by link",
            Send(link(Voice, "audio/ogg")),
            "accepted; voice  by link",
        ),
        row(
            "document by link",
            Send(link(Document, "application/pdf")),
            "accepted; document  by link",
        ),
        row(
            "sticker by link",
            Send(link(Sticker, "image/webp")),
            "accepted; sticker  by link",
        ),
        row("place", Send(place(None)), "accepted; place -5.1477 119.4327"),
        row(
            "place with a name",
            Send(place(Some("Balai Desa"))),
            "accepted; place -5.1477 119.4327 Balai Desa",
        ),
        row(
            "contact card",
            Send(cards(&[("Pak Lurah", "6281300000007")])),
            "accepted; card Pak Lurah 6281300000007",
        ),
        row(
            "several contact cards",
            Send(cards(&[
                ("Pak Lurah", "6281300000007"),
                ("Bu RT", "6281300000008"),
            ])),
            "accepted; card Pak Lurah 6281300000007; card Bu RT 6281300000008",
        ),
        row(
            "contact without a card",
            Send(OutboundContent::Contacts(vec![ContactCard {
                display_name: Text::new("Pak Lurah"),
                vcard: None,
            }])),
            "rejected unprocessable; nothing shown",
        ),
        row(
            "no contacts",
            Send(OutboundContent::Contacts(Vec::new())),
            "rejected unprocessable; nothing shown",
        ),
        row(
            "reaction to our own",
            About(|id| react(id, Some("👍"))),
            "accepted; 'Halo' with 👍",
        ),
        row(
            "reaction taken back",
            Does::About(|id| react(id, None)),
            "accepted; 'Halo'",
        ),
        row(
            "reaction to theirs",
            ReactToTheirs(Some("🙏")),
            "accepted; 🙏 to 3EB0THEIRS",
        ),
        row(
            "reaction to theirs taken back",
            ReactToTheirs(None),
            "accepted; none to 3EB0THEIRS",
        ),
        row(
            "edit",
            About(|target| OutboundContent::Edit {
                target,
                text: Text::new("Hai"),
            }),
            "accepted; 'Hai' (edited)",
        ),
        row(
            "deletion for everyone",
            About(|target| OutboundContent::Revoke { target }),
            "accepted; 'Halo' (deleted)",
        ),
        row(
            "the same text twice",
            SendTwice(text("Halo")),
            "may be repeated; 'Halo'",
        ),
        row(
            "the same picture twice",
            SendTwice(file(Image, "image/jpeg", None, None)),
            "may be repeated; image image/jpeg whole",
        ),
        row(
            "the same cards twice",
            SendTwice(cards(&[
                ("Pak Lurah", "6281300000007"),
                ("Bu RT", "6281300000008"),
            ])),
            "may be repeated; card Pak Lurah 6281300000007; card Bu RT 6281300000008",
        ),
        row(
            "what may be repeated changes nothing",
            Repeat(MessageKind::ALL),
            "nothing changed",
        ),
        row("accepted under the id on the phone", IdOfReceipts, "the same"),
    ]
}
