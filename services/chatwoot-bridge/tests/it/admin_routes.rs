//! `/admin/routes`, row by row of contract 1.3, and what ours has beyond the predecessor's.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::operator::{Office, PASSWORD};

const URL: &str = "https://gowa.example/chatwoot/webhook?secret=s3cret-in-query";

fn new(inbox: i64) -> Value {
    json!({"inboxId": inbox, "webhookUrl": URL})
}

async fn made(office: &Office, body: &Value) -> Value {
    let said = office.post("/admin/routes", body).await;
    assert_eq!(said.status.as_u16(), 201, "{said:?}");
    said.json()["route"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_lives_as_it_did_in_the_predecessor() {
    let office = Office::open().await;
    let first = made(
        &office,
        &json!({"inboxId": "7", "webhookUrl": URL, "name": "Toko"}),
    )
    .await;
    let second = made(&office, &json!({"inboxId": 8, "webhookUrl": URL, "name": ""})).await;
    assert_eq!((&first["inboxId"], &first["name"]), (&json!(7), &json!("Toko")));
    assert_eq!(second["name"], Value::Null, "an empty name is none");
    for key in ["createdAt", "updatedAt"] {
        let time = first[key].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }
    let listed = office.get("/admin/routes").await.ok();
    assert_eq!(listed, json!({"routes": [second, first]}), "the newest first");
    let paged = office.get("/admin/routes?limit=1").await.ok();
    assert_eq!(paged, json!({"routes": [second]}));
    let paged = office
        .get(&format!("/admin/routes?limit=5&after={}", second["id"]))
        .await
        .ok();
    assert_eq!(paged, json!({"routes": [first]}));

    let path = format!("/admin/routes/{}", first["id"]);
    assert_eq!(office.get(&path).await.ok()["route"], first);
    let unchanged = office.put(&path, &json!({})).await.ok();
    assert_eq!(unchanged["route"], first, "its times too");
    let changed = office
        .put(&path, &json!({"name": "Warung", "inboxId": "70"}))
        .await
        .ok();
    assert_eq!(
        (
            &changed["route"]["name"],
            &changed["route"]["inboxId"],
            &changed["route"]["id"]
        ),
        (&json!("Warung"), &json!(70), &first["id"])
    );
    assert_eq!(changed["route"]["createdAt"], first["createdAt"]);
    // Its old place is free again.
    made(&office, &new(7)).await;

    let deleted = office.call(Method::DELETE, &path, None).await.ok();
    assert_eq!(deleted, json!({"success": true}));
    let again = office.call(Method::DELETE, &path, None).await;
    assert_eq!(again.refusal(), (404, "Route not found".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_route_is_refused_in_the_predecessors_words() {
    let office = Office::open().await;
    let known = made(&office, &new(7)).await;
    made(&office, &new(8)).await;
    let needed = "inboxId and webhookUrl are required";
    let number = "inboxId must be a valid number";
    let taken = "Route with this inboxId already exists";
    let fields = "Some fields are not what they have to be";
    for (body, status, words) in [
        (json!({}), 400, needed),
        (json!({"webhookUrl": URL}), 400, needed),
        (json!({"inboxId": 9}), 400, needed),
        (json!({"inboxId": 0, "webhookUrl": URL}), 400, needed),
        (json!({"inboxId": "", "webhookUrl": URL}), 400, needed),
        (json!({"inboxId": null, "webhookUrl": URL}), 400, needed),
        (json!({"inboxId": 9, "webhookUrl": ""}), 400, needed),
        (json!({"inboxId": 9, "webhookUrl": null}), 400, needed),
        (json!({"inboxId": "abc", "webhookUrl": URL}), 400, number),
        (json!({"inboxId": "7zz", "webhookUrl": URL}), 400, number),
        (json!({"inboxId": -3, "webhookUrl": URL}), 400, number),
        (json!({"inboxId": 7.5, "webhookUrl": URL}), 400, number),
        (json!({"inboxId": "0", "webhookUrl": URL}), 400, number),
        (json!({"inboxId": true, "webhookUrl": URL}), 400, number),
        (json!({"inboxId": 7, "webhookUrl": URL}), 409, taken),
        // The same place, though for one account only; and other tenants see it no less.
        (
            json!({"inboxId": 7, "webhookUrl": URL, "accountId": 3}),
            409,
            taken,
        ),
        (
            json!({"inboxId": 7, "webhookUrl": URL, "tenantId": "desa-b"}),
            409,
            taken,
        ),
        (json!({"inboxId": 9, "webhookUrl": 12}), 422, fields),
        (json!({"inboxId": 9, "webhookUrl": URL, "name": 12}), 422, fields),
        (json!({"inboxId": 9, "webhookUrl": "not a url"}), 422, fields),
        (
            json!({"inboxId": 9, "webhookUrl": "file:///etc/passwd"}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": "http://169.254.169.254/x"}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": "http://[::1]:8080/x"}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": "https://u:***@h.example/"}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": URL, "accountId": "x"}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": URL, "installation": "a/b"}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": URL, "tenantId": "a b"}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": URL, "enabled": "yes"}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": URL, "events": "message_created"}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": URL, "webhookSecrets": {"inbox": ["a", "b", "c"]}}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": URL, "pathToken": "short"}),
            422,
            fields,
        ),
        (
            json!({"inboxId": 9, "webhookUrl": URL, "target": "elsewhere"}),
            422,
            fields,
        ),
        (json!({"inboxId": 9, "target": "account"}), 422, fields),
    ] {
        let said = office.post("/admin/routes", &body).await;
        assert_eq!(said.refusal(), (status, words.to_owned()), "{body}");
        assert_eq!(said.json()["fields"].is_object(), status == 422, "{body}");
    }
    let path = format!("/admin/routes/{}", known["id"]);
    for (path, body, status, words) in [
        (path.as_str(), json!({"inboxId": null}), 400, number),
        (path.as_str(), json!({"inboxId": "x"}), 400, number),
        (path.as_str(), json!({"inboxId": 8}), 409, taken),
        (path.as_str(), json!({"webhookUrl": ""}), 422, fields),
        (path.as_str(), json!({"tenantId": "desa-b"}), 422, fields),
        (
            "/admin/routes/999999",
            json!({"name": "x"}),
            404,
            "Route not found",
        ),
        ("/admin/routes/abc", json!({"name": "x"}), 400, "Invalid route ID"),
        ("/admin/routes/7zz", json!({"name": "x"}), 400, "Invalid route ID"),
    ] {
        let said = office.put(path, &body).await;
        assert_eq!(said.refusal(), (status, words.to_owned()), "{path} {body}");
    }
    for (method, path, status) in [
        (Method::DELETE, "/admin/routes/-1", 400),
        (Method::DELETE, "/admin/routes/999999", 404),
        (Method::GET, "/admin/routes/999999", 404),
        (Method::PATCH, path.as_str(), 404),
        (Method::DELETE, "/admin/routes", 404),
        (Method::GET, "/admin/routes?limit=x", 400),
    ] {
        assert_eq!(
            office.call(method.clone(), path, None).await.status.as_u16(),
            status,
            "{method} {path}"
        );
    }
    for body in ["", "{", "null", "[]", "7", "inboxId=9&webhookUrl=x"] {
        let request = office.request(Method::POST, "/admin/routes").body(body);
        let said = crate::operator::said(request).await;
        assert_eq!(
            (said.status.as_u16(), &said.json()["code"]),
            (400, &json!("invalid_json")),
            "{body}"
        );
    }
    assert_eq!(
        office.get(&path).await.ok()["route"],
        known,
        "nothing was changed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_comes_out_again() {
    let office = Office::open().await;
    let secrets = [
        "s3cret-user",
        "s3cret-pass",
        "s3cret-in-query",
        "s3cret-signs",
        "s3cret-inbox",
        "s3cret-account",
        "s3cret-path-token",
    ];
    let body = json!({
        "inboxId": 7, "webhookUrl": "https://gowa.example/hook?secret=s3cret-in-query",
        "credentials": {"username": "wa", "password": "s3cret-pass"}, "signingSecret": "s3cret-signs",
        "webhookSecrets": {"inbox": ["s3cret-inbox"], "account": "s3cret-account"},
        "pathToken": "s3cret-path-token", "events": ["message_created"], "private": true, "retryUnknown": true,
    });
    let route = made(&office, &body).await;
    assert_eq!(route["webhookUrl"], "https://wa:***@gowa.example/hook?secret=***");
    assert_eq!(route["webhookSecrets"], json!({"inbox": 1, "account": 1}));
    for (key, value) in [
        ("hasSigningSecret", json!(true)),
        ("hasPathToken", json!(true)),
        ("private", json!(true)),
        ("retryUnknown", json!(true)),
        ("events", json!(["message_created"])),
    ] {
        assert_eq!(route[key], value, "{key}");
    }
    let path = format!("/admin/routes/{}", route["id"]);
    let sealed = "SELECT count(*) AS n FROM routes WHERE url_sealed LIKE '%s3cret%' OR url_shown LIKE '%s3cret%' \
                  OR signing_secret_sealed LIKE '%s3cret%' OR inbox_secrets_sealed::text LIKE '%s3cret%'";
    assert_eq!(office.world.count(sealed).await, 0);

    // Sent back as it is shown, the URL stays, password and all.
    let whole = "SELECT count(*) AS n FROM routes WHERE url_sealed = (SELECT max(url_sealed) FROM routes)";
    assert_eq!(office.world.count(whole).await, 1);
    let back = json!({"webhookUrl": route["webhookUrl"], "name": "baru"});
    let changed = office.put(&path, &back).await.ok()["route"].clone();
    assert_eq!(
        (&changed["webhookUrl"], &changed["name"]),
        (&route["webhookUrl"], &json!("baru"))
    );
    assert_eq!(
        changed["webhookSecrets"], route["webhookSecrets"],
        "what is not named stays"
    );
    // Credentials alone change only these.
    let other = json!({"credentials": {"username": "lain", "password": "s3cret-pass"}});
    let changed = office.put(&path, &other).await.ok()["route"].clone();
    assert_eq!(
        changed["webhookUrl"],
        "https://lain:***@gowa.example/hook?secret=***"
    );
    let gone =
        json!({"signingSecret": null, "pathToken": null, "webhookSecrets": {"inbox": [], "account": null}});
    let changed = office.put(&path, &gone).await.ok()["route"].clone();
    assert_eq!(
        (&changed["hasSigningSecret"], &changed["hasPathToken"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(changed["webhookSecrets"], json!({"inbox": 0, "account": 0}));

    for path in [
        "/admin",
        "/admin/routes",
        path.as_str(),
        "/admin/log",
        "/admin/seen",
        "/openapi.json",
    ] {
        let said = office.get(path).await;
        assert_eq!(said.status.as_u16(), 200, "{path}");
        for secret in secrets.iter().chain([&PASSWORD]) {
            assert!(!said.text.contains(secret), "{secret} in {path}");
        }
    }
    // A refusal repeats no value either.
    let said = office
        .post(
            "/admin/routes",
            &json!({"inboxId": 9, "webhookUrl": "gopher://s3cret-pass@h/"}),
        )
        .await;
    assert!(
        said.status.as_u16() == 422 && !said.text.contains("s3cret"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_changes_something_stands_in_the_log_for_good() {
    let office = Office::open().await;
    let route = made(
        &office,
        &json!({"inboxId": 7, "webhookUrl": URL, "tenantId": "desa-a", "accountId": 3}),
    )
    .await;
    let path = format!("/admin/routes/{}", route["id"]);
    office.put(&path, &json!({"enabled": false})).await.ok();
    office.put(&path, &json!({})).await.ok();
    office.call(Method::DELETE, &path, None).await.ok();
    let acts = office.get("/admin/log").await.ok();
    let acts = acts["acts"].as_array().unwrap();
    let told: Vec<&str> = acts.iter().map(|act| act["action"].as_str().unwrap()).collect();
    assert_eq!(told, ["route.delete", "route.update", "route.create"]);
    for act in acts {
        assert_eq!(
            (&act["actor"], &act["source"], &act["tenantId"]),
            (&json!("admin"), &json!("127.0.0.1"), &json!("desa-a"))
        );
        assert_eq!(act["subject"], route["id"].to_string());
    }
    assert_eq!(
        acts[1]["detail"],
        "default/3/7 to https://gowa.example/chatwoot/webhook?secret=***, off"
    );
    // Not even whoever owns the table changes it without taking the rule away first.
    let mut connection = office.world.database.admin().await;
    for statement in [
        "UPDATE audit_log SET actor = 'x'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ] {
        use diesel_async::SimpleAsyncConnection as _;
        assert!(connection.batch_execute(statement).await.is_err(), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_without_a_route_is_seen_until_it_has_one() {
    let office = Office::open().await;
    let event = json!({"event": "message_created", "id": 1, "message_type": "outgoing", "content": "x",
        "account": {"id": 3}, "inbox": {"id": 42}, "conversation": {"id": 9}});
    for _ in 0..2 {
        let hook = format!("{}/webhook", office.running.base);
        let answer = office
            .client
            .post(hook)
            .body(event.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({"received": true}));
    }
    let garbage = format!("{}/webhook", office.running.base);
    office
        .client
        .post(garbage)
        .body("<p>no webhook</p>")
        .send()
        .await
        .unwrap();
    let seen = eventually("both events are counted", || async {
        let seen = office.get("/admin/seen").await.ok();
        (seen["inboxes"][0]["seen"] == 2).then_some(seen)
    })
    .await;
    let inbox = &seen["inboxes"][0];
    assert_eq!(
        (
            &inbox["inboxId"],
            &inbox["accountId"],
            &inbox["seen"],
            &inbox["installation"]
        ),
        (&json!(42), &json!(3), &json!(2), &json!("default"))
    );
    let aside = office.get("/admin/quarantine").await.ok();
    let id = aside["bodies"][0]["id"].as_str().unwrap();
    assert_eq!(aside["bodies"][0]["bytes"], 17);
    assert_eq!(
        office.get(&format!("/admin/quarantine/{id}")).await.text,
        "<p>no webhook</p>"
    );
    assert_eq!(office.get("/admin/quarantine/x").await.status.as_u16(), 404);
    made(
        &office,
        &json!({"inboxId": 42, "accountId": 3, "webhookUrl": URL}),
    )
    .await;
    assert_eq!(office.get("/admin/seen").await.ok(), json!({"inboxes": []}));
}
