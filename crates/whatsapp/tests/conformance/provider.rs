//! What a provider brings to be put through the table: its clients, its imitation in the simulator, and how the things that
//! the table names are done with it.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::message::MediaKind;
use futures_util::future::BoxFuture;
use serde_json::Value;
use simulator::{FaultKind, FaultSpec, FaultTarget, Simulator};
use whatsapp::courtesy::ShowCourtesy;
use whatsapp::credentials::{SessionToken, WebhookKey};
use whatsapp::download::DownloadMedia;
use whatsapp::error::{MalformedWebhook, SignatureError, Unusable};
use whatsapp::event::{InboundEvent, Keep, ReceiptKind};
use whatsapp::port::SendMessage;
use whatsapp::probe::ProbeEndpoint;
use whatsapp::session::ManageSession;

/// Who writes to the tenant, and to whom the tenant writes.
pub(crate) const PARTNER: &str = "6281290000011";
/// The same person's hidden id.
pub(crate) const PARTNER_LID: &str = "190000000000011";
/// The tenant's own number.
pub(crate) const OWN: &str = "628111000001";
/// What the tenant's webhooks are signed with.
pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";
/// What a connect changes it to, and what it was during a rotation.
pub(crate) const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210";
/// A group that the tenant's phone is in.
pub(crate) const GROUP: &str = "120363040000000001@g.us";

/// A provider and how it is put to the test. All state is in the simulator, so that every case has a world of its own.
pub(crate) trait ProviderUnderTest: Send + Sync {
    /// What failures are listed under.
    fn name(&self) -> &'static str;

    /// Cases in which it does something else than the table says. Each is checked, too: the provider must do what stands
    /// here, and an entry that says what the table says is one too many.
    fn deviations(&self) -> &'static [Deviation];

    /// Its clients for a server under this address, which has no path of the provider's yet.
    fn clients(&self, origin: &str, settings: Settings) -> Clients;

    /// Settings of the imitation that hold for all cases.
    fn set_up(&self, simulator: &Simulator);

    /// Makes a session that stands where it is wanted. Its events go to `hooks`, signed with [`KEY`].
    fn session<'a>(
        &'a self,
        simulator: &'a Simulator,
        stage: Stage,
        hooks: &'a str,
    ) -> BoxFuture<'a, SessionToken>;

    /// A session goes off the network; its pairing holds.
    fn lose<'a>(&'a self, simulator: &'a Simulator, token: &'a SessionToken) -> BoxFuture<'a, ()>;

    /// The phone of a session that shows a code scans it.
    fn scan(&self, simulator: &Simulator, token: &SessionToken);

    /// How the paths of these calls begin, for faults that are to hit them.
    fn paths(&self, calls: Calls) -> &'static str;

    /// How the provider itself refuses: status and body.
    fn refusal(&self, refusal: Refusal) -> (u16, Value);

    /// Whose webhooks faults are to hit.
    fn webhooks(&self) -> FaultTarget;

    /// What webhooks call this session.
    fn name_of(&self, simulator: &Simulator, token: &SessionToken) -> String;

    /// What a phone shows, as the port knows messages.
    fn shown(&self, simulator: &Simulator, phone: &str) -> Vec<Shown>;

    /// The tenant's last reaction to somebody else's message: the message and the emoji.
    fn last_reaction(&self, simulator: &Simulator) -> Option<(String, Option<String>)>;

    /// Messages that the tenant has marked as read in the partner's chat, sorted.
    fn marked_read(&self, simulator: &Simulator) -> Vec<String>;

    /// How often typing was shown.
    fn typed(&self, simulator: &Simulator) -> usize;

    /// Makes it happen at the far end. False: this provider tells of no such thing.
    fn happen(&self, simulator: &Simulator, token: &SessionToken, happening: &Happening) -> bool;

    /// Reads, verifies and parses a webhook.
    fn take(&self, webhook: &Posted, keys: &[WebhookKey], now: DateTime<Utc>, keep: Keep) -> Taken;

    /// The header of the signature, and how a key signs a body.
    fn signature_header(&self) -> &'static str;
    fn sign(&self, key: &WebhookKey, body: &[u8]) -> String;

    /// The same webhook, broken in this way.
    fn broken(&self, webhook: &Posted, how: Broken) -> Posted;

    /// Texts that may stand in no `Debug` and no error, for clients made with these settings and a session with this token.
    fn secrets(&self, token: &SessionToken) -> Vec<String>;
}

