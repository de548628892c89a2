//! Every kind of message can be read in Chatwoot, what is about another one quotes it, and what the tenant typed on the
//! phone is the tenant's.

use domain::ids::ChatId;
use messaging::events::message_received::{ChatMessage, MessageSentElsewhere};
use serde_json::{Value, json};
use simulator::{FaultKind, MessageView, Simulator};

use crate::world::{Place, World, envelope, fault, message, received, start_chatwoot};

const PHONE: &str = "628123450001";

/// A message of any kind, as channel-service tells it.
pub(crate) fn of_kind(place: &Place, chat: ChatId, id: &str, content: &Value) -> ChatMessage {
    let mut told = message(place, chat, PHONE, id, "what a person would read");
    content["kind"].as_str().unwrap().clone_into(&mut told.kind);
    told.content = serde_json::value::to_raw_value(content).unwrap();
    told
}

fn typed(place: &Place, mut told: ChatMessage) -> messaging::Envelope {
    // Whose name would it be? The tenant's own.
    told.partner.name = None;
    envelope(place, &MessageSentElsewhere(told))
}

fn by_mark(chatwoot: &Simulator, place: &Place, id: &str) -> Vec<MessageView> {
    let mark = format!("WAID:{id}");
    let all = chatwoot.chatwoot_messages(place.chatwoot_account);
    all.into_iter()
        .filter(|it| it.source_id.as_deref() == Some(&mark))
        .collect()
}

