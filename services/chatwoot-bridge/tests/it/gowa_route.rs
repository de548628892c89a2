//! A route to a GoWA drives it exactly as its receiver is described (contract 4.3), row by row.

use chatwoot_bridge::config::Settings;
use chatwoot_bridge::flows::forward::parked;
use serde_json::{Value, json};
use simulator::{GowaChatwoot, GowaConfigChange, NewGowaDevice, Simulator, SimulatorConfig};
use test_support::eventually;

use crate::target::{forwarded, only_received, post, put, quick, route, settled, that_signs, tries};
use crate::world::{Running, World, scope};

const GOWA_SECRET: &str = "gowa-secret-not-real";

/// A bridge with a route from inbox 42 to a GoWA with one device that is logged in.
struct Side {
    world: World,
    running: Running,
    gowa: Simulator,
}

impl Side {
    async fn start(path: &str) -> Self {
        let (world, gowa) = (
            World::start().await,
            Simulator::start(SimulatorConfig::for_tests()).await.unwrap(),
        );
        gowa.create_gowa_device(NewGowaDevice {
            id: "toko-1".into(),
            phone: Some("628111000001".into()),
            ..NewGowaDevice::default()
        });
        gowa.configure_gowa(GowaConfigChange {
            chatwoot_webhook_secret: Some(GOWA_SECRET.into()),
            chatwoot_device_id: Some("toko-1".into()),
            chatwoot_needs_config: Some(true),
            ..GowaConfigChange::default()
        });
        let once = |settings: &mut Settings| settings.forward.retry = tries(1);
        let mut settings = quick(&world);
        once(&mut settings);
        let url = format!("{}/gowa/chatwoot/webhook{path}", gowa.base_url());
        put(&world.tools, &route(42, &url, &world.tools)).await;
        let running = Running::ready(settings).await;
        Self { world, running, gowa }
    }

    /// Tells the bridge of an event, and waits until it was passed on. What was sent over WhatsApp because of it.
    async fn tell(&self, event: &Value) -> Vec<simulator::GowaSend> {
        let before = self.gowa.gowa_sends().len();
        assert_eq!(
            post(&self.running, event.to_string()).await,
            forwarded(),
            "{event}"
        );
        settled(&self.world).await;
        self.gowa.gowa_sends().split_off(before)
    }

    /// Why events were put aside.
    async fn refusals(&self) -> Vec<String> {
        let (held, _) = parked::parked(&self.world.tools.db, &scope("desa-a"), None, 100)
            .await
            .unwrap();
        held.into_iter().filter_map(|event| event.reason).collect()
    }
}

fn proven() -> String {
    format!("?secret={GOWA_SECRET}")
}

/// An agent's message to Sari; each in a conversation of its own.
fn message(id: i64) -> Value {
    json!({
        "event": "message_created", "id": id, "message_type": "outgoing", "private": false, "content": "Halo kak",
        "source_id": null, "content_attributes": {}, "account": {"id": 3}, "inbox": {"id": 42},
        "sender": {"id": 11, "name": "Budi Agen", "type": "user"},
        "conversation": {"id": id, "inbox_id": 42, "meta": {"sender": {
            "id": 880, "name": "Sari", "email": null, "phone_number": "+628123450001", "identifier": null,
            "custom_attributes": {},
        }}},
    })
}

