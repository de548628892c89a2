//! The outer edge of the webhook receiver: who may post, how it is verified, and places of several people.

use channel_service::flows::tenant::{Actor, KeptPlacesChange, set_kept_places};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::harness::{Answer, Tenant, TestApp, Wishes, text};

const RARA: &str = "6281290000011";
const PATHS: [&str; 3] = ["/webhook", "/webhook/whatsapp", "/whatsapp"];

async fn with(settings: &'static [(&'static str, &'static str)]) -> TestApp {
    TestApp::with(Wishes {
        settings,
        ..Wishes::default()
    })
    .await
}

async fn verify(app: &TestApp, path: &str, query: &str) -> (u16, String) {
    let answer = app.get(&format!("{path}{query}")).await;
    assert!(
        answer.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain"),
        "{answer:?}"
    );
    (answer.status, answer.text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_repeats_the_challenge_to_whoever_has_the_token() {
    let app = with(&[("WA_WEBHOOK_VERIFY_TOKEN", "verify-me-please")]).await;
    for path in PATHS {
        let right = "?hub.mode=subscribe&hub.verify_token=verify-me-please&hub.challenge=81%3Cb%3E";
        assert_eq!(verify(&app, path, right).await, (200, "81<b>".to_owned()));
        for wrong in [
            "",
            "?hub.mode=subscribe&hub.challenge=1",
            "?hub.mode=subscribe&hub.verify_token=verify-me&hub.challenge=1",
            "?hub.mode=subscribe&hub.verify_token=verify-me-pleasf&hub.challenge=1",
            "?hub.mode=unsubscribe&hub.verify_token=verify-me-please&hub.challenge=1",
        ] {
            assert_eq!(
                verify(&app, path, wrong).await,
                (403, "Forbidden".to_owned()),
                "{wrong}"
            );
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_nothing_is_verified_unless_a_setting_says_so() {
    let app = TestApp::spawn().await;
    let challenge = "?hub.mode=subscribe&hub.verify_token=x&hub.challenge=17";
    for query in [challenge, ""] {
        let closed = (500, "Webhook not configured".to_owned());
        assert_eq!(verify(&app, "/webhook", query).await, closed);
    }
    app.finish().await;

    let app = with(&[("WA_WEBHOOK_VERIFY_ANYBODY", "true")]).await;
    assert_eq!(verify(&app, "/webhook", challenge).await, (200, "17".to_owned()));
    for other in ["", "?hub.mode=subscribe", "?hub.challenge=17"] {
        assert_eq!(
            verify(&app, "/webhook", other).await,
            (200, "OK".to_owned()),
            "{other}"
        );
    }
    app.finish().await;
}

/// A webhook with what proxies would have written.
async fn post_via(app: &TestApp, tenant: &Tenant, id: &str, forwarded: &[&str]) -> Answer {
    let webhook = tenant.json(&text(RARA, id, "halo"));
    let mut request = app
        .http()
        .post(format!("{}/webhook", app.url))
        .header("content-type", webhook.content_type)
        .header("x-hmac-signature", webhook.signature.clone().unwrap())
        .body(webhook.body.clone());
    for line in forwarded {
        request = request.header("x-forwarded-for", *line);
    }
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_sources_looks_at_the_socket_and_not_at_what_a_caller_writes() {
    let app = with(&[("WEBHOOK_ALLOWED_IPS", "203.0.113.0/24")]).await;
    let desa = app.tenant("desa-satu").await;
    for forwarded in [&[][..], &["203.0.113.7"], &["203.0.113.7, 127.0.0.1"]] {
        let refused = post_via(&app, &desa, "3EB0NO", forwarded).await;
        refused.assert_error(403, "source_not_allowed");
        assert_eq!(refused.json()["error"], "Forbidden");
    }
    assert_eq!(
        (app.count("messages").await, app.count("quarantine").await),
        (0, 0)
    );
    // Asking whether we are here is no webhook.
    assert_eq!(verify(&app, "/webhook", "").await.0, 500);
    app.finish().await;

    let app = with(&[("WEBHOOK_ALLOWED_IPS", "127.0.0.0/8, ::1")]).await;
    let desa = app.tenant("desa-satu").await;
    post_via(&app, &desa, "3EB0YES", &["198.51.100.1"])
        .await
        .assert_kept();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_listed_proxy_the_address_it_wrote_counts() {
    let app = with(&[
        ("WEBHOOK_ALLOWED_IPS", "203.0.113.7"),
        ("TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8"),
    ])
    .await;
    let desa = app.tenant("desa-satu").await;
    for (number, forwarded) in [
        &["203.0.113.7"][..],
        &["203.0.113.7, 10.1.2.3"],
        &["198.51.100.1, 203.0.113.7"],
        &["198.51.100.1", "203.0.113.7", "10.1.2.3"],
    ]
    .into_iter()
    .enumerate()
    {
        post_via(&app, &desa, &format!("3EB0P{number}"), forwarded)
            .await
            .assert_kept();
    }
    for forwarded in [
        &[][..],
        &["198.51.100.1"],
        // The listed address is what a stranger claimed; the stranger is what the proxy saw.
        &["203.0.113.7, 198.51.100.1"],
        &["203.0.113.7, unknown"],
        &["203.0.113.7", "198.51.100.1, 10.1.2.3"],
    ] {
        let refused = post_via(&app, &desa, "3EB0NO", forwarded).await;
        refused.assert_error(403, "source_not_allowed");
    }
    app.finish().await;
}

fn in_place(chat: &str, id: &str, words: &str) -> Value {
    json!({"type": "Message", "event": {
        "Info": {
            "Chat": chat, "Sender": "204466881133557:7@lid", "SenderAlt": format!("{RARA}:7@s.whatsapp.net"),
            "RecipientAlt": "", "IsFromMe": false, "IsGroup": true, "ID": id, "Type": "text", "PushName": "Rara",
            "Timestamp": chrono::Utc::now().to_rfc3339(),
        },
        "Message": {"conversation": words},
    }})
}

const PLACES: [(&str, &str, &str); 3] = [
    ("group", "120363000000000001@g.us", "Group message ignored"),
    ("broadcast", "1700000000@broadcast", "Broadcast message ignored"),
    ("status", "status@broadcast", "Status update ignored"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_ignored_until_the_tenant_wants_them_and_then_chats_of_their_own() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    for (place, chat, ignored) in PLACES {
        app.post(&satu.json(&in_place(chat, &format!("3EB0I{place}"), "hai")))
            .await
            .assert_done(ignored);
    }
    assert_eq!(app.count("chats").await, 0);
    let change = KeptPlacesChange {
        groups: Some(true),
        broadcasts: Some(true),
        status: Some(true),
    };
    let operator = Actor::operator();
    let set = set_kept_places(&app.direct, &app.routes, &satu.scope(), change, &operator).await;
    assert!(set.unwrap());
    for (place, chat, _) in PLACES {
        // The receiver follows within a second.
        let mut number = 0;
        loop {
            number += 1;
            let event = in_place(chat, &format!("3EB0K{place}{number}"), place);
            if app.post(&satu.json(&event)).await.json()["message_id"].is_string() {
                break;
            }
            assert!(number < 100, "{place} is never kept");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    // Another tenant's wish is its own.
    app.post(&dua.json(&in_place(PLACES[0].1, "3EB0D", "hai")))
        .await
        .assert_done(PLACES[0].2);

    let rows = app
        .rows(
            "SELECT c.address, c.phone, c.name, c.unread, m.sender, m.sender_name, m.body FROM chats c \
             JOIN messages m ON m.chat_id = c.id ORDER BY m.body",
        )
        .await;
    let row = |address: &str, unread: i32, body: &str| {
        json!({"address": address, "phone": null, "name": null, "unread": unread, "body": body,
               "sender": format!("{RARA}@s.whatsapp.net"), "sender_name": "Rara"})
    };
    assert_eq!(
        json!(rows),
        json!([
            row(PLACES[1].1, 1, "broadcast"),
            row(PLACES[0].1, 1, "group"),
            row(PLACES[2].1, 0, "status")
        ])
    );
    app.until_published().await;
    let heard = eventually("three events", || async {
        Some(app.data_of("message.received")).filter(|heard| heard.len() == 3)
    })
    .await;
    for data in &heard {
        assert_eq!(data["place"], data["text"]);
        assert_eq!(
            data["sender"],
            json!({"address": format!("{RARA}@s.whatsapp.net"), "name": "Rara"})
        );
        assert!(data["partner"]["phone"].is_null() && data["partner"]["name"].is_null());
    }
    assert!(app.govconnect().is_empty(), "an AI would answer into the group");
    let acts = app
        .values("SELECT action AS value FROM audit_log WHERE action = 'tenant.keep_places'")
        .await;
    assert_eq!(acts.len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_the_contracts_samples_end_as_it_says() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    for (sample, outcome) in [
        (
            include_str!("../../../../crates/whatsapp/tests/fixtures/c-group.json"),
            "Group message ignored",
        ),
        (
            include_str!("../../../../crates/whatsapp/tests/fixtures/c-receipt.json"),
            "Receipt recorded",
        ),
    ] {
        let event: Value = serde_json::from_str(sample).unwrap();
        app.post(&desa.json(&event)).await.assert_done(outcome);
    }
    let own = include_str!("../../../../crates/whatsapp/tests/fixtures/c-own.json");
    app.post(&desa.json(&serde_json::from_str(own).unwrap()))
        .await
        .assert_kept();
    assert_eq!(
        app.rows("SELECT direction, source, body FROM messages").await,
        [json!({"direction": "outbound", "source": "phone", "body": "baik, ditunggu"})]
    );
    // Not every method is one of the route's.
    let wrong = app.request(Method::PUT, "/webhook").await;
    assert_eq!(wrong.status, 404);
    app.finish().await;
}
