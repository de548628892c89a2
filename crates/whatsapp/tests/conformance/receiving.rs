//! Rows about what comes in.

use domain::message::MediaKind;
use whatsapp::event::ReceiptKind;

use crate::cases::{Case, Does, Signature};
use crate::provider::{Broken, By, Happening, Place, SessionChange, Trouble, What};
use crate::receiver::Manner;
use crate::sending::row;

/// The id of every message that comes in, unless a row says otherwise.
pub(crate) const ID: &str = "3EB0INBOUND1";

pub(crate) fn by(by: By, what: What) -> Happening {
    Happening {
        what,
        by,
        id: ID,
        quoted: None,
    }
}

fn partner(what: What) -> Happening {
    by(By::Partner, what)
}

pub(crate) fn text() -> What {
    What::Text("Halo".to_owned())
}

fn media(kind: MediaKind, caption: Option<&'static str>, file_name: Option<&'static str>) -> What {
    What::Media {
        kind,
        caption,
        file_name,
        gone: false,
    }
}

fn receipt(kind: ReceiptKind, ids: &'static [&'static str]) -> What {
    What::Receipt {
        ids,
        kind,
        own_device: false,
    }
}

pub(crate) fn events() -> Vec<Case> {
    use Does::{Kept, Told, ToldTwice};
    use MediaKind::{Audio, Document, Image, Sticker, Video, Voice};
    let own_receipt = What::Receipt {
        ids: &["3EB0A"],
        kind: ReceiptKind::ReadSelf,
        own_device: true,
    };
    let session = |change| Told(partner(What::Session(change)));
    vec![
        row(
            "text comes in",
            Told(partner(text())),
            "from 6281290000011@s.whatsapp.net: 'Halo'",
        ),
        row(
            "text in many scripts comes in",
            Told(partner(What::Text(
                "<b>नमस्ते</b> & 👩🏽‍🌾 \"x\" +%41\n\t😀".to_owned(),
            ))),
            "from 6281290000011@s.whatsapp.net: '<b>नमस्ते</b> & 👩🏽‍🌾 \"x\" +%41\n\t😀'",
        ),
        row(
            "text that is too long is cut",
            Told(partner(What::Text("x".repeat(200_000)))),
            "from 6281290000011@s.whatsapp.net: 65536 characters (cut)",
        ),
        row(
            "answer comes in",
            Told(Happening {
                quoted: Some(("3EB0OURS", "Syaratnya KTP")),
                ..partner(text())
            }),
            "from 6281290000011@s.whatsapp.net: 'Halo' answering 3EB0OURS 'Syaratnya KTP'",
        ),
        row(
            "picture comes in",
            Told(partner(media(Image, Some("jalan rusak"), None))),
            "from 6281290000011@s.whatsapp.net: image 'jalan rusak'",
        ),
        row(
            "picture without words comes in",
            Told(partner(media(Image, None, None))),
            "from 6281290000011@s.whatsapp.net: image",
        ),
        row(
            "film comes in",
            Told(partner(media(Video, Some("lihat"), None))),
            "from 6281290000011@s.whatsapp.net: video 'lihat'",
        ),
        row(
            "video note comes in",
            Told(partner(What::VideoNote)),
            "from 6281290000011@s.whatsapp.net: video",
        ),
        row(
            "sound comes in",
            Told(partner(media(Audio, None, None))),
            "from 6281290000011@s.whatsapp.net: audio",
        ),
        row(
            "voice note comes in",
            Told(partner(media(Voice, None, None))),
            "from 6281290000011@s.whatsapp.net: voice",
        ),
        row(
            "document comes in",
            Told(partner(media(Document, Some("ini"), Some("KTP.pdf")))),
            "from 6281290000011@s.whatsapp.net: document 'ini' named KTP.pdf",
        ),
        row(
            "sticker comes in",
            Told(partner(media(Sticker, None, None))),
            "from 6281290000011@s.whatsapp.net: sticker",
        ),
        row(
            "place comes in",
            Told(partner(What::Location { live: false })),
            "from 6281290000011@s.whatsapp.net: place -5.1477 119.4327 Balai Desa",
        ),
        row(
            "live place comes in",
            Told(partner(What::Location { live: true })),
            "from 6281290000011@s.whatsapp.net: live place -5.1477 119.4327 Balai Desa",
        ),
        row(
            "contact card comes in",
            Told(partner(What::Contacts(1))),
            "from 6281290000011@s.whatsapp.net: cards Kontak 1",
        ),
        row(
            "several contact cards come in",
            Told(partner(What::Contacts(3))),
            "from 6281290000011@s.whatsapp.net: cards Kontak 1, Kontak 2, Kontak 3",
        ),
        row(
            "reaction comes in",
            Told(partner(What::Reaction {
                target: "3EB0OURS",
                emoji: "👍",
            })),
            "from 6281290000011@s.whatsapp.net: reaction 👍 to 3EB0OURS",
        ),
        row(
            "reaction is taken back",
            Told(partner(What::Reaction {
                target: "3EB0OURS",
                emoji: "",
            })),
            "from 6281290000011@s.whatsapp.net: reaction none to 3EB0OURS",
        ),
        row(
            "edit comes in",
            Told(partner(What::Edit {
                target: "3EB0FIRST",
                text: "Hai",
            })),
            "from 6281290000011@s.whatsapp.net: edit of 3EB0FIRST: 'Hai'",
        ),
        row(
            "deletion comes in",
            Told(partner(What::Revoke { target: "3EB0FIRST" })),
            "from 6281290000011@s.whatsapp.net: deletion of 3EB0FIRST",
        ),
        row(
            "poll comes in",
            Told(partner(What::Poll)),
            "from 6281290000011@s.whatsapp.net: poll 'Kapan?'",
        ),
        row(
            "choice comes in",
            Told(partner(What::Choice)),
            "from 6281290000011@s.whatsapp.net: choice 'Ya'",
        ),
        row(
            "message of an unknown kind is kept",
            Told(partner(What::StrangeMessage)),
            "from 6281290000011@s.whatsapp.net: kept raw",
        ),
        row(
            "hidden id with its number",
            Told(by(By::PartnerWithLid, text())),
            "from 6281290000011@s.whatsapp.net: 'Halo'",
        ),
        row(
            "hidden id alone",
            Told(by(By::LidAlone, text())),
            "from 190000000000011@lid: 'Halo'",
        ),
        row(
            "own message",
            Told(by(By::Own, text())),
            "own to 6281290000011@s.whatsapp.net: 'Halo'",
        ),
        row(
            "own picture",
            Told(by(By::Own, media(Image, Some("ini"), None))),
            "own to 6281290000011@s.whatsapp.net: image 'ini'",
        ),
        row(
            "group is skipped",
            Told(by(By::In(Place::Group), text())),
            "skipped group",
        ),
        row(
            "status post is skipped",
            Told(by(By::In(Place::Status), text())),
            "skipped status",
        ),
        row(
            "broadcast is skipped",
            Told(by(By::In(Place::Broadcast), text())),
            "skipped broadcast",
        ),
        row(
            "newsletter is skipped",
            Told(by(By::In(Place::Newsletter), text())),
            "skipped newsletter",
        ),
        row(
            "group is kept where wanted",
            Kept(by(By::In(Place::Group), text())),
            "from 120363040000000001@g.us: 'Halo'",
        ),
        row(
            "status post is kept where wanted",
            Kept(by(By::In(Place::Status), text())),
            "from status@broadcast: 'Halo'",
        ),
        row(
            "newsletter is never kept",
            Kept(by(By::In(Place::Newsletter), text())),
            "skipped newsletter",
        ),
        row(
            "delivered",
            Told(partner(receipt(ReceiptKind::Delivered, &["3EB0A"]))),
            "delivered 3EB0A by 6281290000011@s.whatsapp.net",
        ),
        row(
            "read",
            Told(partner(receipt(ReceiptKind::Read, &["3EB0A"]))),
            "read 3EB0A by 6281290000011@s.whatsapp.net",
        ),
        row(
            "played",
            Told(partner(receipt(ReceiptKind::Played, &["3EB0A"]))),
            "played 3EB0A by 6281290000011@s.whatsapp.net",
        ),
        row(
            "several read",
            Told(partner(receipt(ReceiptKind::Read, &["3EB0A", "3EB0B", "3EB0C"]))),
            "read 3EB0A 3EB0B 3EB0C by 6281290000011@s.whatsapp.net",
        ),
        row(
            "several read of which some have no id",
            Told(partner(receipt(ReceiptKind::Read, &["3EB0A", "", "bad id"]))),
            "read 3EB0A by 6281290000011@s.whatsapp.net",
        ),
        row(
            "read by a hidden id with its number",
            Told(by(By::PartnerWithLid, receipt(ReceiptKind::Read, &["3EB0A"]))),
            "read 3EB0A by 6281290000011@s.whatsapp.net",
        ),
        row(
            "read by a hidden id alone",
            Told(by(By::LidAlone, receipt(ReceiptKind::Read, &["3EB0A"]))),
            "read 3EB0A by 190000000000011@lid",
        ),
        row(
            "read on a device of our own",
            Told(partner(own_receipt)),
            "readself 3EB0A by own device, 6281290000011@s.whatsapp.net",
        ),
        row(
            "receipt without ids",
            Told(partner(receipt(ReceiptKind::Read, &[]))),
            "quarantine unusable_message_id",
        ),
        row(
            "receipt in a group",
            Told(by(By::In(Place::Group), receipt(ReceiptKind::Read, &["3EB0A"]))),
            "skipped group",
        ),
        row(
            "receipt of another sort",
            Told(partner(What::OddReceipt)),
            "ignored",
        ),
        row("the same webhook twice", ToldTwice, "twice, the same id"),
        row("send told once more", Told(partner(What::Echo)), "echo"),
        row(
            "connected",
            session(SessionChange::Connected),
            "session connected",
        ),
        row(
            "disconnected",
            session(SessionChange::Disconnected),
            "session disconnected",
        ),
        row(
            "logged out",
            session(SessionChange::LoggedOut),
            "session logged_out",
        ),
        row("code shown", session(SessionChange::Qr), "session qr"),
        row(
            "codes ran out",
            session(SessionChange::QrTimeout),
            "session qr_timeout",
        ),
        row(
            "paired",
            session(SessionChange::Paired),
            "session pair_success 628111000001",
        ),
        row(
            "connection failed",
            session(SessionChange::Failed),
            "session connect_failure",
        ),
        row("typing is ignored", Told(partner(What::Noise)), "ignored"),
        row(
            "event of an unknown kind is kept",
            Told(partner(What::StrangeEvent)),
            "unknown, kept",
        ),
    ]
}

