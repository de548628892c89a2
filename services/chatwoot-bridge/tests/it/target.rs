//! URLs that routes lead to: a receiver that remembers what came and answers as it is told, and routes to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use chatwoot_bridge::config::Settings;
use chatwoot_bridge::flows::Tools;
use chatwoot_bridge::store::installations::{self, Installation};
use chatwoot_bridge::store::routes::{self, Route, Target, Wants};
use domain::retry::RetrySchedule;
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::chatwoot_signature;
use tenant_isolation::{TenantScope, TenantTransaction};
use test_support::eventually;
use uuid::Uuid;

use crate::world::{Running, World, scope};

/// Nobody listens there: forwarding does not need the broker.
pub(crate) const NO_BROKER: &str = "amqp://guest:guest@127.0.0.1:1/%2f";

/// A post that reached a target.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// What was answered; 0 for nothing.
    pub(crate) status: u16,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The message's id, by which the tests tell events apart.
    pub(crate) fn id(&self) -> i64 {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["id"].as_i64().unwrap()
    }
}

struct State {
    received: Mutex<Vec<Received>>,
    status: Mutex<u16>,
}

/// A target.
pub(crate) struct Receiver {
    state: Arc<State>,
    port: u16,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let state = Arc::new(State {
            received: Mutex::default(),
            status: Mutex::new(200),
        });
        let data = Data::from(Arc::clone(&state));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(PayloadConfig::new(8 * 1024 * 1024))
                .default_service(web::to(receive))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .bind("127.0.0.1:0")
        .unwrap();
        let port = server.addrs()[0].port();
        tokio::spawn(server.run());
        Self { state, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// The same with user info and a query.
    pub(crate) fn url_with(&self, user: &str, query: &str) -> String {
        format!("http://{user}@127.0.0.1:{}/hook?{query}", self.port)
    }

    /// What it answers from now on; 0 for no answer at all.
    pub(crate) fn answer(&self, status: u16) {
        *self.state.status.lock().unwrap() = status;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Ids of what was taken, in the order in which it came.
    pub(crate) fn taken(&self) -> Vec<i64> {
        let received = self.received();
        let taken = received.iter().filter(|one| (200..300).contains(&one.status));
        taken.map(Received::id).collect()
    }

    /// Waits until so many posts came, answered well or not.
    pub(crate) async fn until(&self, many: usize) -> Vec<Received> {
        eventually("the posts arrive", || async {
            Some(self.received()).filter(|received| received.len() >= many)
        })
        .await
    }

    /// Waits until so many were taken.
    pub(crate) async fn until_taken(&self, many: usize) -> Vec<i64> {
        eventually("the posts are taken", || async {
            Some(self.taken()).filter(|taken| taken.len() >= many)
        })
        .await
    }
}

async fn receive(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    let headers = request.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let status = *state.status.lock().unwrap();
    state.received.lock().unwrap().push(Received {
        method: request.method().to_string(),
        uri: request.uri().to_string(),
        headers,
        body,
        status,
    });
    match status {
        0 => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            HttpResponse::Ok().finish()
        }
        301..=308 => HttpResponse::build(status.try_into().unwrap())
            .insert_header(("location", "/elsewhere"))
            .finish(),
        status => HttpResponse::build(status.try_into().unwrap()).body("noted"),
    }
}

/// A route of `desa-a` in the installation `default`, for whichever account.
pub(crate) fn route(inbox: i64, url: &str, tools: &Tools) -> Route {
    route_of("desa-a", inbox, url, tools)
}

pub(crate) fn route_of(tenant: &str, inbox: i64, url: &str, tools: &Tools) -> Route {
    let id = Uuid::now_v7();
    let sealed = |text: &str, place: &str| tools.keys.seal(&SecretString::from(text), place).unwrap();
    Route {
        id,
        number: 0,
        installation: "default".into(),
        account_id: None,
        inbox_id: inbox,
        name: None,
        enabled: true,
        target: Target::Url {
            url_sealed: sealed(url, &Route::url_place(tenant, id)),
            url_shown: "http://***".into(),
            signing_secret_sealed: None,
            retry_unknown: false,
        },
        wants: Wants::default(),
        inbox_secrets_sealed: Vec::new(),
        account_secrets_sealed: Vec::new(),
        path_token_sha256: None,
        created_at: chrono::Utc::now(),
        updated_at: chrono::Utc::now(),
    }
}

/// Lets agents' messages go once more although nobody knows of them.
pub(crate) fn that_repeats(mut route: Route) -> Route {
    if let Target::Url { retry_unknown, .. } = &mut route.target {
        *retry_unknown = true;
    }
    route
}

/// Has bodies signed for the target.
pub(crate) fn that_signs(mut route: Route, secret: &str, tools: &Tools) -> Route {
    let place = Route::signing_place("desa-a", route.id);
    if let Target::Url {
        signing_secret_sealed,
        ..
    } = &mut route.target
    {
        *signing_secret_sealed = Some(tools.keys.seal(&SecretString::from(secret), &place).unwrap());
    }
    route
}

pub(crate) async fn put(tools: &Tools, route: &Route) -> Route {
    put_of("desa-a", tools, route).await
}

pub(crate) async fn put_of(tenant: &str, tools: &Tools, route: &Route) -> Route {
    let mut tx = TenantTransaction::begin(&tools.db, &scope(tenant), "test")
        .await
        .unwrap();
    let stored = routes::put(&mut tx, route).await.unwrap();
    tx.commit().await.unwrap();
    stored
}

/// Makes an API token of a Chatwoot account known.
pub(crate) async fn know_token(tools: &Tools, url: &str, account: u64, token: &str) {
    let scope: TenantScope = scope("desa-a");
    let account = i64::try_from(account).unwrap();
    let place = Installation::token_place("desa-a", "default", account);
    let row = Installation {
        installation: "default".into(),
        chatwoot_account_id: account,
        chatwoot_url: url.into(),
        api_token_sealed: tools.keys.seal(&SecretString::from(token), &place).unwrap(),
    };
    let mut tx = TenantTransaction::begin(&tools.db, &scope, "test").await.unwrap();
    installations::put(&mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
}

/// An agent's message.
pub(crate) fn message(inbox: i64, conversation: i64, id: i64) -> Value {
    json!({
        "event": "message_created", "id": id, "message_type": "outgoing", "private": false, "content": "Halo kak",
        "source_id": null, "account": {"id": 3}, "inbox": {"id": inbox},
        "conversation": {"id": conversation, "inbox_id": inbox},
    })
}

/// A change of a conversation; `id` is the conversation's.
pub(crate) fn change(inbox: i64, conversation: i64, at: i64) -> Value {
    json!({
        "event": "conversation_updated", "id": conversation, "inbox_id": inbox, "account": {"id": 3},
        "updated_at": at, "changed_attributes": null,
    })
}

/// Settings for forwarding that is quick about everything.
pub(crate) fn quick(world: &World) -> Settings {
    let mut settings = world.settings(NO_BROKER, "");
    settings.forward.retry = tries(4);
    settings.reply_window = Duration::ZERO;
    settings.storage.fetch_timeout = Duration::from_secs(20);
    settings
}

/// Quick waits, and so many tries.
pub(crate) fn tries(attempts: u32) -> RetrySchedule {
    RetrySchedule::new(
        Duration::from_millis(20),
        Duration::from_millis(200),
        attempts,
        0.0,
    )
    .unwrap()
}

pub(crate) async fn post(running: &Running, body: String) -> (StatusCode, Value) {
    post_with(&running.base, "/webhook", body, &[]).await
}

pub(crate) async fn post_with(
    base: &str,
    path: &str,
    body: String,
    headers: &[(&str, &str)],
) -> (StatusCode, Value) {
    let mut request = reqwest::Client::new()
        .post(format!("{base}{path}"))
        .header("content-type", "application/json")
        .body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Headers that sign a body as Chatwoot does.
pub(crate) fn signed(secret: &str, body: &str) -> [(&'static str, String); 2] {
    let now = chrono::Utc::now().timestamp().to_string();
    let signature = chatwoot_signature(secret, &now, body.as_bytes());
    [("x-chatwoot-timestamp", now), ("x-chatwoot-signature", signature)]
}

pub(crate) fn forwarded() -> (StatusCode, Value) {
    (StatusCode::OK, json!({"received": true, "forwarded": true}))
}

pub(crate) fn only_received() -> (StatusCode, Value) {
    (StatusCode::OK, json!({"received": true}))
}

/// A world with an application, a target and a route to it from inbox 42.
pub(crate) struct Forwarding {
    pub(crate) world: World,
    pub(crate) running: Running,
    pub(crate) target: Receiver,
    pub(crate) route: Route,
}

impl Forwarding {
    pub(crate) async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_with(change, |route, _| route).await
    }

    pub(crate) async fn start_with(
        change: impl FnOnce(&mut Settings),
        of: impl FnOnce(Route, &Tools) -> Route,
    ) -> Self {
        let (world, target) = (World::start().await, Receiver::start());
        let mut settings = quick(&world);
        change(&mut settings);
        let new = of(route(42, &target.url(), &world.tools), &world.tools);
        let route = put(&world.tools, &new).await;
        let running = Running::ready(settings).await;
        Self {
            world,
            running,
            target,
            route,
        }
    }

    pub(crate) async fn post(&self, event: &Value) {
        assert_eq!(
            post(&self.running, event.to_string()).await,
            forwarded(),
            "{event}"
        );
    }

    /// Waits until nothing is on its way or waits any more.
    pub(crate) async fn until_settled(&self) {
        settled(&self.world).await;
    }
}

/// Waits until nothing is on its way or waits any more, and sees that everything is accounted for.
pub(crate) async fn settled(world: &World) {
    let waiting = "SELECT (SELECT count(*) FROM forward_events WHERE held IS NULL) + \
                     (SELECT count(*) FROM forward_lanes WHERE ready_at IS NOT NULL) AS n";
    eventually("nothing waits", || async {
        (world.count(waiting).await == 0).then_some(())
    })
    .await;
    let unbalanced = "SELECT count(*) AS n FROM forward_lanes l WHERE accepted <> delivered + dropped + expired + held \
                        OR held <> (SELECT count(*) FROM forward_events e WHERE e.tenant_id = l.tenant_id \
                            AND e.route_id = l.route_id AND e.conversation = l.conversation) \
                        OR held_bytes <> (SELECT coalesce(sum(size), 0) FROM forward_events e \
                            WHERE e.tenant_id = l.tenant_id AND e.route_id = l.route_id \
                              AND e.conversation = l.conversation)";
    assert_eq!(
        world.count(unbalanced).await,
        0,
        "accepted is not what became of it"
    );
}
