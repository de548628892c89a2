//! Incoming messages are marked as read where a session wants that.

use serde_json::{Value, json};
use test_support::eventually;

use super::world::{COUNTS, FORM, HookedSession, KEPT, Receiver, start, until_it_is};
use crate::support::Gateway;

fn message(session: &HookedSession, id: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut event = json!({
        "Info": {
            "Chat": "6281200000001@s.whatsapp.net", "Sender": "6281200000001:3@s.whatsapp.net", "IsFromMe": false,
            "IsGroup": false, "ID": id, "Type": "text", "PushName": "Budi", "Timestamp": "2026-02-17T09:15:04-03:00",
        },
        "Message": {"conversation": "Selamat pagi"},
    });
    change(&mut event);
    session.event_of("Message", event, id)
}

async fn marked(gateway: &Gateway, many: usize) -> Vec<Value> {
    eventually("the messages are marked", || async {
        Some(gateway.wa.marks()).filter(|marks| marks.len() >= many)
    })
    .await
    .into_iter()
    .map(|seen| seen.json)
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_messages_are_marked_and_nothing_else() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    let quiet = HookedSession::make(&gateway, "desa-b", &receiver.url()).await;
    gateway
        .sql("UPDATE sessions SET auto_read_enabled = true WHERE tenant_id = 'desa-a'")
        .await;

    quiet.accepted(&gateway, &message(&quiet, "QUIET", |_| {})).await;
    let own = |event: &mut Value| event["Info"]["IsFromMe"] = true.into();
    session.accepted(&gateway, &message(&session, "OWN", own)).await;
    let group = |event: &mut Value| {
        event["Info"]["IsGroup"] = true.into();
        event["Info"]["Chat"] = "120363040000000001@g.us".into();
    };
    session
        .accepted(&gateway, &message(&session, "GROUP", group))
        .await;
    let status = |event: &mut Value| event["Info"]["Chat"] = "status@broadcast".into();
    session
        .accepted(&gateway, &message(&session, "STATUS", status))
        .await;
    let reaction = |event: &mut Value| {
        event["Message"] = json!({"reactionMessage": {"key": {"ID": "A1", "fromMe": true}, "text": "x"}});
    };
    session
        .accepted(&gateway, &message(&session, "REACTION", reaction))
        .await;
    session
        .accepted(&gateway, &message(&session, "JSON", |_| {}))
        .await;
    // And in the server's other form, from somebody who is known by a hidden id only.
    let hidden = |event: &mut Value| {
        event["Info"]["Chat"] = "190000000000001@lid".into();
        event["Info"]["Sender"] = "190000000000001@lid".into();
    };
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("instanceName", "desa-a")
        .append_pair("jsonData", &message(&session, "FORM", hidden))
        .append_pair("userID", &session.session_id)
        .finish();
    assert_eq!(session.post(&gateway, FORM, body.as_bytes()).await.status(), 200);

    let marks = marked(&gateway, 2).await;
    assert_eq!(
        marks,
        [
            json!({"Id": ["JSON"], "ChatPhone": "6281200000001", "SenderPhone": "6281200000001"}),
            json!({"Id": ["FORM"], "ChatPhone": "190000000000001@lid", "SenderPhone": "190000000000001@lid"}),
        ]
    );
    let token = gateway.wa.marks()[0].header("token").unwrap().to_owned();
    let users = gateway.wa.users();
    let user = users
        .iter()
        .find(|user| user["id"] == session.session_id.as_str())
        .unwrap();
    assert_eq!(user["token"], token);
    receiver.until(7).await;
    until_it_is(&gateway, KEPT, "0").await;
    assert_eq!(gateway.wa.marks().len(), 2);
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_fails_delays_no_delivery_and_is_given_up() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    gateway.sql("UPDATE sessions SET auto_read_enabled = true").await;
    gateway.wa.refuse_marks(4);
    for id in ["GIVEN-UP", "SECOND", "THIRD"] {
        session.accepted(&gateway, &message(&session, id, |_| {})).await;
    }
    receiver.until(3).await;
    // Three tries for the first one, two for the second.
    let marks = marked(&gateway, 6).await;
    let ids: Vec<&str> = marks.iter().map(|mark| mark["Id"][0].as_str().unwrap()).collect();
    assert_eq!(
        ids,
        ["GIVEN-UP", "GIVEN-UP", "GIVEN-UP", "SECOND", "SECOND", "THIRD"]
    );
    until_it_is(&gateway, KEPT, "0").await;
    until_it_is(&gateway, COUNTS, "3 3 0 0 0 0").await;

    // Without a receiver there is still somebody who reads.
    gateway.sql("UPDATE sessions SET webhook_url = NULL").await;
    session
        .accepted(&gateway, &message(&session, "ALONE", |_| {}))
        .await;
    assert_eq!(marked(&gateway, 7).await[6]["Id"][0], "ALONE");
    until_it_is(&gateway, KEPT, "0").await;
    receiver.stop().await;
    gateway.stop().await;
}
