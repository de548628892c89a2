//! One contact and one conversation a person, whoever looks for them at the same time, and in which conversation
//! messages go.

use std::sync::Arc;

use chatwoot_bridge::store::inbound_rules::{self, ConversationPolicy, InboundRules};
use domain::ids::ChatId;
use messaging::events::message_received::ChatMessage;
use messaging::lanes::{WorkerSettings, Workers};
use messaging::outbox::Signal;
use serde_json::{Value, json};
use simulator::{FaultKind, Simulator};
use tenant_isolation::TenantTransaction;
use test_support::eventually;
use tokio_util::sync::CancellationToken;

use crate::world::{LANES, Place, World, fault, message, received, start_chatwoot};

const PHONE: &str = "628123450001";

async fn start() -> (World, Simulator, Place) {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    (world, chatwoot, place)
}

impl World {
    async fn says(&self, place: &Place, told: ChatMessage) {
        self.take(&received(place, told)).await;
        self.work().await;
    }

    async fn follow(&self, place: &Place, policy: ConversationPolicy) {
        let rules = InboundRules {
            policy,
            ..InboundRules::default()
        };
        let mut tx = TenantTransaction::begin(&self.database.db, &place.scope, "test")
            .await
            .unwrap();
        assert!(inbound_rules::put(&mut tx, place.link, &rules).await.unwrap());
        assert_eq!(inbound_rules::find(&mut tx, place.link).await.unwrap(), rules);
        tx.commit().await.unwrap();
    }
}

