//! What could not be passed on is seen and passed on again by operators, and the test button tells who gets what.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::operator::Office;
use crate::target::Receiver;

/// A route to a URL, and its id.
async fn routed(office: &Office, inbox: i64, url: &str) -> i64 {
    let new =
        json!({"inboxId": inbox, "webhookUrl": url, "tenantId": "desa-a", "signingSecret": "s3cret-signs"});
    let said = office.post("/admin/routes", &new).await.ok();
    said["route"]["id"].as_i64().unwrap()
}

async fn told(office: &Office, inbox: i64, id: i64) {
    let event = json!({"event": "message_created", "id": id, "message_type": "outgoing", "content": "s3cret-words",
        "private": false, "source_id": null, "account": {"id": 3}, "inbox": {"id": inbox}, "conversation": {"id": 9}});
    let hook = format!("{}/webhook", office.running.base);
    // The routes at hand may be a moment old.
    eventually("the event is taken", || async {
        let answer = office
            .client
            .post(&hook)
            .body(event.to_string())
            .send()
            .await
            .unwrap();
        let said: Value = answer.json().await.unwrap();
        (said["forwarded"] == true).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_was_refused_is_listed_and_passed_on_again() {
    let office = Office::open().await;
    let target = Receiver::start();
    target.answer(404);
    let route = routed(
        &office,
        42,
        &target.url_with("u:s3cret-pass", "secret=s3cret-query"),
    )
    .await;
    told(&office, 42, 9001).await;
    let listed = eventually("it is put aside", || async {
        let listed = office.get("/admin/deliveries").await.ok();
        (listed["deliveries"].as_array().unwrap().len() == 1).then_some(listed)
    })
    .await;
    let delivery = &listed["deliveries"][0];
    for (key, value) in [
        ("routeId", json!(route)),
        ("tenantId", json!("desa-a")),
        ("event", json!("message_created")),
        ("messageId", json!(9001)),
        ("putAside", json!(true)),
        ("mayHaveArrived", json!(false)),
    ] {
        assert_eq!(delivery[key], value, "{key}: {delivery}");
    }
    let of_route = office
        .get(&format!("/admin/deliveries?routeId={route}"))
        .await
        .ok();
    assert_eq!(of_route["deliveries"], listed["deliveries"]);
    assert_eq!(
        (&of_route["counts"]["accepted"], &of_route["counts"]["held"]),
        (&json!(1), &json!(1))
    );
    let id = delivery["id"].as_str().unwrap();
    let one = format!("/admin/deliveries/{id}?tenantId=desa-a");
    assert_eq!(office.get(&one).await.ok()["delivery"], *delivery);
    // Whoever names another tenant finds nothing.
    for path in [
        format!("/admin/deliveries/{id}"),
        format!("/admin/deliveries/{id}?tenantId=desa-b"),
        "/admin/deliveries/x".to_owned(),
    ] {
        assert_eq!(office.get(&path).await.status.as_u16(), 404, "{path}");
    }
    let foreign = format!("/admin/deliveries/{id}/replay?tenantId=desa-b");
    assert_eq!(
        office.call(Method::POST, &foreign, None).await.status.as_u16(),
        404
    );
    let pages = [
        office.get("/admin/panel/deliveries").await.text,
        office.get(&format!("/admin/panel/routes/{route}")).await.text,
    ];
    for page in &pages {
        assert!(page.contains(id) && !page.contains("s3cret"), "{page}");
    }

    target.answer(200);
    let again = format!("/admin/deliveries/{id}/replay?tenantId=desa-a");
    assert_eq!(
        office.call(Method::POST, &again, None).await.ok(),
        json!({"replayed": 1})
    );
    assert_eq!(target.until_taken(1).await, [9001]);
    eventually("nothing is put aside any more", || async {
        let listed = office.get("/admin/deliveries").await.ok();
        listed["deliveries"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    assert_eq!(office.call(Method::POST, &again, None).await.status.as_u16(), 404);

    // All of a route.
    target.answer(404);
    for id in [9002, 9003] {
        told(&office, 42, id).await;
    }
    eventually("both are put aside", || async {
        let listed = office
            .get(&format!("/admin/deliveries?routeId={route}"))
            .await
            .ok();
        (listed["deliveries"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    target.answer(200);
    let all = format!("/admin/deliveries/replay?routeId={route}");
    assert_eq!(
        office.call(Method::POST, &all, None).await.ok(),
        json!({"replayed": 2})
    );
    target.until_taken(3).await;
    let acts = office.get("/admin/log").await.ok();
    assert_eq!(
        (&acts["acts"][0]["action"], &acts["acts"][0]["detail"]),
        (&json!("delivery.replay"), &json!("2 events"))
    );
    for path in [
        "/admin/deliveries/replay",
        "/admin/deliveries/replay?routeId=999999",
    ] {
        let status = office.call(Method::POST, path, None).await.status.as_u16();
        assert!(matches!(status, 404 | 422), "{path} {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_button_tells_who_got_it() {
    let office = Office::open().await;
    let (one, two) = (Receiver::start(), Receiver::start());
    let first = routed(&office, 42, &one.url_with("u:s3cret-pass", "secret=s3cret-query")).await;
    let second = routed(&office, 43, &two.url()).await;
    let tested = async |id: i64| {
        let said = office
            .post(&format!("/admin/routes/{id}/test"), &json!({}))
            .await
            .ok();
        said["test"].clone()
    };
    let test = tested(first).await;
    assert_eq!(
        (&test["works"], &test["target"]["answer"]["works"]),
        (&json!(true), &json!(true)),
        "{test}"
    );
    assert_eq!(test["target"]["who"], one.url_with("u:***", "secret=***"));
    assert!(!test.to_string().contains("s3cret"), "{test}");
    assert_eq!(
        (one.received().len(), two.received().len()),
        (1, 0),
        "only its own target"
    );
    let got = &one.received()[0];
    assert_eq!(got.uri, "/hook?secret=s3cret-query");
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert!(
        got.header("authorization")
            .is_some_and(|value| value.starts_with("Basic "))
    );
    assert!(
        got.header("x-hub-signature-256")
            .is_some_and(|value| value.starts_with("sha256="))
    );
    // Nothing that a gateway has to do something for.
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(
        (&body["event"], &body["inbox"]["id"]),
        (&json!("kanal_test"), &json!(42))
    );

    two.answer(401);
    let test = tested(second).await;
    assert_eq!(
        (&test["works"], &test["target"]["who"]),
        (&json!(false), &json!(two.url()))
    );
    assert!(test["target"]["answer"]["reason"].is_string(), "{test}");
    assert_eq!((one.received().len(), two.received().len()), (1, 1));
    let acts = office.get("/admin/log").await.ok();
    assert_eq!(acts["acts"][0]["action"], "route.test");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_an_account_goes_in_and_does_not_come_out() {
    let office = Office::open().await;
    let put = json!({"tenantId": "desa-a", "accountId": 3, "url": "https://chat.example/", "apiToken": "s3cret-token"});
    assert_eq!(
        office.put("/admin/installations", &put).await.ok(),
        json!({"success": true})
    );
    let listed = office.get("/admin/installations?tenantId=desa-a").await.ok();
    let expected = json!({"tenantId": "desa-a", "installation": "default", "accountId": 3, "url": "https://chat.example"});
    assert_eq!(listed, json!({"installations": [expected]}));
    assert_eq!(
        office.get("/admin/installations").await.ok(),
        json!({"installations": []})
    );
    for (body, field) in [
        (json!({"accountId": 3, "url": "https://chat.example"}), "apiToken"),
        (
            json!({"accountId": 0, "url": "https://chat.example", "apiToken": "x"}),
            "accountId",
        ),
        (
            json!({"accountId": 3, "url": "http://169.254.169.254", "apiToken": "x"}),
            "url",
        ),
        (json!({"accountId": 3, "url": "nonsense", "apiToken": "x"}), "url"),
    ] {
        let said = office.put("/admin/installations", &body).await;
        assert!(
            said.status.as_u16() == 422 && said.json()["fields"][field].is_string(),
            "{said:?}"
        );
    }
    let path = "/admin/installations?tenantId=desa-a&accountId=3";
    assert_eq!(
        office.call(Method::DELETE, path, None).await.ok(),
        json!({"success": true})
    );
    assert_eq!(office.call(Method::DELETE, path, None).await.status.as_u16(), 404);
    let acts = office.get("/admin/log").await.text;
    assert!(
        acts.contains("installation.put") && acts.contains("installation.delete") && !acts.contains("s3cret")
    );
}
