//! Events of a session tell where it stands.

use serde_json::{Value, json};

use super::world::{HookedSession, Receiver, ask, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sessions_own_events_say_where_it_stands_and_no_other() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    HookedSession::make(&gateway, "desa-b", &receiver.url()).await;
    let of = |customer: &str| {
        format!(
            "SELECT concat_ws('|', connected, logged_in, jid, status, last_synced_at IS NOT NULL) FROM sessions \
             WHERE tenant_id = '{customer}'"
        )
    };
    let before = ask(&gateway.database, &of("desa-b")).await;
    let jid = "6281100000009:12@s.whatsapp.net";
    for (kind, event, expected) in [
        ("QR", Value::from("code"), "t|f||qr_waiting|t".to_owned()),
        (
            "PairSuccess",
            json!({"ID": jid}),
            format!("t|t|{jid}|connected|t"),
        ),
        ("Connected", json!({}), format!("t|t|{jid}|connected|t")),
        ("Disconnected", json!({}), format!("f|t|{jid}|disconnected|t")),
        ("Connected", json!({}), format!("t|t|{jid}|connected|t")),
        ("Presence", json!({}), format!("t|t|{jid}|connected|t")),
        (
            "LoggedOut",
            json!({"OnConnect": false, "Reason": 401}),
            "f|f||disconnected|t".to_owned(),
        ),
    ] {
        session
            .accepted(&gateway, &session.event_of(kind, event, kind))
            .await;
        // It is committed together with the event.
        assert_eq!(ask(&gateway.database, &of("desa-a")).await, expected, "{kind}");
    }
    assert_eq!(ask(&gateway.database, &of("desa-b")).await, before);
    receiver.until(7).await;
    receiver.stop().await;
    gateway.stop().await;
}
