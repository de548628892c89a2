//! The router's own table (contract 1.2), row by row, with something in the place of the queue that takes what it is
//! given; what a route wants, and what goes along with an event.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::web::{Data, ServiceConfig};
use chatwoot_bridge::config::RedisSettings;
use chatwoot_bridge::flows::accept_reply::Signals;
use chatwoot_bridge::routes::{health_body, public};
use chatwoot_bridge::store::routes::{self as route_store, Route, Target, Wants};
use chatwoot_bridge::store::unrouted_inboxes;
use chatwoot_bridge::webhooks::book::{KnownRoute, RouteBook};
use chatwoot_bridge::webhooks::chatwoot::Ingress;
use chatwoot_bridge::webhooks::event::Incoming;
use chatwoot_bridge::webhooks::forward::{ForwardEvents, Forwarding, NotForwarded};
use chatwoot_bridge::webhooks::strangers::Strangers;
use chatwoot_bridge::webhooks::unrouted::Unrouted;
use chrono::Utc;
use database::DatabaseError;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use runtime::shutdown::Shutdown;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::chatwoot_signature;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};
use uuid::Uuid;
use web::health::Health;
use web::source::Networks;
use web::{ErrorField, MetricsToken, ServerSettings};

use crate::events::sample;
use crate::world::{Place, Running, World, scope};

/// The webhook behind a port of its own, without workers.
pub(crate) struct Door {
    pub(crate) base: String,
    queue: Arc<Queue>,
    shutdown: Shutdown,
}

/// Takes what it is given, or says what it is told to say.
#[derive(Default)]
struct Queue {
    taken: Mutex<Vec<(Uuid, Incoming)>>,
    next: Mutex<Option<Result<Forwarding, NotForwarded>>>,
}

