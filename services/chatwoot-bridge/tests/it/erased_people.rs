//! A person, and a tenant, is given out and erased as a whole, and nobody else with them: canaries are planted everywhere, and
//! then everything is searched.

use chatwoot_bridge::config::RedisSettings;
use chatwoot_bridge::flows::accept_reply::{Acceptance, Signals};
use chatwoot_bridge::flows::agent_event::take_body;
use chatwoot_bridge::flows::erase_person::{Erased, erase};
use chatwoot_bridge::flows::person::read_person;
use chatwoot_bridge::flows::work::incoming_task;
use chatwoot_bridge::store::audit_log::Actor;
use chatwoot_bridge::store::inboxes;
use domain::delivery::DeliveryStatus;
use domain::ids::ChatId;
use messaging::Envelope;
use messaging::events::chat_merged::ChatMerged;
use messaging::lanes::claim_and_work;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use simulator::{FaultKind, Simulator};
use tenant_isolation::TenantTransaction;
use test_support::canary::{Of, keys_with};
use test_support::logs::Mark;
use test_support::{eventually, unique_prefix};
use uuid::Uuid;

use crate::events::sample;
use crate::operator::{Office, Said};
use crate::target::{Receiver, post_with, put_of, route_of, settled, tries};
use crate::world::{
    LANES, Place, World, envelope, fault, keep_logs, message, received, start_chatwoot, status,
};

const ERIN: &str = "6281277700011";
const LID: &str = "277466881133551";
const BUDI: &str = "6281277700022";
const NOWHERE: [&str; 0] = [];

/// Two people in one tenant, one of them in another one as well.
struct Village {
    office: Office,
    chatwoot: Simulator,
    satu: Place,
    dua: Place,
    prefix: String,
    logs: Mark,
    /// An event about Erin that was told before anything was erased and has not come yet.
    on_its_way: Envelope,
}

const SATU: Of<'static> = Of::Tenant("desa-satu");
const DUA: Of<'static> = Of::Tenant("desa-dua");

