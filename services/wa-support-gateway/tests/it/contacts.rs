//! A session's contacts: acceptance check 8.

use std::time::Instant;

use futures_util::future::join_all;
use runtime::config::{BaseUrl, Setting as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use crate::support::{Gateway, Session, Twin};

struct World {
    gateway: Gateway,
    session: Session,
    key: SecretString,
}

fn three() -> Value {
    json!({"code": 200, "success": true, "data": {
        "6281100000001@s.whatsapp.net": {"Found": true, "FirstName": "Budi", "FullName": "Budi Santoso", "PushName": "bud"},
        "6281100000002@s.whatsapp.net": {"Found": true, "PushName": "Ani", "BusinessName": "Toko Ani"},
        "123456789012345@lid": {"Found": true, "PushName": "Citra\u{0}"},
    }})
}

impl World {
    async fn start() -> Self {
        let gateway = Gateway::start().await;
        let session = gateway.session("desa-a").await;
        let key = gateway.key_of("desa-a").await;
        gateway.wa.answer_contacts(200, three().to_string());
        Self {
            gateway,
            session,
            key,
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/sessions/{}/contacts{rest}", self.session.session_id)
    }

    async fn call(&self, method: reqwest::Method, url: String) -> (u16, Value) {
        let request = self.gateway.client.request(method, url);
        let answer = request
            .header("x-api-key", self.key.expose_secret())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn sync(&self) -> (u16, Value) {
        let url = self.gateway.url(&self.path("/sync"));
        self.call(reqwest::Method::POST, url).await
    }

    async fn list(&self, query: &str) -> Value {
        let url = self.gateway.url(&self.path(query));
        let (status, body) = self.call(reqwest::Method::GET, url).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    fn asked(&self) -> usize {
        let seen = self.gateway.wa.seen();
        seen.iter()
            .filter(|seen| seen.target == "/wa/user/contacts")
            .count()
    }
}

fn column(page: &Value, name: &str) -> Vec<String> {
    let contacts = page["contacts"].as_array().unwrap();
    contacts
        .iter()
        .map(|contact| contact[name].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_contacts_synced_twice_are_three_and_untouched() {
    let world = World::start().await;
    for _ in 0..2 {
        assert_eq!(world.sync().await, (200, json!({"synced": 3})));
    }
    let rows = "SELECT count(*) FROM contacts WHERE updated_at = created_at AND last_synced_at = created_at";
    assert_eq!(world.gateway.number(rows).await, 3);
    assert_eq!(world.gateway.number("SELECT count(*) FROM contacts").await, 3);
    let page = world.list("?sync=false").await;
    assert_eq!(column(&page, "name"), ["Budi Santoso", "Citra", "Toko Ani"]);
    assert_eq!(column(&page, "phone"), ["6281100000001", "", "6281100000002"]);
    assert_eq!(page["meta"], json!({"page": 1, "limit": 1000, "total": 3}));
    let budi = &page["contacts"][0];
    assert_eq!(budi["raw"]["PushName"], "bud");
    assert_eq!(
        (&budi["user_id"], &budi["session_id"], &budi["jid"]),
        (
            &json!("desa-a"),
            &json!(world.session.session_id),
            &json!("6281100000001@s.whatsapp.net")
        )
    );
    assert!(budi["id"].is_i64() && budi["removed_at"].is_null());
    // Confirmed is synced, though the row was left alone.
    assert!(budi["last_synced_at"].as_str() > budi["created_at"].as_str());
    assert_eq!(world.asked(), 2);
    let (key, token) = (
        world
            .gateway
            .wa
            .seen()
            .iter()
            .any(|seen| seen.header("x-api-key").is_some()),
        world.gateway.wa.seen().pop().unwrap(),
    );
    assert!(!key);
    assert_eq!(token.header("token"), Some(world.session.token.as_str()));
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_wa_server_lists_no_more_is_marked_and_comes_back() {
    let world = World::start().await;
    world.sync().await;
    let mut answer = three();
    let data = answer["data"].as_object_mut().unwrap();
    data.remove("6281100000001@s.whatsapp.net");
    data["6281100000002@s.whatsapp.net"]["BusinessName"] = json!("Toko Ani Jaya");
    world.gateway.wa.answer_contacts(200, answer.to_string());
    // Reading brings it up to date, as nobody said otherwise.
    let page = world.list("").await;
    assert_eq!(column(&page, "name"), ["Citra", "Toko Ani Jaya"]);
    let all = world.list("?sync=no&include_removed=true").await;
    assert_eq!(column(&all, "name"), ["Budi Santoso", "Citra", "Toko Ani Jaya"]);
    assert!(all["contacts"][0]["removed_at"].is_string());
    world.gateway.wa.answer_contacts(200, three().to_string());
    assert_eq!(column(&world.list("?sync=TRUE").await, "name").len(), 3);
    assert_eq!(world.gateway.number("SELECT count(*) FROM contacts").await, 3);
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_searches_find_what_is_there() {
    let world = World::start().await;
    world.sync().await;
    let names = async |query: &str| column(&world.list(query).await, "name");
    assert_eq!(names("?sync=false&limit=2").await, ["Budi Santoso", "Citra"]);
    assert_eq!(names("?sync=false&limit=2&page=2").await, ["Toko Ani"]);
    assert_eq!(names("?sync=false&limit=2&page=3").await, [""; 0]);
    assert_eq!(names("?sync=false&limit=-1&page=x").await.len(), 3);
    assert_eq!(names("?sync=false&search=toko").await, ["Toko Ani"]);
    assert_eq!(names("?sync=false&search=000001").await, ["Budi Santoso"]);
    assert_eq!(names("?sync=false&search=@lid").await, ["Citra"]);
    for nothing in ["%25", "_", "%5C", "%00x"] {
        assert_eq!(
            names(&format!("?sync=false&search={nothing}")).await,
            [""; 0],
            "{nothing}"
        );
    }
    assert_eq!(
        world
            .list("?sync=false&search=toko&limit=1&page=9999999999999999")
            .await["meta"]["total"],
        1
    );
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_wa_server_refuses_is_passed_on_or_read_over() {
    let world = World::start().await;
    world.sync().await;
    let refusal = json!({"code": 500, "error": "no session", "success": false});
    world.gateway.wa.answer_contacts(500, refusal.to_string());
    assert_eq!(world.sync().await, (500, refusal));
    assert_eq!(column(&world.list("").await, "name").len(), 3);
    for wrong in [
        "",
        "<html>",
        r#"{"code":200}"#,
        r#"{"data":null}"#,
        r#"{"data":[1,"#,
    ] {
        world.gateway.wa.answer_contacts(200, wrong);
        let (status, body) = world.sync().await;
        assert_eq!(
            (status, &body["message"]),
            (500, &json!("invalid contacts response")),
            "{wrong}"
        );
    }
    assert_eq!(
        column(&world.list("").await, "name").len(),
        3,
        "nobody is marked for it"
    );

    let nowhere = Twin::of(&world.gateway, |settings| {
        settings.wa_server.url = BaseUrl::from_text("http://127.0.0.1:9/wa").unwrap();
    })
    .await;
    let url = nowhere.url(&world.path("/sync"));
    let (status, body) = world.call(reqwest::Method::POST, url).await;
    assert_eq!((status, &body["message"]), (502, &json!("upstream unavailable")));
    assert!(!body.to_string().contains("127.0.0.1"));
    nowhere.stop().await;
    assert_eq!(world.gateway.number("SELECT count(*) FROM leases").await, 0);
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_synced_once_at_a_time() {
    let world = World::start().await;
    let together = (0..10).map(|_| world.sync());
    for answer in join_all(together).await {
        assert_eq!(answer, (200, json!({"synced": 3})));
    }
    assert_eq!(world.asked(), 1, "callers of one process share it");

    // Processes wait for each other.
    let twin = Twin::of(&world.gateway, |_| {}).await;
    let there = world.call(reqwest::Method::POST, twin.url(&world.path("/sync")));
    let ((here, _), (there, _)) = tokio::join!(world.sync(), there);
    assert_eq!((here, there), (200, 200));
    assert_eq!(world.asked(), 3);
    assert_eq!(world.gateway.number("SELECT count(*) FROM leases").await, 0);

    // One that died holds the session for a while and not for ever; one that woke up late writes nothing.
    world
        .gateway
        .sql(
            "INSERT INTO leases (name, holder, until) \
             SELECT 'contacts/' || id, gen_random_uuid(), now() + interval '1 second' FROM sessions",
        )
        .await;
    assert_eq!(world.sync().await.0, 200);
    let stolen = async {
        test_support::eventually("the sync is under way", || async {
            (world.asked() == 5).then_some(())
        })
        .await;
        let steal = "UPDATE leases SET holder = gen_random_uuid()";
        world.gateway.sql(steal).await;
    };
    world
        .gateway
        .wa
        .answer_contacts(200, json!({"data": {}}).to_string());
    let ((status, _), ()) = tokio::join!(world.sync(), stolen);
    assert_eq!(status, 503);
    assert_eq!(column(&world.list("?sync=false").await, "name").len(), 3);
    twin.stop().await;
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_customers_session_is_as_missing_as_any() {
    let world = World::start().await;
    let other = world.gateway.session("desa-b").await;
    for id in [other.session_id.as_str(), "nowhere", "%00", "..%2f"] {
        for (method, rest) in [
            (reqwest::Method::GET, "contacts"),
            (reqwest::Method::POST, "contacts/sync"),
        ] {
            let url = world.gateway.url(&format!("/v1/sessions/{id}/{rest}"));
            let (status, body) = world.call(method, url).await;
            assert_eq!(
                (status, &body["message"]),
                (404, &json!("session not found")),
                "{id}"
            );
        }
    }
    let stranger = world.gateway.client.get(world.gateway.url(&world.path("")));
    assert_eq!(stranger.send().await.unwrap().status(), 401);
    // Who has not paid sees what is known.
    world.sync().await;
    world
        .gateway
        .sql("UPDATE subscriptions SET expires_at = now() - interval '1 day'")
        .await;
    test_support::eventually("the subscription has ended", || async {
        (world.sync().await.0 == 403).then_some(())
    })
    .await;
    let asked = world.asked();
    assert_eq!(column(&world.list("").await, "name").len(), 3);
    assert_eq!(world.asked(), asked);
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_contacts_come_in_one_sync() {
    let world = World::start().await;
    let many: Map<String, Value> = (0..10_000)
        .map(|number| {
            let entry = json!({"Found": true, "FullName": format!("Warga {number:05}"), "PushName": "w"});
            (format!("62811{number:07}@s.whatsapp.net"), entry)
        })
        .collect();
    world
        .gateway
        .wa
        .answer_contacts(200, json!({"data": many}).to_string());
    for round in ["new", "known"] {
        let started = Instant::now();
        assert_eq!(world.sync().await, (200, json!({"synced": 10_000})));
        println!(
            "10,000 {round} contacts: {:?}, 0.3 s of it the WA server's",
            started.elapsed()
        );
    }
    let page = world.list("?sync=false&limit=100&page=100").await;
    assert_eq!(column(&page, "name").last().unwrap(), "Warga 09999");
    assert_eq!(page["meta"]["total"], 10_000);
    world.gateway.wa.answer_contacts(200, three().to_string());
    assert_eq!(world.sync().await.1, json!({"synced": 3}));
    assert_eq!(
        world
            .gateway
            .number("SELECT count(*) FROM contacts WHERE removed_at IS NOT NULL")
            .await,
        10_000
    );
    world.gateway.stop().await;
}
