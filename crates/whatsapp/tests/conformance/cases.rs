//! The table: what is done, and what every provider makes of it in the words of the port.

use domain::ids::ProviderMessageId;
use domain::message::{MediaKind, MessageKind};
use whatsapp::courtesy::Typing;
use whatsapp::port::OutboundContent;

use crate::provider::{Broken, Happening, Stage, Trouble};
use crate::receiver::Manner;
use crate::{receiving, sending, sessions, troubles};

/// One row.
pub(crate) struct Case {
    /// What it is called in failures and deviations.
    pub(crate) name: &'static str,
    pub(crate) does: Does,
    /// What comes of it, in the words of [`crate::words`].
    pub(crate) expect: &'static str,
}

/// What is done.
pub(crate) enum Does {
    /// A paired session sends it to the partner: the outcome, and what the phone shows.
    Send(OutboundContent),
    /// The same, as an answer to this message.
    Answer(OutboundContent, &'static str),
    /// The same, where nobody knows who wrote what is answered.
    AnswerWithoutWriter(OutboundContent, &'static str),
    /// A text is sent to this address.
    SendTo(&'static str),
    /// A text is sent by a session that stands so.
    SendFrom(Stage),
    /// A text is sent while this goes wrong.
    SendInto(Trouble),
    /// A picture is sent while this goes wrong.
    SendFileInto(Trouble),
    /// A text is sent to a server that behaves so.
    SendAt(Manner),
    /// A text is sent to where nobody listens.
    SendToNobody,
    /// A text is sent with a key by which the endpoint does not take us.
    SendWithWrongKey,
    /// A text is sent, and then something about it.
    About(fn(ProviderMessageId) -> OutboundContent),
    /// A reaction to a message of the partner's.
    ReactToTheirs(Option<&'static str>),
    /// A text is sent, edited with this in the way, and the phone looked at.
    EditInto(Trouble),
    /// The same message is sent twice: may it be, and what the phone shows then.
    SendTwice(OutboundContent),
    /// The second of two cards runs into this.
    SecondCardInto(Trouble),
    /// Everything that may be repeated is, and must change nothing.
    Repeat(&'static [MessageKind]),
    /// A text is sent, and the id it was accepted under compared with the one on the phone.
    IdOfReceipts,

    /// Typing is shown.
    Type(Typing),
    /// So many messages are marked as read.
    Read(u8),
    /// Typing and a read mark for somebody who is not on WhatsApp.
    CourtesyToVisitor,
    /// Typing while this goes wrong, or from a session that stands so, or to where nobody listens.
    TypeInto(Trouble),
    TypeFrom(Stage),
    TypeToNobody,

    /// A file comes in and is fetched.
    Fetch(MediaKind),
    /// One is fetched that the provider does not have.
    FetchGone,
    /// One is fetched while this goes wrong.
    FetchInto(Trouble),
    /// One is fetched after the session was taken off the network.
    FetchWhenLost,
    /// One is fetched from a server that behaves so.
    FetchAt(Manner),
    /// One is fetched from where nobody listens.
    FetchFromNobody,

    /// It happens, and its webhook is read.
    Told(Happening),
    /// The same, with every place wanted.
    Kept(Happening),
    /// It happens, and its webhook is posted twice.
    ToldTwice,
    /// A webhook's signature in this state.
    Signed(Signature),
    /// A text's webhook, broken.
    Broken(Broken),
    /// Whose the webhook says to be.
    Named,
    /// A text comes in and is printed.
    PrintWords,

    /// A session that stands so is asked this.
    Session(Stage, Ask),
    /// A paired one is, while this goes wrong.
    SessionInto(Trouble, Ask),
    /// It is asked of a server that behaves so.
    SessionAt(Manner, Ask),
    /// It is asked where nobody listens.
    SessionAtNobody(Ask),
    /// It is asked with a key by which the endpoint does not take us.
    SessionWithWrongKey(Ask),
    /// A paired session is connected with another address and key; where a text then goes, and what it is signed with.
    Rekey,
    /// A code is shown, scanned, and the session asked.
    Scan,
    /// Everything is tried with a server that repeats what it was shown.
    Echo,

    /// The endpoint is probed.
    Probe,
    ProbeWithWrongKey,
    ProbeInto(Trouble),
    ProbeNobody,
}

/// What a session is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Status,
    Connect,
    Disconnect,
    Logout,
    Qr,
    Pair,
}

/// The state of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    Right,
    /// In capital letters.
    Shouted,
    /// By the older of two keys.
    OlderKey,
    Missing,
    Empty,
    Malformed,
    /// Half of it.
    Short,
    OfStranger,
    /// Right, of another body.
    ChangedBody,
    /// None, for an account without keys.
    NotAsked,
}

/// All of it.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = outgoing();
    cases.extend(incoming());
    cases.extend(receiving::files());
    cases.extend(sessions::cases());
    cases
}

/// What is sent and shown, for a provider whose webhooks are another thing than events of one session.
pub(crate) fn outgoing() -> Vec<Case> {
    let mut cases = sending::messages();
    cases.extend(troubles::troubles());
    cases.extend(troubles::courtesies());
    cases
}

/// What webhooks tell, for a provider that writes them in several ways.
pub(crate) fn incoming() -> Vec<Case> {
    let mut cases = receiving::events();
    cases.extend(receiving::webhooks());
    cases
}
