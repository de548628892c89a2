//! The running service, the people who talk to it, and eyes on everything it changes.

mod answer;
mod broker;
mod tenant;
mod webhook;
mod wishes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use channel_service::app::Application;
use channel_service::config::{Settings, StorageSettings};
use channel_service::endpoints::Endpoints;
use channel_service::flows::media::MediaFlow;
use channel_service::flows::route_account::AccountRoutes;
use database::{Database, DatabaseUrl, PoolSettings};
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Channel, Connection};
use messaging::topology::{GovconnectQueue, Queue, Topology};
use reqwest::Method;
use runtime::encryption::KeyRing;
use runtime::shutdown::Shutdown;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, Simulator, SimulatorConfig};
use tempfile::TempDir;
use test_support::{CuttableProxy, TestDatabase, environment, eventually, logs, unique_prefix};
use tokio::task::JoinHandle;

use broker::{Arrivals, connect, watch};
use wishes::{genfity, settings};

pub(crate) use answer::Answer;
pub(crate) use broker::order;
pub(crate) use tenant::Tenant;
pub(crate) use webhook::{Webhook, message, receipt, text};
pub(crate) use wishes::{Maker, MediaWishes, Wishes};

/// The route on which the service sends.
pub(crate) const SEND: &str = "/wa/chat/send/text";

/// The key of the other services, good for every tenant.
pub(crate) const INTERNAL_KEY: &str = "internal-key-of-the-tests";
/// A key that is good for the tenant `desa-satu` only.
pub(crate) const LIMITED_KEY: &str = "limited-key-of-the-ai";

/// The proxies that stand in front of what the service depends on.
pub(crate) struct Proxies {
    pub(crate) postgres: CuttableProxy,
    pub(crate) redis: CuttableProxy,
    pub(crate) rabbitmq: CuttableProxy,
}

/// The service, running in this process.
pub(crate) struct TestApp {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    pub(crate) database: TestDatabase,
    /// Straight to Postgres, whatever happens to the proxy.
    pub(crate) direct: Database,
    pub(crate) routes: AccountRoutes,
    pub(crate) keys: KeyRing,
    pub(crate) simulator: Simulator,
    pub(crate) proxies: Proxies,
    pub(crate) shutdown: Shutdown,
    pub(crate) topology: Topology,
    /// The WhatsApp API servers that the service knows.
    pub(crate) endpoints: Endpoints,
    pub(crate) settings: Settings,
    /// Where files lie.
    pub(crate) uploads: TempDir,
    /// Files, past the HTTP surface.
    pub(crate) media: MediaFlow,
    http: reqwest::Client,
    running: JoinHandle<anyhow::Result<()>>,
    amqp: Connection,
    pub(crate) channel: Channel,
    events: Arrivals,
    govconnect: Arrivals,
    secrets: Mutex<Vec<String>>,
    /// Where this test's lines begin.
    logs: logs::Mark,
}

impl TestApp {
    pub(crate) async fn spawn() -> Self {
        Self::with(Wishes::default()).await
    }

