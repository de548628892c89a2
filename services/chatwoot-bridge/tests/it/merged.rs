//! Two chats turn out to be one person: one conversation goes on, and what agents write in the other one arrives, too.

use std::time::Duration;

use chatwoot_bridge::flows::Tools;
use chatwoot_bridge::flows::accept_reply::{Acceptance, Reply, Signals, accept_reply};
use chatwoot_bridge::flows::agent_parts::Written;
use chatwoot_bridge::store::inboxes;
use chatwoot_bridge::workers::lanes::Lanes;
use domain::address::ChatAddress;
use domain::ids::ChatId;
use messaging::Envelope;
use messaging::events::chat_merged::ChatMerged;
use messaging::lanes::claim_and_work;
use simulator::FaultKind;
use tenant_isolation::TenantTransaction;
use test_support::eventually;

use crate::world::{LANES, Place, World, envelope, fault, message, received, start_chatwoot};

const PHONE: &str = "628123450001";
const BY_PHONE: &str = "628123450001@s.whatsapp.net";
const BY_LID: &str = "190000000000001@lid";

fn by_lid(place: &Place, chat: ChatId, id: &str) -> Envelope {
    let mut told = message(place, chat, PHONE, id, id);
    told.partner.address = BY_LID.to_owned();
    told.partner.phone = None;
    received(place, told)
}

fn by_phone(place: &Place, chat: ChatId, id: &str) -> Envelope {
    received(place, message(place, chat, PHONE, id, id))
}

fn merged(place: &Place, gone: ChatId, into: ChatId) -> Envelope {
    let event = ChatMerged {
        account_id: place.account,
        chat_id: into,
        address: BY_PHONE.to_owned(),
        merged_chat_id: gone,
        merged_address: BY_LID.to_owned(),
        at: chrono::Utc::now(),
    };
    envelope(place, &event)
}

async fn conversation_of(world: &World, id: &str) -> i64 {
    world
        .count(&format!(
            "SELECT chatwoot_conversation_id AS n FROM message_links WHERE provider_message_id = '{id}'"
        ))
        .await
}

