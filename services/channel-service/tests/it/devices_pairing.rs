//! Devices that are paired while people look on, and how long and how many may look.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::devices::{Desk, scan, spawn};
use crate::harness::{Answer, Maker};

impl Desk<'_> {
    /// Watches the device being paired.
    pub(crate) async fn watch(&self, id: &str) -> Watching {
        let response = self.stream(id).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Watching {
            response,
            read: String::new(),
        }
    }

    /// The same, as soon as there is a place for another one.
    async fn free_place(&self, id: &str) -> Watching {
        let response = eventually("there is a place", || async {
            let response = self.stream(id).await;
            (response.status() == 200).then_some(response)
        })
        .await;
        Watching {
            response,
            read: String::new(),
        }
    }

    pub(crate) async fn stream(&self, id: &str) -> reqwest::Response {
        let request = self
            .app
            .http()
            .get(format!("{}/api/whatsapp/devices/{id}/qr", self.app.url))
            // Of all of the stream: each of its events has its own.
            .timeout(Duration::from_secs(300))
            .header("authorization", &self.bearer)
            .header("accept", "text/event-stream");
        request.send().await.unwrap()
    }
}

/// A stream of events, as a browser reads it.
pub(crate) struct Watching {
    response: reqwest::Response,
    read: String,
}

impl Watching {
    /// The next block. `None`: the stream has ended.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.response.chunk());
            let chunk = chunk.await.unwrap().unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event, its data read.
    pub(crate) async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let block = self.block().await?;
            if block.starts_with(':') {
                continue;
            }
            let (event, data) = block.split_once('\n').unwrap();
            let event = event.strip_prefix("event: ").unwrap().to_owned();
            let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            return Some((event, data));
        }
    }

    /// A code is shown.
    pub(crate) async fn code(&mut self) -> String {
        let (event, data) = self.event().await.unwrap();
        assert_eq!((event.as_str(), &data["status"]), ("qr", &json!("qr_waiting")));
        data["qr"].as_str().unwrap().to_owned()
    }

    /// It ends with the device logged in. A code may have been renewed before.
    pub(crate) async fn logged_in(mut self) -> Value {
        let (mut event, mut data) = self.event().await.unwrap();
        while event == "qr" {
            (event, data) = self.event().await.unwrap();
        }
        assert_eq!(event, "connected", "{data}");
        let (event, mut data) = self.event().await.unwrap();
        assert_eq!(event, "logged_in");
        assert_eq!(self.event().await, None, "the last word");
        data["device"].take()
    }
}

