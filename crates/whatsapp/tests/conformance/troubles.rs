//! Rows about sends that go wrong, and about typing and read marks.

use whatsapp::courtesy::Typing;

use crate::cases::{Case, Does};
use crate::provider::{Refusal, Stage, Trouble};
use crate::receiver::Manner;
use crate::sending::row;

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