/// Somebody at Chatwoot does something by its API.
async fn at_chatwoot(world: &World, chatwoot: &Simulator, place: &Place, path: &str, body: &Value) {
    let url = format!(
        "{}/chatwoot/api/v1/accounts/{}{path}",
        chatwoot.base_url(),
        place.chatwoot_account
    );
    let token = world.token(place).await;
    let request = reqwest::Client::new().post(url).header("api_access_token", token);
    let answer = request.json(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

impl World {
    pub(crate) async fn token(&self, place: &Place) -> String {
        use chatwoot_bridge::store::inboxes::{self, Inbox};
        use secrecy::ExposeSecret as _;
        let mut tx = TenantTransaction::begin(&self.database.db, &place.scope, "test")
            .await
            .unwrap();
        let inbox = inboxes::find(&mut tx, place.link).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let sealed_for = Inbox::token_place(place.scope.tenant().as_str(), inbox.id);
        let token = self
            .tools
            .keys
            .open(&inbox.api_token_sealed, &sealed_for)
            .unwrap();
        token.expose_secret().to_owned()
    }
}

/// (conversation, its status) of each message, by its text.
fn conversations(chatwoot: &Simulator, place: &Place) -> Vec<(u64, String)> {
    let all = chatwoot.chatwoot_conversations(place.chatwoot_account);
    all.into_iter().map(|it| (it.id, it.status)).collect()
}

fn where_is(chatwoot: &Simulator, place: &Place, text: &str) -> u64 {
    let all = chatwoot.chatwoot_messages(place.chatwoot_account);
    let found = all.iter().find(|it| it.content.as_deref() == Some(text));
    found.unwrap().conversation_id
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_make_one_contact_and_conversation() {
    let (world, chatwoot, place) = start().await;
    // Long enough for all to see that there is nobody yet, and no conversation.
    for (path, kind) in [
        ("/contacts", FaultKind::SlowAnswer { ms: 100 }),
        ("/conversations", FaultKind::Delay { ms: 600 }),
    ] {
        chatwoot
            .add_fault(fault(&place, "POST", path, kind, 100))
            .unwrap();
    }
    for n in 0..6 {
        // As many chats, and so lanes, of one person.
        let told = message(
            &place,
            ChatId::generate(),
            PHONE,
            &format!("3EB0{n}"),
            &format!("{n}"),
        );
        world.take(&received(&place, told)).await;
    }
    let stop = CancellationToken::new();
    let replica = || {
        let settings = WorkerSettings {
            concurrency: 3,
            ..LANES
        };
        let lanes = Arc::new(world.lanes.clone());
        let workers = Workers::new(world.database.db.clone(), lanes, settings, Signal::default());
        tokio::spawn(workers.run(stop.clone()))
    };
    let replicas = [replica(), replica()];
    eventually("all lanes are done", || async {
        let left = world.count("SELECT count(*) AS n FROM lane_tasks").await;
        (left == 0).then_some(())
    })
    .await;
    stop.cancel();
    for replica in replicas {
        replica.await.unwrap();
    }
    assert_eq!(chatwoot.chatwoot_contacts(place.chatwoot_account).len(), 1);
    assert_eq!(chatwoot.chatwoot_conversations(place.chatwoot_account).len(), 1);
    assert_eq!(chatwoot.chatwoot_messages(place.chatwoot_account).len(), 6);
    let locks = "SELECT count(*) AS n FROM leases WHERE name LIKE 'place:%'";
    assert_eq!(world.count(locks).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_lock_is_waited_for_and_whoever_died_with_it_is_not_for_ever() {
    let (world, chatwoot, place) = start().await;
    let name = format!("place:desa-a/{}:{PHONE}", place.link);
    world
        .sql(&format!(
            "INSERT INTO leases VALUES ('{name}', gen_random_uuid(), now() + interval '1 hour')"
        ))
        .await;
    world
        .take(&received(
            &place,
            message(&place, ChatId::generate(), PHONE, "3EB01", "sabar"),
        ))
        .await;
    world.step().await;
    assert!(chatwoot.chatwoot_contacts(place.chatwoot_account).is_empty());
    let waits =
        "SELECT count(*) AS n FROM lane_tasks WHERE last_error = 'place_held' AND failures = 0 AND begun = 0";
    assert_eq!(world.count(waits).await, 1);
    world
        .sql("UPDATE leases SET until = now() - interval '1 second'")
        .await;
    world.work().await;
    assert_eq!(where_is(&chatwoot, &place, "sabar"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_a_number_are_one() {
    for there in [
        json!({"name": "Sari", "phone_number": "+628123450001"}),
        json!({"name": "Sari", "identifier": "628123450001"}),
        json!({"name": "Sari", "identifier": "+628123450001"}),
        json!({"name": "Sari", "identifier": "08123450001"}),
    ] {
        let (world, chatwoot, place) = start().await;
        at_chatwoot(&world, &chatwoot, &place, "/contacts", &there).await;
        let chat = ChatId::generate();
        world
            .says(&place, message(&place, chat, PHONE, "3EB01", "satu"))
            .await;
        world
            .says(&place, message(&place, chat, PHONE, "3EB02", "dua"))
            .await;
        let contacts = chatwoot.chatwoot_contacts(place.chatwoot_account);
        assert_eq!(contacts.len(), 1, "{there}");
        // Somebody chose that name.
        assert_eq!(contacts[0].name, "Sari", "{there}");
        assert_eq!(
            chatwoot.chatwoot_conversations(place.chatwoot_account)[0].source_id,
            "628123450001@s.whatsapp.net",
            "{there}"
        );
    }
    // Of two, the one that is in the inbox; and a number that only begins alike is somebody else's.
    let (world, chatwoot, place) = start().await;
    for there in [
        json!({"name": "Lain", "identifier": "6281234500011"}),
        json!({"name": "Tua", "identifier": "08123450001"}),
        json!({"name": "Sari", "phone_number": "+628123450001", "inbox_id": place.inbox,
               "source_id": "628123450001@s.whatsapp.net"}),
    ] {
        at_chatwoot(&world, &chatwoot, &place, "/contacts", &there).await;
    }
    world
        .says(
            &place,
            message(&place, ChatId::generate(), PHONE, "3EB01", "satu"),
        )
        .await;
    let contacts = chatwoot.chatwoot_contacts(place.chatwoot_account);
    assert_eq!(contacts.len(), 3);
    let conversation = &chatwoot.chatwoot_conversations(place.chatwoot_account)[0];
    let whose = contacts.iter().find(|it| it.id == conversation.contact_id);
    assert_eq!(whose.unwrap().name, "Sari");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolved_conversation_is_opened_again_or_another_made_as_the_inbox_wants() {
    for (policy, expected) in [
        (ConversationPolicy::Reopen, vec![(1, "open")]),
        (ConversationPolicy::Single, vec![(1, "open")]),
        (ConversationPolicy::Pending, vec![(1, "pending")]),
        (ConversationPolicy::New, vec![(1, "resolved"), (2, "open")]),
    ] {
        let (world, chatwoot, place) = start().await;
        world.follow(&place, policy).await;
        let chat = ChatId::generate();
        world
            .says(&place, message(&place, chat, PHONE, "3EB01", "satu"))
            .await;
        let first = if policy == ConversationPolicy::Pending {
            "pending"
        } else {
            "open"
        };
        assert_eq!(
            conversations(&chatwoot, &place),
            [(1, first.to_owned())],
            "{policy:?}"
        );
        // An open one always goes on.
        at_chatwoot(
            &world,
            &chatwoot,
            &place,
            "/conversations/1/toggle_status",
            &json!({"status": "open"}),
        )
        .await;
        world
            .says(&place, message(&place, chat, PHONE, "3EB02", "dua"))
            .await;
        assert_eq!(
            conversations(&chatwoot, &place),
            [(1, "open".to_owned())],
            "{policy:?}"
        );
        at_chatwoot(
            &world,
            &chatwoot,
            &place,
            "/conversations/1/toggle_status",
            &json!({"status": "resolved"}),
        )
        .await;
        world
            .says(&place, message(&place, chat, PHONE, "3EB03", "tiga"))
            .await;
        let expected: Vec<(u64, String)> = expected
            .into_iter()
            .map(|(id, status)| (id, status.to_owned()))
            .collect();
        assert_eq!(conversations(&chatwoot, &place), expected, "{policy:?}");
        assert_eq!(
            where_is(&chatwoot, &place, "tiga"),
            expected.last().unwrap().0,
            "{policy:?}"
        );
        // And it is gone on with.
        world
            .says(&place, message(&place, chat, PHONE, "3EB04", "empat"))
            .await;
        assert_eq!(
            where_is(&chatwoot, &place, "empat"),
            expected.last().unwrap().0,
            "{policy:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_in_a_conversation_that_was_resolved_meanwhile_makes_no_second_message() {
    let (world, chatwoot, place) = start().await;
    world.follow(&place, ConversationPolicy::New).await;
    let chat = ChatId::generate();
    world
        .says(&place, message(&place, chat, PHONE, "3EB01", "satu"))
        .await;
    let lost = fault(
        &place,
        "POST",
        "/conversations/1/messages",
        FaultKind::LostAnswer,
        1,
    );
    chatwoot.add_fault(lost).unwrap();
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB02", "dua")))
        .await;
    world.step().await;
    at_chatwoot(
        &world,
        &chatwoot,
        &place,
        "/conversations/1/toggle_status",
        &json!({"status": "resolved"}),
    )
    .await;
    world.work().await;
    let texts: Vec<String> = chatwoot
        .chatwoot_messages(place.chatwoot_account)
        .into_iter()
        .filter_map(|it| it.content)
        .collect();
    assert_eq!(texts, ["satu", "dua"]);
    assert_eq!(conversations(&chatwoot, &place).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_memory_of_it_the_newest_open_conversation_goes_on_and_a_resolved_one_where_there_is_one_only()
 {
    for (policy, expected) in [(ConversationPolicy::Reopen, 2), (ConversationPolicy::Single, 1)] {
        let (world, chatwoot, place) = start().await;
        world.follow(&place, policy).await;
        let chat = ChatId::generate();
        world
            .says(&place, message(&place, chat, PHONE, "3EB01", "satu"))
            .await;
        world.sql("DELETE FROM contacts").await;
        world
            .says(&place, message(&place, chat, PHONE, "3EB02", "dua"))
            .await;
        assert_eq!(where_is(&chatwoot, &place, "dua"), 1, "{policy:?}");
        at_chatwoot(
            &world,
            &chatwoot,
            &place,
            "/conversations/1/toggle_status",
            &json!({"status": "resolved"}),
        )
        .await;
        world.sql("DELETE FROM contacts").await;
        world
            .says(&place, message(&place, chat, PHONE, "3EB03", "tiga"))
            .await;
        assert_eq!(where_is(&chatwoot, &place, "tiga"), expected, "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_address_somebody_else_has_in_the_inbox_gets_one_place_there_and_no_more() {
    let (world, chatwoot, place) = start().await;
    world.follow(&place, ConversationPolicy::New).await;
    let stranger = json!({
        "inbox_id": place.inbox, "name": "Lain", "identifier": "lain",
        "source_id": format!("{PHONE}@s.whatsapp.net"),
    });
    at_chatwoot(&world, &chatwoot, &place, "/contacts", &stranger).await;
    let chat = ChatId::generate();
    for (number, is_forgotten) in [(1, false), (2, false), (3, true)] {
        if is_forgotten {
            world.sql("DELETE FROM contacts").await;
        }
        let told = message(&place, chat, PHONE, &format!("3EB0{number}"), "halo");
        world.says(&place, told).await;
        let path = format!("/conversations/{number}/toggle_status");
        at_chatwoot(&world, &chatwoot, &place, &path, &json!({"status": "resolved"})).await;
    }
    let mut sources: Vec<String> = chatwoot
        .chatwoot_conversations(place.chatwoot_account)
        .into_iter()
        .map(|it| it.source_id)
        .collect();
    assert_eq!(sources.len(), 3);
    sources.dedup();
    assert_eq!(sources.len(), 1, "{sources:?}");
}