pub(crate) fn webhooks() -> Vec<Case> {
    use Does::{Broken as Break, Named, PrintWords, Signed};
    vec![
        row("right signature", Signed(Signature::Right), "signed 'Halo'"),
        row(
            "right signature in capitals",
            Signed(Signature::Shouted),
            "signed 'Halo'",
        ),
        row(
            "signature by the older key",
            Signed(Signature::OlderKey),
            "signed 'Halo'",
        ),
        row(
            "no signature",
            Signed(Signature::Missing),
            "refused signature_missing",
        ),
        row(
            "empty signature",
            Signed(Signature::Empty),
            "refused signature_missing",
        ),
        row(
            "malformed signature",
            Signed(Signature::Malformed),
            "refused signature_malformed",
        ),
        row(
            "half a signature",
            Signed(Signature::Short),
            "refused signature_malformed",
        ),
        row(
            "signature of a stranger",
            Signed(Signature::OfStranger),
            "refused signature_mismatch",
        ),
        row(
            "signature of another body",
            Signed(Signature::ChangedBody),
            "refused signature_mismatch",
        ),
        row(
            "account without keys",
            Signed(Signature::NotAsked),
            "unsigned 'Halo'",
        ),
        row("whose it is", Named, "the session's"),
        row(
            "nothing of what people write is printed",
            PrintWords,
            "nothing printed",
        ),
        row("no body", Break(Broken::Empty), "malformed empty_body"),
        row(
            "no content type",
            Break(Broken::NoContentType),
            "malformed unsupported_content_type",
        ),
        row(
            "strange content type",
            Break(Broken::StrangeContentType),
            "malformed unsupported_content_type",
        ),
        row(
            "body that is not utf-8",
            Break(Broken::NotUtf8),
            "malformed not_utf8",
        ),
        row("half a body", Break(Broken::Cut), "malformed not_json"),
        row(
            "list in the place of the event",
            Break(Broken::List),
            "malformed not_json",
        ),
        row(
            "session named twice",
            Break(Broken::Twice),
            "malformed duplicate_field",
        ),
        row("no kind", Break(Broken::NoKind), "malformed missing_type"),
        row(
            "overlong session name",
            Break(Broken::LongSession),
            "malformed invalid_instance",
        ),
        row(
            "control characters in the session's name",
            Break(Broken::ControlInSession),
            "malformed invalid_instance",
        ),
        row(
            "no message id",
            Break(Broken::NoMessageId),
            "quarantine unusable_message_id",
        ),
        row(
            "overlong message id",
            Break(Broken::LongMessageId),
            "quarantine unusable_message_id",
        ),
        row("no chat", Break(Broken::NoChat), "quarantine unusable_chat"),
        row(
            "chat that is no address",
            Break(Broken::OddChat),
            "quarantine unusable_chat",
        ),
        row(
            "event that is no object",
            Break(Broken::NoEvent),
            "quarantine unusable_shape",
        ),
        row(
            "sixteen megabytes of nothing",
            Break(Broken::Padded),
            "from 6281290000011@s.whatsapp.net: 'Halo'",
        ),
    ]
}

