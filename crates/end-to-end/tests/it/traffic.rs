//! People and agents who write a lot, and the judgement about what arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use simulator::{InboundStream, MessageView, PhoneMessage, ReplyStream, WaConfigChange};
use test_support::eventually_within;

use crate::world::{PATIENCE, Tenant, World};

/// A stream of messages each way.
pub(crate) struct Traffic {
    /// What everybody writes first, to have a conversation.
    greetings: Option<InboundStream>,
    inbound: InboundStream,
    inbound_id: u64,
    replies: ReplyStream,
    replies_id: Option<u64>,
    /// What agents see at last.
    last_status: &'static str,
    volume: Volume,
}

/// How much of it there is.
#[derive(Clone, Copy)]
pub(crate) struct Volume {
    pub(crate) chats: u64,
    pub(crate) inbound: u64,
    /// In each conversation.
    pub(crate) replies: u64,
    /// Phones confirm every answer twice, which is most of the work when there are many.
    pub(crate) receipts: bool,
    /// Messages that people write and that agents write in a second; as fast as they are taken if absent.
    pub(crate) pace: Option<[NonZeroU32; 2]>,
    /// Number of the first phone.
    pub(crate) first_phone: u64,
    /// Everybody has greeted before, and has a conversation.
    pub(crate) greeted: bool,
}

impl Volume {
    /// As fast as it goes.
    pub(crate) const fn unpaced(chats: u64, inbound: u64, replies: u64, receipts: bool) -> Self {
        Self {
            chats,
            inbound,
            replies,
            receipts,
            pace: None,
            first_phone: 6_281_300_000_000,
            greeted: false,
        }
    }

    /// What people write and agents answer.
    pub(crate) const fn total(self) -> u64 {
        self.written() + self.answers()
    }

    /// What people write, greetings included.
    pub(crate) const fn written(self) -> u64 {
        self.inbound + if self.greeted { self.chats } else { 0 }
    }

    pub(crate) const fn answers(self) -> u64 {
        self.chats * self.replies
    }
}

impl Traffic {
    /// Everybody greets, and has a conversation then.
    pub(crate) async fn greet(world: &World, tenant: &Tenant, volume: Volume) {
        world
            .simulator
            .start_inbound_stream(Self::greetings(tenant, volume))
            .unwrap();
        everybody_has_a_conversation(world, tenant, volume.chats).await;
    }

    fn greetings(tenant: &Tenant, volume: Volume) -> InboundStream {
        InboundStream {
            session: tenant.session.clone(),
            chats: volume.chats,
            messages: volume.chats,
            prefix: "Salam".to_owned(),
            concurrency: None,
            from_base: volume.first_phone,
            per_second: None,
        }
    }

    /// People begin to write.
    pub(crate) fn start(world: &World, tenant: &Tenant, volume: Volume) -> Self {
        let greetings = Self::greetings(tenant, volume);
        let inbound = InboundStream {
            messages: volume.inbound,
            prefix: "Pertanyaan".to_owned(),
            per_second: volume.pace.map(|[inbound, _]| inbound),
            ..greetings.clone()
        };
        let replies = ReplyStream {
            account_id: tenant.chatwoot_account,
            inbox_id: tenant.inbox,
            per_conversation: volume.replies,
            prefix: "Jawaban".to_owned(),
            until_accepted: true,
            per_second: volume.pace.map(|[_, replies]| replies),
        };
        world.simulator.configure_wa(WaConfigChange {
            auto_receipts: Some(volume.receipts),
            ..WaConfigChange::default()
        });
        Self {
            greetings: volume.greeted.then_some(greetings),
            volume,
            last_status: if volume.receipts { "read" } else { "sent" },
            inbound_id: world.simulator.start_inbound_stream(inbound.clone()).unwrap(),
            inbound,
            replies,
            replies_id: None,
        }
    }

    /// Agents begin to answer as soon as every person has a conversation.
    pub(crate) async fn answer(&mut self, world: &World, tenant: &Tenant) {
        everybody_has_a_conversation(world, tenant, self.inbound.chats).await;
        self.replies_id = Some(world.simulator.start_reply_stream(self.replies.clone()).unwrap());
    }

    /// How many messages were accepted by the first service that they reached, of each way.
    pub(crate) fn taken(&self, world: &World) -> [u64; 2] {
        let replies = self.replies_id.and_then(|id| world.simulator.reply_stream(id));
        let inbound = world.simulator.inbound_stream(self.inbound_id);
        [
            inbound.map_or(0, |stream| stream.accepted),
            replies.map_or(0, |stream| stream.accepted),
        ]
    }

    pub(crate) const fn volume(&self) -> Volume {
        self.volume
    }

    /// How long after the start a person's message was to be written. `None`: it is a greeting.
    pub(crate) fn due(&self, text: &str) -> Option<Duration> {
        if self.greetings.is_some() && text.starts_with("Salam") {
            return None;
        }
        let number: u64 = text.rsplit_once('#').unwrap().1.parse().unwrap();
        let place = (number - 1) * self.volume.chats + self.chat_of(text);
        let pace = self
            .volume
            .pace
            .map_or(0.0, |[inbound, _]| f64::from(inbound.get()));
        Some(Duration::try_from_secs_f64(place as f64 / pace).unwrap_or_default())
    }

    /// What phone `chat` shows.
    pub(crate) fn on_phone(&self, world: &World, chat: u64) -> Vec<PhoneMessage> {
        world.simulator.phone(&self.inbound.phone(chat))
    }