/// A case in which a provider does something else than the table says.
pub(crate) struct Deviation {
    /// The case's name.
    pub(crate) case: &'static str,
    /// What it does instead, in the same words.
    pub(crate) instead: &'static str,
    /// Why that cannot be otherwise. Never empty.
    pub(crate) why: &'static str,
}

/// All of a provider's ports, each made when it is first used: an HTTP client costs more than a whole case.
pub(crate) struct Clients {
    pub(crate) sender: Late<Box<dyn SendMessage>>,
    pub(crate) sessions: Late<Box<dyn ManageSession>>,
    pub(crate) courtesy: Late<Box<dyn ShowCourtesy>>,
    pub(crate) downloads: Late<Box<dyn DownloadMedia>>,
    pub(crate) probe: Late<Box<dyn ProbeEndpoint>>,
    /// `Debug` of everything that a service might log.
    pub(crate) printed: Late<String>,
}

pub(crate) type Late<T> = LazyLock<T, Box<dyn FnOnce() -> T + Send>>;

pub(crate) fn late<T>(make: impl FnOnce() -> T + Send + 'static) -> Late<T> {
    LazyLock::new(Box::new(make))
}

/// How clients are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Longest time of a whole send.
    pub(crate) patience: Duration,
    /// The key by which the endpoint takes us is the right one.
    pub(crate) right_key: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Long, so that a busy machine is no trouble of the provider's.
            patience: Duration::from_secs(60),
            right_key: true,
        }
    }
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Paired and on the network.
    Paired,
    /// Made, and nothing else.
    Made,
    /// It shows a code, and nobody has scanned it.
    Waiting,
    /// Paired, and off the network.
    Lost,
    /// Was paired and is logged out.
    LoggedOut,
    /// The server has no such session.
    Unknown,
}

/// Which calls a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Everything.
    All,
    /// Sends only.
    Sends,
}

/// What every provider says in words of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It cannot read the recipient.
    BadRecipient,
    /// It could not put the file where WhatsApp reads it.
    UploadFailed,
    /// Its answer to anything that went wrong inside.
    InnerError,
}

/// What goes wrong with a call. Each has one meaning whatever a provider's words for it are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The provider says no in its own words, before anything is done.
    Refusal(Refusal),
    /// This status, before anything is done, with nothing of the provider's in its body.
    Status(u16),
    /// 429 or 503 with this `Retry-After`.
    RetryAfter(u16, &'static str),
    /// This status, after the work was done.
    LateStatus(u16),
    /// 200 with this, after the work was done.
    LateAnswer(&'static str),
    /// 200 with more than anybody reads, after the work was done.
    HugeAnswer,
    /// The connection is closed before anything is done.
    CutBefore,
    /// The connection is closed after the work was done.
    CutAfter,
    /// The work is done, and the answer takes longer than anybody waits.
    Slow,
}

impl Trouble {
    /// The fault that brings it about.
    pub(crate) fn fault(self, provider: &dyn ProviderUnderTest, calls: Calls) -> FaultSpec {
        let text = |text: &str| Some(Value::String(text.to_owned()));
        let instead = |status, body, retry_after: Option<&str>| FaultKind::Status {
            status,
            body,
            retry_after: retry_after.map(str::to_owned),
        };
        let kind = match self {
            Self::Refusal(refusal) => {
                let (status, body) = provider.refusal(refusal);
                instead(status, Some(body), None)
            }
            Self::Status(status) => instead(status, None, None),
            Self::RetryAfter(status, wait) => instead(status, None, Some(wait)),
            Self::LateStatus(status) => FaultKind::LateStatus { status, body: None },
            Self::LateAnswer(body) => FaultKind::LateStatus {
                status: 200,
                body: text(body),
            },
            Self::HugeAnswer => FaultKind::LateStatus {
                status: 200,
                body: text(&"x".repeat(HUGE)),
            },
            Self::CutBefore => FaultKind::Cut,
            Self::CutAfter => FaultKind::LostAnswer,
            Self::Slow => FaultKind::SlowAnswer { ms: 20_000 },
        };
        FaultSpec::on_path(provider.paths(calls), kind)
    }
}

/// More than any client reads of an answer.
const HUGE: usize = 5 * 1024 * 1024;

/// A message as a phone shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) id: String,
    /// What it says, in the words of [`crate::words`].
    pub(crate) what: String,
    pub(crate) quoted: Option<String>,
    pub(crate) edited: bool,
    pub(crate) deleted: bool,
    pub(crate) reaction: Option<String>,
}