fn with(mut event: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        *event.pointer_mut(pointer).unwrap() = value.clone();
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_message_goes_out_once_and_its_conversation_is_linked() {
    let side = Side::start(&proven()).await;
    let sent = side.tell(&message(9001)).await;
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (
            sent[0].path.as_str(),
            sent[0].phone.as_str(),
            sent[0].message.as_str()
        ),
        ("/send/message", "628123450001", "Halo kak")
    );
    // GoWA knows no message twice; the bridge does, by whichever webhook it comes.
    assert!(side.tell(&message(9001)).await.is_empty());
    // The conversation is linked: the next message needs no number.
    let next = with(
        message(9002),
        &[
            ("/conversation/id", json!(9001)),
            ("/conversation/meta/sender/phone_number", json!(null)),
        ],
    );
    let sent = side.tell(&next).await;
    assert_eq!(sent.len(), 1);
    assert!(sent[0].phone.starts_with("628123450001"), "{}", sent[0].phone);
    assert!(side.refusals().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_agents_message_is_taken_and_sends_nothing() {
    let side = Side::start(&proven()).await;
    side.gowa.gowa_made_in_chatwoot(3, 15);
    let nobody = json!({"id": 880, "phone_number": null, "identifier": null, "custom_attributes": {}});
    let events = [
        with(message(11), &[("/event", json!("conversation_status_changed"))]),
        with(message(12), &[("/message_type", json!("incoming"))]),
        with(message(13), &[("/message_type", json!("template"))]),
        with(message(14), &[("/source_id", json!("WAID:3EB0AAAA0001"))]),
        // Made by GoWA itself within the last minutes.
        message(15),
        with(message(16), &[("/conversation/meta/sender", nobody)]),
        // Deletions are off.
        with(
            message(17),
            &[
                ("/event", json!("message_updated")),
                ("/content_attributes", json!({"deleted": true})),
            ],
        ),
        json!({"event": "conversation_typing_on", "is_private": false, "user": {"id": 11},
               "conversation": {"id": 18, "inbox_id": 42}, "account": {"id": 3}}),
    ];
    for event in &events {
        assert!(side.tell(event).await.is_empty(), "{event}");
    }
    // Nobody to send from.
    side.gowa.configure_gowa(GowaConfigChange {
        chatwoot_device_id: Some(String::new()),
        ..GowaConfigChange::default()
    });
    assert!(side.tell(&message(19)).await.is_empty());
    // Notes do not even get there.
    let note = with(message(20), &[("/private", json!(true))]);
    assert_eq!(post(&side.running, note.to_string()).await, only_received());
    assert!(side.refusals().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_note_that_a_route_wants_sends_nothing_either() {
    let side = Side::start(&proven()).await;
    let url = format!("{}/gowa/chatwoot/webhook{}", side.gowa.base_url(), proven());
    let mut wanting = route(43, &url, &side.world.tools);
    wanting.wants.private = true;
    put(&side.world.tools, &wanting).await;
    let note = with(
        message(21),
        &[
            ("/private", json!(true)),
            ("/inbox/id", json!(43)),
            ("/conversation/inbox_id", json!(43)),
        ],
    );
    assert!(side.tell(&note).await.is_empty());
    assert!(side.refusals().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_message_is_taken_back_where_that_is_on() {
    let side = Side::start(&proven()).await;
    side.gowa.configure_gowa(GowaConfigChange {
        chatwoot_message_delete: Some(true),
        ..GowaConfigChange::default()
    });
    let deleted = |id: i64, how: Value| {
        with(
            message(id),
            &[
                ("/event", json!("message_updated")),
                ("/content", json!("This message was deleted")),
                ("/content_attributes", json!({"deleted": how})),
            ],
        )
    };
    for (id, how) in [(9001, json!(true)), (9002, json!("true"))] {
        side.tell(&message(id)).await;
        side.tell(&deleted(id, how)).await;
    }
    let phone = side.gowa.gowa_phone("628123450001");
    assert_eq!(phone.len(), 2);
    assert!(phone.iter().all(|message| message.deleted), "{phone:?}");
    // One that never went out.
    side.tell(&deleted(9003, json!(true))).await;
    assert!(side.refusals().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_whatsapp_refuses_is_taken_all_the_same_and_noted_by_gowa() {
    let side = Side::start(&proven()).await;
    side.gowa.unlink_gowa("toko-1");
    assert!(side.tell(&message(9001)).await.is_empty());
    let notes = side.gowa.gowa_notes();
    assert_eq!(
        (notes.len(), notes[0].message_id, notes[0].conversation_id),
        (1, 9001, 9001)
    );
    // 200 is no word about WhatsApp, so nothing is put aside.
    assert!(side.refusals().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_one_by_one_with_the_words_on_the_first() {
    let side = Side::start(&proven()).await;
    side.gowa.configure_gowa(GowaConfigChange {
        chatwoot_sign_msg: Some(true),
        ..GowaConfigChange::default()
    });
    let file = |id: i64, kind: &str| {
        json!({"id": id, "message_id": 9001, "file_type": kind, "account_id": 3, "extension": null,
               "data_url": format!("https://chat.example/{id}"), "thumb_url": "", "file_size": 1})
    };
    let mut event = with(message(9001), &[("/content", json!("**ini** *fotonya* ~~ya~~"))]);
    event["attachments"] = json!([
        file(1, "image"),
        file(2, "audio"),
        file(3, "video"),
        file(4, "file")
    ]);
    let sent = side.tell(&event).await;
    let paths: Vec<_> = sent.iter().map(|send| send.path.as_str()).collect();
    assert_eq!(paths, ["/send/image", "/send/audio", "/send/video", "/send/file"]);
    let words: Vec<_> = sent.iter().map(|send| send.message.as_str()).collect();
    assert_eq!(words, ["*Budi Agen*\n\n*ini* _fotonya_ ~ya~", "", "", ""]);
    assert_eq!(sent[0].body["image_url"], "https://chat.example/1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_a_field_of_another_type_is_refused_for_good() {
    let side = Side::start(&proven()).await;
    assert!(
        side.tell(&with(message(9001), &[("/content", json!(7))]))
            .await
            .is_empty()
    );
    assert_eq!(side.refusals().await, ["http_400"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_shown_in_the_url_or_as_a_signature_and_else_refused() {
    let side = Side::start("").await;
    assert!(side.tell(&message(9001)).await.is_empty());
    assert_eq!(side.refusals().await, ["http_401"]);
    // Chatwoot's own signature proves nothing there; ours does.
    let url = format!("{}/gowa/chatwoot/webhook", side.gowa.base_url());
    let tools = &side.world.tools;
    put(tools, &that_signs(route(43, &url, tools), GOWA_SECRET, tools)).await;
    put(tools, &that_signs(route(44, &url, tools), "another", tools)).await;
    let at = |inbox: i64, id: i64| {
        with(
            message(id),
            &[
                ("/inbox/id", json!(inbox)),
                ("/conversation/inbox_id", json!(inbox)),
            ],
        )
    };
    assert_eq!(side.tell(&at(43, 9002)).await.len(), 1);
    assert!(side.tell(&at(44, 9003)).await.is_empty());
    assert_eq!(side.refusals().await, ["http_401", "http_401"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_the_path_names_takes_its_own_inbox_only() {
    let side = Side::start(&format!("/toko-1{}", proven())).await;
    // Without an inbox of its own it takes nothing.
    assert!(side.tell(&message(9001)).await.is_empty());
    let config = |inbox_id| GowaChatwoot {
        account_id: 3,
        inbox_id,
        enabled: true,
        ..GowaChatwoot::default()
    };
    side.gowa.set_gowa_chatwoot("toko-1", Some(config(42)));
    assert_eq!(side.tell(&message(9002)).await.len(), 1);
    assert!(side.refusals().await.is_empty());
    side.gowa.set_gowa_chatwoot("toko-1", Some(config(7)));
    assert!(side.tell(&message(9003)).await.is_empty());
    assert_eq!(side.refusals().await, ["http_401"]);
    // Only messages are looked at so closely.
    let other = with(message(9004), &[("/event", json!("conversation_updated"))]);
    assert!(side.tell(&other).await.is_empty());
    assert_eq!(side.refusals().await.len(), 1);

    let nobody = Side::start(&format!("/toko-9{}", proven())).await;
    assert!(nobody.tell(&message(9001)).await.is_empty());
    assert!(nobody.refusals().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn chatwoot_is_answered_while_gowa_waits_for_whatsapp() {
    let side = Side::start(&proven()).await;
    side.gowa.configure_gowa(GowaConfigChange {
        chatwoot_answer_delay_ms: Some(1_000),
        ..GowaConfigChange::default()
    });
    assert_eq!(post(&side.running, message(9001).to_string()).await, forwarded());
    // It was answered before the other one could be: GoWA's answer ends the event.
    let on_its_way = "SELECT count(*) AS n FROM forward_events";
    eventually("GoWA sent it", || async {
        (side.gowa.gowa_sends().len() == 1).then_some(())
    })
    .await;
    eventually("and answered", || async {
        (side.world.count(on_its_way).await == 0).then_some(())
    })
    .await;
    assert!(side.refusals().await.is_empty());
}