impl ForwardEvents for Queue {
    fn accept<'a>(
        &'a self,
        to: &'a KnownRoute,
        event: Incoming,
    ) -> BoxFuture<'a, Result<Forwarding, NotForwarded>> {
        let answer = self.next.lock().unwrap().take();
        if answer.is_none() {
            self.taken.lock().unwrap().push((to.route.id, event));
        }
        async move { answer.unwrap_or(Ok(Forwarding::Queued)) }.boxed()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl Door {
    pub(crate) async fn open(world: &World) -> Self {
        let (queue, shutdown) = (Arc::new(Queue::default()), Shutdown::new());
        let db = world.database.db.clone();
        let book = RouteBook::new(db.clone());
        shutdown.spawn("route book", book.clone().keep_up(shutdown.clone()));
        let ingress = Ingress {
            tools: world.tools.clone(),
            book,
            unrouted: Unrouted::new(db),
            strangers: Strangers::default(),
            proxies: Networks::default(),
            forward: Some(Arc::clone(&queue) as Arc<dyn ForwardEvents>),
            signals: Signals::default(),
            body_limit: 1_048_576,
            tolerance: Duration::from_secs(300),
            open: Arc::new(AtomicBool::new(true)),
        };
        let server = ServerSettings {
            error_field: ErrorField::Error,
            health: Health::new(health_body()),
            metrics: MetricsToken(None),
            workers: 1,
            cancel_when_caller_leaves: false,
        };
        let listener = web::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let routes = move |config: &mut ServiceConfig| {
            config.app_data(Data::new(ingress.clone()));
            public().configure(config);
        };
        let serving = web::serve(listener, server, routes, shutdown.clone());
        tokio::spawn(async move { serving.await.unwrap() });
        Self {
            base,
            queue,
            shutdown,
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &str, headers: &[(String, String)]) -> (u16, Value) {
        let url = format!("{}{path}", self.base);
        let mut request = reqwest::Client::new().post(url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    fn taken(&self) -> Vec<(Uuid, Incoming)> {
        std::mem::take(&mut self.queue.taken.lock().unwrap())
    }

    pub(crate) fn says(&self, answer: Result<Forwarding, NotForwarded>) {
        *self.queue.next.lock().unwrap() = Some(answer);
    }
}

/// The headers of a webhook that `secret` signs now.
pub(crate) fn signed(secret: &str, body: &str) -> Vec<(String, String)> {
    let now = Utc::now().timestamp().to_string();
    let signature = chatwoot_signature(secret, &now, body.as_bytes());
    vec![
        ("x-chatwoot-timestamp".to_owned(), now),
        ("x-chatwoot-signature".to_owned(), signature),
    ]
}

/// A route to a URL, as somebody might make it.
pub(crate) fn url_route(world: &World, tenant: &str, account: Option<i64>, inbox: i64) -> Route {
    let id = Uuid::now_v7();
    let url = SecretString::from("https://gowa.example/chatwoot/webhook?secret=x");
    Route {
        id,
        number: 0,
        installation: "default".into(),
        account_id: account,
        inbox_id: inbox,
        name: None,
        enabled: true,
        target: Target::Url {
            url_sealed: world
                .tools
                .keys
                .seal(&url, &Route::url_place(tenant, id))
                .unwrap(),
            url_shown: "https://gowa.example/chatwoot/webhook?secret=***".into(),
            signing_secret_sealed: None,
            retry_unknown: false,
        },
        wants: Wants::default(),
        inbox_secrets_sealed: Vec::new(),
        account_secrets_sealed: Vec::new(),
        path_token_sha256: None,
        created_at: Utc::now(),
        updated_at: Utc::now(),
    }
}

pub(crate) async fn put(world: &World, tenant: &str, route: &Route) -> Result<Route, DatabaseError> {
    let mut tx = TenantTransaction::begin(&world.database.db, &scope(tenant), "test").await?;
    let stored = route_store::put(&mut tx, route).await?;
    tx.commit().await?;
    Ok(stored)
}

/// Gives the route of a connected inbox these secrets.
pub(crate) async fn secret_route(world: &World, place: &Place, inbox: &[&str], account: &[&str]) {
    let (db, tenant) = (&world.database.db, place.scope.tenant().as_str());
    let mut tx = TenantTransaction::begin(db, &place.scope, "test").await.unwrap();
    let route = route_store::find_by_link(&mut tx, place.link)
        .await
        .unwrap()
        .unwrap();
    let seal = |secrets: &[&str], bound_to: String| {
        let sealed = secrets.iter().map(|secret| {
            let secret = SecretString::from(*secret);
            world.tools.keys.seal(&secret, &bound_to).unwrap()
        });
        sealed.collect::<Vec<_>>()
    };
    let route = Route {
        inbox_secrets_sealed: seal(inbox, Route::inbox_secret_place(tenant, route.id)),
        account_secrets_sealed: seal(account, Route::account_secret_place(tenant, route.id)),
        ..route
    };
    route_store::put(&mut tx, &route).await.unwrap();
    tx.commit().await.unwrap();
}

fn received() -> (u16, Value) {
    (200, json!({"received": true}))
}

fn forwarded() -> (u16, Value) {
    (200, json!({"received": true, "forwarded": true}))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_predecessors_table_row_by_row() {
    let world = World::start().await;
    let door = Door::open(&world).await;
    let route = put(&world, "desa-a", &url_route(&world, "desa-a", None, 42))
        .await
        .unwrap();
    assert_eq!(route.number, 1);
    // Not JSON, empty, null, a list, an empty object.
    for body in ["x", "", "null", "[]", "{}"] {
        assert_eq!(door.post("/webhook", body, &[]).await, received(), "{body}");
    }
    // No inbox id, null in both places, no number; and a number that has no route.
    for body in [
        json!({"event": "message_created"}),
        json!({"event": "x", "inbox": null, "inbox_id": null}),
        json!({"event": "x", "inbox_id": "abc"}),
        json!({"event": "x", "inbox": {"id": "42zz"}}),
        json!({"event": "x", "inbox": {"id": 42.5}}),
        json!({"event": "x", "inbox_id": 43}),
    ] {
        assert_eq!(
            door.post("/webhook", &body.to_string(), &[]).await,
            received(),
            "{body}"
        );
    }
    assert_eq!(door.taken().len(), 0);
    // A route is found: by `inbox.id`, else `inbox_id`, else where the predecessor did not look.
    for body in [
        json!({"event": "x", "inbox": {"id": 42}, "inbox_id": 43}),
        json!({"event": "x", "inbox_id": 42}),
        json!({"event": "x", "inbox_id": "42"}),
        json!({"event": "x", "inbox": 43, "inbox_id": 42}),
        sample("A.12"),
    ] {
        // Whatever becomes of it at the target: nobody waits for that.
        assert_eq!(
            door.post("/webhook", &body.to_string(), &[]).await,
            forwarded(),
            "{body}"
        );
        let taken = door.taken();
        assert_eq!(taken.len(), 1, "{body}");
        assert_eq!(taken[0].0, route.id);
    }
    // What cannot be kept is refused, so that somebody may know.
    for refusal in [
        NotForwarded::Full,
        NotForwarded::Database(DatabaseError::Unavailable("away".into())),
    ] {
        door.says(Err(refusal));
        let (status, answer) = door.post("/webhook", r#"{"event":"x","inbox_id":42}"#, &[]).await;
        assert_eq!(status, 503, "{answer}");
    }
    door.says(Ok(Forwarding::Repeated));
    let body = r#"{"event":"x","inbox_id":42}"#;
    assert_eq!(door.post("/webhook", body, &[]).await, forwarded());
    door.says(Ok(Forwarding::Unwanted));
    assert_eq!(door.post("/webhook", body, &[]).await, received());
    let long = "x".repeat(1_048_577);
    let (status, answer) = door.post("/webhook", &long, &[]).await;
    assert_eq!((status, &answer["error"]), (413, &json!("Payload too large")));
    for path in ["/webhook/", "/webhook/a/b"] {
        assert_eq!(door.post(path, body, &[]).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_gets_what_it_wants_byte_for_byte() {
    let world = World::start().await;
    let door = Door::open(&world).await;
    let route = put(&world, "desa-a", &url_route(&world, "desa-a", Some(3), 42))
        .await
        .unwrap();
    let raw = "{ \"event\":\"message_created\",\"inbox\":{\"id\":42},\"account\":{\"id\":3},\"n\":1.0,\
               \"big\":9007199254740993,\"e\":\"\\u00e9\\/\",\"id\":9001,\"message_type\":\"outgoing\" }\n";
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("x-chatwoot-delivery", "d-1"),
        ("x-chatwoot-timestamp", "1"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("x-request-id", "r-1"),
        ("authorization", "Basic eDp4"),
        ("cookie", "a=b"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(door.post("/webhook?secret=y", raw, &headers).await, forwarded());
    let (_, event) = door.taken().pop().unwrap();
    assert_eq!(event.body, raw.as_bytes());
    let mut passed: Vec<_> = event.headers.clone();
    passed.sort();
    let mut wanted = headers[..5].to_vec();
    wanted.sort();
    assert_eq!(passed, wanted);
    assert!(event.request_id.is_some());

    // By itself everything but notes and lines of the conversation; echoes too.
    let note = sample("A.4").to_string();
    let mut activity = sample("A.1");
    activity["message_type"] = json!("activity");
    let mut echo = sample("A.1");
    echo["source_id"] = json!("WAID:3EB0");
    for body in [&note, &activity.to_string()] {
        assert_eq!(door.post("/webhook", body, &[]).await, received());
    }
    for name in ["A.1", "A.3", "A.6", "A.7", "A.10", "A.12"] {
        let body = sample(name).to_string();
        assert_eq!(door.post("/webhook", &body, &[]).await, forwarded(), "{name}");
    }
    assert_eq!(door.post("/webhook", &echo.to_string(), &[]).await, forwarded());

    // Known here at once, because it is looked at before anything is turned away; elsewhere within a moment.
    let choosy = Route {
        wants: Wants {
            events: vec!["message_created".into()],
            private: true,
        },
        ..route
    };
    put(&world, "desa-a", &choosy).await.unwrap();
    test_support::eventually("the route's new wishes are known", || async {
        (door.post("/webhook", &note, &[]).await == forwarded()).then_some(())
    })
    .await;
    let update = sample("A.7").to_string();
    assert_eq!(door.post("/webhook", &update, &[]).await, received());
    put(
        &world,
        "desa-a",
        &Route {
            enabled: false,
            ..choosy
        },
    )
    .await
    .unwrap();
    test_support::eventually("the route is off", || async {
        (door.post("/webhook", &note, &[]).await == received()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_and_not_routed_is_listed_until_it_is() {
    let world = World::start().await;
    let door = Door::open(&world).await;
    let event = |account: Option<i64>| json!({"event": "x", "inbox_id": 42, "account": {"id": account}});
    // Of two accounts' routes none is meant by an event that names no account.
    for account in [3, 4] {
        put(&world, "desa-a", &url_route(&world, "desa-a", Some(account), 42))
            .await
            .unwrap();
    }
    let nameless = event(None).to_string();
    for account in [Some(5), Some(5), None] {
        let body = event(account).to_string();
        assert_eq!(door.post("/webhook", &body, &[]).await, received());
    }
    // Whoever comes while another is being noted is noted with the next ones.
    let at_once = (0..20).map(|_| door.post("/webhook", &nameless, &[]));
    futures_util::future::join_all(at_once).await;
    let seen = async || {
        let mut tx = PlatformTransaction::begin(&world.database.db, PlatformScope::for_purpose("test"))
            .await
            .unwrap();
        let listed = unrouted_inboxes::list(&mut tx, 10).await.unwrap();
        tx.commit().await.unwrap();
        let mut seen: Vec<_> = listed
            .into_iter()
            .map(|row| (row.chatwoot_account_id, row.chatwoot_inbox_id, row.seen))
            .collect();
        seen.sort_unstable();
        seen
    };
    test_support::eventually("all of them are counted", || async {
        (seen().await == [(unrouted_inboxes::NO_ACCOUNT, 42, 21), (5, 42, 2)]).then_some(())
    })
    .await;
    assert_eq!(door.taken().len(), 0);
    // The account gets its route, and what named none may have been its.
    put(&world, "desa-b", &url_route(&world, "desa-b", Some(5), 42))
        .await
        .unwrap();
    assert_eq!(seen().await, []);
    assert_eq!(
        door.post("/webhook", &event(Some(5)).to_string(), &[]).await,
        forwarded()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_may_be_named_and_is_asked_how_it_is() {
    let world = World::start().await;
    let mut settings = world.settings("amqp://guest:guest@127.0.0.1:1/%2f", "");
    settings.storage.router.redis = Some(RedisSettings {
        url: test_support::redis_url().into(),
        prefix: "kanal:test:".into(),
    });
    let running = Running::ready(settings).await;
    let (_, report) = running.readiness().await;
    assert_eq!(report["checks"]["redis"], "up", "{report}");
    assert!(running.stop().await);
}