impl Village {
    async fn start() -> Self {
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

    fn world(&self) -> &World {
        &self.office.world
    }

    async fn sql(&self, statement: &str) {
        self.world().sql(statement).await;
    }

    /// Hands an event over and waits until nothing is left to do.
    async fn tell(&self, event: &Envelope) {
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
    async fn take(&self, place: &Place, event: &Value) -> Acceptance {
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
    async fn found(&self, words: &str, of: Of<'_>) -> Vec<String> {
        let database = &self.world().database;
        let mut places = database.columns_with_but(words, Some("canaryBudi"), of).await;
        places.extend(keys_with(&self.prefix, words).await);
        // What is nobody's is not the other tenant's either.
        if matches!(of, DUA) {
            places.retain(|place| !["quarantine.body", "leases.name"].contains(&place.as_str()));
        }
        places
    }

    async fn budis(&self) -> [Vec<String>; 2] {
        let database = &self.world().database;
        [
            database.columns_with("canaryBudi", Of::All).await,
            database.columns_with(BUDI, Of::All).await,
        ]
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Said {
        self.office.call(method, path, Some(body)).await
    }

    async fn erase_by_hand(&self) -> Result<Erased, chatwoot_bridge::flows::erase_person::ErasePersonError> {
        let (tools, who) = (&self.world().tools, read_person(ERIN).unwrap());
        erase(&tools.db, &tools.keys, &self.satu.scope, &who, &Actor::operator()).await
    }

    /// Everything that was accepted for URLs is accounted for.
    async fn is_even(&self) {
        settled(self.world()).await;
    }
}

fn number_of(phone: &str) -> i64 {
    900_000 + phone[8..].parse::<i64>().unwrap()
}

fn reply(place: &Place, conversation: i64, phone: &str, words: &str) -> Value {
    json!({
        "event": "message_created", "id": number_of(phone), "message_type": "outgoing", "private": false,
        "content": words, "source_id": null, "content_attributes": {},
        "account": {"id": place.chatwoot_account}, "inbox": {"id": place.inbox},
        "conversation": {"id": conversation, "contact_inbox": {"source_id": format!("{phone}@s.whatsapp.net")}},
    })
}

const ERASE: &str = "/admin/tenants/desa-satu/people/erase";
const EXPORT: &str = "/admin/tenants/desa-satu/people/export";

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_nowhere_and_everybody_else_is_still_everywhere() {
    let village = Village::start().await;
    let words = village.found("canaryErin", Of::All).await;
    let numbers = village.found(ERIN, SATU).await;
    for (places, planted) in [
        (&words, "contacts.name_by_us"),
        (&words, "contact_pictures.sha256"),
        (&words, "agent_files.data_url"),
        (&words, "agent_parts.provider_message_id"),
        (&words, "message_links.provider_message_id"),
        (&words, "lane_tasks.payload"),
        (&words, "outbox.envelope"),
        (&words, "forward_events.body"),
        (&words, "quarantine.body"),
        (&numbers, "contacts.address"),
        (&numbers, "contacts.canonical"),
        (&numbers, "contacts.merged_into"),
        (&numbers, "agent_messages.recipient"),
        (&numbers, "inboxes.ignored"),
        (&numbers, "leases.name"),
    ] {
        assert!(
            places.iter().any(|place| place == planted),
            "{planted}: {places:?}"
        );
    }
    let (budi, other) = (village.budis().await, village.found("canaryOther", Of::All).await);
    let elsewhere = village.found(ERIN, DUA).await;
    let account = village.satu.chatwoot_account;
    let contact = village.chatwoot.chatwoot_contacts(account);
    let contact = contact
        .iter()
        .find(|contact| contact.name.contains("Erin"))
        .unwrap()
        .id;

    // Nobody is erased by a slip, by a stranger, or in a tenant that is not here.
    for (body, field) in [
        (json!({"person": ERIN}), "confirm"),
        (json!({"person": ERIN, "confirm": BUDI}), "confirm"),
        (json!({"confirm": ERIN}), "person"),
        (json!({"person": "siapa", "confirm": "siapa"}), "person"),
        (json!({"person": "12@g.us", "confirm": "12@g.us"}), "person"),
    ] {
        let said = village.call(Method::POST, ERASE, &body).await;
        assert_eq!(
            (said.status.as_u16(), &said.json()["code"]),
            (422, &json!("invalid_fields"))
        );
        assert!(said.json()["fields"][field].is_string(), "{said:?}");
    }
    let both = json!({"person": ERIN, "confirm": ERIN});
    for tenant in ["desa-asing", "x%20y"] {
        let path = ERASE.replace("desa-satu", tenant);
        let said = village.call(Method::POST, &path, &both).await;
        assert_eq!(
            (said.status.as_u16(), &said.json()["code"]),
            (404, &json!("no_such_tenant"))
        );
    }
    let url = format!("{}{ERASE}", village.office.running.base);
    let stranger = Client::new().post(url).json(&both).send().await.unwrap();
    assert_eq!(stranger.status().as_u16(), 401);
    assert_eq!(
        village.found("canaryErin", Of::All).await,
        words,
        "nothing was erased yet"
    );

    // Named as people type it.
    let body = json!({"person": "+62 812-7770-0011", "confirm": "081277700011"});
    let said = village.call(Method::POST, ERASE, &body).await.ok();
    assert_eq!(
        (
            &said["contacts"],
            &said["replies"],
            &said["events"],
            &said["rules"],
            &said["quarantined"]
        ),
        (&json!(2), &json!(1), &json!(3), &json!(1), &json!(2)),
        "{said}"
    );
    // The task that was put aside and the order.
    assert_eq!(said["waiting"], 2, "{said}");
    let left = json!([{"installation": "satu", "accountId": account, "contactId": contact}]);
    assert_eq!(said["leftInChatwoot"], left);

    assert_eq!(village.found("canaryErin", Of::All).await, NOWHERE);
    for name in [ERIN, "081277700011", LID] {
        assert_eq!(village.found(name, SATU).await, NOWHERE, "{name}");
    }
    let logs = village.logs.since();
    assert!(logs.contains("a person was erased"));
    for name in [ERIN, "812-7770-0011", "081277700011", LID, "canaryErin"] {
        assert!(!logs.contains(name), "{name} is in the log");
    }
    assert_eq!(village.budis().await, budi);
    assert_eq!(village.found("canaryOther", Of::All).await, other);
    assert_eq!(village.found(ERIN, DUA).await, elsewhere);
    village.is_even().await;
    let acts =
        "SELECT action || ' ' || subject AS value FROM audit_log WHERE action LIKE 'person.%' ORDER BY id";
    let acts = village.world().values(acts).await;
    assert_eq!(acts.len(), 2, "{acts:?}");
    assert!(acts[0].starts_with("person.erase person "), "{acts:?}");
    assert_eq!(acts[1].replace("erased", "erase"), acts[0]);

    // Once more changes nothing, by whichever name.
    let body = json!({"person": format!("{LID}@lid"), "confirm": format!("{LID}@lid")});
    let again = village.call(Method::POST, ERASE, &body).await.ok();
    assert_eq!((&again["contacts"], &again["events"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_brings_nothing_back() {
    let village = Village::start().await;
    let conversation = village
        .world()
        .count("SELECT chatwoot_conversation_id AS n FROM contacts WHERE canonical = '6281277700011' AND tenant_id = 'desa-satu' LIMIT 1")
        .await;
    let sent = reply(&village.satu, conversation, ERIN, "canaryErinanswer");
    let reference = "SELECT envelope::jsonb #>> '{data,reference}' AS value FROM outbox WHERE strpos(envelope, 'canaryErinanswer') > 0";
    let reference = village.world().values(reference).await.remove(0);
    village.erase_by_hand().await.unwrap();

    // A message that was published before, a repeated webhook, what became of a message that had left, and its deletion.
    village.tell(&village.on_its_way).await;
    assert_eq!(village.take(&village.satu, &sent).await, Acceptance::Repeated);
    let told = status(&village.satu, &reference, DeliveryStatus::Sent, None);
    village.tell(&told).await;
    let mut deleted = sent.clone();
    deleted["event"] = json!("message_updated");
    deleted["content_attributes"] = json!({"deleted": true});
    assert_eq!(village.take(&village.satu, &deleted).await, Acceptance::Repeated);
    let mut changed = sent.clone();
    changed["event"] = json!("message_updated");
    assert_eq!(
        village.take(&village.satu, &changed).await,
        Acceptance::Ignored("nothing_failed")
    );
    for words in ["canaryErin", "3EB0STATUS"] {
        assert_eq!(village.found(words, Of::All).await, NOWHERE, "{words}");
    }
    assert_eq!(village.found(ERIN, SATU).await, NOWHERE);

    village.sql("UPDATE inboxes SET ignored = '{}'").await;
    // Of somebody else it comes as ever, and what the person writes afterwards is a stranger's first message.
    let others = received(
        &village.satu,
        message(
            &village.satu,
            ChatId::generate(),
            BUDI,
            "3EB0BUDINEW",
            "canaryBudiNew",
        ),
    );
    village.tell(&others).await;
    let new = received(
        &village.satu,
        message(
            &village.satu,
            ChatId::generate(),
            ERIN,
            "3EB0ERINNEW",
            "canaryErinNew",
        ),
    );
    village.tell(&new).await;
    let links =
        "SELECT count(*) AS n FROM message_links WHERE provider_message_id IN ('3EB0BUDINEW', '3EB0ERINNEW')";
    assert_eq!(village.world().count(links).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_in_hand_writes_nothing_any_more() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-satu", "default", "").await;
    let slow = FaultKind::SlowAnswer { ms: 1_500 };
    chatwoot
        .add_fault(fault(&place, "POST", "/conversations", slow, 10))
        .unwrap();
    let told = message(&place, ChatId::generate(), ERIN, "3EB0ERIN1", "canaryErin");
    world.take(&received(&place, told)).await;
    let (db, lanes) = (world.database.db.clone(), world.lanes.clone());
    let working = tokio::spawn(async move { claim_and_work(&db, &lanes, LANES).await });
    eventually("Chatwoot is asked", || async {
        let asked = chatwoot.requests();
        let is_it = |path: &str, method: &str| method == "POST" && path.ends_with("/conversations");
        asked.iter().any(|it| is_it(&it.path, &it.method)).then_some(())
    })
    .await;
    let who = read_person(ERIN).unwrap();
    let erased = erase(
        &world.tools.db,
        &world.tools.keys,
        &place.scope,
        &who,
        &Actor::operator(),
    )
    .await
    .unwrap();
    assert_eq!(erased.waiting, 1);
    drop(working.await.unwrap());
    assert_eq!(world.database.columns_with("canaryErin", Of::All).await, NOWHERE);
    assert_eq!(world.database.columns_with(ERIN, Of::All).await, NOWHERE);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_killed_is_finished_by_the_next_one() {
    let village = Village::start().await;
    // The last step fails as it would for a process that dies before it: everything that came before is committed.
    let mut connection = village.world().database.admin().await;
    diesel_async::SimpleAsyncConnection::batch_execute(
        &mut connection,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'killed'; END $$; \
         CREATE TRIGGER killed BEFORE DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    .await
    .unwrap();
    assert!(village.erase_by_hand().await.is_err());
    assert!(
        !village.found(LID, SATU).await.is_empty(),
        "the names are still there"
    );
    village.sql("DROP TRIGGER killed ON contacts").await;
    let erased = village.erase_by_hand().await.unwrap();
    assert_eq!((erased.contacts, erased.events), (2, 0));
    assert_eq!(village.found("canaryErin", Of::All).await, NOWHERE);
    for name in [ERIN, LID] {
        assert_eq!(village.found(name, SATU).await, NOWHERE, "{name}");
    }
}

/// What the lines say; bodies are written as bytes.
fn lines_of(said: &Said) -> (Vec<Value>, String) {
    assert!(said.status.is_success(), "{said:?}");
    let lines: Vec<Value> = said
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut text = said.text.clone();
    for line in &lines {
        if let Some(body) = line["row"]["body"].as_str() {
            let bytes = hex::decode(body.trim_start_matches("\\x")).unwrap();
            text.push_str(&String::from_utf8(bytes).unwrap());
        }
    }
    (lines, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_a_person_holds_theirs_by_all_names_and_nobody_elses() {
    let village = Village::start().await;
    let body = json!({"person": format!("{LID}@lid")});
    let said = village.call(Method::POST, EXPORT, &body).await;
    let (lines, text) = lines_of(&said);
    assert!(lines.iter().all(|line| line["row"]["tenant_id"] == "desa-satu"));
    for word in [
        "name",
        "sha",
        "file.pdf",
        "part",
        "answer",
        "aside",
        "forwarded",
        "bare",
        "contact",
    ] {
        assert!(text.contains(&format!("canaryErin{word}")), "{word}");
    }
    for table in [
        "contacts",
        "contact_pictures",
        "message_links",
        "agent_messages",
        "agent_parts",
        "agent_files",
        "lane_tasks",
        "outbox",
        "forward_events",
    ] {
        assert!(lines.iter().any(|line| line["table"] == table), "{table}");
    }
    for others in ["canaryBudi", "canaryOther", BUDI] {
        assert!(!text.contains(others), "{others}");
    }
    let subjects = village
        .world()
        .values("SELECT subject AS value FROM audit_log WHERE action = 'person.export'")
        .await;
    assert!(subjects.len() == 1 && !subjects[0].contains(LID), "{subjects:?}");

    let unknown = EXPORT.replace("desa-satu", "desa-asing");
    let said = village.call(Method::POST, &unknown, &body).await;
    assert_eq!(said.status.as_u16(), 404);
    let said = village.call(Method::POST, EXPORT, &json!({})).await;
    assert_eq!(said.status.as_u16(), 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_given_out_and_erased_and_its_neighbour_is_still_everywhere() {
    let village = Village::start().await;
    let whole = "/admin/tenants/desa-satu";
    let said = village.office.get(&format!("{whole}/export")).await;
    let (lines, text) = lines_of(&said);
    assert!(lines.iter().all(|line| line["row"]["tenant_id"] == "desa-satu"));
    assert!(
        text.contains("canaryErinforwarded") && text.contains("canaryBudi") && !text.contains("canaryOther")
    );
    assert!(!text.contains("sealed"));
    let unknown = village.office.get("/admin/tenants/desa-asing/export").await;
    assert_eq!(unknown.status.as_u16(), 404);

    let theirs = village.found("canaryOther", Of::All).await;
    let elsewhere = village.found(ERIN, DUA).await;
    let rows_of_dua = "SELECT (SELECT count(*) FROM routes WHERE tenant_id = 'desa-dua') + \
                         (SELECT count(*) FROM inboxes WHERE tenant_id = 'desa-dua') AS n";
    assert!(theirs.len() > 6 && village.world().count(rows_of_dua).await == 3);
    for (body, status) in [(json!({}), 422), (json!({"confirm": "desa-dua"}), 422)] {
        let said = village.call(Method::DELETE, whole, &body).await;
        assert_eq!(said.status.as_u16(), status, "{said:?}");
    }
    let stranger = Client::new().delete(format!("{}{whole}", village.office.running.base));
    assert_eq!(
        stranger
            .json(&json!({"confirm": "desa-satu"}))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        401
    );
    village
        .sql(
            "INSERT INTO replay_jobs (id, of_tenant, with_unknown, until_seq, total, actor, state) \
              VALUES (gen_random_uuid(), 'desa-satu', false, 0, 0, 'admin', 'done')",
        )
        .await;

    let said = village
        .call(Method::DELETE, whole, &json!({"confirm": "desa-satu"}))
        .await
        .ok();
    assert!(said["rowsErased"].as_u64().unwrap() > 20, "{said}");
    // It was on its way when the tenant was erased.
    village.tell(&village.on_its_way).await;
    let places = village.world().database.columns_with("desa-satu", Of::All).await;
    assert_eq!(places, ["audit_log.tenant_id", "erasures.tenant_id"]);
    // What came as no webhook at all is nobody's.
    for words in ["canaryErin", "canaryBudi"] {
        let places = village
            .world()
            .database
            .columns_with_but(words, Some("Stray"), Of::All)
            .await;
        assert_eq!(places, NOWHERE, "{words}");
    }
    assert_eq!(village.found(LID, Of::All).await, NOWHERE);
    assert_eq!(village.found("canaryOther", Of::All).await, theirs);
    assert_eq!(village.found(ERIN, DUA).await, elsewhere);
    assert_eq!(village.world().count(rows_of_dua).await, 3);
    let acts = "SELECT action AS value FROM audit_log WHERE tenant_id = 'desa-satu' AND action LIKE 'tenant.%' ORDER BY id";
    let acts = village.world().values(acts).await;
    assert_eq!(acts, ["tenant.export", "tenant.erase", "tenant.erased"]);

    // There is no such tenant any more, and its webhooks are nobody's.
    let again = village
        .call(Method::DELETE, whole, &json!({"confirm": "desa-satu"}))
        .await;
    assert_eq!(again.status.as_u16(), 404);
    let event = json!({"event": "message_created", "id": 5, "message_type": "incoming", "account": {"id": 3},
        "inbox": {"id": 77}, "content": "canaryErinLate", "conversation": {"id": 5, "inbox_id": 77}});
    eventually("no process has the route at hand", || async {
        let path = "/webhook/satu";
        let said = post_with(&village.office.running.base, path, event.to_string(), &[]).await;
        said.1.get("forwarded").is_none().then_some(())
    })
    .await;
}
