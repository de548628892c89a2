//! Every route of messages, conversations and takeovers as a stranger, for another tenant, for nobody, and with
//! bodies that are none (contract channel-service 1.0, 1.1, 1.4, 1.6, 9.B1, 9.F4, 9.F5).

use reqwest::Method;
use serde_json::{Value, json};

use test_support::eventually;

use crate::harness::{Answer, INTERNAL_KEY, LIMITED_KEY, TestApp, text};

const RARA: &str = "6281290000011";

/// Where a route looks for the village.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Query,
    Body,
}

/// A route with a request that is right but for the village.
struct Route {
    method: Method,
    path: &'static str,
    body: Option<Value>,
    named: Named,
    writes: bool,
}

fn routes() -> Vec<Route> {
    let route = |method: Method, path, body, named, writes| Route {
        method,
        path,
        body,
        named,
        writes,
    };
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    let person = json!({"wa_user_id": RARA});
    let with = |more: Value| {
        let mut body = person.clone();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Some(body)
    };
    vec![
        route(
            get.clone(),
            "/messages?wa_user_id=6281290000011",
            None,
            Named::Query,
            false,
        ),
        route(get.clone(), "/conversations", None, Named::Query, false),
        route(
            get.clone(),
            "/conversations/6281290000011",
            None,
            Named::Query,
            false,
        ),
        route(get.clone(), "/takeover", None, Named::Query, false),
        route(get, "/takeover/6281290000011/status", None, Named::Query, false),
        route(
            post.clone(),
            "/messages",
            with(json!({"message_text": "x", "direction": "IN"})),
            Named::Body,
            true,
        ),
        route(
            post.clone(),
            "/send",
            with(json!({"message": "x"})),
            Named::Body,
            true,
        ),
        route(post.clone(), "/typing", with(json!({})), Named::Body, true),
        route(
            post.clone(),
            "/messages/read",
            with(json!({"message_ids": ["3EB0"]})),
            Named::Body,
            true,
        ),
        route(
            patch,
            "/conversations/user-profile",
            Some(json!({"channel_identifier": RARA, "user_name": "Rara"})),
            Named::Body,
            true,
        ),
        route(
            post.clone(),
            "/conversations/6281290000011/send",
            Some(json!({"message": "x"})),
            Named::Query,
            true,
        ),
        route(
            post.clone(),
            "/conversations/6281290000011/read",
            None,
            Named::Query,
            true,
        ),
        route(
            post,
            "/takeover/6281290000011",
            Some(json!({"admin_id": "a1"})),
            Named::Query,
            true,
        ),
        route(
            delete.clone(),
            "/takeover/6281290000011",
            None,
            Named::Query,
            true,
        ),
        route(delete, "/conversations/6281290000011", None, Named::Query, true),
    ]
}

