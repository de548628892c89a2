//! A tenant with two people and its neighbour, and canaries of theirs in every place that holds anything.

use chatwoot_bridge::config::RedisSettings;
use chatwoot_bridge::flows::accept_reply::{Acceptance, Signals};
use chatwoot_bridge::flows::agent_event::take_body;
use chatwoot_bridge::flows::erase_person::{Erased, erase};
use chatwoot_bridge::flows::person::read_person;
use chatwoot_bridge::flows::work::incoming_task;
use chatwoot_bridge::store::audit_log::Actor;
use chatwoot_bridge::store::inboxes;
use domain::ids::ChatId;
use messaging::Envelope;
use messaging::events::chat_merged::ChatMerged;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::Simulator;
use tenant_isolation::TenantTransaction;
use test_support::canary::{Of, keys_with};
use test_support::logs::Mark;
use test_support::{eventually, unique_prefix};
use uuid::Uuid;

use crate::events::sample;
use crate::operator::{Office, Said};
use crate::target::{Receiver, post_with, put_of, route_of, settled, tries};
use crate::world::{Place, World, envelope, keep_logs, message, received, start_chatwoot};

pub(crate) const ERIN: &str = "6281277700011";
pub(crate) const LID: &str = "277466881133551";
pub(crate) const BUDI: &str = "6281277700022";

/// Two people in one tenant, one of them in another one as well.
pub(crate) struct Village {
    pub(crate) office: Office,
    pub(crate) chatwoot: Simulator,
    pub(crate) satu: Place,
    dua: Place,
    prefix: String,
    pub(crate) logs: Mark,
    /// An event about Erin that was told before anything was erased and has not come yet.
    pub(crate) on_its_way: Envelope,
}

pub(crate) const SATU: Of<'static> = Of::Tenant("desa-satu");
pub(crate) const DUA: Of<'static> = Of::Tenant("desa-dua");

impl Village {
    pub(crate) async fn start() -> Self {
        let logs = keep_logs();
        let prefix = unique_prefix("erase");
        let redis = RedisSettings {
            url: test_support::redis_url().into(),
            prefix: prefix.clone(),
        };
        let office = Office::open_with(|settings| {
            settings.forward.retry = tries(1);
            settings.storage.router.redis = Some(redis);
        })
        .await;
        let chatwoot = start_chatwoot().await;
        let satu = office.world.connect(&chatwoot, "desa-satu", "satu", "").await;
        let dua = office.world.connect(&chatwoot, "desa-dua", "dua", "").await;
        let target = Receiver::start();
        target.answer(404);
        for tenant in ["desa-satu", "desa-dua"] {
            let mut route = route_of(tenant, 77, &target.url(), &office.world.tools);
            route.installation = tenant.trim_start_matches("desa-").to_owned();
            put_of(tenant, &office.world.tools, &route).await;
        }
        let told = message(&satu, ChatId::generate(), ERIN, "3EB0ERINWAY", "canaryErinWay");
        let village = Self {
            on_its_way: received(&satu, told),
            office,
            chatwoot,
            satu,
            dua,
            prefix,
            logs,
        };
        // Known by a hidden id first; the number comes later.
        let (hidden, chat) = (ChatId::generate(), ChatId::generate());
        let mut told = message(&village.satu, hidden, ERIN, "3EB0ERINLID", "canaryErinLid");
        told.partner.address = format!("{LID}@lid");
        told.partner.phone = None;
        told.partner.name = Some("canaryErinName".to_owned());
        village.tell(&received(&village.satu, told)).await;
        let merged = ChatMerged {
            account_id: village.satu.account,
            chat_id: chat,
            address: format!("{ERIN}@s.whatsapp.net"),
            merged_chat_id: hidden,
            merged_address: format!("{LID}@lid"),
            at: chrono::Utc::now(),
        };
        village.tell(&envelope(&village.satu, &merged)).await;
        village.plant(&village.satu, chat, ERIN, "canaryErin").await;
        village
            .plant(&village.satu, ChatId::generate(), BUDI, "canaryBudi")
            .await;
        village
            .plant(&village.dua, ChatId::generate(), ERIN, "canaryOther")
            .await;
        // One writes of the other, whose number is in the words and not hers because of it.
        village
            .plant_words(&village.satu, BUDI, &format!("canaryBudi hubungi {ERIN}"))
            .await;
        let stray = format!("canaryErinStray {ERIN}");
        village
            .sql(&format!(
                "INSERT INTO quarantine (id, installation, reason, body, body_size) \
                 SELECT gen_random_uuid(), i, 'invalid_json', '{stray}', 1 FROM unnest(ARRAY['satu', 'nobodys']) AS i"
            ))
            .await;
        village
    }

