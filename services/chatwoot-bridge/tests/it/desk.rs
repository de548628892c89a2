//! An agent's desk: what Chatwoot tells of a message, handed to the bridge as a webhook would, and what became of it.

use chatwoot_bridge::flows::accept_reply::{Acceptance, Signals};
use chatwoot_bridge::flows::agent_event::take_body;
use chatwoot_bridge::store::inboxes::{self, Inbox};
use diesel::QueryableByName;
use diesel_async::RunQueryDsl as _;
use domain::delivery::DeliveryStatus;
use domain::ids::{ChatId, MessageId, ProviderMessageId};
use messaging::events::message_status_changed::MessageStatusChanged;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use simulator::Simulator;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use crate::world::{Place, World, envelope, message, received, start_chatwoot};

pub(crate) const CUSTOMER: &str = "628123450001@s.whatsapp.net";

pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) chatwoot: Simulator,
    pub(crate) place: Place,
}

/// What is told of a part.
pub(crate) struct Tells<'a> {
    pub(crate) status: DeliveryStatus,
    pub(crate) reason: Option<&'a str>,
    pub(crate) put_aside: bool,
    /// What it is in WhatsApp.
    pub(crate) id: &'a str,
}

impl<'a> Tells<'a> {
    pub(crate) const fn that(status: DeliveryStatus, id: &'a str) -> Self {
        Self {
            status,
            reason: None,
            put_aside: false,
            id,
        }
    }
}

impl Desk {
    /// A person wrote `3EB01`, which is in conversation 1.
    pub(crate) async fn start() -> Self {
        let (world, chatwoot) = (World::start().await, start_chatwoot().await);
        let place = world.connect(&chatwoot, "desa-a", "default", "").await;
        let question = message(&place, ChatId::generate(), "628123450001", "3EB01", "tanya");
        world.take(&received(&place, question)).await;
        world.work().await;
        Self {
            world,
            chatwoot,
            place,
        }
    }

    /// A message of an agent's in Chatwoot itself; the bridge is not told.
    pub(crate) fn written(&self, content: &str) -> i64 {
        self.written_in(1, content)
    }

    /// The same in another conversation.
    pub(crate) fn written_in(&self, conversation_id: u64, content: &str) -> i64 {
        let reply = simulator::Reply {
            account_id: self.place.chatwoot_account,
            conversation_id,
            content: content.into(),
            ..simulator::Reply::default()
        };
        self.chatwoot.agent_reply(&reply).unwrap().try_into().unwrap()
    }

    /// The webhook of a message.
    pub(crate) fn event(&self, id: i64, content: &str) -> Value {
        json!({
            "event": "message_created", "id": id, "message_type": "outgoing", "private": false,
            "content": content, "source_id": null, "content_attributes": {},
            "account": {"id": self.place.chatwoot_account}, "inbox": {"id": self.place.inbox},
            "sender": {"id": 11, "name": "Budi Agen", "type": "user"},
            "conversation": {"id": 1, "contact_inbox": {"source_id": CUSTOMER}},
        })
    }

    pub(crate) async fn take(&self, event: &Value) -> Acceptance {
        let (db, scope) = (&self.world.database.db, &self.place.scope);
        let mut tx = TenantTransaction::begin(db, scope, "test").await.unwrap();
        let inbox = inboxes::find(&mut tx, self.place.link).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let (body, signals) = (event.to_string(), Signals::default());
        take_body(&self.world.tools, scope, &inbox, body.as_bytes(), None, &signals)
            .await
            .unwrap()
    }

    /// The orders that left so far, in order, as they are on the broker.
    pub(crate) async fn orders(&self) -> Vec<Value> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            envelope: String,
        }
        let mut connection = self.world.database.admin().await;
        let rows: Vec<Row> = diesel::sql_query("SELECT envelope FROM outbox ORDER BY seq")
            .load(&mut connection)
            .await
            .unwrap();
        rows.into_iter()
            .map(|row| serde_json::from_str::<Value>(&row.envelope).unwrap()["data"].take())
            .collect()
    }

    /// An agent wrote this, and it is ordered: its id, the event that told of it, and the order's reference.
    pub(crate) async fn ordered(&self, text: &str) -> (i64, Value, String) {
        let id = self.written(text);
        let event = self.event(id, text);
        self.take(&event).await;
        self.world.work().await;
        (id, event, reference(&self.orders().await[0]))
    }

    /// What channel-service tells of a part. All parts are told of on one lane, as those of one chat are.
    pub(crate) async fn told(&self, reference: &str, tells: Tells<'_>) {
        let event = MessageStatusChanged {
            account_id: self.place.account,
            chat_id: ChatId::from_uuid(Uuid::from_u128(7)),
            message_id: MessageId::generate(),
            provider_message_id: ProviderMessageId::parse(tells.id).unwrap(),
            status: tells.status,
            reason: tells.reason.map(str::to_owned),
            detail: None,
            put_aside: tells.put_aside,
            reference: Some(reference.to_owned()),
            at: chrono::Utc::now(),
        };
        self.world.take(&envelope(&self.place, &event)).await;
        self.world.work().await;
    }

    /// What agents were shown, in order.
    pub(crate) fn shown(&self) -> Vec<String> {
        let updates = self.chatwoot.status_updates();
        updates.into_iter().map(|update| update.status).collect()
    }

    /// What stood under the last red mark.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.chatwoot.status_updates().pop()?.external_error
    }

    /// What opens Chatwoot's API.
    pub(crate) async fn token(&self) -> String {
        let (db, scope) = (&self.world.database.db, &self.place.scope);
        let mut tx = TenantTransaction::begin(db, scope, "test").await.unwrap();
        let inbox = inboxes::find(&mut tx, self.place.link).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let place = Inbox::token_place(scope.tenant().as_str(), inbox.id);
        let token = self
            .world
            .tools
            .keys
            .open(&inbox.api_token_sealed, &place)
            .unwrap();
        token.expose_secret().to_owned()
    }

    pub(crate) async fn sql(&self, statement: &str) {
        self.world.sql(statement).await;
    }
}

pub(crate) fn reference(order: &Value) -> String {
    order["reference"].as_str().unwrap().to_owned()
}