    pub(crate) async fn with(wishes: Wishes) -> Self {
        let logs = logs::keep();
        test_support::install_crypto_provider();
        let simulator = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
        let proxies = Proxies {
            postgres: CuttableProxy::in_front_of(&environment("CHANNEL_DATABASE_URL"), 5432).await,
            redis: CuttableProxy::in_front_of(&test_support::redis_url(), 6379).await,
            rabbitmq: CuttableProxy::in_front_of(&test_support::rabbitmq_url(), 5672).await,
        };
        let database = TestDatabase::create_behind("channel", channel_service::MIGRATIONS, |url| {
            proxies.postgres.url(url)
        })
        .await;
        if wishes.postgres_away {
            proxies.postgres.cut();
        }
        if wishes.rabbitmq_away {
            proxies.rabbitmq.cut();
        }
        let direct_url: DatabaseUrl = database.direct_url().parse().unwrap();
        let pool = PoolSettings {
            size: 4,
            wait: Duration::from_secs(10),
        };
        let direct = Database::new(&direct_url, database.names.clone(), pool).unwrap();

        let prefix = unique_prefix("channel");
        let uploads = tempfile::tempdir().unwrap();
        let listener = web::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let mut settings = settings(&wishes, &proxies, &prefix, &simulator.base_url(), address);
        settings.database = database.url.clone();
        if matches!(settings.media.storage, StorageSettings::Directory(_)) {
            settings.media.storage = StorageSettings::Directory(uploads.path().to_owned());
        }
        let besides = wishes.endpoints.iter().map(|(name, url)| genfity(name, url));
        settings.endpoints.list.extend(besides);
        let keys = settings.keys.clone();
        let media = MediaFlow::open(direct.clone(), &keys, &settings.media).unwrap();
        let redis = cache::RedisLink::new(&settings.redis, &settings.redis_prefix).unwrap();
        let routes = AccountRoutes::new(direct.clone(), redis);

        let topology = Topology::with_prefix(&prefix);
        let (amqp, channel) = connect(&topology).await;
        let events = watch(&channel, &topology.events_exchange()).await;
        let govconnect = watch(&channel, &topology.govconnect_exchange()).await;

        let mut application =
            Application::build_in(settings.clone(), database.names.clone(), listener).unwrap();
        if let Some(files) = &wishes.files {
            application = application.with_files(Arc::clone(files));
        }
        assert_eq!(application.port().unwrap(), address.port());
        let endpoints = application.endpoints().clone();
        let shutdown = Shutdown::new();
        let running = tokio::spawn(application.run_until_stopped(shutdown.clone()));
        let app = Self {
            url: format!("http://{address}"),
            address,
            database,
            direct,
            routes,
            keys,
            simulator,
            proxies,
            shutdown,
            topology,
            endpoints,
            settings,
            uploads,
            media,
            http: client(),
            running,
            amqp,
            channel,
            events,
            govconnect,
            secrets: Mutex::default(),
            logs,
        };
        if !wishes.postgres_away {
            app.until_ready(if wishes.rabbitmq_away { "degraded" } else { "ready" })
                .await;
        }
        app
    }

    /// Waits until `/health/ready` says so.
    pub(crate) async fn until_ready(&self, status: &str) {
        eventually(&format!("/health/ready says {status}"), || async {
            let answer = self.get("/health/ready").await;
            (answer.json()["status"] == status).then_some(())
        })
        .await;
    }

    /// Posts to `/webhook`.
    pub(crate) async fn post(&self, webhook: &Webhook) -> Answer {
        self.post_to("/webhook", webhook).await
    }

    pub(crate) async fn post_to(&self, path: &str, webhook: &Webhook) -> Answer {
        let mut request = self
            .http
            .post(format!("{}{path}", self.url))
            .header("content-type", webhook.content_type)
            .body(webhook.body.clone());
        if let Some(signature) = &webhook.signature {
            request = request.header("x-hmac-signature", signature);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).await
    }

    pub(crate) async fn request(&self, method: Method, path: &str) -> Answer {
        let request = self.http.request(method, format!("{}{path}", self.url));
        Answer::of(request.send().await.unwrap()).await
    }

    /// A call of another service, with the key of all tenants.
    pub(crate) async fn internal(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.internal_as(INTERNAL_KEY, method, path, body).await
    }

    /// A call of another service with this key.
    pub(crate) async fn internal_as(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = self
            .http
            .request(method, format!("{}/internal{path}", self.url))
            .header("x-internal-api-key", key);
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// No log may hold this.
    pub(crate) fn never_log(&self, secret: &str) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.push(secret.to_owned());
    }