    pub(crate) fn world(&self) -> &World {
        &self.office.world
    }

    pub(crate) async fn sql(&self, statement: &str) {
        self.world().sql(statement).await;
    }

    /// Hands an event over and waits until nothing is left to do.
    pub(crate) async fn tell(&self, event: &Envelope) {
        self.world().take(event).await;
        let waiting = "SELECT count(*) AS n FROM lane_tasks WHERE NOT parked";
        eventually("it is worked on", || async {
            (self.world().count(waiting).await == 0).then_some(())
        })
        .await;
    }

    /// Something of a person's in every place that webhooks, events and operators reach. Their words begin with `mark`.
    async fn plant(&self, place: &Place, chat: ChatId, phone: &str, mark: &str) {
        let tenant = place.scope.tenant().as_str();
        let mut told = message(
            place,
            chat,
            phone,
            &format!("3EB0{mark}1"),
            &format!("{mark}hello"),
        );
        told.partner.name = Some(format!("{mark}name"));
        self.tell(&received(place, told)).await;
        let conversation = self
            .world()
            .count(&format!(
                "SELECT chatwoot_conversation_id AS n FROM contacts WHERE tenant_id = '{tenant}' AND canonical = '{phone}' \
                 AND address LIKE '%whatsapp%'"
            ))
            .await;
        let reply = reply(place, conversation, phone, &format!("{mark}answer"));
        assert_eq!(self.take(place, &reply).await, Acceptance::Forwarded);
        eventually("the order waits for the broker", || async {
            let orders =
                format!("SELECT count(*) AS n FROM outbox WHERE strpos(envelope, '{mark}answer') > 0");
            (self.world().count(&orders).await == 1).then_some(())
        })
        .await;
        self.plant_words(place, phone, &format!("{mark}aside")).await;
        for statement in [
            format!(
                "INSERT INTO contact_pictures (tenant_id, inbox_id, chatwoot_contact_id, sha256) \
                 SELECT tenant_id, inbox_id, chatwoot_contact_id, '{mark}sha' FROM contacts \
                 WHERE tenant_id = '{tenant}' AND canonical = '{phone}' ON CONFLICT DO NOTHING"
            ),
            format!(
                "INSERT INTO agent_files (tenant_id, inbox_id, chatwoot_message_id, part, data_url) \
                 SELECT tenant_id, inbox_id, chatwoot_message_id, 0, 'https://x.example/{mark}file.pdf' FROM agent_messages \
                 WHERE tenant_id = '{tenant}' AND recipient = '{phone}@s.whatsapp.net'"
            ),
            format!(
                "UPDATE agent_parts SET provider_message_id = '{mark}part' WHERE (tenant_id, chatwoot_message_id) IN \
                 (SELECT tenant_id, chatwoot_message_id FROM agent_messages \
                    WHERE tenant_id = '{tenant}' AND recipient = '{phone}@s.whatsapp.net')"
            ),
            format!(
                "UPDATE inboxes SET ignored = ignored || ARRAY['+{phone}', '@newsletter'] WHERE tenant_id = '{tenant}'"
            ),
        ] {
            self.sql(&statement).await;
        }
        // Locks have no tenant but in their names.
        if tenant == "desa-satu" {
            self.sql(&format!(
                "INSERT INTO leases VALUES ('place:{tenant}/{}:{phone}', gen_random_uuid(), now() + interval '1 hour')",
                place.link
            ))
            .await;
        }
        // What the target of a route did not take: of a conversation, and of none.
        let installation = tenant.trim_start_matches("desa-");
        let about = json!({"phone_number": format!("+{phone}"), "name": format!("{mark}contact")});
        let conversation = json!({"id": number_of(phone), "inbox_id": 77, "meta": {"sender": about},
            "contact_inbox": {"source_id": format!("{phone}@s.whatsapp.net")}});
        let events = [
            json!({"event": "message_created", "id": number_of(phone), "message_type": "incoming", "account": {"id": 3},
                "inbox": {"id": 77}, "content": format!("{mark}forwarded"), "conversation": conversation}),
            // Nothing but the conversation says whose it is.
            json!({"event": "message_updated", "id": number_of(phone) + 1, "message_type": "incoming", "account": {"id": 3},
                "inbox": {"id": 77}, "content": format!("{mark}bare"),
                "conversation": {"id": number_of(phone), "inbox_id": 77}}),
            {
                let mut contact = sample("A.14");
                contact["phone_number"] = about["phone_number"].clone();
                contact["name"] = about["name"].clone();
                contact["id"] = json!(number_of(phone));
                contact["inbox_id"] = json!(77);
                contact
            },
        ];
        for event in events {
            let path = format!("/webhook/{installation}");
            let (status, said) = post_with(&self.office.running.base, &path, event.to_string(), &[]).await;
            assert_eq!(
                (status.as_u16(), &said["forwarded"]),
                (200, &json!(true)),
                "{event}"
            );
        }
        self.until_held().await;
    }

