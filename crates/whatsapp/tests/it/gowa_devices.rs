//! GoWA's devices, against a server that answers so: made once, connected, asked for a code, and missed where there is none.

use domain::address::PhoneNumber;
use serde_json::{Value, json};
use whatsapp::credentials::{SessionToken, WebhookKey};
use whatsapp::genfity::Removal;
use whatsapp::gowa::{DeviceWebhook, GowaDevices, GowaSessions, NewDevice};
use whatsapp::session::{FailureReason, ManageSession, Upkeep};

use crate::gowa_server::{device, endpoint, first_lines, refuses, results};
use crate::server::{Manner, answer, serve};

#[tokio::test]
async fn a_code_is_fetched_from_the_endpoint_wherever_the_link_points() {
    let login = json!({"device_id": "x", "qr_link": "http://evil.example/v1/wa/statics/qrcode/a.png", "qr_duration": 30});
    let png = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\n".as_slice(),
        b"\x89PNG\r\n\x1a\n",
    ]
    .concat();
    let (base, asked) = serve(vec![results(login.clone()), Manner::Say(png)]).await;
    let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
    let code = sessions.qr(&device()).await.unwrap();
    assert_eq!(code.0, "data:image/png;base64,iVBORw0KGgo=");
    assert_eq!(
        first_lines(&asked.await.unwrap()),
        [
            "GET /v1/wa/devices/toko%2F1/login",
            "GET /v1/wa/statics/qrcode/a.png"
        ]
    );
    // What is no picture is handed to nobody.
    let (base, _asked) = serve(vec![results(login), Manner::Say(answer(200, "", "<script>"))]).await;
    let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
    assert_eq!(
        sessions.qr(&device()).await.unwrap_err().reason,
        FailureReason::Unreadable
    );
    let (base, _asked) = serve(vec![refuses(400, "ALREADY_LOGGED_IN")]).await;
    let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
    assert_eq!(
        sessions.qr(&device()).await.unwrap_err().reason,
        FailureReason::AlreadyLoggedIn
    );
}

