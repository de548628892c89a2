//! From the event to contact, conversation and message in Chatwoot: once each, whatever happens.

use std::sync::Arc;
use std::time::Duration;

use chatwoot_bridge::chatwoot::Chatwoot;
use chatwoot_bridge::flows::{Tools, parked_tasks};
use chatwoot_bridge::workers::lanes::Lanes;
use domain::ids::ChatId;
use domain::retry::RetrySchedule;
use messaging::consumer::{HandleError, HandleEvent as _};
use messaging::events::message_received::ChatMessage;
use messaging::lanes::{WorkerSettings, Workers, claim_and_work};
use messaging::outbox::Signal;
use simulator::{FaultKind, FaultSpec, Simulator};
use test_support::eventually;
use tokio_util::sync::CancellationToken;

use crate::world::{
    LANES, Place, World, fault, message, open_policy, received, server_error, start_chatwoot,
};

const PHONE: &str = "628123450001";

async fn start() -> (World, Simulator, Place) {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    (world, chatwoot, place)
}

/// (contacts, conversations, texts of messages)
fn holds(chatwoot: &Simulator, place: &Place) -> (usize, usize, Vec<String>) {
    let texts = chatwoot
        .chatwoot_messages(place.chatwoot_account)
        .into_iter()
        .filter_map(|it| it.content);
    (
        chatwoot.chatwoot_contacts(place.chatwoot_account).len(),
        chatwoot.chatwoot_conversations(place.chatwoot_account).len(),
        texts.collect(),
    )
}

