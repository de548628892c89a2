//! A gateway with its relay on, sessions whose webhooks can be signed, and receivers that remember.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use diesel::QueryableByName;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use domain::retry::RetrySchedule;
use messaging::lanes::WorkerSettings;
use messaging::topology::Topology;
use runtime::config::Setting as _;
use runtime::encryption::KeyRing;
use runtime::shutdown::Shutdown;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use test_support::{ENCRYPTION_KEYS, TestDatabase, eventually, rabbitmq_url, unique_prefix};
use uuid::Uuid;
use wa_support_gateway::MIGRATIONS;
use wa_support_gateway::app::Application;
use wa_support_gateway::config::{BrokerSettings, Settings};
use whatsapp::credentials::WebhookKey;
use whatsapp::genfity::sign;

use crate::support::{Gateway, settings, try_session};

pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A webhook that reached a receiver.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// What tells the tests' events apart.
    pub(crate) fn mark(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["mark"].as_str().unwrap().to_owned()
    }
}

struct State {
    received: Mutex<Vec<Received>>,
    /// What is answered now; 0 for no answer at all.
    status: Mutex<u16>,
}

/// A customer's receiver.
pub(crate) struct Receiver {
    state: Arc<State>,
    handle: ServerHandle,
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
                .app_data(PayloadConfig::new(64 * 1024 * 1024))
                .default_service(web::to(receive))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .bind("127.0.0.1:0")
        .unwrap();
        let port = server.addrs()[0].port();
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { state, handle, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?tenant=a%20b", self.port)
    }

    /// What it answers from now on; 0 for no answer at all.
    pub(crate) fn answer(&self, status: u16) {
        *self.state.status.lock().unwrap() = status;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    pub(crate) fn marks(&self) -> Vec<String> {
        self.received().iter().map(Received::mark).collect()
    }

    /// Waits until so many webhooks came, answered well or not.
    pub(crate) async fn until(&self, many: usize) -> Vec<Received> {
        eventually("the webhooks arrive", || async {
            Some(self.received()).filter(|received| received.len() >= many)
        })
        .await
    }

    pub(crate) async fn stop(self) {
        self.handle.stop(false).await;
    }
}

async fn receive(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    let headers = request.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    assert_eq!(request.uri().to_string(), "/hook?tenant=a%20b");
    state.received.lock().unwrap().push(Received { headers, body });
    let status = *state.status.lock().unwrap();
    match status {
        0 => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            HttpResponse::Ok().finish()
        }
        302 => HttpResponse::Found()
            .insert_header(("location", "/hook?tenant=a%20b"))
            .finish(),
        status => HttpResponse::build(status.try_into().unwrap()).body("noted"),
    }
}

/// A session whose webhooks the test can sign.
pub(crate) struct HookedSession {
    pub(crate) customer: String,
    pub(crate) id: Uuid,
    pub(crate) session_id: String,
    pub(crate) key: WebhookKey,
    /// What the customer expects as signature.
    pub(crate) customers_key: WebhookKey,
}

/// Switches the relay on, with quick retries: three tries.
pub(crate) fn relayed(settings: &mut Settings) {
    settings.relay.public_base = runtime::config::BaseUrl::from_text("http://gateway.example.id");
    settings.hooks.outbound = outbound_url::OutboundPolicy::from_text("127.0.0.1:*").unwrap();
    settings.hooks.retry = schedule(3);
    settings.hooks.workers = WorkerSettings {
        concurrency: 16,
        lease: Duration::from_secs(2),
    };
    settings.hooks.timeout = Duration::from_secs(20);
}

/// Quick waits, and so many tries.
pub(crate) fn schedule(attempts: u32) -> RetrySchedule {
    RetrySchedule::new(
        Duration::from_millis(50),
        Duration::from_millis(400),
        attempts,
        0.1,
    )
    .unwrap()
}

/// Announces parked webhooks on queues of the test's own.
pub(crate) fn announced(settings: &mut Settings, url: &str) -> Topology {
    let topology = Topology::with_prefix(&unique_prefix("hooks"));
    settings.hooks.broker = Some(BrokerSettings {
        url: SecretString::from(url),
        topology: topology.clone(),
    });
    topology
}

pub(crate) fn broker_url() -> String {
    rabbitmq_url()
}

