//! Every exchange, queue and binding, by name. No other file knows a queue's name or a routing key.

use std::sync::Arc;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// Times a message may be taken off a quorum queue before the broker itself moves it to the dead-letter queue; our
/// consumers dead-letter poison at once and keep the rest in hand, so only a crash loop gets this far.
const DELIVERY_LIMIT: i64 = 50;

/// Messages kept in a queue that nobody reads; the oldest leave first. What they tell of stays in Postgres.
const UNREAD_LIMIT: i64 = 100_000;
/// Bytes kept in a queue of what strangers wrote and we could not handle.
const UNREAD_BYTES: i64 = 256 * 1024 * 1024;
/// Messages kept in a queue whose reader is away. Then the broker refuses further ones, which stay in the outbox in their
/// order: nothing is lost, and the broker's disk is not filled by a service that is down.
const READ_LIMIT: i64 = 1_000_000;

/// Names, with a prefix that keeps tests on one broker apart. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    prefix: Arc<str>,
}

/// A queue of ours and what it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// What chatwoot-bridge wants to know.
    BridgeEvents,
    /// What channel-service is asked to do.
    ChannelCommands,
    /// What channel-service hands over to GovConnect's AI service. Declared only where GovConnect is served, so that
    /// nothing gathers in it elsewhere.
    AiHandover,
    /// What channel-service tells tenants' own systems in the words of Meta's webhooks.
    GateEvents,
    /// Messages that were put aside after their last attempt. Nobody consumes them here: it is where operators and
    /// their alarms look.
    ParkedMessages,
    /// Webhooks that wa-support-gateway could not deliver. Nobody consumes them either.
    ParkedWebhooks,
    /// What Meta tells of accounts, templates, numbers and people. Nobody consumes them either.
    WhatsAppUpdates,
}

impl Queue {
    /// Every queue of ours.
    pub const ALL: [Self; 7] = [
        Self::BridgeEvents,
        Self::ChannelCommands,
        Self::AiHandover,
        Self::GateEvents,
        Self::ParkedMessages,
        Self::ParkedWebhooks,
        Self::WhatsAppUpdates,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::BridgeEvents => "chatwoot-bridge.events",
            Self::ChannelCommands => "channel-service.commands",
            Self::AiHandover => "channel-service.ai_handover",
            Self::GateEvents => "channel-service.gate",
            Self::ParkedMessages => "channel-service.parked",
            Self::ParkedWebhooks => "wa-support-gateway.hooks.dead",
            Self::WhatsAppUpdates => "channel-service.whatsapp_updates",
        }
    }

    /// Is there a service that reads it?
    const fn is_consumed(self) -> bool {
        !matches!(
            self,
            Self::ParkedMessages | Self::ParkedWebhooks | Self::WhatsAppUpdates
        )
    }

    /// Does one replica read at a time? Two would take neighbours of one chat and swap them. A queue that nobody
    /// consumes needs no such order, and without it people can look at single messages.
    const fn is_read_in_order(self) -> bool {
        !matches!(self, Self::ParkedWebhooks | Self::WhatsAppUpdates)
    }

    /// Is it there for GovConnect's sake?
    const fn is_for_govconnect(self) -> bool {
        matches!(self, Self::AiHandover)
    }

    const fn routing_keys(self) -> &'static [&'static str] {
        match self {
            Self::BridgeEvents => &[
                "chat.merged",
                "chat.profile",
                "message.received",
                "message.sent_elsewhere",
                "message.status_changed",
            ],
            Self::ChannelCommands => &["message.send_requested"],
            Self::AiHandover => &["message.received"],
            Self::GateEvents => &[
                "message.received",
                "message.sent_elsewhere",
                "message.status_changed",
            ],
            Self::ParkedMessages => &["message.parked"],
            Self::ParkedWebhooks => &["webhook.parked"],
            Self::WhatsAppUpdates => &["whatsapp.update"],
        }
    }
}

/// A queue on GovConnect's exchange that channel-service reads. Its name, binding and lack of arguments are
/// GovConnect's (contract channel-service 5.1): a second declaration with others would be refused, so what cannot be
/// handled is published to a dead-letter queue of ours instead of being left to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GovconnectQueue {
    /// What the AI service answers.
    AiReply,
    /// Messages the AI service could not answer.
    AiError,
    /// Where the AI service stands with a message.
    MessageStatus,
}