/// To whom a reply goes that is written to the hidden id.
async fn reply_to_lid(world: &World, place: &Place, message_id: i64) -> i64 {
    let db = &world.database.db;
    let mut tx = TenantTransaction::begin(db, &place.scope, "test").await.unwrap();
    let inbox = inboxes::find(&mut tx, place.link).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let reply = Reply {
        message_id,
        conversation_id: 1,
        written: Written::words("jawab"),
        to: ChatAddress::parse(BY_LID).ok(),
    };
    let accepted = accept_reply(
        &world.tools,
        &place.scope,
        &inbox,
        &reply,
        None,
        &Signals::default(),
    )
    .await;
    assert_eq!(accepted.unwrap(), Acceptance::Forwarded);
    world.work().await;
    world
        .count(&format!(
            "SELECT count(*) AS n FROM outbox WHERE envelope::jsonb->'data'->>'to' = '{BY_PHONE}'"
        ))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_under_the_number() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let (gone, into) = (ChatId::generate(), ChatId::generate());
    world.take(&by_lid(&place, gone, "3EB0L1")).await;
    world.work().await;
    assert_eq!(reply_to_lid(&world, &place, 9001).await, 0);
    // What still waits in the chat that is gone comes before the merge, and all on one lane.
    world.take(&by_lid(&place, gone, "3EB0L2")).await;
    let event = merged(&place, gone, into);
    world.take(&event).await;
    world.take(&event).await;
    world.take(&by_phone(&place, into, "3EB0P1")).await;
    let lanes = "SELECT count(DISTINCT lane) AS n FROM lane_tasks";
    assert_eq!(world.count(lanes).await, 1);
    world.work().await;
    let old = conversation_of(&world, "3EB0L1").await;
    assert_eq!(conversation_of(&world, "3EB0L2").await, old);
    assert_eq!(conversation_of(&world, "3EB0P1").await, old);
    assert_eq!(reply_to_lid(&world, &place, 9002).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_person_who_gets_a_number_is_one() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let (gone, into) = (ChatId::generate(), ChatId::generate());
    world.take(&by_lid(&place, gone, "3EB0L1")).await;
    world.work().await;
    let event = merged(&place, gone, into);
    world.take(&event).await;
    world.take(&by_phone(&place, into, "3EB0P1")).await;
    world.work().await;
    // Even when nothing is remembered here, the person is found by the number.
    world.sql("DELETE FROM contacts").await;
    world.take(&by_phone(&place, into, "3EB0P2")).await;
    world.work().await;
    let contacts = chatwoot.chatwoot_contacts(place.chatwoot_account);
    assert_eq!(contacts.len(), 1);
    assert_eq!(contacts[0].phone_number.as_deref(), Some("+628123450001"));
    assert_eq!(contacts[0].identifier.as_deref(), Some(BY_PHONE));
    assert_eq!(chatwoot.chatwoot_conversations(place.chatwoot_account).len(), 1);
    assert_eq!(chatwoot.chatwoot_messages(place.chatwoot_account).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_another_contact_has_joins_nobody() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let (gone, into) = (ChatId::generate(), ChatId::generate());
    world.take(&by_phone(&place, into, "3EB0P1")).await;
    world.take(&by_lid(&place, gone, "3EB0L1")).await;
    world.work().await;
    // As if the number's contact had been made by somebody else.
    world
        .sql(&format!("DELETE FROM contacts WHERE address = '{BY_PHONE}'"))
        .await;
    world.take(&merged(&place, gone, into)).await;
    world.take(&by_phone(&place, into, "3EB0P2")).await;
    world.work().await;
    assert_eq!(chatwoot.chatwoot_contacts(place.chatwoot_account).len(), 2);
    assert_eq!(
        conversation_of(&world, "3EB0P2").await,
        conversation_of(&world, "3EB0L1").await
    );
    assert_eq!(world.count("SELECT count(*) AS n FROM lane_tasks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_both_have_a_conversation_the_surviving_ones_stays_and_the_other_still_reaches_the_person() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let (gone, into) = (ChatId::generate(), ChatId::generate());
    world.take(&by_lid(&place, gone, "3EB0L1")).await;
    world.take(&by_phone(&place, into, "3EB0P1")).await;
    world.work().await;
    let (old, new) = (
        conversation_of(&world, "3EB0L1").await,
        conversation_of(&world, "3EB0P1").await,
    );
    assert_ne!(old, new);
    world.take(&merged(&place, gone, into)).await;
    world.take(&by_phone(&place, into, "3EB0P2")).await;
    world.work().await;
    assert_eq!(conversation_of(&world, "3EB0P2").await, new);
    assert_eq!(reply_to_lid(&world, &place, 9001).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_of_a_chat_that_chatwoot_never_saw_is_nothing() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let (gone, into) = (ChatId::generate(), ChatId::generate());
    world.take(&merged(&place, gone, into)).await;
    world.work().await;
    assert_eq!(world.count("SELECT count(*) AS n FROM contacts").await, 0);
    assert_eq!(reply_to_lid(&world, &place, 9001).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_on_its_way_when_its_chat_is_merged_comes_once() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let (gone, into) = (ChatId::generate(), ChatId::generate());
    let settling = world.tools.chatwoot.clone().settling_in(Duration::from_secs(2));
    let tools = Tools {
        chatwoot: settling,
        ..world.tools.clone()
    };
    let lanes = Lanes {
        tools: tools.clone(),
        ..world.lanes.clone()
    };
    let world = World {
        tools,
        lanes,
        ..world
    };
    world.take(&by_lid(&place, gone, "3EB0L1")).await;
    world.work().await;
    let slow = FaultKind::Delay { ms: 300 };
    let path = "/conversations/1/messages";
    chatwoot.add_fault(fault(&place, "POST", path, slow, 1)).unwrap();
    world.take(&by_lid(&place, gone, "3EB0L2")).await;
    let (db, lanes) = (world.database.db.clone(), world.lanes.clone());
    let first = tokio::spawn(async move { claim_and_work(&db, &lanes, LANES).await });
    eventually("Chatwoot is asked", || async {
        (chatwoot.faults()[0].hits == 1).then_some(())
    })
    .await;
    world.take(&merged(&place, gone, into)).await;
    world.work().await;
    first.await.unwrap().unwrap();
    let marks: Vec<String> = chatwoot
        .chatwoot_messages(place.chatwoot_account)
        .into_iter()
        .filter_map(|it| it.source_id)
        .collect();
    assert_eq!(marks, ["WAID:3EB0L1", "WAID:3EB0L2"]);
}
