//! A customer's sessions over HTTP (contract §7.2 to §7.7), with a WA server that can refuse.

use serde_json::{Value, json};
use test_support::eventually;

use crate::support::{Fault, Gateway, Owner};

const HOOK: &str = "https://hook.invalid/wa?of=desa-a";

async fn create(gateway: &Gateway, owner: &Owner, body: Value) -> Value {
    let (status, answer) = gateway.ask(owner, "POST", "/v1/sessions", body).await;
    assert_eq!(status, 201, "{answer}");
    answer["session"].clone()
}

fn id(session: &Value) -> String {
    session["session_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_made_listed_changed_and_removed() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 2).await;
    let (status, none) = gateway.ask(&owner, "GET", "/v1/sessions", Value::Null).await;
    assert_eq!((status, &none), (200, &json!({"sessions": []})));

    let made = create(&gateway, &owner, json!({
        "session_name": "desa-contoh", "Webhook_URL": HOOK, "events": " Message , QR", "expiration_sec": 60,
        "history": 5, "unknown": [1],
    }))
    .await;
    for (field, value) in [
        ("user_id", json!("desa-a")),
        ("provider", json!("genfity-wa")),
        ("session_name", json!("desa-contoh")),
        ("webhook_url", json!(HOOK)),
        ("events", json!("Message,QR")),
        ("connected", json!(false)),
        ("logged_in", json!(false)),
        ("jid", json!("")),
        ("status", json!("created")),
        ("last_activity_at", Value::Null),
        ("last_message_sent", json!(0)),
        ("last_message_fail", json!(0)),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    let token = made["session_token"].as_str().unwrap();
    assert!(token.starts_with("wat_") && token.len() == 47);
    assert!(made["id"].is_i64() && made["created_at"].is_string() && made["last_synced_at"].is_string());
    let user = gateway.wa.user("desa-contoh");
    assert_eq!(
        (
            &user["id"],
            &user["token"],
            &user["webhook"],
            &user["events"],
            &user["expiration"],
            &user["history"]
        ),
        (
            &made["session_id"],
            &json!(token),
            &json!(HOOK),
            &json!("Message,QR"),
            &json!(60),
            &json!(5)
        )
    );
    assert!(user["hmacKey"].as_str().unwrap().len() >= 32);
    assert_eq!(
        gateway.wa.calls(),
        ["POST /admin/users"],
        "nothing else, as nobody asked to connect it"
    );

    let second = create(&gateway, &owner, json!({"session_name": "second"})).await;
    assert_eq!(
        (&second["webhook_url"], &second["events"]),
        (&json!(""), &json!("Message,Connected,Disconnected,QR"))
    );
    let (_, listed) = gateway.ask(&owner, "GET", "/v1/sessions", Value::Null).await;
    let listed = listed["sessions"].as_array().unwrap().clone();
    assert_eq!(listed[0]["session_name"], "second", "newest change first");
    assert_eq!(listed[1]["session_id"], made["session_id"]);
    assert!(
        listed.iter().all(|session| session["session_token"] == ""),
        "tokens are shown once (W-08)"
    );
    let (_, page) = gateway
        .ask(&owner, "GET", "/v1/sessions?page=2&limit=1", Value::Null)
        .await;
    assert_eq!(page["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(page["sessions"][0]["session_id"], made["session_id"]);

    let path = format!("/v1/sessions/{}", id(&made));
    let change =
        json!({"session_name": "renamed", "history": 7, "typing_enabled": true, "auto_read_enabled": true});
    let (status, changed) = gateway.ask(&owner, "PUT", &path, change).await;
    assert_eq!(
        (status, &changed["session"]["session_name"]),
        (200, &json!("renamed"))
    );
    assert_eq!(changed["session"]["typing_enabled"], true);
    assert_eq!(gateway.wa.user("renamed")["history"], 7);
    let (_, listed) = gateway.ask(&owner, "GET", "/v1/sessions", Value::Null).await;
    assert_eq!(listed["sessions"][0]["session_name"], "renamed", "W-16");
    // The old name is free again.
    let other = gateway.owner("desa-b", 1).await;
    create(&gateway, &other, json!({"session_name": "desa-contoh"})).await;

    let answer = gateway
        .client
        .get(gateway.url("/wa/session/status"))
        .header("token", token)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let (status, removed) = gateway.ask(&owner, "DELETE", &path, Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(
        removed,
        json!({
            "code": 200, "data": {"id": id(&made), "name": "renamed", "jid": ""},
            "details": "user instance removed completely", "success": true,
        })
    );
    assert!(
        gateway
            .wa
            .users()
            .iter()
            .all(|user| user["id"] != made["session_id"])
    );
    let (status, gone) = gateway.ask(&owner, "DELETE", &path, Value::Null).await;
    assert_eq!(
        (status, &gone["message"], &gone["code"]),
        (404, &json!("session not found"), &json!("session_not_found"))
    );
    let answer = gateway
        .client
        .get(gateway.url("/wa/session/status"))
        .header("token", token)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401, "its token opens nothing");
    assert_eq!(
        gateway
            .count("SELECT count(*) FROM tenant_directory WHERE kind = 'session_name'")
            .await,
        2
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_reach_the_wa_server_and_are_read_back() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    let made = create(
        &gateway,
        &owner,
        json!({"session_name": "desa-a", "webhook_url": HOOK, "events": "All"}),
    )
    .await;
    let path = format!("/v1/sessions/{}/settings", id(&made));
    let (status, settings) = gateway.ask(&owner, "GET", &path, Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(
        settings,
        json!({
            "session_id": id(&made), "webhook_url": HOOK, "events": "All", "auto_read_enabled": false,
            "typing_enabled": false, "message_stat_sent": 0, "message_stat_failed": 0,
        })
    );

    // W-06: address and events are both right afterwards (acceptance check 7).
    gateway.wa.forget();
    let new = json!({"webhook_url": "https://hook.invalid/new", "session_name": "ignored"});
    let (status, answer) = gateway.ask(&owner, "PUT", &path, new).await;
    assert_eq!((status, &answer), (200, &json!({"message": "settings updated"})));
    let user = gateway.wa.user("desa-a");
    assert_eq!(
        (&user["webhook"], &user["events"]),
        (&json!("https://hook.invalid/new"), &json!("All"))
    );
    assert_eq!(gateway.wa.calls(), ["PUT /webhook", "GET /webhook"]);

    let (status, _) = gateway
        .ask(&owner, "PUT", &path, json!({"events": "QR, Message"}))
        .await;
    assert_eq!(
        (status, &gateway.wa.user("desa-a")["events"]),
        (200, &json!("QR,Message"))
    );
    let (status, _) = gateway
        .ask(
            &owner,
            "PUT",
            &path,
            json!({"typing_enabled": true, "auto_read_enabled": true}),
        )
        .await;
    let (_, settings) = gateway.ask(&owner, "GET", &path, Value::Null).await;
    assert_eq!(
        (
            status,
            &settings["typing_enabled"],
            &settings["auto_read_enabled"]
        ),
        (200, &json!(true), &json!(true))
    );
    assert_eq!(
        (&settings["events"], &settings["webhook_url"]),
        (&json!("QR,Message"), &json!("https://hook.invalid/new"))
    );
    let (status, _) = gateway.ask(&owner, "PUT", &path, json!({})).await;
    assert_eq!(status, 200, "nothing is to be changed");

    // Its failure is our 502, and the row stays as it was; in words that tell nothing of it.
    for (method, fault) in [
        ("PUT", Fault::Status(500)),
        ("PUT", Fault::Status(401)),
        // It says yes and does nothing: only reading back shows it.
        ("PUT", Fault::Garbage),
        ("GET", Fault::Garbage),
    ] {
        gateway.wa.fail(method, "/webhook", fault, 1);
        let (status, answer) = gateway
            .ask(
                &owner,
                "PUT",
                &path,
                json!({"webhook_url": "https://hook.invalid/x"}),
            )
            .await;
        assert_eq!(status, 502, "{method} {fault:?}: {answer}");
        assert!(!answer.to_string().contains("s3cret"), "{answer}");
        let (_, settings) = gateway.ask(&owner, "GET", &path, Value::Null).await;
        assert_eq!(
            settings["webhook_url"], "https://hook.invalid/new",
            "{method} {fault:?}"
        );
        eventually("the WA server is told again what the row says", || async {
            let due = gateway
                .count("SELECT count(*) FROM sessions WHERE upkeep_due IS NOT NULL")
                .await;
            let user = gateway.wa.user("desa-a");
            (due == 0 && user["webhook"] == "https://hook.invalid/new").then_some(())
        })
        .await;
    }

    let (status, _) = gateway
        .ask(&owner, "PUT", &path, json!({"webhook_url": ""}))
        .await;
    assert_eq!((status, &gateway.wa.user("desa-a")["webhook"]), (200, &json!("")));
    let (_, settings) = gateway.ask(&owner, "GET", &path, Value::Null).await;
    assert_eq!(settings["webhook_url"], "");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_relay_the_wa_server_posts_to_us_and_the_customer_keeps_its_address() {
    let gateway = Gateway::start_with(|settings| {
        use runtime::config::Setting as _;
        settings.relay.public_base = runtime::config::BaseUrl::from_text("http://gateway.example.id");
    })
    .await;
    let owner = gateway.owner("desa-a", 1).await;
    let key = "a-customers-key-of-more-than-32-characters";
    let made = create(
        &gateway,
        &owner,
        json!({"session_name": "desa-a", "webhook_url": HOOK, "hmac_key": key}),
    )
    .await;
    assert_eq!(made["webhook_url"], HOOK);
    let user = gateway.wa.user("desa-a");
    let hook = user["webhook"].as_str().unwrap();
    let session = hook.strip_prefix("http://gateway.example.id/hooks/").unwrap();
    assert!(session.parse::<uuid::Uuid>().is_ok());
    assert_ne!(user["hmacKey"], key, "the WA server signs with a key of ours");
    let (status, _) = gateway
        .ask(
            &owner,
            "PUT",
            &format!("/v1/sessions/{}/settings", id(&made)),
            json!({"webhook_url": ""}),
        )
        .await;
    assert_eq!(
        (status, &gateway.wa.user("desa-a")["webhook"]),
        (200, &json!("")),
        "nobody is left to tell"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_relay_the_wa_server_signs_with_the_customers_key() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    let key = "a-customers-key-of-more-than-32-characters";
    let made = create(
        &gateway,
        &owner,
        json!({"session_name": "desa-a", "webhook_url": HOOK, "hmac_key": key}),
    )
    .await;
    assert_eq!(gateway.wa.user("desa-a")["hmacKey"], key);
    assert!(!made.to_string().contains(key));
    let another = "another-key-of-more-than-32-characters-xx";
    let path = format!("/v1/sessions/{}", id(&made));
    let (status, answer) = gateway
        .ask(&owner, "PUT", &path, json!({"hmac_key": another}))
        .await;
    assert_eq!(
        (status, &gateway.wa.user("desa-a")["hmacKey"]),
        (200, &json!(another))
    );
    assert!(!answer.to_string().contains(another));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_before_anybody_hears_of_it() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    for (body, code) in [
        (json!({}), "invalid_field"),
        (json!({"session_name": ""}), "invalid_field"),
        (json!({"session_name": 7}), "invalid_field"),
        (json!({"session_name": "a".repeat(256)}), "invalid_field"),
        (
            json!({"session_name": "a", "events": "Message,Nonsense"}),
            "invalid_field",
        ),
        (json!({"session_name": "a", "history": true}), "invalid_field"),
        (json!({"session_name": "a", "history": -1}), "invalid_field"),
        (
            json!({"session_name": "a", "expiration_sec": "60"}),
            "invalid_field",
        ),
        (
            json!({"session_name": "a", "auto_connect": "yes"}),
            "invalid_field",
        ),
        (json!({"session_name": "a", "hmac_key": "short"}), "invalid_field"),
        (
            json!({"session_name": "a", "webhook_url": "ftp://hook.invalid"}),
            "invalid_webhook_url",
        ),
        (
            json!({"session_name": "a", "webhook_url": "http://u:p@hook.invalid"}),
            "invalid_webhook_url",
        ),
        (
            json!({"session_name": "a", "webhook_url": "http://127.0.0.1:3001/webhook"}),
            "invalid_webhook_url",
        ),
        (
            json!({"session_name": "a", "webhook_url": "http://[::1]/"}),
            "invalid_webhook_url",
        ),
        (
            json!({"session_name": "a", "webhook_url": "http://localhost/"}),
            "invalid_webhook_url",
        ),
        (
            json!({"session_name": "a", "webhook_url": "http://wa-api:8080/admin/users"}),
            "invalid_webhook_url",
        ),
        (
            json!({"session_name": "a", "webhook_url": "no address"}),
            "invalid_webhook_url",
        ),
        (
            json!({"session_name": "a", "webhook_url": format!("https://hook.invalid/{}", "a".repeat(2048))}),
            "invalid_webhook_url",
        ),
    ] {
        let (status, answer) = gateway.ask(&owner, "POST", "/v1/sessions", body.clone()).await;
        assert_eq!((status, &answer["code"]), (400, &json!(code)), "{body} {answer}");
        assert!(answer["message"].is_string() && answer["request_id"].is_string());
    }
    let (status, answer) = gateway.ask(&owner, "POST", "/v1/sessions", Value::Null).await;
    assert_eq!((status, &answer["code"]), (400, &json!("body_required")));
    assert!(gateway.wa.calls().is_empty());
    assert_eq!(gateway.count("SELECT count(*) FROM sessions").await, 0);

    let made = create(&gateway, &owner, json!({"session_name": "a"})).await;
    gateway.wa.forget();
    let path = format!("/v1/sessions/{}", id(&made));
    for body in [
        json!({"webhook_url": "http://10.0.0.1/"}),
        json!({"events": "x"}),
        json!({"session_name": " "}),
    ] {
        for path in [path.clone(), format!("{path}/settings")] {
            let (status, answer) = gateway.ask(&owner, "PUT", &path, body.clone()).await;
            assert_eq!(status, 400, "{path} {body} {answer}");
        }
    }
    assert!(gateway.wa.calls().is_empty());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_host_that_is_listed_may_be_named_with_its_port() {
    let gateway = Gateway::start_with(|settings| {
        use runtime::config::Setting as _;
        settings.sessions.private_hosts =
            outbound_url::OutboundPolicy::from_text("127.0.0.1:3001,channel:3001").unwrap();
    })
    .await;
    let owner = gateway.owner("desa-a", 2).await;
    for (name, url) in [
        ("a", "http://127.0.0.1:3001/webhook"),
        ("b", "http://channel:3001/webhook"),
    ] {
        let made = create(
            &gateway,
            &owner,
            json!({"session_name": name, "webhook_url": url}),
        )
        .await;
        assert_eq!(made["webhook_url"], url);
    }
    for url in ["http://127.0.0.1:5432/webhook", "http://channel/webhook"] {
        let body = json!({"session_name": "c", "webhook_url": url});
        let (status, refusal) = gateway.ask(&owner, "POST", "/v1/sessions", body).await;
        assert_eq!(
            (status, &refusal["code"]),
            (400, &json!("invalid_webhook_url")),
            "{url}"
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_belongs_to_one_session_of_all_customers() {
    let gateway = Gateway::start().await;
    let (one, two) = (gateway.owner("desa-a", 2).await, gateway.owner("desa-b", 2).await);
    create(&gateway, &one, json!({"session_name": "desa-contoh"})).await;
    let mine = create(&gateway, &two, json!({"session_name": "mine"})).await;
    let taken = json!({"session_name": "desa-contoh"});
    for (owner, method, path) in [
        (&one, "POST", "/v1/sessions".to_owned()),
        (&two, "POST", "/v1/sessions".to_owned()),
        (&two, "PUT", format!("/v1/sessions/{}", id(&mine))),
    ] {
        let (status, answer) = gateway.ask(owner, method, &path, taken.clone()).await;
        assert_eq!(
            (status, &answer["message"]),
            (409, &json!("session name taken")),
            "{method} {}",
            owner.id
        );
        assert_eq!(answer["code"], "session_name_taken");
    }
    assert_eq!(gateway.wa.users().len(), 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_customers_session_is_as_missing_as_none() {
    let gateway = Gateway::start().await;
    let (one, two) = (gateway.owner("desa-a", 1).await, gateway.owner("desa-b", 1).await);
    let made = create(
        &gateway,
        &one,
        json!({"session_name": "desa-a", "webhook_url": HOOK}),
    )
    .await;
    gateway.wa.forget();
    for session in [id(&made), "0".repeat(32), "%00".to_owned(), "a%27b".to_owned()] {
        let path = format!("/v1/sessions/{session}");
        let settings = format!("{path}/settings");
        for (method, path, body) in [
            ("PUT", &path, json!({"session_name": "mine"})),
            ("DELETE", &path, Value::Null),
            ("GET", &settings, Value::Null),
            (
                "PUT",
                &settings,
                json!({"webhook_url": "https://hook.invalid/theirs"}),
            ),
        ] {
            let (status, answer) = gateway.ask(&two, method, path, body).await;
            assert_eq!(
                (status, &answer["message"]),
                (404, &json!("session not found")),
                "{method} {path}"
            );
        }
    }
    assert!(gateway.wa.calls().is_empty());
    let (_, listed) = gateway.ask(&two, "GET", "/v1/sessions", Value::Null).await;
    assert_eq!(listed, json!({"sessions": []}));
    let (_, listed) = gateway.ask(&one, "GET", "/v1/sessions", Value::Null).await;
    assert_eq!(listed["sessions"][0]["webhook_url"], HOOK);

    for path in [
        "/v1/sessions".to_owned(),
        format!("/v1/sessions/{}/settings", id(&made)),
    ] {
        let answer = gateway.client.get(gateway.url(&path)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_making_a_session_needs_a_subscription() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 2).await;
    let made = create(&gateway, &owner, json!({"session_name": "desa-a"})).await;
    let path = format!("/v1/sessions/{}", id(&made));
    gateway
        .sql("UPDATE subscriptions SET expires_at = now() - interval '1 minute'")
        .await;
    eventually("the end of the subscription is known", || async {
        let (status, answer) = gateway
            .ask(&owner, "POST", "/v1/sessions", json!({"session_name": "b"}))
            .await;
        (status == 403 && answer["message"] == "subscription expired").then_some(())
    })
    .await;
    assert_eq!(gateway.wa.users().len(), 1);
    for (method, path, body) in [
        ("GET", "/v1/sessions", Value::Null),
        ("PUT", path.as_str(), json!({"typing_enabled": true})),
    ] {
        assert_eq!(
            gateway.ask(&owner, method, path, body).await.0,
            200,
            "{method} {path}"
        );
    }

    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_customer_does_nothing() {
    let gateway = Gateway::start().await;
    let made = gateway.session("desa-a").await;
    let owner = gateway.owner("desa-a", 1).await;
    gateway.sql("UPDATE customers SET status = 'suspended'").await;
    let path = format!("/v1/sessions/{}", made.session_id);
    let settings = format!("{path}/settings");
    for (method, path, body) in [
        ("GET", "/v1/sessions", Value::Null),
        ("POST", "/v1/sessions", json!({"session_name": "b"})),
        ("PUT", path.as_str(), json!({"typing_enabled": false})),
        ("DELETE", path.as_str(), Value::Null),
        ("GET", settings.as_str(), Value::Null),
        ("PUT", settings.as_str(), json!({})),
    ] {
        let (status, answer) = gateway.ask(&owner, method, path, body).await;
        assert_eq!(
            (status, &answer["message"]),
            (403, &json!("user is not active")),
            "{method} {path}"
        );
    }
    gateway.stop().await;
}

/// Acceptance check 5 (W-05).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_at_once_make_as_many_sessions_as_are_allowed() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    // Connections are open, so that nothing but the lock keeps the orders apart.
    let looks = (0..12).map(|_| gateway.ask(&owner, "GET", "/v1/sessions", Value::Null));
    futures_util::future::join_all(looks).await;
    let calls = (0..10).map(|number| {
        gateway.ask(
            &owner,
            "POST",
            "/v1/sessions",
            json!({"session_name": format!("desa-a-{number}")}),
        )
    });
    let answers = futures_util::future::join_all(calls).await;
    let made = answers.iter().filter(|(status, _)| *status == 201).count();
    let refused = answers
        .iter()
        .filter(|(status, answer)| *status == 403 && answer["message"] == "session limit exceeded")
        .count();
    assert_eq!((made, refused), (1, 9), "{answers:?}");
    assert_eq!(gateway.count("SELECT count(*) FROM sessions").await, 1);
    assert_eq!(gateway.wa.users().len(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_once_leave_the_row_and_the_wa_server_of_one_mind() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    let made = create(&gateway, &owner, json!({"session_name": "desa-a"})).await;
    let path = format!("/v1/sessions/{}/settings", id(&made));
    let calls = (0..6).map(|number| {
        gateway.ask(
            &owner,
            "PUT",
            &path,
            json!({"webhook_url": format!("https://hook.invalid/{number}")}),
        )
    });
    let answers = futures_util::future::join_all(calls).await;
    // They wait for one another.
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let (_, settings) = gateway.ask(&owner, "GET", &path, Value::Null).await;
    assert_eq!(settings["webhook_url"], gateway.wa.user("desa-a")["webhook"]);
    gateway.stop().await;
}