impl GovconnectQueue {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AiReply, Self::AiError, Self::MessageStatus];

    const fn name(self) -> &'static str {
        match self {
            Self::AiReply => "channel-service.ai.reply",
            Self::AiError => "channel-service.ai.error",
            Self::MessageStatus => "channel-service.message.status",
        }
    }

    /// The key it is bound to on GovConnect's exchange.
    #[must_use]
    pub const fn routing_key(self) -> &'static str {
        match self {
            Self::AiReply => "govconnect.ai.reply",
            Self::AiError => "govconnect.ai.error",
            Self::MessageStatus => "govconnect.message.status",
        }
    }
}

/// GovConnect's AI service reads from this queue, and declares it itself without arguments: ours must be identical.
const AI_QUEUE: &str = "ai-service.whatsapp.message.#";
const AI_ROUTING_KEY: &str = "whatsapp.message.received";

/// A queue as it is declared.
pub(crate) struct DeclaredQueue {
    pub(crate) name: String,
    pub(crate) arguments: FieldTable,
    pub(crate) kept: Kept,
}

/// For whom a queue keeps messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// For a service that reads it.
    Read,
    /// For people: what was put aside on purpose.
    ForPeople,
    /// For people: what could not be understood.
    Dead,
}

impl Topology {
    /// Names with a prefix; empty outside tests.
    #[must_use]
    pub fn with_prefix(prefix: &str) -> Self {
        Self {
            prefix: Arc::from(prefix),
        }
    }

    /// The topic exchange of our own events.
    #[must_use]
    pub fn events_exchange(&self) -> String {
        self.named("kanal.events")
    }

    /// The exchange by which dead letters find their queues, by the name of the queue that was read.
    #[must_use]
    pub fn dead_exchange(&self) -> String {
        self.named("kanal.dead")
    }

    /// GovConnect's exchange.
    #[must_use]
    pub fn govconnect_exchange(&self) -> String {
        self.named("govconnect.events")
    }