#[tokio::test]
async fn connecting_tells_the_webhook_again_and_begins_what_is_needed() {
    let upkeep = Upkeep {
        webhook_url: Some("https://here.example/webhook/gowa/toko".to_owned()),
        webhook_key: Some(WebhookKey::new("key").unwrap()),
    };
    let status = |up: bool| results(json!({"device_id": "toko/1", "is_connected": up, "is_logged_in": up}));
    let device_is = |jid: &str| results(json!({"id": "toko/1", "state": "x", "jid": jid, "created_at": "x"}));
    let told = || {
        vec![
            results(json!({"webhook_url": "", "webhook_secret": "", "webhook_events": ""})),
            results(json!({})),
        ]
    };
    for (then, details, last) in [
        (
            vec![status(true)],
            "Already connected",
            "GET /v1/wa/devices/toko%2F1/status",
        ),
        (
            vec![
                status(false),
                device_is("628:1@s.whatsapp.net"),
                results(Value::Null),
            ],
            "Reconnect requested",
            "POST /v1/wa/devices/toko%2F1/reconnect",
        ),
        (
            vec![
                status(false),
                device_is("628:1@s.whatsapp.net"),
                refuses(401, "AUTHENTICATION_ERROR"),
                results(json!({"qr_link": "x"})),
            ],
            "Login started",
            "GET /v1/wa/devices/toko%2F1/login",
        ),
        (
            vec![status(false), device_is(""), results(json!({"qr_link": "x"}))],
            "Login started",
            "GET /v1/wa/devices/toko%2F1/login",
        ),
    ] {
        let manners = told().into_iter().chain(then).collect();
        let (base, asked) = serve(manners).await;
        let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
        assert_eq!(sessions.connect(&device(), &upkeep).await.unwrap().0, details);
        let asked = asked.await.unwrap();
        assert_eq!(first_lines(&asked).last().map(String::as_str), Some(last));
        let told: Value = serde_json::from_str(asked[1].split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(
            (told["webhook_url"].as_str(), told["webhook_secret"].as_str()),
            (Some("https://here.example/webhook/gowa/toko"), Some("key"))
        );
    }
}

#[tokio::test]
async fn a_device_that_is_not_there_is_told_apart_from_a_server_in_trouble() {
    let list = |devices: Value| results(devices);
    for (devices, reason) in [
        (json!([]), FailureReason::UnknownToken),
        (json!([{"id": "toko/1", "state": "x"}]), FailureReason::Refused),
    ] {
        let (base, _asked) = serve(vec![refuses(500, "INTERNAL_SERVER_ERROR"), list(devices)]).await;
        let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
        assert_eq!(sessions.status(&device()).await.unwrap_err().reason, reason);
    }
    for (manner, reason) in [
        (refuses(401, "AUTHENTICATION_ERROR"), FailureReason::NotLoggedIn),
        // Our own user is refused: that says nothing about the device.
        (
            Manner::Say(answer(401, "", "Unauthorized")),
            FailureReason::Refused,
        ),
        (
            refuses(503, "DEVICE_MANAGER_UNAVAILABLE"),
            FailureReason::NoAnswer,
        ),
        (Manner::Say(Vec::new()), FailureReason::NoAnswer),
    ] {
        let (base, _asked) = serve(vec![manner]).await;
        let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
        assert_eq!(sessions.logout(&device()).await.unwrap_err().reason, reason);
    }
    let sessions = GowaSessions::new(&endpoint("http://127.0.0.1:1")).unwrap();
    let refused = sessions.disconnect(&device()).await.unwrap_err();
    assert_eq!(refused.reason, FailureReason::Refused);
    assert!(refused.said.as_str().contains("log it out"));
    let phone = PhoneNumber::parse("628123450001").unwrap();
    let (base, asked) = serve(vec![results(json!({"device_id": "x", "pair_code": "ABCD-1234"}))]).await;
    let sessions = GowaSessions::new(&endpoint(&base)).unwrap();
    assert_eq!(
        sessions.pair_phone(&device(), &phone).await.unwrap().0,
        "ABCD-1234"
    );
    assert_eq!(
        first_lines(&asked.await.unwrap()),
        ["POST /v1/wa/devices/toko%2F1/login/code?phone=628123450001"]
    );
}

#[tokio::test]
async fn a_device_is_made_once() {
    let new = NewDevice {
        id: SessionToken::new("toko-1").unwrap(),
        webhook: Some(DeviceWebhook {
            url: "https://here.example/webhook/gowa/toko".to_owned(),
            key: WebhookKey::new("key").unwrap(),
        }),
    };
    let there = || results(json!([{"id": "toko-1", "state": "disconnected", "jid": null}]));
    let made = || results(json!({"id": "toko-1", "state": "disconnected", "jid": ""}));
    for (manners, lines) in [
        (
            vec![results(json!([])), made()],
            vec!["GET /v1/wa/devices", "POST /v1/wa/devices"],
        ),
        (
            vec![there(), results(json!({}))],
            vec!["GET /v1/wa/devices", "PATCH /v1/wa/devices/toko-1/webhook"],
        ),
        // The answer was lost, or somebody else was faster.
        (
            vec![
                results(json!([])),
                refuses(500, "INTERNAL_SERVER_ERROR"),
                there(),
                results(json!({})),
            ],
            vec![
                "GET /v1/wa/devices",
                "POST /v1/wa/devices",
                "GET /v1/wa/devices",
                "PATCH /v1/wa/devices/toko-1/webhook",
            ],
        ),
    ] {
        let (base, asked) = serve(manners).await;
        let devices = GowaDevices::new(&endpoint(&base)).unwrap();
        assert_eq!(devices.ensure(&new).await.unwrap().id, "toko-1");
        assert_eq!(first_lines(&asked.await.unwrap()), lines);
    }
    for (manners, removal) in [
        (vec![results(Value::Null)], Removal::Removed),
        (
            vec![refuses(500, "INTERNAL_SERVER_ERROR"), results(json!([]))],
            Removal::WasAbsent,
        ),
    ] {
        let (base, _asked) = serve(manners).await;
        let devices = GowaDevices::new(&endpoint(&base)).unwrap();
        assert_eq!(devices.remove(&new.id).await.unwrap(), removal);
    }
    let (base, _asked) = serve(vec![refuses(500, "INTERNAL_SERVER_ERROR"), there()]).await;
    let devices = GowaDevices::new(&endpoint(&base)).unwrap();
    assert!(devices.remove(&new.id).await.is_err());
}

#[tokio::test]
async fn a_key_that_is_told_is_in_no_error() {
    const KEY: &str = "key-that-nobody-else-may-have";
    let new = NewDevice {
        id: SessionToken::new("toko-1").unwrap(),
        webhook: Some(DeviceWebhook {
            url: "https://here.example/webhook/gowa/toko".to_owned(),
            key: WebhookKey::new(KEY).unwrap(),
        }),
    };
    let echo = || {
        let words = format!("cannot read {{\"webhook_secret\":\"{KEY}\"}}");
        Manner::Say(answer(
            400,
            "",
            &json!({"code": "BAD_REQUEST", "message": words}).to_string(),
        ))
    };
    let there = results(json!([{"id": "toko-1", "state": "disconnected"}]));
    for manners in [
        // Made, and told again.
        vec![results(json!([])), echo(), results(json!([]))],
        vec![there, echo()],
    ] {
        let (base, _asked) = serve(manners).await;
        let devices = GowaDevices::new(&endpoint(&base)).unwrap();
        let error = devices.ensure(&new).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("cannot read"), "{shown}");
        assert!(!shown.contains(KEY), "{shown}");
    }
}