/// Something at the far end of which a webhook may tell.
#[derive(Debug, Clone)]
pub(crate) struct Happening {
    pub(crate) what: What,
    pub(crate) by: By,
    /// The message's id.
    pub(crate) id: &'static str,
    /// The message that it answers, with the words of it.
    pub(crate) quoted: Option<(&'static str, &'static str)>,
}

/// By whom, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The partner, by number.
    Partner,
    /// The partner, whose hidden id is told along with the number.
    PartnerWithLid,
    /// The partner, of whom nothing but the hidden id is told.
    LidAlone,
    /// The tenant on its own phone, to the partner.
    Own,
    /// The partner, in a place of many.
    In(Place),
}

/// Places that are no conversation with one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Group,
    Status,
    Broadcast,
    Newsletter,
}

/// What happens.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Text(String),
    Media {
        kind: MediaKind,
        caption: Option<&'static str>,
        file_name: Option<&'static str>,
        /// The provider does not have the file, and cannot get it.
        gone: bool,
    },
    VideoNote,
    Location {
        live: bool,
    },
    Contacts(u8),
    Reaction {
        target: &'static str,
        emoji: &'static str,
    },
    Edit {
        target: &'static str,
        text: &'static str,
    },
    Revoke {
        target: &'static str,
    },
    Poll,
    /// A button was chosen.
    Choice,
    /// A message of a kind that nobody has heard of.
    StrangeMessage,
    /// Confirms messages.
    Receipt {
        ids: &'static [&'static str],
        kind: ReceiptKind,
        /// By a device of the tenant's own.
        own_device: bool,
    },
    /// A receipt of a sort that says nothing of how far a message went.
    OddReceipt,
    /// The session's own connection.
    Session(SessionChange),
    /// A send is told of once more.
    Echo,
    /// Typing.
    Noise,
    /// An event of a kind that nobody has heard of.
    StrangeEvent,
}

/// What can become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionChange {
    Connected,
    Disconnected,
    LoggedOut,
    Qr,
    QrTimeout,
    Paired,
    Failed,
}

/// A webhook as it was posted.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) content_type: Option<String>,
    pub(crate) signature: Option<String>,
    pub(crate) body: Bytes,
}

/// Ways in which a webhook can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Empty,
    NoContentType,
    StrangeContentType,
    NotUtf8,
    /// Half of it.
    Cut,
    /// A list in the place of the event.
    List,
    /// The field that says whose it is comes twice.
    Twice,
    /// Nothing says what sort of event it is.
    NoKind,
    /// The session's name is longer than any.
    LongSession,
    /// The session's name has control characters.
    ControlInSession,
    NoMessageId,
    LongMessageId,
    NoChat,
    /// A chat that is no address.
    OddChat,
    /// The event is no object.
    NoEvent,
    /// Far more than there usually is, of which nothing matters.
    Padded,
}

/// What reading a webhook came to.
pub(crate) enum Taken {
    Malformed(MalformedWebhook),
    Refused(SignatureError),
    Event {
        /// Whose it says to be.
        session: Option<String>,
        /// A signature was checked.
        signed: bool,
        event: Result<InboundEvent, Unusable>,
    },
}

/// The bytes of every file in the table.
pub(crate) const FILE: &[u8] = b"\xff\xd8\xff\xe0 not really a picture";