    /// Everything was accepted by the first service that it reached.
    pub(crate) async fn accepted(&self, world: &World) {
        eventually_within(PATIENCE, "all messages are accepted", || async {
            let inbound = world.simulator.inbound_stream(self.inbound_id).unwrap();
            assert_eq!(inbound.error, None);
            let replies = self
                .replies_id
                .map(|id| world.simulator.reply_stream(id).unwrap());
            (inbound.done && replies.is_none_or(|replies| replies.done)).then_some(())
        })
        .await;
    }

    /// How many messages are at their destination, doubles included.
    pub(crate) fn arrived(&self, world: &World, tenant: &Tenant) -> u64 {
        let incoming = world
            .simulator
            .count_chatwoot_messages(tenant.chatwoot_account, "incoming");
        incoming + self.answered(world)
    }

    /// How many answers are on phones.
    fn answered(&self, world: &World) -> u64 {
        let phones: Vec<String> = (0..self.inbound.chats)
            .map(|chat| self.inbound.phone(chat))
            .collect();
        world.simulator.count_on_phones(phones.iter().map(String::as_str))
    }

    /// Waits until so many answers are on phones.
    pub(crate) async fn answers_reach(&self, world: &World, answers: u64) {
        eventually_within(PATIENCE, &format!("{answers} answers have arrived"), || async {
            (self.answered(world) >= answers).then_some(())
        })
        .await;
    }

    /// Waits until so many are at their destination, as long as they go on arriving.
    pub(crate) async fn reaches(&self, world: &World, tenant: &Tenant, messages: u64) {
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let arrived = self.arrived(world, tenant);
            if arrived >= messages {
                return;
            }
            if arrived > before {
                (before, since) = (arrived, Instant::now());
            }
            assert!(
                since.elapsed() < PATIENCE,
                "{arrived} of {messages} messages of {} have arrived, and no other one within {PATIENCE:?}",
                tenant.id
            );
            // Whoever counts holds the simulator up; not more often than needed.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for the end and judges: nothing lost, nothing doubled, all in order, every answer with its last status.
    pub(crate) async fn judge(&self, world: &World, tenant: &Tenant) {
        self.accepted(world).await;
        let (written, replies) = (self.volume.written(), self.volume.answers());
        self.reaches(world, tenant, self.volume.total()).await;
        self.all_show_the_last_status(world, tenant).await;
        world.quiet().await;
        assert_eq!(
            world.contacts(tenant).len() as u64,
            self.inbound.chats,
            "contacts"
        );
        assert_eq!(
            world.conversations(tenant).len() as u64,
            self.inbound.chats,
            "conversations"
        );

        let incoming = world.messages(tenant, "incoming");
        let ids: BTreeSet<&str> = incoming
            .iter()
            .filter_map(|message| message.source_id.as_deref())
            .collect();
        assert_eq!(ids.len() as u64, written, "different messages in Chatwoot");
        assert_eq!(incoming.len() as u64, written, "messages in Chatwoot");
        let outgoing = world.messages(tenant, "outgoing");
        assert_eq!(outgoing.len() as u64, replies, "agents' messages");

        let conversations = by_conversation(&incoming);
        for (conversation, texts) in &conversations {
            let chat = self.chat_of(texts[0]);
            let streams = self.greetings.iter().chain([&self.inbound]);
            let expected: Vec<String> = streams
                .flat_map(|stream| (1..=stream.messages_in(chat)).map(|n| stream.text(chat, n)))
                .collect();
            assert_eq!(*texts, expected, "conversation {conversation}");

            let phone = self.on_phone(world, chat);
            let shown: Vec<&str> = phone
                .iter()
                .filter_map(|message| message.text.as_deref())
                .collect();
            let expected: Vec<String> = (1..=self.replies.per_conversation)
                .map(|n| self.replies.text(*conversation, n))
                .collect();
            assert_eq!(shown, expected, "the phone of chat {chat}");
        }
        assert_eq!(conversations.len() as u64, self.inbound.chats);
    }

    async fn all_show_the_last_status(&self, world: &World, tenant: &Tenant) {
        if self.replies_id.is_none() {
            return;
        }
        let mut counts = BTreeMap::new();
        let waiting = tokio::time::timeout(PATIENCE, async {
            loop {
                counts.clear();
                for message in world.messages(tenant, "outgoing") {
                    *counts.entry(message.status).or_insert(0_u64) += 1;
                }
                if counts.keys().all(|status| status == self.last_status) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(
            waiting.await.is_ok(),
            "not every agent sees '{}': {counts:?}",
            self.last_status
        );
    }

    /// Which chat a text was written in.
    fn chat_of(&self, text: &str) -> u64 {
        let is_of = |chat: u64| {
            let mut streams = self.greetings.iter().chain([&self.inbound]);
            streams.any(|stream| text.starts_with(&format!("{} c{chat} #", stream.prefix)))
        };
        (0..self.inbound.chats)
            .find(|chat| is_of(*chat))
            .unwrap_or_else(|| panic!("nobody wrote {text:?}"))
    }
}

async fn everybody_has_a_conversation(world: &World, tenant: &Tenant, chats: u64) {
    eventually_within(PATIENCE, "everybody has a conversation", || async {
        (world.conversations(tenant).len() as u64 >= chats).then_some(())
    })
    .await;
}

fn by_conversation(messages: &[MessageView]) -> BTreeMap<u64, Vec<&str>> {
    let mut conversations: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for message in messages {
        let texts = conversations.entry(message.conversation_id).or_default();
        texts.push(message.content.as_deref().unwrap_or_default());
    }
    conversations
}
