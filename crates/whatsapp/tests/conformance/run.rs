//! Does what a row says in a world of its own, and tells what came of it.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use chrono::Utc;
use domain::address::{ChatAddress, PhoneNumber};
use domain::ids::ProviderMessageId;
use domain::message::{InboundMessage, MediaKind, MediaSource, MessageContent, MessageKind};
use domain::text::Text;
use futures_util::TryStreamExt as _;
use simulator::{FaultKind, FaultSpec, Simulator, SimulatorConfig};
use whatsapp::courtesy::Typing;
use whatsapp::credentials::{SessionToken, WebhookKey};
use whatsapp::download::{HeldFile, WantedFile};
use whatsapp::event::{InboundEvent, Keep};
use whatsapp::port::{OutboundContent, OutboundMessage, OutboundQuote, SendOutcome};
use whatsapp::session::{SessionState, Upkeep};

use crate::cases::{Ask, Does, Signature};
use crate::provider::{
    By, Calls, Clients, FILE, Happening, KEY, OTHER_KEY, OWN, PARTNER, Posted, ProviderUnderTest, Settings,
    Shown, Stage, Taken, Trouble, What,
};
use crate::receiver::{Manner, Receiver, Stub, nobody};
use crate::receiving::{self, ID};
use crate::{sending, words};

/// Longest wait for something that must happen.
const LONG: Duration = Duration::from_secs(30);

/// A provider's imitation with one session, and the clients that talk to it.
struct World {
    provider: &'static dyn ProviderUnderTest,
    simulator: Simulator,
    hooks: Receiver,
    clients: Clients,
    token: SessionToken,
}

impl World {
    async fn new(provider: &'static dyn ProviderUnderTest, stage: Stage) -> Self {
        let simulator = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
        provider.set_up(&simulator);
        let hooks = Receiver::start(provider.signature_header()).await;
        let token = provider.session(&simulator, stage, &hooks.url).await;
        let clients = provider.clients(&simulator.base_url(), Settings::default());
        Self {
            provider,
            simulator,
            hooks,
            clients,
            token,
        }
    }

    async fn paired(provider: &'static dyn ProviderUnderTest) -> Self {
        Self::new(provider, Stage::Paired).await
    }

    /// A world in which the clients talk to a stub.
    async fn at(provider: &'static dyn ProviderUnderTest, manner: Manner) -> Self {
        let mut world = Self::paired(provider).await;
        let stub = Stub::start(manner, &world.simulator.base_url(), Vec::new()).await;
        world.clients = provider.clients(&stub.origin, Settings::default());
        world
    }

    async fn at_nobody(provider: &'static dyn ProviderUnderTest) -> Self {
        let mut world = Self::paired(provider).await;
        world.clients = provider.clients(&nobody().await, Settings::default());
        world
    }

    async fn with_wrong_key(provider: &'static dyn ProviderUnderTest) -> Self {
        let mut world = Self::paired(provider).await;
        let settings = Settings {
            right_key: false,
            ..Settings::default()
        };
        world.clients = provider.clients(&world.simulator.base_url(), settings);
        world
    }

    /// A world in which this goes wrong with every call of this sort, from now on.
    async fn in_trouble(provider: &'static dyn ProviderUnderTest, calls: Calls, trouble: Trouble) -> Self {
        let mut world = Self::paired(provider).await;
        if trouble == Trouble::Slow {
            let settings = Settings {
                patience: Duration::from_millis(1_000),
                ..Settings::default()
            };
            world.clients = provider.clients(&world.simulator.base_url(), settings);
        }
        world.trouble(trouble.fault(provider, calls));
        world
    }

    fn trouble(&self, fault: FaultSpec) {
        self.simulator.add_fault(fault).unwrap();
    }

    async fn send(&self, message: &OutboundMessage) -> SendOutcome {
        self.clients.sender.send(&self.token, message).await
    }

    fn shown(&self) -> Vec<Shown> {
        self.provider.shown(&self.simulator, PARTNER)
    }