    /// Any request at all.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Rows of any query, as JSON objects, seen past all policies.
    pub(crate) async fn rows(&self, query: &str) -> Vec<Value> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            row: String,
        }
        let mut admin = self.database.admin().await;
        let rows: Vec<Row> = diesel::sql_query(format!("SELECT to_jsonb(q)::text AS row FROM ({query}) q"))
            .load(&mut admin)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        rows.into_iter()
            .map(|row| serde_json::from_str(&row.row).unwrap())
            .collect()
    }

    /// One column of a query with a column `value`.
    pub(crate) async fn values(&self, query: &str) -> Vec<Value> {
        let rows = self.rows(query).await;
        rows.into_iter().map(|mut row| row["value"].take()).collect()
    }

    pub(crate) async fn count(&self, table: &str) -> u64 {
        self.values(&format!("SELECT count(*) AS value FROM {table}"))
            .await[0]
            .as_u64()
            .unwrap()
    }

    /// Runs statements as the privileged role, all or none. They lock rows in their own order, so a worker may be in the way
    /// of one and wait for the other: then Postgres ends one of the two, and these are asked for again.
    pub(crate) async fn run_sql(&self, statements: &str) {
        let mut admin = self.database.admin().await;
        while let Err(error) = admin.batch_execute(statements).await {
            assert!(error.to_string().contains("deadlock detected"), "{error}");
        }
    }

    /// What every key of the service in Redis begins with.
    pub(crate) fn redis_prefix(&self) -> &str {
        &self.settings.redis_prefix
    }

    /// Another process of the same service, on the same tables, Redis and broker.
    pub(crate) async fn replica(&self) -> Replica {
        let listener = web::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let names = self.database.names.clone();
        let application = Application::build_in(self.settings.clone(), names, listener).unwrap();
        let shutdown = Shutdown::new();
        let running = tokio::spawn(application.run_until_stopped(shutdown.clone()));
        eventually("the replica is ready", || async {
            let answer = self.http.get(format!("{url}/health/ready")).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        Replica { shutdown, running }
    }

    /// The next sends are answered like this.
    pub(crate) fn sends_fail(&self, kind: FaultKind, times: u64) {
        self.simulator
            .add_fault(FaultSpec::on_path(SEND, kind).times(times))
            .unwrap();
    }

    /// Texts on a phone, in order of arrival.
    pub(crate) fn texts_on(&self, phone: &str) -> Vec<String> {
        self.simulator
            .phone(phone)
            .into_iter()
            .filter_map(|message| message.text)
            .collect()
    }

    /// Stops the service in order, refuses to leave work behind, and takes everything away that is not dropped by
    /// itself. No secret of any tenant may have been logged meanwhile.
    pub(crate) async fn finish(mut self) {
        self.shutdown.begin();
        (&mut self.running).await.unwrap().unwrap();
        assert!(
            self.shutdown.finished_within(Duration::from_secs(15)).await,
            "work was left over"
        );
        for secret in self.secrets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            assert_eq!(self.logs.lines_with(secret), [] as [String; 0]);
        }
        for queue in Queue::ALL {
            for name in [self.topology.queue(queue), self.topology.dead_letter_queue(queue)] {
                self.delete_queue(&name).await;
            }
        }
        for queue in GovconnectQueue::ALL {
            for name in [
                self.topology.govconnect_queue(queue),
                self.topology.govconnect_dead_letter_queue(queue),
            ] {
                self.delete_queue(&name).await;
            }
        }
        self.delete_queue(&self.topology.govconnect_ai_queue()).await;
        for exchange in [
            self.topology.events_exchange(),
            self.topology.govconnect_exchange(),
            self.topology
                .queue(Queue::BridgeEvents)
                .replace("chatwoot-bridge.events", "kanal.dead"),
        ] {
            let options = ExchangeDeleteOptions::default();
            self.channel
                .exchange_delete(exchange.as_str().into(), options)
                .await
                .unwrap();
        }
        self.amqp.close(200, "done".into()).await.unwrap();
        self.simulator.stop().await;
    }

    async fn delete_queue(&self, name: &str) {
        let options = QueueDeleteOptions::default();
        self.channel.queue_delete(name.into(), options).await.unwrap();
    }
}

/// Another process.
pub(crate) struct Replica {
    pub(crate) shutdown: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Replica {
    /// Stops it in order.
    pub(crate) async fn finish(self) {
        self.shutdown.begin();
        self.running.await.unwrap().unwrap();
        assert!(self.shutdown.finished_within(Duration::from_secs(15)).await);
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

/// `{"code":…,"error":…,"success":false}` as the WhatsApp server says it.
pub(crate) fn refusal(status: u16, error: &str, retry_after: Option<&str>) -> FaultKind {
    FaultKind::Status {
        status,
        body: Some(json!({"code": status, "error": error, "success": false})),
        retry_after: retry_after.map(str::to_owned),
    }
}