pub(crate) async fn start() -> Gateway {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Gateway {
    Gateway::start_with(|settings| {
        relayed(settings);
        change(settings);
    })
    .await
}

/// Another instance of the service beside the first one, on the same tables.
pub(crate) fn beside(gateway: &Gateway) -> Shutdown {
    let mut settings = settings(&gateway.wa.url());
    relayed(&mut settings);
    let listener = ::web::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let application = Application::build(&settings, gateway.database.db.clone(), listener).unwrap();
    let shutdown = Shutdown::new();
    tokio::spawn(application.run_until_stopped(shutdown.clone()));
    shutdown
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

impl HookedSession {
    /// A customer's only session, with this receiver.
    pub(crate) async fn make(gateway: &Gateway, customer: &str, receiver: &str) -> Self {
        let receiver = receiver.parse().unwrap();
        let made = try_session(&gateway.database.db, &gateway.wa, customer, customer, |wanted| {
            wanted.webhook_url = Some(receiver);
        })
        .await
        .unwrap();
        gateway.wa.forget();
        let mut admin = gateway.database.admin().await;
        let found: Id = diesel::sql_query("SELECT id FROM sessions WHERE session_name = $1")
            .bind::<Text, _>(customer)
            .get_result(&mut admin)
            .await
            .unwrap();
        // Made where there was no relay, so the WA server was told the customer's key; behind one it is told ours.
        let question = format!("SELECT hmac_key_sealed FROM sessions WHERE id = '{}'", found.id);
        let sealed = ask(&gateway.database, &question).await;
        let binding = format!("sessions/{customer}/{}/hmac_key", found.id);
        let key = KeyRing::from_text(ENCRYPTION_KEYS)
            .unwrap()
            .open(&sealed, &binding)
            .unwrap();
        Self {
            customer: customer.to_owned(),
            id: found.id,
            session_id: made.session_id,
            key: WebhookKey::new(key.expose_secret()).unwrap(),
            customers_key: WebhookKey::new(made.hmac_key.expose_secret()).unwrap(),
        }
    }

    /// An event of a kind that nobody looks into.
    pub(crate) fn event(&self, mark: &str) -> String {
        self.event_of("Presence", json!({"From": "6281200000001@s.whatsapp.net"}), mark)
    }

    pub(crate) fn event_of(&self, kind: &str, event: Value, mark: &str) -> String {
        json!({
            "type": kind, "event": event, "mark": mark, "instanceName": self.customer, "userID": self.session_id,
        })
        .to_string()
    }

    /// Posts a webhook as the WA server would.
    pub(crate) async fn post(&self, gateway: &Gateway, content_type: &str, body: &[u8]) -> reqwest::Response {
        let request = gateway
            .client
            .post(gateway.url(&format!("/hooks/{}", self.id)))
            .header("content-type", content_type)
            .header("x-hmac-signature", sign(&self.key, body))
            .body(body.to_vec());
        request.send().await.unwrap()
    }

    /// Posts an event, which is accepted.
    pub(crate) async fn accepted(&self, gateway: &Gateway, body: &str) {
        let answer = self.post(gateway, JSON, body.as_bytes()).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
}

/// One text out of the tables.
pub(crate) async fn ask(database: &TestDatabase, question: &str) -> String {
    let mut admin = database.admin().await;
    let answer: Line = diesel::sql_query(format!("SELECT coalesce(({question})::text, '') AS line"))
        .get_result(&mut admin)
        .await
        .unwrap();
    answer.line
}

/// Waits until a question about the tables has this answer.
pub(crate) async fn until_it_is(gateway: &Gateway, question: &str, answer: &str) {
    eventually(&format!("{question} is {answer}"), || async {
        (ask(&gateway.database, question).await == answer).then_some(())
    })
    .await;
}

/// Nothing is kept of what was delivered.
pub(crate) const KEPT: &str = "SELECT (SELECT count(*) FROM hook_events) + (SELECT count(*) FROM lane_tasks)";

/// Accepted, delivered, dropped, expired and held of all sessions.
pub(crate) const COUNTS: &str = "SELECT concat_ws(' ', sum(accepted), sum(delivered), sum(dropped), sum(expired), sum(held), sum(held_bytes)) FROM hook_counts";

/// A database that the service reaches through a proxy that can be cut.
pub(crate) async fn database_behind(proxy: &test_support::CuttableProxy) -> TestDatabase {
    TestDatabase::create_behind("wa_support", MIGRATIONS, |url| proxy.url(url)).await
}