async fn start() -> (World, Simulator, Place) {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    (world, chatwoot, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_arrives_readable_and_once() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    world
        .take(&received(&place, message(&place, chat, PHONE, "3EB0T", "asli")))
        .await;
    world.work().await;
    let original = by_mark(&chatwoot, &place, "3EB0T")[0].id;
    let about = json!(original);
    for (number, (content, words, private)) in [
        (
            json!({"kind": "location", "latitude": -6.2, "longitude": 106.8, "name": "Monas", "address": null, "live": false}),
            "📍 Location\nMonas\nhttps://www.google.com/maps?q=-6.2,106.8",
            false,
        ),
        (
            json!({"kind": "contacts", "contacts": [{"display_name": "Pak Lurah", "vcard": "TEL:+628111"}]}),
            "👤 Pak Lurah\n+628111",
            false,
        ),
        (json!({"kind": "reaction", "target": "3EB0T", "emoji": "👍"}), "👍", false),
        (
            json!({"kind": "edit", "target": "3EB0T", "content": {"kind": "text", "text": "betul"}}),
            "✏️ betul",
            false,
        ),
        (
            json!({"kind": "revoke", "target": "3EB0T"}),
            "🗑️ The person deleted this message in WhatsApp.",
            true,
        ),
        (
            json!({"kind": "poll", "question": "Kapan?", "options": ["Sabtu"], "selectable": 1}),
            "📊 Kapan?\n- Sabtu",
            false,
        ),
        (
            json!({"kind": "interactive_reply", "id": "a", "title": "Ya"}),
            "Ya",
            false,
        ),
        (
            json!({"kind": "media", "media_kind": "image", "caption": "ini", "sources": []}),
            "ini\n[image]",
            false,
        ),
        (
            json!({"kind": "something new"}),
            "what a person would read",
            false,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("3EB0K{number}");
        let event = received(&place, of_kind(&place, chat, &id, &content));
        world.take(&event).await;
        world.work().await;
        let again = received(&place, of_kind(&place, chat, &id, &content));
        world.take(&again).await;
        world.work().await;
        let made = by_mark(&chatwoot, &place, &id);
        assert_eq!(made.len(), 1, "{content}");
        assert_eq!(made[0].content.as_deref(), Some(words), "{content}");
        assert_eq!(made[0].private, private, "{content}");
        assert_eq!(made[0].message_type == "incoming", !private, "{content}");
        let quoted = &made[0].content_attributes;
        if content.get("target").is_some() {
            assert_eq!(quoted["in_reply_to"], about, "{content}");
            assert_eq!(quoted["in_reply_to_external_id"], "WAID:3EB0T", "{content}");
        } else {
            assert!(quoted.get("in_reply_to").is_none(), "{content}");
        }
    }
    // What was said stays as it was.
    assert_eq!(
        by_mark(&chatwoot, &place, "3EB0T")[0].content.as_deref(),
        Some("asli")
    );
    let before = chatwoot.chatwoot_messages(place.chatwoot_account).len();
    let taken_away = json!({"kind": "reaction", "target": "3EB0T", "emoji": null});
    world
        .take(&received(&place, of_kind(&place, chat, "3EB0R", &taken_away)))
        .await;
    world.work().await;
    assert_eq!(chatwoot.chatwoot_messages(place.chatwoot_account).len(), before);
    assert_eq!(world.count("SELECT count(*) AS n FROM lane_tasks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_on_the_phone_is_the_tenants_and_is_not_sent_again() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    let lost = fault(
        &place,
        "POST",
        "/conversations/1/messages",
        FaultKind::LostAnswer,
        1,
    );
    chatwoot.add_fault(lost).unwrap();
    // The tenant writes first; then the person, whose name is known only then.
    let event = typed(
        &place,
        message(&place, chat, PHONE, "3EB0P1", "Saya balas dari HP"),
    );
    for _ in 0..3 {
        world.take(&event).await;
        world.work().await;
    }
    world
        .take(&received(
            &place,
            message(&place, chat, PHONE, "3EB0A1", "terima kasih"),
        ))
        .await;
    let mut answer = message(&place, chat, PHONE, "3EB0P2", "sama-sama");
    answer.quoted = Some("3EB0A1".parse().unwrap());
    world.take(&typed(&place, answer)).await;
    world
        .take(&typed(
            &place,
            of_kind(
                &place,
                chat,
                "3EB0P3",
                &json!({"kind": "revoke", "target": "3EB0P1"}),
            ),
        ))
        .await;
    world.work().await;

    let messages = chatwoot.chatwoot_messages(place.chatwoot_account);
    let shown: Vec<(&str, bool, &str)> = messages
        .iter()
        .map(|it| {
            (
                it.message_type.as_str(),
                it.private,
                it.content.as_deref().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("outgoing", false, "Saya balas dari HP"),
            ("incoming", false, "terima kasih"),
            ("outgoing", false, "sama-sama"),
            (
                "outgoing",
                true,
                "🗑️ This message was deleted in WhatsApp, on the phone."
            ),
        ]
    );
    assert_eq!(messages[2].content_attributes["in_reply_to"], messages[1].id);
    assert_eq!(messages[3].content_attributes["in_reply_to"], messages[0].id);
    let contacts = chatwoot.chatwoot_contacts(place.chatwoot_account);
    assert_eq!((contacts.len(), contacts[0].name.as_str()), (1, "Sari Contoh"));
    assert_eq!(world.accepted_replies().await, 0);
    // Each is ours, whatever webhook tells of it without its mark.
    let ours = "SELECT count(*) AS n FROM message_links WHERE direction = 'inbound' AND chatwoot_message_id IS NOT NULL";
    assert_eq!(world.count(ours).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_says_when_it_was_written_and_some_people_stay_out() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    let mut old = message(&place, chat, PHONE, "3EB0O", "kemarin");
    old.sent_at = chrono::Utc::now() - chrono::TimeDelta::days(1);
    let at = old.sent_at.timestamp();
    world.take(&received(&place, old)).await;
    world
        .take(&received(
            &place,
            message(&place, chat, PHONE, "3EB0N", "sekarang"),
        ))
        .await;
    world.work().await;
    let written = |id: &str| {
        by_mark(&chatwoot, &place, id)[0]
            .content_attributes
            .get("external_created_at")
            .cloned()
    };
    assert_eq!(written("3EB0O"), Some(json!(at)));
    assert_eq!(written("3EB0N"), None);

    world.sql("UPDATE inboxes SET ignored = '{628123450001}'").await;
    world
        .take(&received(
            &place,
            message(&place, chat, PHONE, "3EB0I", "tidak tampak"),
        ))
        .await;
    world
        .take(&received(
            &place,
            message(&place, ChatId::generate(), "628123450002", "3EB0J", "tampak"),
        ))
        .await;
    world.work().await;
    assert!(by_mark(&chatwoot, &place, "3EB0I").is_empty());
    assert_eq!(by_mark(&chatwoot, &place, "3EB0J").len(), 1);
}