    /// A message that Chatwoot did not take, put aside.
    async fn plant_words(&self, place: &Place, phone: &str, words: &str) {
        let told = message(place, ChatId::generate(), phone, "3EB0ASIDE", words);
        let task = incoming_task(&told, Uuid::now_v7(), None).unwrap();
        self.sql(&format!(
            "INSERT INTO lane_tasks (tenant_id, id, lane, kind, payload, parked) \
             VALUES ('{}', '{}', '{}', '{}', '{}', true)",
            place.scope.tenant(),
            task.id,
            task.lane,
            task.kind,
            task.payload
        ))
        .await;
    }

    /// An agent's message, as Chatwoot tells of it.
    pub(crate) async fn take(&self, place: &Place, event: &Value) -> Acceptance {
        let (db, scope) = (&self.world().database.db, &place.scope);
        let mut tx = TenantTransaction::begin(db, scope, "test").await.unwrap();
        let inbox = inboxes::find(&mut tx, place.link).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let (body, signals) = (event.to_string(), Signals::default());
        take_body(
            &self.world().tools,
            scope,
            &inbox,
            body.as_bytes(),
            None,
            &signals,
        )
        .await
        .unwrap()
    }

    async fn until_held(&self) {
        let waiting = "SELECT (SELECT count(*) FROM forward_events WHERE held IS NULL) + \
                         (SELECT count(*) FROM lane_tasks WHERE NOT parked) AS n";
        eventually("all is put aside", || async {
            (self.world().count(waiting).await == 0).then_some(())
        })
        .await;
    }

    /// The places where these words are, but for what Budi wrote.
    pub(crate) async fn found(&self, words: &str, of: Of<'_>) -> Vec<String> {
        let database = &self.world().database;
        let mut places = database.columns_with_but(words, Some("canaryBudi"), of).await;
        places.extend(keys_with(&self.prefix, words).await);
        // What is nobody's is not the other tenant's either.
        if matches!(of, DUA) {
            places.retain(|place| !["quarantine.body", "leases.name"].contains(&place.as_str()));
        }
        places
    }

    pub(crate) async fn budis(&self) -> [Vec<String>; 2] {
        let database = &self.world().database;
        [
            database.columns_with("canaryBudi", Of::All).await,
            database.columns_with(BUDI, Of::All).await,
        ]
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> Said {
        self.office.call(method, path, Some(body)).await
    }

    pub(crate) async fn erase_by_hand(
        &self,
    ) -> Result<Erased, chatwoot_bridge::flows::erase_person::ErasePersonError> {
        let (tools, who) = (&self.world().tools, read_person(ERIN).unwrap());
        erase(&tools.db, &tools.keys, &self.satu.scope, &who, &Actor::operator()).await
    }

    /// Everything that was accepted for URLs is accounted for.
    pub(crate) async fn is_even(&self) {
        settled(self.world()).await;
    }
}

fn number_of(phone: &str) -> i64 {
    900_000 + phone[8..].parse::<i64>().unwrap()
}

pub(crate) fn reply(place: &Place, conversation: i64, phone: &str, words: &str) -> Value {
    json!({
        "event": "message_created", "id": number_of(phone), "message_type": "outgoing", "private": false,
        "content": words, "source_id": null, "content_attributes": {},
        "account": {"id": place.chatwoot_account}, "inbox": {"id": place.inbox},
        "conversation": {"id": conversation, "contact_inbox": {"source_id": format!("{phone}@s.whatsapp.net")}},
    })
}
