//! The queues of one test, seen from outside.

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use messaging::topology::{Queue, Topology};

pub(crate) struct Queues {
    channel: Channel,
    connection: Connection,
    topology: Topology,
    prefix: String,
}

impl Queues {
    pub(crate) async fn with_prefix(prefix: &str) -> Self {
        let connection = Connection::connect(&test_support::rabbitmq_url(), ConnectionProperties::default())
            .await
            .unwrap();
        Self {
            channel: connection.create_channel().await.unwrap(),
            connection,
            topology: Topology::with_prefix(prefix),
            prefix: prefix.to_owned(),
        }
    }

    fn read(&self) -> [String; 2] {
        [Queue::BridgeEvents, Queue::ChannelCommands].map(|queue| self.topology.queue(queue))
    }

    fn dead(&self) -> [String; 2] {
        [Queue::BridgeEvents, Queue::ChannelCommands].map(|queue| self.topology.dead_letter_queue(queue))
    }

    async fn messages(&self, queues: &[String]) -> u32 {
        let mut messages = 0;
        for queue in queues {
            let passive = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::durable()
            };
            let declared = self
                .channel
                .queue_declare(queue.as_str().into(), passive, FieldTable::default())
                .await
                .unwrap();
            messages += declared.message_count();
        }
        messages
    }

    /// Messages that nobody has taken yet.
    pub(crate) async fn waiting(&self) -> u32 {
        self.messages(&self.read()).await
    }

    /// Messages that were not understood.
    pub(crate) async fn dead_letters(&self) -> u32 {
        self.messages(&self.dead()).await
    }

    /// Leaves nothing behind on the broker.
    pub(crate) async fn delete(self) {
        let topology = &self.topology;
        let ours = Queue::ALL
            .into_iter()
            .flat_map(|queue| [topology.queue(queue), topology.dead_letter_queue(queue)]);
        for queue in ours.chain([topology.govconnect_ai_queue()]) {
            let deleted = self
                .channel
                .queue_delete(queue.into(), QueueDeleteOptions::default());
            deleted.await.unwrap();
        }
        let exchanges = [
            topology.events_exchange(),
            topology.govconnect_exchange(),
            format!("{}kanal.dead", self.prefix),
        ];
        for exchange in exchanges {
            let deleted = self
                .channel
                .exchange_delete(exchange.into(), ExchangeDeleteOptions::default());
            deleted.await.unwrap();
        }
        self.connection.close(200, "done".into()).await.unwrap();
    }
}