    /// The outcome of a message, and what its receiver's phone shows.
    async fn sent(&self, message: &OutboundMessage) -> String {
        let outcome = self.send(message).await;
        let phone = match &message.to {
            ChatAddress::Phone(phone) => phone.as_str(),
            other => other.as_str(),
        };
        let shown = self.provider.shown(&self.simulator, phone);
        format!("{}; {}", words::outcome(&outcome), words::phone(&shown))
    }

    /// Makes it happen and waits for the webhook that tells of it.
    async fn told(&self, happening: &Happening) -> Option<Posted> {
        let before = self.hooks.posted().len();
        if !self.provider.happen(&self.simulator, &self.token, happening) {
            return None;
        }
        eventually("a webhook is posted", || self.hooks.posted().len() > before).await;
        self.hooks.posted().into_iter().nth(before)
    }

    fn take(&self, webhook: &Posted, keep: Keep) -> Taken {
        self.provider.take(webhook, &[key(KEY)], Utc::now(), keep)
    }

    async fn text(&self) -> Posted {
        let text = receiving::by(By::Partner, receiving::text());
        self.told(&text).await.unwrap()
    }

    /// A file that came in.
    async fn file(&self, kind: MediaKind, gone: bool) -> WantedFile {
        let what = What::Media {
            kind,
            caption: None,
            file_name: None,
            gone,
        };
        let webhook = self.told(&receiving::by(By::Partner, what)).await.unwrap();
        let message = message_of(self.take(&webhook, Keep::default()));
        let MessageContent::Media(media) = message.content else {
            panic!("no file came")
        };
        let held = media.sources.into_iter().find_map(|source| match source {
            MediaSource::WhatsApp(keys) => Some(HeldFile::Keys(keys)),
            MediaSource::Server(file) => Some(HeldFile::Server(file)),
            MediaSource::S3 { .. } | MediaSource::Link { .. } | MediaSource::Inline { .. } => None,
        });
        WantedFile {
            kind: media.media_kind,
            mime_type: media.mime_type,
            held: held.unwrap(),
        }
    }

    async fn fetched(&self, file: &WantedFile) -> String {
        let pieces = match self.clients.downloads.download(&self.token, file).await {
            Ok(pieces) => pieces,
            Err(error) => return words::no_file(&error),
        };
        match pieces.try_concat_bytes().await {
            Ok(bytes) if bytes == FILE => "whole".to_owned(),
            Ok(_) => "damaged".to_owned(),
            Err(error) => words::no_file(&error),
        }
    }

    async fn asked(&self, ask: Ask) -> String {
        let (sessions, token) = (&self.clients.sessions, &self.token);
        let done = match ask {
            Ask::Status => return self.status().await,
            Ask::Qr => {
                let code = sessions.qr(token).await;
                return code.map_or_else(
                    |failure| words::failure(&failure),
                    |code| {
                        let picture = code.0.starts_with("data:image/png;base64,");
                        if picture { "a picture" } else { "no picture" }.to_owned()
                    },
                );
            }
            Ask::Pair => {
                let phone = PhoneNumber::parse(OWN).unwrap();
                let code = sessions.pair_phone(token, &phone).await;
                return code.map_or_else(
                    |failure| words::failure(&failure),
                    |code| if code.0.len() >= 8 { "a code" } else { "no code" }.to_owned(),
                );
            }
            Ask::Connect => sessions.connect(token, &Upkeep::default()).await,
            Ask::Disconnect => sessions.disconnect(token).await,
            Ask::Logout => sessions.logout(token).await,
        };
        match done {
            Ok(_) => format!("done; {}", self.status().await),
            Err(failure) => words::failure(&failure),
        }
    }

    async fn status(&self) -> String {
        match self.clients.sessions.status(&self.token).await {
            Ok(state) => self.state(&state),
            Err(failure) => words::failure(&failure),
        }
    }