    /// The routing key under which GovConnect's AI service expects messages.
    #[must_use]
    pub const fn govconnect_message_key(&self) -> &'static str {
        AI_ROUTING_KEY
    }

    /// The queue GovConnect's AI service reads.
    #[must_use]
    pub fn govconnect_ai_queue(&self) -> String {
        self.named(AI_QUEUE)
    }

    /// A queue's name on the broker.
    #[must_use]
    pub fn queue(&self, queue: Queue) -> String {
        self.named(queue.name())
    }

    /// Where what a queue's consumer cannot understand ends up.
    #[must_use]
    pub fn dead_letter_queue(&self, queue: Queue) -> String {
        self.named(&format!("{}.dead", queue.name()))
    }

    /// The name of one of GovConnect's queues on the broker.
    #[must_use]
    pub fn govconnect_queue(&self, queue: GovconnectQueue) -> String {
        self.named(queue.name())
    }

    /// Where what cannot be handled of one of GovConnect's queues ends up, with the reason in a header.
    #[must_use]
    pub fn govconnect_dead_letter_queue(&self, queue: GovconnectQueue) -> String {
        self.named(&format!("{}.dead", queue.name()))
    }

    /// Declares everything. Safe to repeat; every service declares all of it, so that no event is unroutable only
    /// because its consumer has not been deployed yet.
    ///
    /// # Errors
    /// What the broker says, e.g. when somebody declared a queue of this name with other arguments.
    pub async fn declare(&self, channel: &Channel, govconnect: bool) -> Result<(), lapin::Error> {
        self.declare_exchange(channel, &self.events_exchange(), ExchangeKind::Topic)
            .await?;
        let dead = self.dead_exchange();
        self.declare_exchange(channel, &dead, ExchangeKind::Direct)
            .await?;
        for queue in Queue::ALL {
            if queue.is_for_govconnect() && !govconnect {
                continue;
            }
            let name = self.queue(queue);
            if queue.is_consumed() {
                let dead_name = self.dead_letter_queue(queue);
                self.declare_queue(channel, &dead_name, quorum()).await?;
                bind(channel, &dead_name, &dead, &name).await?;
            }
            self.declare_queue(channel, &name, self.arguments_of(queue))
                .await?;
            for key in queue.routing_keys() {
                bind(channel, &name, &self.events_exchange(), key).await?;
            }
        }
        if govconnect {
            self.declare_govconnect(channel, &dead).await?;
        }
        Ok(())
    }

    fn arguments_of(&self, queue: Queue) -> FieldTable {
        let mut arguments = quorum();
        if queue.is_read_in_order() {
            arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        }
        if !queue.is_consumed() {
            arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(UNREAD_LIMIT));
            return arguments;
        }
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(READ_LIMIT));
        arguments.insert(
            "x-overflow".into(),
            AMQPValue::LongString("reject-publish".into()),
        );
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        arguments.insert(
            "x-dead-letter-exchange".into(),
            AMQPValue::LongString(self.dead_exchange().into()),
        );
        arguments.insert(
            "x-dead-letter-routing-key".into(),
            AMQPValue::LongString(self.queue(queue).into()),
        );
        arguments
    }

    /// Every exchange that [`Self::declare`] makes, with its kind.
    pub(crate) fn exchanges(&self, govconnect: bool) -> Vec<(String, ExchangeKind)> {
        let mut exchanges = vec![
            (self.events_exchange(), ExchangeKind::Topic),
            (self.dead_exchange(), ExchangeKind::Direct),
        ];
        if govconnect {
            exchanges.push((self.govconnect_exchange(), ExchangeKind::Topic));
        }
        exchanges
    }

    /// Every queue that [`Self::declare`] makes, as it makes it.
    pub(crate) fn queues(&self, govconnect: bool) -> Vec<DeclaredQueue> {
        let queue = |name, arguments, kept| DeclaredQueue {
            name,
            arguments,
            kept,
        };
        let mut queues = Vec::new();
        for ours in Queue::ALL {
            if ours.is_for_govconnect() && !govconnect {
                continue;
            }
            if ours.is_consumed() {
                let dead = self.dead_letter_queue(ours);
                queues.push(queue(dead, quorum(), Kept::Dead));
            }
            let kept = if ours.is_consumed() {
                Kept::Read
            } else {
                Kept::ForPeople
            };
            queues.push(queue(self.queue(ours), self.arguments_of(ours), kept));
        }
        if govconnect {
            let theirs = self.govconnect_ai_queue();
            queues.push(queue(theirs, FieldTable::default(), Kept::Read));
            for ours in GovconnectQueue::ALL {
                let dead = self.govconnect_dead_letter_queue(ours);
                queues.push(queue(dead, strangers_arguments(), Kept::Dead));
                queues.push(queue(
                    self.govconnect_queue(ours),
                    FieldTable::default(),
                    Kept::Read,
                ));
            }
        }
        queues
    }

    async fn declare_govconnect(&self, channel: &Channel, dead: &str) -> Result<(), lapin::Error> {
        let exchange = self.govconnect_exchange();
        self.declare_exchange(channel, &exchange, ExchangeKind::Topic)
            .await?;
        let theirs = self.govconnect_ai_queue();
        self.declare_queue(channel, &theirs, FieldTable::default())
            .await?;
        bind(channel, &theirs, &exchange, AI_ROUTING_KEY).await?;
        for queue in GovconnectQueue::ALL {
            let name = self.govconnect_queue(queue);
            let dead_name = self.govconnect_dead_letter_queue(queue);
            self.declare_queue(channel, &dead_name, strangers_arguments())
                .await?;
            bind(channel, &dead_name, dead, &name).await?;
            self.declare_queue(channel, &name, FieldTable::default()).await?;
            bind(channel, &name, &exchange, queue.routing_key()).await?;
        }
        Ok(())
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn declare_exchange(
        &self,
        channel: &Channel,
        name: &str,
        kind: ExchangeKind,
    ) -> Result<(), lapin::Error> {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_declare(name.into(), kind, durable, FieldTable::default())
            .await
    }

    async fn declare_queue(
        &self,
        channel: &Channel,
        name: &str,
        arguments: FieldTable,
    ) -> Result<(), lapin::Error> {
        channel
            .queue_declare(name.into(), QueueDeclareOptions::durable(), arguments)
            .await
            .map(drop)
    }
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), lapin::Error> {
    channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
}

/// Of a queue of what strangers wrote and we could not handle.
fn strangers_arguments() -> FieldTable {
    let mut arguments = quorum();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(UNREAD_LIMIT));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(UNREAD_BYTES));
    arguments
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}
