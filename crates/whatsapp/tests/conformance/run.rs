//! Does what a row says in a world of its own, and tells what came of it.

use chrono::Utc;
use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use domain::message::{MediaKind, MessageKind};
use domain::text::Text;
use whatsapp::courtesy::Typing;
use whatsapp::event::Keep;
use whatsapp::port::{OutboundContent, OutboundMessage, OutboundQuote, SendOutcome};

use crate::cases::{Ask, Does};
use crate::hooks::{echo, print_words, rekey, signed, told, told_twice};
use crate::provider::{Calls, OWN, ProviderUnderTest, Stage, Taken, Trouble};
use crate::world::{World, accepted, another, hello, id, message, partner};
use crate::{sending, words};

/// Does it, and says what came of it.
pub(crate) async fn run(provider: &'static dyn ProviderUnderTest, does: &Does) -> String {
    match does {
        Does::Send(content) => {
            let world = World::paired(provider).await;
            world.sent(&message(content.clone())).await
        }
        Does::Answer(content, quoted) => answer(provider, content, quoted, Some(partner())).await,
        Does::AnswerWithoutWriter(content, quoted) => answer(provider, content, quoted, None).await,
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
            let world = World::paired(provider).await;
            let file = world.file(MediaKind::Image, false).await;
            provider.lose(&world.simulator, &world.token).await;
            world.fetched(&file).await
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

async fn answer(
    provider: &'static dyn ProviderUnderTest,
    content: &OutboundContent,
    quoted: &str,
    participant: Option<ChatAddress>,
) -> String {
    let world = World::paired(provider).await;
    let quoted = OutboundQuote {
        id: id(quoted),
        participant,
        text: Some(Text::new("Syaratnya apa?")),
    };
    let message = OutboundMessage {
        quoted: Some(quoted),
        ..message(content.clone())
    };
    world.sent(&message).await
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
            address: None,
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
        | MessageKind::Template
        | MessageKind::Interactive
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