    fn state(&self, state: &SessionState) -> String {
        let not = |yes: bool| if yes { "" } else { "not " };
        let number = ChatAddress::parse(&state.jid).ok();
        let number = number.as_ref().and_then(ChatAddress::phone);
        let events = if state.webhook == self.hooks.url {
            "here"
        } else {
            "elsewhere"
        };
        format!(
            "{}connected, {}logged in, {}, events come {events}",
            not(state.connected),
            not(state.logged_in),
            number.map_or("unpaired", PhoneNumber::as_str),
        )
    }

    /// As [`Self::asked`] after a connect, which may take a moment to come to something.
    async fn connected(&self, ask: Ask) -> String {
        let asked = self.asked(ask).await;
        if !asked.starts_with("done; connected, not logged in, 62") {
            return asked;
        }
        let started = Instant::now();
        loop {
            let status = format!("done; {}", self.status().await);
            if status.contains(", logged in") || started.elapsed() > LONG {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn typing(&self) -> String {
        let to = partner();
        let shown = self
            .clients
            .courtesy
            .presence(&self.token, &to, Typing::Composing)
            .await;
        shown.map_or_else(words::not_shown, |()| "shown".to_owned())
    }

    async fn probed(&self) -> String {
        match self.clients.probe.probe().await {
            Ok(report) if report.key_taken => "well, key taken".to_owned(),
            Ok(_) => "well".to_owned(),
            Err(failure) => failure.reason.as_str().to_owned(),
        }
    }
}

/// All pieces of a file.
trait Concat {
    async fn try_concat_bytes(self) -> Result<Vec<u8>, whatsapp::download::DownloadError>;
}

impl Concat for whatsapp::download::FileBytes {
    async fn try_concat_bytes(self) -> Result<Vec<u8>, whatsapp::download::DownloadError> {
        let pieces: Vec<bytes::Bytes> = self.try_collect().await?;
        Ok(pieces.concat())
    }
}

/// Does it, and says what came of it.
pub(crate) async fn run(provider: &'static dyn ProviderUnderTest, does: &Does) -> String {
    match does {
        Does::Send(content) => {
            let world = World::paired(provider).await;
            world.sent(&message(content.clone())).await
        }
        Does::Answer(content, quoted) => {
            let world = World::paired(provider).await;
            let quoted = OutboundQuote {
                id: id(quoted),
                participant: partner(),
                text: Some(Text::new("Syaratnya apa?")),
            };
            let message = OutboundMessage {
                quoted: Some(quoted),
                ..message(content.clone())
            };
            world.sent(&message).await
        }
        Does::SendTo(to) => {
            let world = World::paired(provider).await;
            let to = ChatAddress::parse(to).unwrap();
            world.sent(&OutboundMessage { to, ..hello() }).await
        }
        Does::SendFrom(stage) => World::new(provider, *stage).await.sent(&hello()).await,
        Does::SendInto(trouble) => {
            World::in_trouble(provider, Calls::Sends, *trouble)
                .await
                .sent(&hello())
                .await
        }
        Does::SendFileInto(trouble) => {
            let world = World::in_trouble(provider, Calls::Sends, *trouble).await;
            let picture = sending::file(MediaKind::Image, "image/jpeg", None, None);
            world.sent(&message(picture)).await
        }
        Does::SendAt(manner) => World::at(provider, *manner).await.sent(&hello()).await,
        Does::SendToNobody => World::at_nobody(provider).await.sent(&hello()).await,
        Does::SendWithWrongKey => World::with_wrong_key(provider).await.sent(&hello()).await,
        Does::About(content) => about(provider, *content).await,
        Does::ReactToTheirs(emoji) => react_to_theirs(provider, *emoji).await,
        Does::EditInto(trouble) => edit_into(provider, *trouble).await,
        Does::SendTwice(content) => send_twice(provider, content).await,
        Does::SecondCardInto(trouble) => {
            let world = World::paired(provider).await;
            world.trouble(trouble.fault(provider, Calls::Sends).sparing(1));
            let cards = sending::cards(&[("A", "6281300000007"), ("B", "6281300000008")]);
            world.sent(&message(cards)).await
        }
        Does::Repeat(kinds) => repeat(provider, kinds).await,
        Does::IdOfReceipts => {
            let world = World::paired(provider).await;
            let accepted = accepted(world.send(&hello()).await);
            let shown = world.shown();
            let same = shown.iter().all(|message| message.id == accepted.as_str());
            if same && shown.len() == 1 {
                "the same"
            } else {
                "another"
            }
            .to_owned()
        }
        Does::Type(typing) => {
            let world = World::paired(provider).await;
            let shown = world
                .clients
                .courtesy
                .presence(&world.token, &partner(), *typing)
                .await;
            let shown = shown.map_or_else(words::not_shown, |()| "shown".to_owned());
            format!("{shown}, {}", provider.typed(&world.simulator))
        }
        Does::Read(count) => read(provider, *count).await,
        Does::CourtesyToVisitor => courtesy_to_visitor(provider).await,
        Does::TypeInto(trouble) => {
            World::in_trouble(provider, Calls::All, *trouble)
                .await
                .typing()
                .await
        }
        Does::TypeFrom(stage) => World::new(provider, *stage).await.typing().await,
        Does::TypeToNobody => World::at_nobody(provider).await.typing().await,
        Does::Fetch(kind) => {
            let world = World::paired(provider).await;
            let file = world.file(*kind, false).await;
            world.fetched(&file).await
        }
        Does::FetchGone => {
            let world = World::paired(provider).await;
            let file = world.file(MediaKind::Image, true).await;
            world.fetched(&file).await
        }
        Does::FetchInto(trouble) => {
            let world = World::paired(provider).await;
            let file = world.file(MediaKind::Image, false).await;
            world.trouble(trouble.fault(provider, Calls::All));
            world.fetched(&file).await
        }
        Does::FetchWhenLost => {
            let file = World::paired(provider).await.file(MediaKind::Image, false).await;
            World::new(provider, Stage::Lost).await.fetched(&file).await
        }
        Does::FetchAt(manner) => {
            let file = World::paired(provider).await.file(MediaKind::Image, false).await;
            World::at(provider, *manner).await.fetched(&file).await
        }
        Does::FetchFromNobody => {
            let file = World::paired(provider).await.file(MediaKind::Image, false).await;
            World::at_nobody(provider).await.fetched(&file).await
        }
        Does::Told(happening) => told(provider, happening, Keep::default()).await,
        Does::Kept(happening) => {
            let keep = Keep {
                groups: true,
                broadcasts: true,
                status: true,
            };
            told(provider, happening, keep).await
        }
        Does::ToldTwice => told_twice(provider).await,
        Does::Signed(signature) => signed(provider, *signature).await,
        Does::Broken(how) => {
            let world = World::paired(provider).await;
            let webhook = world.text().await;
            let broken = provider.broken(&webhook, *how);
            // Unsigned, so that what is read is what decides.
            words::taken(&provider.take(&broken, &[], Utc::now(), Keep::default()))
        }
        Does::Named => {
            let world = World::paired(provider).await;
            let webhook = world.text().await;
            match world.take(&webhook, Keep::default()) {
                Taken::Event { session, .. }
                    if session == Some(provider.name_of(&world.simulator, &world.token)) =>
                {
                    "the session's".to_owned()
                }
                Taken::Event { session, .. } => format!("{session:?}"),
                other => words::taken(&other),
            }
        }
        Does::PrintWords => print_words(provider).await,
        Does::Session(stage, ask @ Ask::Connect) => World::new(provider, *stage).await.connected(*ask).await,
        Does::Session(stage, ask) => World::new(provider, *stage).await.asked(*ask).await,
        Does::SessionInto(trouble, ask) => {
            World::in_trouble(provider, Calls::All, *trouble)
                .await
                .asked(*ask)
                .await
        }
        Does::SessionAt(manner, ask) => World::at(provider, *manner).await.asked(*ask).await,
        Does::SessionAtNobody(ask) => World::at_nobody(provider).await.asked(*ask).await,
        Does::SessionWithWrongKey(ask) => World::with_wrong_key(provider).await.asked(*ask).await,
        Does::Rekey => rekey(provider).await,
        Does::Scan => {
            let world = World::new(provider, Stage::Waiting).await;
            world.asked(Ask::Qr).await;
            provider.scan(&world.simulator, &world.token);
            let status = world
                .status()
                .await
                .replace(OWN, "paired")
                .replace(", events come here", "");
            format!("{status}; qr {}", world.asked(Ask::Qr).await)
        }
        Does::Echo => echo(provider).await,
        Does::Probe => World::paired(provider).await.probed().await,
        Does::ProbeWithWrongKey => World::with_wrong_key(provider).await.probed().await,
        Does::ProbeInto(trouble) => {
            World::in_trouble(provider, Calls::All, *trouble)
                .await
                .probed()
                .await
        }
        Does::ProbeNobody => World::at_nobody(provider).await.probed().await,
    }
}

async fn about(
    provider: &'static dyn ProviderUnderTest,
    content: fn(ProviderMessageId) -> OutboundContent,
) -> String {
    let world = World::paired(provider).await;
    let first = accepted(world.send(&hello()).await);
    // A reaction that is taken back has to be there first.
    let reaction = another(sending::react(first.clone(), Some("😮")));
    if matches!(
        content(first.clone()),
        OutboundContent::Reaction { emoji: None, .. }
    ) {
        let _there = accepted(world.send(&reaction).await);
    }
    let then = another(content(first));
    let outcome = world.send(&then).await;
    // What is about another message is no message of its own: it goes by our id.
    let own = matches!(&outcome, SendOutcome::Accepted { provider_message_id, .. } if *provider_message_id == then.id);
    let id = if own { "" } else { " under a strange id" };
    format!(
        "{}{id}; {}",
        words::outcome(&outcome),
        words::phone(&world.shown())
    )
}

async fn react_to_theirs(provider: &'static dyn ProviderUnderTest, emoji: Option<&str>) -> String {
    let world = World::paired(provider).await;
    let mut content = sending::react(id("3EB0THEIRS"), emoji);
    if let OutboundContent::Reaction { target, .. } = &mut content {
        target.ours = false;
        target.participant = Some(partner());
    }
    let outcome = world.send(&message(content)).await;
    let shown = match provider.last_reaction(&world.simulator) {
        Some((target, emoji)) => format!("{} to {target}", emoji.as_deref().unwrap_or("none")),
        None => "nothing shown".to_owned(),
    };
    format!("{}; {shown}", words::outcome(&outcome))
}

async fn edit_into(provider: &'static dyn ProviderUnderTest, trouble: Trouble) -> String {
    let world = World::paired(provider).await;
    let target = accepted(world.send(&hello()).await);
    world.trouble(trouble.fault(provider, Calls::All));
    let text = Text::new("Hai");
    let outcome = world.send(&another(OutboundContent::Edit { target, text })).await;
    let repeated = may_be_repeated(&world, MessageKind::Edit);
    format!(
        "{}, {repeated}; {}",
        words::outcome(&outcome),
        words::phone(&world.shown())
    )
}

fn may_be_repeated(world: &World, kind: MessageKind) -> &'static str {
    if world.clients.sender.resend_safety(kind).may_repeat() {
        "may be repeated"
    } else {
        "not to be repeated"
    }
}

async fn send_twice(provider: &'static dyn ProviderUnderTest, content: &OutboundContent) -> String {
    let world = World::paired(provider).await;
    let message = message(content.clone());
    for _ in 0..2 {
        let _out = accepted(world.send(&message).await);
    }
    let repeated = may_be_repeated(&world, content.kind());
    format!("{repeated}; {}", words::phone(&world.shown()))
}

/// Whatever may be repeated is sent twice, and the phone must look as after the first time.
async fn repeat(provider: &'static dyn ProviderUnderTest, kinds: &[MessageKind]) -> String {
    let mut wrong = Vec::new();
    for &kind in kinds {
        let world = World::paired(provider).await;
        if !world.clients.sender.resend_safety(kind).may_repeat() {
            continue;
        }
        let target = accepted(world.send(&hello()).await);
        let Some(content) = sample(kind, target) else {
            wrong.push(format!("{kind} is never sent"));
            continue;
        };
        let message = another(content);
        let _first = accepted(world.send(&message).await);
        let once = world.shown();
        let _second = accepted(world.send(&message).await);
        if world.shown() != once {
            wrong.push(kind.to_string());
        }
    }
    if wrong.is_empty() {
        "nothing changed".to_owned()
    } else {
        wrong.join(", ")
    }
}

fn sample(kind: MessageKind, target: ProviderMessageId) -> Option<OutboundContent> {
    let file = |kind, mime| Some(sending::file(kind, mime, None, None));
    match kind {
        MessageKind::Text => Some(sending::text("Ya")),
        MessageKind::Image => file(MediaKind::Image, "image/jpeg"),
        MessageKind::Video => file(MediaKind::Video, "video/mp4"),
        MessageKind::Audio => file(MediaKind::Audio, "audio/mpeg"),
        MessageKind::Voice => file(MediaKind::Voice, "audio/ogg"),
        MessageKind::Document => file(MediaKind::Document, "application/pdf"),
        MessageKind::Sticker => file(MediaKind::Sticker, "image/webp"),
        MessageKind::Location => Some(OutboundContent::Location {
            latitude: 1.0,
            longitude: 2.0,
            name: None,
        }),
        MessageKind::Contact => Some(sending::cards(&[("A", "6281300000007"), ("B", "6281300000008")])),
        MessageKind::Reaction => Some(sending::react(target, Some("👍"))),
        MessageKind::Edit => Some(OutboundContent::Edit {
            target,
            text: Text::new("Hai"),
        }),
        MessageKind::Revoke => Some(OutboundContent::Revoke { target }),
        MessageKind::Poll
        | MessageKind::PollVote
        | MessageKind::InteractiveReply
        | MessageKind::Unsupported => None,
    }
}

async fn read(provider: &'static dyn ProviderUnderTest, count: u8) -> String {
    let world = World::paired(provider).await;
    let ids: Vec<ProviderMessageId> = (0..count).map(|number| id(&format!("3EB0{number:03}"))).collect();
    let shown = world
        .clients
        .courtesy
        .mark_read(&world.token, &partner(), &ids)
        .await;
    let shown = shown.map_or_else(words::not_shown, |()| "shown".to_owned());
    let marked = provider.marked_read(&world.simulator);
    if count <= 20 {
        return format!("{shown}, {} marked", marked.len());
    }
    let newest = ids.iter().skip(ids.len() - 20);
    let all = newest
        .into_iter()
        .all(|id| marked.iter().any(|marked| marked == id.as_str()));
    format!(
        "{shown}, {} newest 20 marked",
        if all { "the" } else { "not the" }
    )
}

async fn courtesy_to_visitor(provider: &'static dyn ProviderUnderTest) -> String {
    let world = World::paired(provider).await;
    let visitor = ChatAddress::parse("web_abc").unwrap();
    let courtesy = &world.clients.courtesy;
    let typing = courtesy.presence(&world.token, &visitor, Typing::Composing).await;
    let read = courtesy.mark_read(&world.token, &visitor, &[id("3EB0A")]).await;
    let word = |shown: Result<(), _>| shown.map_or_else(words::not_shown, |()| "shown".to_owned());
    format!("{}, {}", word(typing), word(read))
}

async fn told(provider: &'static dyn ProviderUnderTest, happening: &Happening, keep: Keep) -> String {
    let world = World::paired(provider).await;
    match world.told(happening).await {
        Some(webhook) => words::taken(&world.take(&webhook, keep)),
        None => words::NOT_TOLD.to_owned(),
    }
}

async fn told_twice(provider: &'static dyn ProviderUnderTest) -> String {
    let world = World::paired(provider).await;
    let twice = FaultKind::Duplicate {
        copies: 1,
        concurrent: true,
    };
    world.trouble(FaultSpec::on_webhook(provider.webhooks(), twice));
    let _first = world.text().await;
    eventually("the webhook comes twice", || world.hooks.posted().len() == 2).await;
    let posted = world.hooks.posted().into_iter();
    let ids: Vec<String> = posted
        .map(|webhook| {
            message_of(world.take(&webhook, Keep::default()))
                .provider_message_id
                .to_string()
        })
        .collect();
    if ids == [ID, ID] {
        "twice, the same id".to_owned()
    } else {
        ids.join(" and ")
    }
}

async fn signed(provider: &'static dyn ProviderUnderTest, signature: Signature) -> String {
    let world = World::paired(provider).await;
    let webhook = world.text().await;
    let right = webhook.signature.clone().unwrap();
    // As the provider's own code would have made it; what is posted comes from the imitation.
    assert_eq!(right, provider.sign(&key(KEY), &webhook.body));
    let mut keys = vec![key(KEY)];
    let mut webhook = webhook;
    webhook.signature = match signature {
        Signature::Right => Some(right),
        Signature::Shouted => Some(right.to_uppercase()),
        Signature::OlderKey => {
            keys.insert(0, key(OTHER_KEY));
            Some(right)
        }
        Signature::Missing => None,
        Signature::Empty => Some(String::new()),
        Signature::Malformed => Some(right.replace(|c: char| c.is_ascii_hexdigit(), "z")),
        Signature::Short => right.get(..right.len() - 32).map(str::to_owned),
        Signature::OfStranger => Some(provider.sign(&key(OTHER_KEY), &webhook.body)),
        Signature::ChangedBody => {
            let body = String::from_utf8_lossy(&webhook.body).replace("Halo", "Hala");
            webhook.body = bytes::Bytes::from(body);
            Some(right)
        }
        Signature::NotAsked => {
            keys.clear();
            Some("anything".to_owned())
        }
    };
    match provider.take(&webhook, &keys, Utc::now(), Keep::default()) {
        Taken::Event {
            signed,
            event: Ok(InboundEvent::Message(message)),
            ..
        } => {
            let said = message.content.text_for_humans();
            format!(
                "{} '{}'",
                if signed { "signed" } else { "unsigned" },
                said.as_str()
            )
        }
        other => words::taken(&other),
    }
}

async fn print_words(provider: &'static dyn ProviderUnderTest) -> String {
    let world = World::paired(provider).await;
    for what in [
        What::Text("sangat rahasia".to_owned()),
        What::Media {
            kind: MediaKind::Image,
            caption: Some("sangat rahasia"),
            file_name: None,
            gone: false,
        },
        What::Edit {
            target: "3EB0A",
            text: "sangat rahasia",
        },
    ] {
        let webhook = world.told(&receiving::by(By::Partner, what)).await.unwrap();
        let Taken::Event { event, .. } = world.take(&webhook, Keep::default()) else {
            return "not taken".to_owned();
        };
        let printed = format!("{event:?}");
        if printed.contains("rahasia") {
            return printed;
        }
    }
    "nothing printed".to_owned()
}

async fn rekey(provider: &'static dyn ProviderUnderTest) -> String {
    let world = World::paired(provider).await;
    let elsewhere = Receiver::start(provider.signature_header()).await;
    let upkeep = Upkeep {
        webhook_url: Some(elsewhere.url.clone()),
        webhook_key: Some(key(OTHER_KEY)),
    };
    if let Err(failure) = world.clients.sessions.connect(&world.token, &upkeep).await {
        return words::failure(&failure);
    }
    let text = receiving::by(By::Partner, receiving::text());
    assert!(provider.happen(&world.simulator, &world.token, &text));
    eventually("a webhook comes to either place", || {
        elsewhere.posted().len() + world.hooks.posted().len() == 1
    })
    .await;
    let Some(webhook) = elsewhere.posted().pop() else {
        return "at the old address".to_owned();
    };
    let taken = provider.take(&webhook, &[key(OTHER_KEY)], Utc::now(), Keep::default());
    match taken {
        Taken::Event {
            signed: true,
            event: Ok(_),
            ..
        } => "signed with the new key, at the new address".to_owned(),
        other => words::taken(&other),
    }
}

/// Calls everything of a server that repeats all it is shown, and looks for secrets in what comes of it.
async fn echo(provider: &'static dyn ProviderUnderTest) -> String {
    let world = World::paired(provider).await;
    let file = world.file(MediaKind::Image, false).await;
    let mut secrets = provider.secrets(&world.token);
    secrets.push(OTHER_KEY.to_owned());
    let stub = Stub::start(Manner::Echo, "", secrets.clone()).await;
    let clients = provider.clients(&stub.origin, Settings::default());
    let token = &world.token;
    let upkeep = Upkeep {
        webhook_url: Some("http://127.0.0.1:9/hook".to_owned()),
        webhook_key: Some(key(OTHER_KEY)),
    };
    let phone = PhoneNumber::parse(OWN).unwrap();
    let (sessions, courtesy) = (&clients.sessions, &clients.courtesy);
    let picture = message(sending::file(MediaKind::Image, "image/jpeg", None, None));
    let said = [
        ("clients", clients.printed.clone()),
        ("upkeep", format!("{upkeep:?}")),
        ("send", print(&clients.sender.send(token, &hello()).await)),
        (
            "send of a file",
            print(&clients.sender.send(token, &picture).await),
        ),
        ("status", print_failure(sessions.status(token).await)),
        ("connect", print_failure(sessions.connect(token, &upkeep).await)),
        ("disconnect", print_failure(sessions.disconnect(token).await)),
        ("logout", print_failure(sessions.logout(token).await)),
        ("qr", print_failure(sessions.qr(token).await)),
        ("pair", print_failure(sessions.pair_phone(token, &phone).await)),
        (
            "typing",
            print(&courtesy.presence(token, &partner(), Typing::Paused).await),
        ),
        (
            "download",
            print(&clients.downloads.download(token, &file).await.err()),
        ),
        ("probe", print_failure(clients.probe.probe().await)),
    ];
    let shown: Vec<&str> = said
        .iter()
        .filter(|(_, said)| secrets.iter().any(|secret| said.contains(secret)))
        .map(|(call, _)| *call)
        .collect();
    if shown.is_empty() {
        "nothing shown".to_owned()
    } else {
        format!("shown by {}", shown.join(", "))
    }
}

fn print(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// Both ways in which an error is written down.
fn print_failure<T: Debug, E: Debug + std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{error:?} {error}"),
    }
}

fn message(content: OutboundContent) -> OutboundMessage {
    OutboundMessage {
        id: id("3EB0OURS"),
        to: partner(),
        content,
        quoted: None,
    }
}

/// A message after another one.
fn another(content: OutboundContent) -> OutboundMessage {
    OutboundMessage {
        id: id("3EB0OURS2"),
        ..message(content)
    }
}

fn hello() -> OutboundMessage {
    message(sending::text("Halo"))
}

fn partner() -> ChatAddress {
    ChatAddress::parse(&format!("{PARTNER}@s.whatsapp.net")).unwrap()
}

fn id(text: &str) -> ProviderMessageId {
    ProviderMessageId::parse(text).unwrap()
}

fn key(text: &str) -> WebhookKey {
    WebhookKey::new(text).unwrap()
}

fn accepted(outcome: SendOutcome) -> ProviderMessageId {
    match outcome {
        SendOutcome::Accepted {
            provider_message_id, ..
        } => provider_message_id,
        other => panic!("not accepted: {}", words::outcome(&other)),
    }
}

fn message_of(taken: Taken) -> InboundMessage {
    match taken {
        Taken::Event {
            event: Ok(InboundEvent::Message(message)),
            ..
        } => *message,
        other => panic!("no message: {}", words::taken(&other)),
    }
}

async fn eventually(what: &str, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < LONG, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
