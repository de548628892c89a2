//! Rows about sessions and endpoints.

use crate::cases::{Ask, Case, Does};
use crate::provider::{Stage, Trouble};
use crate::receiver::Manner;
use crate::sending::row;

pub(crate) fn cases() -> Vec<Case> {
    use Ask::{Connect, Disconnect, Logout, Pair, Qr, Status};
    use Does::{
        Echo, Probe, ProbeInto, ProbeNobody, ProbeWithWrongKey, Rekey, Scan, Session, SessionAt,
        SessionAtNobody, SessionInto, SessionWithWrongKey,
    };
    use Stage::{LoggedOut, Lost, Made, Paired, Unknown, Waiting};
    vec![
        row(
            "status of a paired session",
            Session(Paired, Status),
            "connected, logged in, 628111000001, events come here",
        ),
        row(
            "status of a session never connected",
            Session(Made, Status),
            "not connected, not logged in, unpaired, events come here",
        ),
        row(
            "status of a session that shows a code",
            Session(Waiting, Status),
            "connected, not logged in, unpaired, events come here",
        ),
        row(
            "status of a session off the network",
            Session(Lost, Status),
            "not connected, not logged in, 628111000001, events come here",
        ),
        row(
            "status of a session logged out",
            Session(LoggedOut, Status),
            "not connected, not logged in, unpaired, events come here",
        ),
        row(
            "status of an unknown session",
            Session(Unknown, Status),
            "unknown_token",
        ),
        row(
            "connect for the first time",
            Session(Made, Connect),
            "done; connected, not logged in, unpaired, events come here",
        ),
        row(
            "connect once more",
            Session(Paired, Connect),
            "done; connected, logged in, 628111000001, events come here",
        ),
        row(
            "connect while a code is shown",
            Session(Waiting, Connect),
            "done; connected, not logged in, unpaired, events come here",
        ),
        row(
            "connect what was lost",
            Session(Lost, Connect),
            "done; connected, logged in, 628111000001, events come here",
        ),
        row(
            "connect after a logout",
            Session(LoggedOut, Connect),
            "done; connected, not logged in, unpaired, events come here",
        ),
        row(
            "connect an unknown session",
            Session(Unknown, Connect),
            "unknown_token",
        ),
        row(
            "connect tells where events go and what signs them",
            Rekey,
            "signed with the new key, at the new address",
        ),
        row("code is there", Session(Waiting, Qr), "a picture"),
        row(
            "code of a session never connected",
            Session(Made, Qr),
            "no_session",
        ),
        row(
            "code of a paired session",
            Session(Paired, Qr),
            "already_logged_in",
        ),
        row(
            "code of an unknown session",
            Session(Unknown, Qr),
            "unknown_token",
        ),
        row(
            "code is scanned",
            Scan,
            "connected, logged in, paired; qr already_logged_in",
        ),
        row("linking code", Session(Waiting, Pair), "a code"),
        row(
            "linking code of a session never connected",
            Session(Made, Pair),
            "no_session",
        ),
        row(
            "linking code of a paired session",
            Session(Paired, Pair),
            "already_logged_in",
        ),
        row(
            "linking code of an unknown session",
            Session(Unknown, Pair),
            "unknown_token",
        ),
        row(
            "logout",
            Session(Paired, Logout),
            "done; not connected, not logged in, unpaired, events come here",
        ),
        row(
            "logout of a session that shows a code",
            Session(Waiting, Logout),
            "not_logged_in",
        ),
        row(
            "logout of a session never connected",
            Session(Made, Logout),
            "no_session",
        ),
        row(
            "logout of an unknown session",
            Session(Unknown, Logout),
            "unknown_token",
        ),
        row(
            "disconnect",
            Session(Paired, Disconnect),
            "done; not connected, not logged in, 628111000001, events come here",
        ),
        row(
            "disconnect what is not connected",
            Session(Made, Disconnect),
            "no_session",
        ),
        row(
            "disconnect an unknown session",
            Session(Unknown, Disconnect),
            "unknown_token",
        ),
        row(
            "session, rate limited",
            SessionInto(Trouble::Status(429), Status),
            "rate_limited",
        ),
        row(
            "session, 500 of something in between",
            SessionInto(Trouble::Status(500), Status),
            "provider_refused",
        ),
        row(
            "session, 502",
            SessionInto(Trouble::Status(502), Status),
            "provider_silent",
        ),
        row(
            "session, 504 after the work",
            SessionInto(Trouble::LateStatus(504), Connect),
            "provider_silent",
        ),
        row(
            "session, refused",
            SessionInto(Trouble::Status(400), Status),
            "provider_refused",
        ),
        row(
            "session, cut",
            SessionInto(Trouble::CutBefore, Status),
            "provider_silent",
        ),
        row(
            "session, cut after a logout",
            SessionInto(Trouble::CutAfter, Logout),
            "provider_silent",
        ),
        row(
            "session, unreadable",
            SessionInto(Trouble::LateAnswer("<html>"), Status),
            "provider_unreadable",
        ),
        row(
            "session, of another shape",
            SessionInto(Trouble::LateAnswer("{\"welcome\":true}"), Status),
            "provider_unreadable",
        ),
        row(
            "session, huge answer",
            SessionInto(Trouble::HugeAnswer, Status),
            "provider_unreadable",
        ),
        row(
            "code, huge answer",
            SessionInto(Trouble::HugeAnswer, Qr),
            "provider_unreadable",
        ),
        row(
            "session, half an answer",
            SessionAt(Manner::HalfAnswer, Status),
            "provider_silent",
        ),
        row(
            "session, not http",
            SessionAt(Manner::Gibberish, Status),
            "provider_silent",
        ),
        row(
            "session, redirected",
            SessionAt(Manner::RedirectTo(307), Status),
            "provider_unreadable",
        ),
        row(
            "session, nobody listens",
            SessionAtNobody(Status),
            "provider_unreachable",
        ),
        row(
            "connect, nobody listens",
            SessionAtNobody(Connect),
            "provider_unreachable",
        ),
        row(
            "session, endpoint does not take us",
            SessionWithWrongKey(Status),
            "provider_refused",
        ),
        row("no secret in what is printed or said", Echo, "nothing shown"),
        row("probe", Probe, "well, key taken"),
        row("probe with a wrong key", ProbeWithWrongKey, "key_refused"),
        row(
            "probe of a server in trouble",
            ProbeInto(Trouble::Status(500)),
            "unwell",
        ),
        row(
            "probe, rate limited",
            ProbeInto(Trouble::Status(429)),
            "rate_limited",
        ),
        row("probe, cut", ProbeInto(Trouble::CutBefore), "no_answer"),
        row("probe of nobody", ProbeNobody, "unreachable"),
    ]
}