impl Route {
    /// The request, for this village.
    async fn call(&self, app: &TestApp, key: &str, village: Option<&str>) -> Answer {
        let mut path = self.path.to_owned();
        let mut body = self.body.clone();
        match (village, self.named) {
            (Some(village), Named::Query) => {
                path.push(if path.contains('?') { '&' } else { '?' });
                path.push_str(&format!("village_id={village}"));
            }
            (Some(village), Named::Body) => body.as_mut().unwrap()["village_id"] = json!(village),
            (None, _) => {}
        }
        app.internal_as(key, self.method.clone(), &path, body.as_ref())
            .await
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Is this an answer in which nobody's data is?
    fn is_empty(&self, answer: &Value) -> bool {
        match answer {
            Value::Object(fields) => fields.iter().all(|(name, value)| match name.as_str() {
                "success" => value == true,
                _ => self.is_empty(value),
            }),
            Value::Array(items) => items.is_empty(),
            Value::Null => true,
            Value::Bool(yes) => !yes,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::String(_) => false,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_limited_keys() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    let dua = app.tenant("desa-dua").await;
    app.post(&dua.json(&text(RARA, "3EB0D", "untuk dua")))
        .await
        .assert_kept();
    for route in routes() {
        let name = route.name();
        let url = format!("{}/internal{}", app.url, route.path);
        let bare = app
            .http()
            .request(route.method.clone(), &url)
            .send()
            .await
            .unwrap();
        Answer::of(bare).await.assert_error(401, "api_key_missing");
        let answer = route.call(&app, "some-other-key-0000", Some("desa-satu")).await;
        answer.assert_error(403, "api_key_invalid");

        let answer = route.call(&app, LIMITED_KEY, Some("desa-dua")).await;
        answer.assert_error(403, "not_your_village");
        let answer = route.call(&app, LIMITED_KEY, Some("desa satu")).await;
        assert!(
            answer.status == 400 || answer.status == 403,
            "{name}: {}",
            answer.text
        );
        // Only desa-dua knows this person, and the key does not see it; the key's own village is what lists show.
        let answer = route.call(&app, LIMITED_KEY, None).await;
        if route.writes {
            answer.assert_error(400, "village_id_required");
        } else {
            assert_eq!(answer.status, 200, "{name}");
            assert!(route.is_empty(&answer.json()), "{name}: {}", answer.text);
        }
    }
    assert_eq!(
        app.rows("SELECT tenant_id, direction, body FROM messages").await,
        [json!({"tenant_id": "desa-dua", "direction": "inbound", "body": "untuk dua"})]
    );
    assert_eq!(app.count("takeovers").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_village_that_is_missing_or_unknown() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    for desa in [&satu, &dua] {
        app.post(&desa.json(&text(RARA, "3EB0M", "halo")))
            .await
            .assert_kept();
    }
    let before = app.rows("SELECT id, unread FROM chats ORDER BY id").await;
    for route in routes() {
        let name = route.name();
        let missing = route.call(&app, INTERNAL_KEY, None).await;
        let unknown = route.call(&app, INTERNAL_KEY, Some("desa-tiada")).await;
        if route.writes {
            missing.assert_error(400, "village_id_required");
            unknown.assert_error(404, "village_not_found");
        } else {
            for answer in [missing, unknown] {
                assert_eq!(answer.status, 200, "{name}");
                assert!(route.is_empty(&answer.json()), "{name}: {}", answer.text);
            }
        }
    }
    assert_eq!(app.rows("SELECT id, unread FROM chats ORDER BY id").await, before);
    assert_eq!(app.count("messages").await, 2);
    assert_eq!(app.count("takeovers").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_without_a_village_is_answered_where_only_one_can_be_meant() {
    let app = TestApp::spawn().await;
    let satu = app.tenant("desa-satu").await;
    app.post(&satu.json(&text(RARA, "3EB0A", "hanya satu")))
        .await
        .assert_kept();
    let history = format!("/messages?wa_user_id={RARA}");
    let conversation = format!("/conversations/{RARA}");
    let only = app.internal(Method::GET, "/conversations", None).await.json();
    assert_eq!(only["count"], 1, "the installation has one village");

    let dua = app.tenant("desa-dua").await;
    let all = app.internal(Method::GET, "/conversations", None).await.json();
    assert_eq!(all["data"], json!([]), "a list of all villages would be a leak");
    let answer = app.internal(Method::GET, &history, None).await.json();
    assert_eq!(answer["messages"][0]["message_text"], "hanya satu");
    let opened = app.internal(Method::GET, &conversation, None).await.json();
    assert_eq!(opened["data"]["conversation"]["village_id"], "desa-satu");
    assert_eq!(
        opened["data"]["conversation"]["unread_count"], 1,
        "a guess changes nothing"
    );

    app.post(&dua.json(&text(RARA, "3EB0A", "juga dua")))
        .await
        .assert_kept();
    let answer = app.internal(Method::GET, &history, None).await.json();
    assert_eq!(answer, json!({"messages": [], "total": 0}));
    // A limited key sees its own, and for it nobody else has the person.
    let answer = app
        .internal_as(LIMITED_KEY, Method::GET, &history, None)
        .await
        .json();
    assert_eq!(answer["messages"][0]["message_text"], "hanya satu");
    assert!(test_support::logs::hold("a read named no village"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_none() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    let huge = format!(r#"{{"message":"{}"}}"#, "x".repeat(10 * 1024 * 1024));
    for route in routes() {
        let reads_body = route.body.is_some();
        let name = route.name();
        let send = |content_type: &'static str, body: String| {
            let separator = if route.path.contains('?') { '&' } else { '?' };
            let url = format!(
                "{}/internal{}{separator}village_id=desa-satu",
                app.url, route.path
            );
            let request = app
                .http()
                .request(route.method.clone(), url)
                .header("x-internal-api-key", INTERNAL_KEY)
                .header("x-village-id", "desa-satu")
                .header("content-type", content_type)
                .body(body);
            async move { Answer::of(request.send().await.unwrap()).await }
        };
        // Empty with a JSON content type: no field is given, which is never an error of the parser.
        let answer = send("application/json", String::new()).await;
        assert!(answer.status < 500, "{name}: {}", answer.text);
        assert_ne!(answer.json()["code"], "invalid_json", "{name}");
        if !reads_body {
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
            continue;
        }
        send("application/json", "{".to_owned())
            .await
            .assert_error(400, "invalid_json");
        send("application/json", "[1]".to_owned())
            .await
            .assert_error(400, "invalid_json");
        send("text/plain", "a=b".to_owned())
            .await
            .assert_error(415, "unsupported_content_type");
        let answer = send("application/json", huge.clone()).await;
        answer.assert_error(413, "payload_too_large");
        assert_eq!(answer.json()["error"], "request entity too large");
        // Every field null, or of another type: refused or taken for absent, and never a fault.
        for value in [json!(null), json!(7), json!(true), json!([]), json!({})] {
            let mut body = route.body.clone().unwrap();
            for field in body.as_object_mut().unwrap().values_mut() {
                *field = value.clone();
            }
            let answer = send("application/json", body.to_string()).await;
            assert!(
                (200..500).contains(&answer.status),
                "{name} {value}: {} {}",
                answer.status,
                answer.text
            );
        }
    }
    assert_eq!(app.count("messages").await, 0);
    assert_eq!(app.count("takeovers").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_for_a_suspended_village() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0S", "halo")))
        .await
        .assert_kept();
    app.run_sql("UPDATE tenants SET status = 'suspended'").await;
    for route in routes() {
        let answer = route.call(&app, INTERNAL_KEY, Some("desa-satu")).await;
        if route.path.ends_with("/send") {
            answer.assert_error(403, "village_suspended");
        } else {
            assert!(answer.status < 300, "{}: {}", route.name(), answer.text);
        }
    }
    // An order that comes by the broker has nobody to refuse it to: it waits, and what was under way before, too.
    app.order(&desa, RARA, "sesudahnya").await;
    eventually("it waits", || async {
        let waits = "lane_tasks WHERE last_error = 'tenant_suspended'";
        (app.count(waits).await == 1).then_some(())
    })
    .await;
    assert_eq!(app.simulator.wa_sends(None).len(), 0);
    app.run_sql(
        "UPDATE tenants SET status = 'active'; UPDATE lanes SET ready_at = now() WHERE ready_at IS NOT NULL",
    )
    .await;
    app.until_status("sesudahnya", "sent").await;
    assert_eq!(app.texts_on(RARA), ["sesudahnya"]);
    app.finish().await;
}