pub(crate) fn files() -> Vec<Case> {
    use Does::{Fetch, FetchAt, FetchFromNobody, FetchGone, FetchInto, FetchWhenLost};
    use MediaKind::{Audio, Document, Image, Sticker, Video, Voice};
    use Trouble::{CutBefore, RetryAfter, Status};
    vec![
        row("picture is fetched", Fetch(Image), "whole"),
        row("film is fetched", Fetch(Video), "whole"),
        row("sound is fetched", Fetch(Audio), "whole"),
        row("voice note is fetched", Fetch(Voice), "whole"),
        row("document is fetched", Fetch(Document), "whole"),
        row("sticker is fetched", Fetch(Sticker), "whole"),
        row("file that is gone", FetchGone, "later provider_failed"),
        row("file while off the network", FetchWhenLost, "later no_session"),
        row("file, unauthorized", FetchInto(Status(401)), "later unauthorized"),
        row("file, forbidden", FetchInto(Status(403)), "later forbidden"),
        row(
            "file, no such route",
            FetchInto(Status(404)),
            "never provider_has_no_route",
        ),
        row("file, refused", FetchInto(Status(400)), "never provider_refused"),
        row(
            "file, rate limited with a wait",
            FetchInto(RetryAfter(429, "7")),
            "later rate_limited in 7 s",
        ),
        row("file, rate limited", FetchInto(Status(429)), "later rate_limited"),
        row("file, 500", FetchInto(Status(500)), "later provider_failed"),
        row("file, 502", FetchInto(Status(502)), "later unavailable"),
        row(
            "file, 503 with a wait",
            FetchInto(RetryAfter(503, "2")),
            "later unavailable in 2 s",
        ),
        row("file, 504", FetchInto(Status(504)), "later timeout"),
        row("file, cut", FetchInto(CutBefore), "later connection_cut"),
        row("half a file", FetchAt(Manner::HalfAnswer), "later connection_cut"),
        row(
            "file, redirected",
            FetchAt(Manner::RedirectTo(307)),
            "never redirected",
        ),
        row("file from nobody", FetchFromNobody, "later unreachable"),
    ]
}
