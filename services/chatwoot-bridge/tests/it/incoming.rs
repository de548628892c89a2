//! From the event to contact, conversation and message in Chatwoot: once each, whatever happens.

use domain::ids::ChatId;
use messaging::consumer::{HandleError, HandleEvent as _};
use simulator::{FaultKind, Simulator};

use crate::world::{Place, World, fault, message, received, server_error, start_chatwoot};

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

    chatwoot.clear_faults();
    chatwoot
        .add_fault(fault(&place, "POST", "", server_error(), 1_000))
        .unwrap();
    world
        .take(&received(
            &place,
            message(&place, ChatId::generate(), "628123450002", "3EB02", "mati"),
        ))
        .await;
    world.work().await;
    let parked =
        "SELECT count(*) AS n FROM lane_tasks WHERE parked AND last_error = 'chatwoot_no_answer_status_5xx'";
    assert_eq!(world.count(parked).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_conversation_is_made_anew_and_a_resolved_one_goes_on() {
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
