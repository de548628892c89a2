//! Rows about what goes out.

use domain::message::{ContactCard, MediaKind, MessageKind};
use domain::text::Text;
use whatsapp::courtesy::Typing;
use whatsapp::port::{FileBytes, MessageReference, OutboundContent, OutboundFile, OutboundMedia};

use crate::cases::{Case, Does};
use crate::provider::{FILE, GROUP, Refusal, Stage, Trouble};
use crate::receiver::Manner;

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

pub(crate) fn troubles() -> Vec<Case> {
    use Does::{
        EditInto, SecondCardInto, SendAt, SendFileInto, SendFrom, SendInto, SendToNobody, SendWithWrongKey,
    };
    use Trouble::{CutAfter, CutBefore, HugeAnswer, LateAnswer, LateStatus, RetryAfter, Slow, Status};
    vec![
        row(
            "recipient that cannot be read",
            SendInto(Trouble::Refusal(Refusal::BadRecipient)),
            "rejected invalid_recipient; nothing shown",
        ),
        row(
            "request that cannot be read",
            SendInto(Status(400)),
            "rejected invalid_request; nothing shown",
        ),
        row(
            "session never connected",
            SendFrom(Stage::Made),
            "retry no_session; nothing shown",
        ),
        row(
            "session that shows a code",
            SendFrom(Stage::Waiting),
            "retry no_session; nothing shown",
        ),
        row(
            "session off the network",
            SendFrom(Stage::Lost),
            "retry no_session; nothing shown",
        ),
        row(
            "session logged out",
            SendFrom(Stage::LoggedOut),
            "retry no_session; nothing shown",
        ),
        row(
            "unknown token",
            SendFrom(Stage::Unknown),
            "retry unauthorized; nothing shown",
        ),
        row(
            "unauthorized",
            SendInto(Status(401)),
            "retry unauthorized; nothing shown",
        ),
        row(
            "endpoint does not take us",
            SendWithWrongKey,
            "retry unauthorized; nothing shown",
        ),
        row(
            "forbidden",
            SendInto(Status(403)),
            "retry forbidden; nothing shown",
        ),
        row(
            "no such route",
            SendInto(Status(404)),
            "rejected not_found; nothing shown",
        ),
        row(
            "request timeout",
            SendInto(Status(408)),
            "unknown timeout; nothing shown",
        ),
        row(
            "too large",
            SendFileInto(Status(413)),
            "rejected too_large; nothing shown",
        ),
        row(
            "unprocessable",
            SendInto(Status(422)),
            "rejected unprocessable; nothing shown",
        ),
        row(
            "another refusal",
            SendInto(Status(418)),
            "rejected refused; nothing shown",
        ),
        row(
            "rate limited",
            SendInto(Status(429)),
            "limited 10 s; nothing shown",
        ),
        row(
            "rate limited with a wait",
            SendInto(RetryAfter(429, "7")),
            "limited 7 s; nothing shown",
        ),
        row(
            "rate limited with no wait at all",
            SendInto(RetryAfter(429, "0")),
            "limited 1 s; nothing shown",
        ),
        row(
            "rate limited for a week",
            SendInto(RetryAfter(429, "604800")),
            "limited 3600 s; nothing shown",
        ),
        row(
            "rate limited until a past date",
            SendInto(RetryAfter(429, "Sun, 06 Nov 1994 08:49:37 GMT")),
            "limited 1 s; nothing shown",
        ),
        row(
            "upload failed",
            SendFileInto(Trouble::Refusal(Refusal::UploadFailed)),
            "retry upload_failed; nothing shown",
        ),
        row(
            "500 before sending",
            SendInto(Trouble::Refusal(Refusal::InnerError)),
            "unknown server_error; nothing shown",
        ),
        row(
            "500 of something in between",
            SendInto(Status(500)),
            "unknown server_error; nothing shown",
        ),
        row(
            "500 after sending",
            SendInto(LateStatus(500)),
            "unknown server_error; 'Halo'",
        ),
        row(
            "502 after sending",
            SendInto(LateStatus(502)),
            "unknown bad_gateway; 'Halo'",
        ),
        row(
            "503 after sending",
            SendInto(LateStatus(503)),
            "unknown bad_gateway; 'Halo'",
        ),
        row(
            "504 after sending",
            SendInto(LateStatus(504)),
            "unknown gateway_timeout; 'Halo'",
        ),
        row(
            "507",
            SendInto(Status(507)),
            "unknown server_error; nothing shown",
        ),
        row(
            "503 with a wait",
            SendInto(RetryAfter(503, "2")),
            "retry unavailable in 2 s; nothing shown",
        ),
        row(
            "connection refused",
            SendToNobody,
            "retry unreachable; nothing shown",
        ),
        row(
            "cut before sending",
            SendInto(CutBefore),
            "unknown connection_cut; nothing shown",
        ),
        row(
            "cut after sending",
            SendInto(CutAfter),
            "unknown connection_cut; 'Halo'",
        ),
        row(
            "slower than anybody waits",
            SendInto(Slow),
            "unknown timeout; 'Halo'",
        ),
        row(
            "unreadable answer",
            SendInto(LateAnswer("<html>welcome</html>")),
            "unknown unreadable_answer; 'Halo'",
        ),
        row(
            "empty answer",
            SendInto(LateAnswer("")),
            "unknown unreadable_answer; 'Halo'",
        ),
        row(
            "answer of another shape",
            SendInto(LateAnswer("{\"welcome\":true}")),
            "unknown unreadable_answer; 'Halo'",
        ),
        row(
            "answer that is a list",
            SendInto(LateAnswer("[{\"code\":200}]")),
            "unknown unreadable_answer; 'Halo'",
        ),
        row(
            "huge answer",
            SendInto(HugeAnswer),
            "unknown unreadable_answer; 'Halo'",
        ),
        row(
            "half an answer",
            SendAt(Manner::HalfAnswer),
            "unknown connection_cut; nothing shown",
        ),
        row(
            "not http",
            SendAt(Manner::Gibberish),
            "unknown connection_cut; nothing shown",
        ),
        row(
            "redirect",
            SendAt(Manner::RedirectTo(307)),
            "retry redirected; nothing shown",
        ),
        row(
            "permanent redirect",
            SendAt(Manner::RedirectTo(308)),
            "retry redirected; nothing shown",
        ),
        row(
            "redirect to a page",
            SendAt(Manner::RedirectTo(303)),
            "unknown unreadable_answer; nothing shown",
        ),
        row(
            "second card rate limited",
            SecondCardInto(Status(429)),
            "limited 10 s; card A 6281300000007",
        ),
        row(
            "second card lost",
            SecondCardInto(CutBefore),
            "unknown partly_sent; card A 6281300000007",
        ),
        row(
            "second card refused",
            SecondCardInto(Status(400)),
            "unknown partly_sent; card A 6281300000007",
        ),
        row(
            "edit cut after it was done",
            EditInto(CutAfter),
            "unknown connection_cut, may be repeated; 'Hai' (edited)",
        ),
    ]
}

pub(crate) fn courtesies() -> Vec<Case> {
    use Does::{CourtesyToVisitor, Read, Type, TypeFrom, TypeInto, TypeToNobody};
    vec![
        row("typing", Type(Typing::Composing), "shown, 1"),
        row("typing ended", Type(Typing::Paused), "shown, 1"),
        row("nothing marked as read", Read(0), "shown, 0 marked"),
        row("one marked as read", Read(1), "shown, 1 marked"),
        row("many marked as read", Read(25), "shown, the newest 20 marked"),
        row(
            "courtesy to a visitor",
            CourtesyToVisitor,
            "not on whatsapp, not on whatsapp",
        ),
        row(
            "typing from an unknown session",
            TypeFrom(Stage::Unknown),
            "refused",
        ),
        row(
            "typing from a session never connected",
            TypeFrom(Stage::Made),
            "refused",
        ),
        row("typing refused", TypeInto(Trouble::Status(500)), "refused"),
        row("typing cut", TypeInto(Trouble::CutBefore), "no answer"),
        row("typing to nobody", TypeToNobody, "no answer"),
    ]
}