async fn pairs_while_somebody_looks_on(maker: Maker) {
    let app = spawn(maker, &[]).await;
    let desk = Desk::open(&app, "desa-satu", 2).await;
    let none = desk.call(Method::GET, "", None).await;
    assert_eq!(none.json(), json!({"devices": [], "count": 0, "limit": 2}));

    let id = desk.add("Kantor Desa").await;
    let waiting = desk.until(&id, "qr_waiting").await;
    assert_eq!(
        (
            &waiting["connected"],
            &waiting["logged_in"],
            &waiting["phone"],
            &waiting["is_primary"]
        ),
        (&json!(true), &json!(false), &Value::Null, &json!(true))
    );
    assert_eq!(
        (&waiting["provider"], &waiting["endpoint"], &waiting["jid"]),
        (&json!("genfity"), &json!("Primary"), &Value::Null)
    );
    let picture = desk.call(Method::GET, &format!("/{id}/qr"), None).await;
    assert_eq!(picture.headers["cache-control"], "no-store");
    assert_eq!(picture.json()["status"], "qr_waiting");

    let mut first = desk.watch(&id).await;
    let code = first.code().await;
    assert!(code.starts_with("data:image/png;base64,"), "{code}");
    assert_eq!(picture.json()["qr"], code);
    let mut second = desk.watch(&id).await;
    assert_eq!(second.code().await, code);
    scan(&app, &id, "6281200000001").await;
    for watching in [first, second] {
        let device = watching.logged_in().await;
        assert_eq!(
            (&device["id"], &device["status"], &device["phone"]),
            (&json!(id), &json!("connected"), &json!("6281200000001"))
        );
    }
    let device = desk.device(&id).await;
    assert_eq!(
        (&device["connected"], &device["logged_in"], &device["jid"]),
        (
            &json!(true),
            &json!(true),
            &json!("6281200000001:5@s.whatsapp.net")
        )
    );
    assert!(device["last_connected_at"].is_string());
    let picture = desk.call(Method::GET, &format!("/{id}/qr"), None).await;
    assert_eq!(picture.json(), json!({"qr": "", "status": "logged_in"}));
    // Whoever looks on now learns it at once.
    desk.watch(&id).await.logged_in().await;
    desk.call(
        Method::POST,
        &format!("/{id}/pair"),
        Some(json!({"phone": "6281200000001"})),
    )
    .await
    .assert_error(409, "already_logged_in");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_paired_while_people_look_on_at_the_gateway() {
    pairs_while_somebody_looks_on(Maker::Gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_paired_while_people_look_on_at_the_server() {
    pairs_while_somebody_looks_on(Maker::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_look_on_cost_one_call_a_second() {
    let app = spawn(Maker::Server, &[]).await;
    let desk = Desk::open(&app, "desa-satu", 1).await;
    let id = desk.add("Kantor").await;
    let asked = || {
        let requests = app.simulator.requests();
        requests
            .iter()
            .filter(|request| request.path.ends_with("/session/qr"))
            .count()
    };
    let mut watching = join_all((0..8).map(|_| desk.watch(&id))).await;
    for one in &mut watching {
        one.code().await;
    }
    let (begun, before) = (tokio::time::Instant::now(), asked());
    let calls = eventually("they look on", || async {
        let calls = asked() - before;
        (calls >= 3).then_some(calls)
    })
    .await;
    let seconds = begun.elapsed().as_secs();
    let most = usize::try_from(seconds).unwrap() + 2;
    assert!(calls <= most, "{calls} calls in {seconds} s");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_when_nothing_is_left_to_see() {
    let app = spawn(
        Maker::Server,
        &[
            ("QR_STREAMS_PER_TENANT", "2"),
            ("QR_STREAM_HEARTBEAT_SECONDS", "1"),
        ],
    )
    .await;
    let desk = Desk::open(&app, "desa-satu", 1).await;
    let id = desk.add("Kantor").await;
    // The codes ran out.
    let mut watching = desk.watch(&id).await;
    watching.code().await;
    assert_eq!(watching.block().await.unwrap(), ": still here");
    let off = desk.call(Method::POST, &format!("/{id}/disconnect"), None).await;
    assert_eq!(off.status, 200, "{}", off.text);
    let end = watching.event().await.unwrap();
    assert_eq!(end, ("expired".to_owned(), json!({"reason": "codes_ran_out"})));
    assert_eq!(watching.event().await, None);
    desk.call(Method::GET, &format!("/{id}/qr"), None)
        .await
        .assert_error(409, "no_session");
    let mut watching = desk.watch(&id).await;
    let end = watching.event().await.unwrap();
    assert_eq!(end, ("expired".to_owned(), json!({"reason": "not_running"})));

    // Those who leave leave their place.
    let on = desk.call(Method::POST, &format!("/{id}/connect"), None).await;
    assert_eq!(on.status, 200, "{}", on.text);
    let both = [desk.free_place(&id).await, desk.free_place(&id).await];
    let full = Answer::of(desk.stream(&id).await).await;
    full.assert_error(429, "too_many_streams");
    drop(both);

    // The device goes while somebody looks on.
    let mut watching = desk.free_place(&id).await;
    watching.code().await;
    assert_eq!(
        desk.call(Method::DELETE, &format!("/{id}"), None).await.status,
        200
    );
    let (event, data) = watching.event().await.unwrap();
    assert_eq!(
        (event.as_str(), &data["code"]),
        ("error", &json!("device_not_found"))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_time_ends_and_its_place_is_free_again() {
    let app = spawn(
        Maker::Server,
        &[("QR_STREAM_SECONDS", "3"), ("QR_STREAMS_PER_TENANT", "1")],
    )
    .await;
    let desk = Desk::open(&app, "desa-satu", 1).await;
    let id = desk.add("Kantor").await;
    for _ in 0..2 {
        let mut watching = desk.free_place(&id).await;
        watching.code().await;
        let end = watching.event().await.unwrap();
        assert_eq!(end, ("expired".to_owned(), json!({"reason": "time_is_over"})));
        assert_eq!(watching.event().await, None);
    }
    app.finish().await;
}