fn once(texts: &[&str]) -> (usize, usize, Vec<String>) {
    (1, 1, texts.iter().map(|text| (*text).to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_becomes_one_contact_one_conversation_and_one_message() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    let event = received(
        &place,
        message(&place, chat, PHONE, "3EB0AAAA0001", "Paket saya di mana?"),
    );
    world.take(&event).await;
    world.work().await;
    // Twice from the broker, and once more under another envelope.
    world.take(&event).await;
    world.work().await;
    world
        .take(&received(
            &place,
            message(&place, chat, PHONE, "3EB0AAAA0001", "Paket saya di mana?"),
        ))
        .await;
    world.work().await;

    assert_eq!(holds(&chatwoot, &place), once(&["Paket saya di mana?"]));
    let contact = &chatwoot.chatwoot_contacts(place.chatwoot_account)[0];
    assert_eq!(contact.phone_number.as_deref(), Some("+628123450001"));
    assert_eq!(contact.identifier.as_deref(), Some("628123450001@s.whatsapp.net"));
    assert_eq!(contact.name, "Sari Contoh");
    let conversation = &chatwoot.chatwoot_conversations(place.chatwoot_account)[0];
    assert_eq!(conversation.source_id, "628123450001@s.whatsapp.net");
    let made = &chatwoot.chatwoot_messages(place.chatwoot_account)[0];
    assert_eq!(
        (made.message_type.as_str(), made.source_id.as_deref()),
        ("incoming", Some("WAID:3EB0AAAA0001"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_redeliveries_are_one() {
    let (world, chatwoot, place) = start().await;
    chatwoot
        .add_fault(fault(
            &place,
            "POST",
            "/conversations/1/messages",
            FaultKind::LostAnswer,
            1,
        ))
        .unwrap();
    let chat = ChatId::generate();
    let first = received(&place, message(&place, chat, PHONE, "3EB01", "sekali saja"));
    for n in 0..100 {
        // The broker's redelivery is the same event; a reconnected phone makes another one of the same message.
        let again = received(&place, message(&place, chat, PHONE, "3EB01", "sekali saja"));
        world.take(if n % 2 == 0 { &first } else { &again }).await;
        if n % 25 == 0 {
            world.step().await;
        }
    }
    let other = world.lanes.clone();
    let (one, two) = tokio::join!(
        claim_and_work(&world.database.db, &world.lanes, LANES),
        claim_and_work(&world.database.db, &other, LANES),
    );
    assert!(one.is_ok() && two.is_ok());
    world.work().await;
    assert_eq!(holds(&chatwoot, &place), once(&["sekali saja"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_makes_nothing_twice() {
    for (method, path) in [
        ("POST", "/contacts"),
        ("POST", "/conversations"),
        ("POST", "/conversations/1/messages"),
    ] {
        let (world, chatwoot, place) = start().await;
        // The filter's path begins like that of the contacts and is asked first, so its answer is lost as well.
        let times = if path == "/contacts" { 4 } else { 1 };
        chatwoot
            .add_fault(fault(&place, method, path, FaultKind::LostAnswer, times))
            .unwrap();
        world
            .take(&received(
                &place,
                message(&place, ChatId::generate(), PHONE, "3EB0AAAA0001", "satu"),
            ))
            .await;
        world.work().await;
        assert_eq!(holds(&chatwoot, &place), once(&["satu"]), "{path}");
        assert!(chatwoot.faults()[0].hits > 0, "{path}");
        assert_eq!(
            world.count("SELECT count(*) AS n FROM lane_tasks").await,
            0,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_lose_its_answer_in_turn() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    for n in 1..=6 {
        chatwoot.clear_faults();
        chatwoot
            .add_fault(fault(&place, "POST", "", FaultKind::LostAnswer, 4))
            .unwrap();
        world
            .take(&received(
                &place,
                message(&place, chat, PHONE, &format!("3EB0{n}"), &format!("{n}")),
            ))
            .await;
        world.work().await;
    }
    assert_eq!(holds(&chatwoot, &place), once(&["1", "2", "3", "4", "5", "6"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_chatwoot_fails_messages_wait_in_order_and_other_chats_do_not() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    world
        .take(&received(
            &place,
            message(&place, chat, PHONE, "3EB01", "pertama"),
        ))
        .await;
    world.work().await;
    chatwoot
        .add_fault(fault(
            &place,
            "POST",
            "/conversations/1/messages",
            server_error(),
            3,
        ))
        .unwrap();
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB02", "kedua")))
        .await;
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB03", "ketiga")))
        .await;
    world
        .take(&received(
            &place,
            message(&place, ChatId::generate(), "628123450002", "3EB04", "lain"),
        ))
        .await;
    world.step().await;
    let (_, _, texts) = holds(&chatwoot, &place);
    assert_eq!(texts, ["pertama", "lain"]);
    world.work().await;
    let (contacts, conversations, texts) = holds(&chatwoot, &place);
    assert_eq!((contacts, conversations), (2, 2));
    assert_eq!(texts, ["pertama", "lain", "kedua", "ketiga"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_parks_the_message_with_its_reason_and_the_chat_goes_on() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB01", "satu")))
        .await;
    world.work().await;
    let refused = FaultKind::Status {
        status: 402,
        body: None,
        retry_after: None,
    };
    chatwoot
        .add_fault(fault(&place, "POST", "/conversations/1/messages", refused, 1))
        .unwrap();
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB02", "dua")))
        .await;
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB03", "tiga")))
        .await;
    world.work().await;
    assert_eq!(holds(&chatwoot, &place), once(&["satu", "tiga"]));
    let parked = "SELECT count(*) AS n FROM lane_tasks WHERE parked AND last_error = 'chatwoot_refused_402'";
    assert_eq!(world.count(parked).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_try_a_message_is_parked_and_being_rate_limited_is_no_try() {
    let (world, chatwoot, place) = start().await;
    let limited = FaultKind::Status {
        status: 429,
        body: Some("Retry later".into()),
        retry_after: None,
    };
    chatwoot
        .add_fault(fault(&place, "POST", "/contacts", limited, 9))
        .unwrap();
    world
        .take(&received(
            &place,
            message(&place, ChatId::generate(), PHONE, "3EB01", "sabar"),
        ))
        .await;
    world.work().await;
    assert_eq!(holds(&chatwoot, &place), once(&["sabar"]));

    // Everything else works, so it is this message that cannot be taken.
    chatwoot.clear_faults();
    chatwoot
        .add_fault(fault(
            &place,
            "POST",
            "/conversations/1/messages",
            server_error(),
            1_000,
        ))
        .unwrap();
    world
        .take(&received(
            &place,
            message(&place, ChatId::generate(), PHONE, "3EB02", "mati"),
        ))
        .await;
    world.work().await;
    let parked =
        "SELECT count(*) AS n FROM lane_tasks WHERE parked AND last_error = 'chatwoot_no_answer_status_5xx'";
    assert_eq!(world.count(parked).await, 1);
    // And when it can, an operator sends it on its way.
    chatwoot.clear_faults();
    let replayed = parked_tasks::replay_all(&world.database.db, &place.scope).await;
    assert_eq!(replayed.unwrap(), 1);
    world.work().await;
    assert_eq!(holds(&chatwoot, &place), once(&["sabar", "mati"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_no_messages_fault() {
    let (world, chatwoot, place) = start().await;
    let everything = format!("/chatwoot/api/v1/accounts/{}", place.chatwoot_account);
    // As many failures as there are tries.
    chatwoot
        .add_fault(FaultSpec::on_path(everything, server_error()).times(6))
        .unwrap();
    let chat = ChatId::generate();
    for (id, text) in [("3EB01", "satu"), ("3EB02", "dua")] {
        world
            .take(&received(&place, message(&place, chat, PHONE, id, text)))
            .await;
    }
    world.work().await;
    assert_eq!(chatwoot.faults()[0].hits, 6);
    assert_eq!(holds(&chatwoot, &place), once(&["satu", "dua"]));
    assert_eq!(world.count("SELECT count(*) AS n FROM lane_tasks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn being_limited_again_and_again_means_longer_waits() {
    let (world, chatwoot, place) = start().await;
    let limited = FaultKind::Status {
        status: 429,
        body: Some("Retry later".into()),
        retry_after: None,
    };
    chatwoot
        .add_fault(fault(&place, "POST", "/contacts", limited, 1_000))
        .unwrap();
    let lanes = Lanes {
        retry: RetrySchedule::new(Duration::from_secs(60), Duration::from_secs(3_600), 2, 0.0).unwrap(),
        ..world.lanes.clone()
    };
    world
        .take(&received(
            &place,
            message(&place, ChatId::generate(), PHONE, "3EB01", "sabar"),
        ))
        .await;
    for waits in [60, 120, 240] {
        world.sql("UPDATE lanes SET ready_at = now()").await;
        claim_and_work(&world.database.db, &lanes, LANES).await.unwrap();
        let seconds = "SELECT extract(epoch FROM max(ready_at) - now())::bigint AS n FROM lanes";
        let left = world.count(seconds).await;
        assert!((waits - 20..=waits).contains(&left), "{left} of {waits}");
    }
    assert_eq!(
        world.count("SELECT failures::bigint AS n FROM lane_tasks").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_looks_while_chatwoot_may_still_be_at_work() {
    let proxys = |status| FaultKind::Status {
        status,
        body: Some("<html>bad gateway</html>".into()),
        retry_after: None,
    };
    for kind in [proxys(502), proxys(504), proxys(408), FaultKind::LostAnswer] {
        let (world, chatwoot, place) = start().await;
        let what = format!("{kind:?}");
        chatwoot
            .add_fault(fault(&place, "POST", "/conversations/1/messages", kind, 1))
            .unwrap();
        let tools = Tools {
            chatwoot: world.tools.chatwoot.clone().settling_in(Duration::from_secs(200)),
            ..world.tools.clone()
        };
        let lanes = Lanes {
            tools,
            ..world.lanes.clone()
        };
        world
            .take(&received(
                &place,
                message(&place, ChatId::generate(), PHONE, "3EB01", "satu"),
            ))
            .await;
        claim_and_work(&world.database.db, &lanes, LANES).await.unwrap();
        let seconds = "SELECT extract(epoch FROM max(ready_at) - now())::bigint AS n FROM lanes";
        let left = world.count(seconds).await;
        assert!((150..=200).contains(&left), "{what}: {left}");
        world.sql("UPDATE lanes SET ready_at = now()").await;
        world.work().await;
        assert_eq!(holds(&chatwoot, &place), once(&["satu"]), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_has_some_of_the_workers_and_not_all() {
    let (world, slow, place) = start().await;
    let quick = start_chatwoot().await;
    let other = world.connect(&quick, "desa-b", "cabang", "").await;
    slow.add_fault(FaultSpec::on_path("/chatwoot", FaultKind::Delay { ms: 4_000 }))
        .unwrap();
    for n in 0..8 {
        let text = message(
            &place,
            ChatId::generate(),
            &format!("62812345000{n}"),
            "3EB01",
            "x",
        );
        let text = ChatMessage {
            provider_message_id: format!("3EB0{n}").parse().unwrap(),
            ..text
        };
        world.take(&received(&place, text)).await;
    }
    world
        .take(&received(
            &other,
            message(&other, ChatId::generate(), PHONE, "3EB01", "cepat"),
        ))
        .await;
    let chatwoot = Chatwoot::new(open_policy(), Duration::from_secs(5), 2).unwrap();
    let lanes = Lanes {
        tools: Tools {
            chatwoot,
            ..world.tools.clone()
        },
        ..world.lanes.clone()
    };
    let settings = WorkerSettings {
        concurrency: 4,
        ..LANES
    };
    let workers = Workers::new(
        world.database.db.clone(),
        Arc::new(lanes),
        settings,
        Signal::default(),
    );
    let stop = CancellationToken::new();
    let working = tokio::spawn(workers.run(stop.clone()));
    eventually("the other server's message is there", || async {
        (quick.chatwoot_messages(other.chatwoot_account).len() == 1).then_some(())
    })
    .await;
    // Each of the slow ones takes at least three calls.
    assert!(slow.chatwoot_messages(place.chatwoot_account).is_empty());
    slow.clear_faults();
    stop.cancel();
    working.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_conversation_is_made_anew() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB01", "satu")))
        .await;
    world.work().await;
    // What Chatwoot answers for a conversation that somebody deleted.
    let gone = FaultKind::Status {
        status: 404,
        body: None,
        retry_after: None,
    };
    chatwoot
        .add_fault(fault(&place, "POST", "/conversations/1/messages", gone, 1))
        .unwrap();
    world
        .sql("UPDATE contacts SET chatwoot_contact_id = 999999")
        .await;
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB02", "dua")))
        .await;
    world.work().await;
    assert_eq!(holds(&chatwoot, &place), once(&["satu", "dua"]));
    let wrong = "SELECT count(*) AS n FROM contacts WHERE chatwoot_contact_id = 999999";
    assert_eq!(world.count(wrong).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_names_the_message_it_answers() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB01", "tanya")))
        .await;
    let mut answer = message(&place, chat, PHONE, "3EB02", "jawab");
    answer.quoted = Some("3EB01".parse().unwrap());
    world.take(&received(&place, answer)).await;
    world.work().await;
    let messages = chatwoot.chatwoot_messages(place.chatwoot_account);
    assert_eq!(
        messages[1].content_attributes["in_reply_to_external_id"],
        "WAID:3EB01"
    );
    assert_eq!(messages[1].content_attributes["in_reply_to"], messages[0].id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_person_and_an_unbelievable_number_get_a_contact_too() {
    let (world, chatwoot, place) = start().await;
    let mut hidden = message(&place, ChatId::generate(), "1", "3EB01", "halo");
    hidden.partner.address = "190000000000001@lid".into();
    hidden.partner.phone = None;
    hidden.partner.name = None;
    world.take(&received(&place, hidden)).await;
    world
        .take(&received(
            &place,
            message(&place, ChatId::generate(), "62812345678901234567", "3EB02", "hai"),
        ))
        .await;
    world.work().await;
    let contacts = chatwoot.chatwoot_contacts(place.chatwoot_account);
    assert_eq!(contacts.len(), 2);
    assert!(contacts.iter().all(|contact| contact.phone_number.is_none()));
    assert!(
        contacts
            .iter()
            .any(|contact| contact.name == "190000000000001@lid")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_an_inbox_and_an_event_that_is_none() {
    let (world, chatwoot, place) = start().await;
    let mut foreign = message(&place, ChatId::generate(), PHONE, "3EB01", "satu");
    foreign.account_id = domain::ids::AccountId::generate();
    world.take(&received(&place, foreign)).await;
    world.work().await;
    assert_eq!(holds(&chatwoot, &place), (0, 0, Vec::new()));

    let mut broken = received(&place, message(&place, ChatId::generate(), PHONE, "3EB02", "dua"));
    broken.data = serde_json::value::to_raw_value("not a message").unwrap();
    assert!(matches!(
        world.events.handle(&broken).await,
        Err(HandleError::Poison(_))
    ));
    broken.kind = "something.else".into();
    assert!(matches!(
        world.events.handle(&broken).await,
        Err(HandleError::Poison(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_in_a_group_or_a_status_post_is_no_conversation() {
    let (world, chatwoot, place) = start().await;
    for (number, at) in domain::chat::Place::ALL.iter().enumerate() {
        let mut group = message(
            &place,
            ChatId::generate(),
            PHONE,
            &format!("3EB0G{number}"),
            "hai semua",
        );
        group.place = Some(*at);
        world.take(&received(&place, group)).await;
    }
    let person = message(&place, ChatId::generate(), PHONE, "3EB0P", "hai");
    world.take(&received(&place, person)).await;
    world.work().await;
    assert_eq!(holds(&chatwoot, &place), once(&["hai"]));
}
