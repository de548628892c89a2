//! The running service, the people who talk to it, and eyes on everything it changes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use channel_service::app::Application;
use channel_service::config::{EndpointSettings, ProviderSettings, Settings, StorageSettings};
use channel_service::endpoints::Endpoints;
use channel_service::flows::load_media::LoadMedia;
use channel_service::flows::media::MediaFlow;
use channel_service::flows::register_account::{NewAccount, register};
use channel_service::flows::route_account::AccountRoutes;
use channel_service::flows::tenant::{Actor, create};
use database::{Database, DatabaseUrl, PoolSettings};
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use domain::endpoint::EndpointName;
use domain::ids::{AccountId, EventId, TenantId};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use messaging::broker::Broker;
use messaging::events::send_requested::SendRequested;
use messaging::topology::{GovconnectQueue, Queue, Topology};
use messaging::{Envelope, Event, Publication, Publisher};
use reqwest::Method;
use runtime::config::{BaseUrl, Setting as _, SettingsReader};
use runtime::encryption::KeyRing;
use runtime::shutdown::Shutdown;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, NewSession, Simulator, SimulatorConfig, WaUser, hmac_sha256_hex};
use tempfile::TempDir;
use tenant_isolation::TenantScope;
use test_support::{
    CuttableProxy, ENCRYPTION_KEYS, TestDatabase, environment, eventually, logs, unique_prefix,
};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The route on which the service sends.
pub(crate) const SEND: &str = "/wa/chat/send/text";

/// The key of the other services, good for every tenant.
pub(crate) const INTERNAL_KEY: &str = "internal-key-of-the-tests";
/// A key that is good for the tenant `desa-satu` only.
pub(crate) const LIMITED_KEY: &str = "limited-key-of-the-ai";

/// How a test wants its service.
pub(crate) struct Wishes {
    pub(crate) postgres_away: bool,
    pub(crate) rabbitmq_away: bool,
    pub(crate) send_attempts: &'static str,
    pub(crate) retry_first_ms: &'static str,
    pub(crate) retry_cap_ms: &'static str,
    pub(crate) media: MediaWishes,
    pub(crate) message_timeout_ms: &'static str,
    pub(crate) ai_service_url: Option<String>,
    pub(crate) maker: Maker,
    pub(crate) dry_run: bool,
    /// The token of accounts that have none; empty for none.
    pub(crate) access_token: String,
    /// Sessions that are made post their events to the service itself.
    pub(crate) events_come_here: bool,
    /// Settings besides the usual ones, or in their place; `{simulator}` stands for the simulator's address.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Where files come from that go out with messages.
    pub(crate) files: Option<Arc<dyn LoadMedia>>,
    /// Endpoints besides `Primary`: their names, and the simulators behind them.
    pub(crate) endpoints: Vec<(&'static str, String)>,
}

/// How a test wants its files to be treated.
pub(crate) struct MediaWishes {
    pub(crate) body_limit_bytes: &'static str,
    pub(crate) limit_bytes: &'static str,
    pub(crate) attempts: &'static str,
    pub(crate) link_seconds: &'static str,
}

impl Default for MediaWishes {
    fn default() -> Self {
        Self {
            body_limit_bytes: "33554432",
            limit_bytes: "104857600",
            attempts: "5",
            link_seconds: "3600",
        }
    }
}

/// Who makes the sessions of a test's service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    Nobody,
    /// The simulator's gateway; calls of sessions go through its proxy, too.
    Gateway,
    /// The simulator's WhatsApp server.
    Server,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            postgres_away: false,
            rabbitmq_away: false,
            send_attempts: "8",
            retry_first_ms: "50",
            retry_cap_ms: "500",
            media: MediaWishes::default(),
            message_timeout_ms: "10000",
            ai_service_url: None,
            maker: Maker::Nobody,
            dry_run: false,
            access_token: String::new(),
            events_come_here: false,
            settings: &[],
            files: None,
            endpoints: Vec::new(),
        }
    }
}

/// The proxies that stand in front of what the service depends on.
pub(crate) struct Proxies {
    pub(crate) postgres: CuttableProxy,
    pub(crate) redis: CuttableProxy,
    pub(crate) rabbitmq: CuttableProxy,
}

/// One message as it arrived on an exchange.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) routing_key: String,
    pub(crate) message_id: Option<String>,
    pub(crate) body: Value,
}

type Arrivals = Arc<Mutex<Vec<Arrival>>>;

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

/// A tenant with one account.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) account: AccountId,
    pub(crate) session: WaUser,
    /// What its webhooks are signed with.
    pub(crate) key: Option<String>,
}

/// A webhook as bytes, ready to be posted or tampered with.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) signature: Option<String>,
}

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
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

    /// A tenant whose account is signed and whose session posts no webhooks by itself.
    pub(crate) async fn tenant(&self, id: &str) -> Tenant {
        self.tenant_as(id, "", true).await
    }

    /// As [`Self::tenant`], with a session that posts its events here.
    pub(crate) async fn live_tenant(&self, id: &str) -> Tenant {
        self.tenant_as(id, &format!("{}/webhook", self.url), true).await
    }

    /// A tenant that never got a key.
    pub(crate) async fn unsigned_tenant(&self, id: &str) -> Tenant {
        self.tenant_as(id, "", false).await
    }

    async fn tenant_as(&self, id: &str, webhook: &str, signed: bool) -> Tenant {
        let key = signed.then(|| format!("key-{}", Uuid::now_v7().simple()));
        let session = self
            .simulator
            .create_wa_session(NewSession {
                name: format!("{id}-wa"),
                webhook: webhook.to_owned(),
                hmac_key: key.clone(),
                ..NewSession::default()
            })
            .unwrap();
        let account = self.register(id, &session, key.as_deref()).await;
        Tenant {
            id: id.to_owned(),
            account,
            session,
            key,
        }
    }

    /// Registers the session, or replaces its credentials.
    pub(crate) async fn register(&self, tenant: &str, session: &WaUser, key: Option<&str>) -> AccountId {
        self.secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(
                [Some(session.token.as_str()), key]
                    .into_iter()
                    .flatten()
                    .map(str::to_owned),
            );
        let new = NewAccount {
            tenant: TenantId::parse(tenant).unwrap(),
            instance_name: session.name.clone(),
            session_id: Some(session.id.clone()),
            token: SecretString::from(session.token.as_str()),
            webhook_key: key.map(SecretString::from),
            unsigned: key.is_none(),
        };
        register(&self.direct, &self.routes, &self.keys, &self.endpoints, new)
            .await
            .unwrap()
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

    /// Registers a tenant that has no session.
    pub(crate) async fn bare_tenant(&self, id: &str) {
        let scope = TenantScope::named_by_operator(TenantId::parse(id).unwrap());
        create(&self.direct, &self.endpoints, &scope, None, &Actor::operator())
            .await
            .unwrap();
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

    /// What arrived on our exchange so far.
    pub(crate) fn events(&self) -> Vec<Arrival> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What arrived on our exchange under this key, `data` only.
    pub(crate) fn data_of(&self, routing_key: &str) -> Vec<Value> {
        self.events()
            .into_iter()
            .filter(|arrival| arrival.routing_key == routing_key)
            .map(|mut arrival| arrival.body["data"].take())
            .collect()
    }

    /// What arrived on GovConnect's exchange so far.
    pub(crate) fn govconnect(&self) -> Vec<Arrival> {
        self.govconnect
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Statuses that were announced under this reference, in order of arrival.
    pub(crate) fn statuses(&self, reference: &str) -> Vec<String> {
        self.data_of("message.status_changed")
            .into_iter()
            .filter(|data| data["reference"] == reference)
            .map(|data| data["status"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until this status was announced under this reference.
    pub(crate) async fn until_status(&self, reference: &str, status: &str) {
        eventually(&format!("{reference} is {status}"), || async {
            self.statuses(reference)
                .iter()
                .any(|known| known == status)
                .then_some(())
        })
        .await;
    }

    /// Waits until the outbox is empty, i.e. everything that was going to be published is on its queue.
    pub(crate) async fn until_published(&self) {
        eventually("the outbox is empty", || async {
            (self.count("outbox").await == 0).then_some(())
        })
        .await;
    }

    /// Takes one message off a queue.
    pub(crate) async fn take_from(&self, queue: &str) -> Option<Value> {
        let options = BasicGetOptions { no_ack: true };
        let got = self.channel.basic_get(queue.into(), options).await.unwrap()?;
        Some(serde_json::from_slice(&got.delivery.data).unwrap())
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

    /// Publishes to GovConnect's exchange, as its services do.
    pub(crate) async fn govconnect_says(&self, key: &str, body: impl Into<Vec<u8>>) {
        let exchange = self.topology.govconnect_exchange();
        self.channel
            .basic_publish(
                exchange.as_str().into(),
                key.into(),
                lapin::options::BasicPublishOptions::default(),
                &body.into(),
                lapin::BasicProperties::default().with_delivery_mode(2),
            )
            .await
            .unwrap();
    }

    /// What the AI was handed over so far, in order.
    pub(crate) fn to_ai(&self) -> Vec<Value> {
        let arrivals = self.govconnect().into_iter();
        arrivals
            .filter(|arrival| arrival.routing_key == "whatsapp.message.received")
            .map(|arrival| arrival.body)
            .collect()
    }

    /// Waits until the AI was handed over this many messages.
    pub(crate) async fn until_to_ai(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} messages for the AI"), || async {
            Some(self.to_ai()).filter(|messages| messages.len() >= count)
        })
        .await
    }

    /// Waits for what one of GovConnect's queues brought and nobody could handle: the body and the reason.
    pub(crate) async fn govconnect_dead_letter(&self, queue: GovconnectQueue) -> (Vec<u8>, String) {
        let name = self.topology.govconnect_dead_letter_queue(queue);
        eventually("a dead letter", || async {
            let options = BasicGetOptions { no_ack: true };
            let got = self
                .channel
                .basic_get(name.as_str().into(), options)
                .await
                .unwrap()?;
            let headers = got.delivery.properties.headers().clone().unwrap();
            let reason = headers.inner().get("x-kanal-reason").unwrap();
            let reason = reason.as_long_string().unwrap().to_string();
            Some((got.delivery.data.clone(), reason))
        })
        .await
    }

    /// Waits for a message in the dead-letter queue of the orders.
    pub(crate) async fn dead_letter(&self) -> Value {
        let queue = self.topology.dead_letter_queue(Queue::ChannelCommands);
        eventually("a dead letter", || self.take_from(&queue)).await
    }

    /// Orders a text, as chatwoot-bridge does: over the broker. The reference is also the text.
    pub(crate) async fn order(&self, tenant: &Tenant, to: &str, reference: &str) -> Uuid {
        let order = order(tenant.account, to, reference);
        self.publish(&tenant.id, &order).await;
        order.request_id
    }

    pub(crate) async fn publish(&self, tenant: &str, order: &SendRequested) {
        let scope = TenantScope::of_own_event(TenantId::parse(tenant).unwrap());
        let envelope = Envelope::new(&scope, order).unwrap();
        self.publish_raw(envelope.id, envelope.to_json().unwrap().into_bytes())
            .await;
    }

    pub(crate) async fn publish_raw(&self, event_id: EventId, body: Vec<u8>) {
        let url = SecretString::from(test_support::rabbitmq_url());
        let broker = Broker::new(url, "tests", self.topology.clone(), true);
        let mut publisher = Publisher::connect(&broker).await.unwrap();
        let publication = Publication {
            exchange: self.topology.events_exchange(),
            routing_key: SendRequested::TYPE.to_owned(),
            event_id,
            body,
        };
        publisher.publish(&publication).await.unwrap();
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

/// An order over the broker; the reference is also the text.
pub(crate) fn order(account: AccountId, to: &str, reference: &str) -> SendRequested {
    SendRequested {
        request_id: Uuid::now_v7(),
        account_id: account,
        to: format!("{to}@s.whatsapp.net"),
        text: reference.to_owned(),
        replaces: None,
        content: None,
        quoted: None,
        reference: Some(reference.to_owned()),
    }
}

fn settings(wishes: &Wishes, proxies: &Proxies, prefix: &str, simulator: &str, here: SocketAddr) -> Settings {
    let only = |maker: Maker, value: String| {
        if wishes.maker == maker {
            value
        } else {
            String::new()
        }
    };
    let wa_api = match wishes.maker {
        Maker::Gateway => format!("{simulator}/support/v1/wa"),
        Maker::Nobody | Maker::Server => format!("{simulator}/wa"),
    };
    let public = if wishes.events_come_here {
        format!("http://{here}")
    } else {
        "https://channel.example".to_owned()
    };
    let usual = [
        ("HOST", "127.0.0.1"),
        ("PORT", "1"),
        ("DATABASE_URL", "postgres://u:p@h/d"),
        ("DATABASE_POOL_SIZE", "6"),
        ("DATABASE_WAIT_MS", "5000"),
        ("REDIS_URL", &proxies.redis.url(&test_support::redis_url())),
        ("REDIS_PREFIX", prefix),
        (
            "RABBITMQ_URL",
            &proxies.rabbitmq.url(&test_support::rabbitmq_url()),
        ),
        ("BROKER_PREFIX", prefix),
        ("ENCRYPTION_KEYS", ENCRYPTION_KEYS),
        ("INTERNAL_API_KEY", INTERNAL_KEY),
        ("API_DOCS", "true"),
        (
            "INTERNAL_CALLER_KEYS",
            concat!("ai:", "limited-key-of-the-ai", ":desa-satu"),
        ),
        ("GOVCONNECT_EVENTS", "true"),
        ("PUBLIC_CHANNEL_BASE_URL", &public),
        ("WA_API_URL", &wa_api),
        (
            "WA_SUPPORT_URL",
            &only(Maker::Gateway, format!("{simulator}/support")),
        ),
        (
            "WA_SUPPORT_INTERNAL_API_KEY",
            &only(Maker::Gateway, "govconnect:simulator-internal-key".to_owned()),
        ),
        ("WA_SERVER_URL", &only(Maker::Server, format!("{simulator}/wa"))),
        (
            "WA_ADMIN_TOKEN",
            &only(Maker::Server, "simulator-admin-token".to_owned()),
        ),
        ("WA_ACCESS_TOKEN", &wishes.access_token),
        ("WA_DRY_RUN", if wishes.dry_run { "true" } else { "false" }),
        // Long enough for a machine that has much to do: a worker that loses its lane leaves an outcome nobody knows.
        ("LANE_LEASE_MS", "8000"),
        ("MESSAGE_TIMEOUT_MS", wishes.message_timeout_ms),
        (
            "AI_SERVICE_URL",
            wishes.ai_service_url.as_deref().unwrap_or_default(),
        ),
        ("SEND_ATTEMPTS", wishes.send_attempts),
        ("SEND_RETRY_FIRST_MS", wishes.retry_first_ms),
        ("SEND_RETRY_CAP_MS", wishes.retry_cap_ms),
        ("ENDPOINT_REST_FIRST_MS", "50"),
        ("ENDPOINT_REST_CAP_MS", "400"),
        ("WEBHOOK_BODY_LIMIT_BYTES", wishes.media.body_limit_bytes),
        ("MEDIA_PUBLIC_URL", "https://files.example/uploads"),
        ("MEDIA_INTERNAL_URL", "http://inside.example/uploads"),
        ("MEDIA_LIMIT_BYTES", wishes.media.limit_bytes),
        ("MEDIA_LINK_SECONDS", wishes.media.link_seconds),
        ("MEDIA_ATTEMPTS", wishes.media.attempts),
        ("MEDIA_RETRY_FIRST_MS", "50"),
        ("MEDIA_RETRY_CAP_MS", "200"),
        // Only the tests about them want endpoints and sessions looked after.
        ("ENDPOINT_CHECKS", "off"),
        ("SESSION_WATCH", "off"),
        // Only the tests about them want pictures of people asked for.
        ("PROFILE_PICTURE_DAYS", "0"),
        // The simulator is here; everything else that is private is not.
        ("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "127.0.0.1:*"),
    ];
    let wished: Vec<(&str, String)> = wishes
        .settings
        .iter()
        .map(|(name, value)| (*name, value.replace("{simulator}", simulator)))
        .collect();
    let wished = wished.iter().map(|(name, value)| (*name, value.as_str()));
    let reader = SettingsReader::from_map(usual.into_iter().chain(wished));
    Settings::read(reader).unwrap()
}

/// An endpoint whose sessions are made at the simulator's WhatsApp server.
fn genfity(name: &str, simulator: &str) -> EndpointSettings {
    let api = BaseUrl::from_text(&format!("{simulator}/wa")).unwrap();
    EndpointSettings {
        name: EndpointName::parse(name).unwrap(),
        api_url: api.clone(),
        provider: ProviderSettings::Genfity {
            gateway: None,
            server: Some((api, "simulator-admin-token".parse().unwrap())),
        },
        webhook_keys: Vec::new(),
    }
}

async fn connect(topology: &Topology) -> (Connection, Channel) {
    let amqp = Connection::connect(&test_support::rabbitmq_url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = amqp.create_channel().await.unwrap();
    topology.declare(&channel, true).await.unwrap();
    (amqp, channel)
}

/// Keeps everything that arrives on an exchange, through a queue that goes with the connection.
async fn watch(channel: &Channel, exchange: &str) -> Arrivals {
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare("".into(), options, FieldTable::default())
        .await
        .unwrap();
    let name = queue.name().clone();
    channel
        .queue_bind(
            name.clone(),
            exchange.into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut deliveries = channel
        .basic_consume(name, "".into(), options, FieldTable::default())
        .await
        .unwrap();
    let arrivals = Arrivals::default();
    let kept = Arc::clone(&arrivals);
    tokio::spawn(async move {
        while let Some(Ok(delivery)) = deliveries.next().await {
            let arrival = Arrival {
                routing_key: delivery.routing_key.to_string(),
                message_id: delivery.properties.message_id().as_ref().map(ToString::to_string),
                body: serde_json::from_slice(&delivery.data).unwrap_or(Value::Null),
            };
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        }
    });
    arrivals
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

impl Tenant {
    /// The event in JSON mode, from this tenant's session, signed.
    pub(crate) fn json(&self, event: &Value) -> Webhook {
        let mut event = event.clone();
        event["instanceName"] = json!(self.session.name);
        event["userID"] = json!(self.session.id);
        Webhook::json(&event).signed(self.key.as_deref())
    }

    /// The event in form mode, from this tenant's session, signed.
    pub(crate) fn form(&self, event: &Value) -> Webhook {
        Webhook::form(&[
            ("instanceName", &self.session.name),
            ("jsonData", &event.to_string()),
            ("userID", &self.session.id),
        ])
        .signed(self.key.as_deref())
    }

    pub(crate) fn scope(&self) -> TenantScope {
        TenantScope::named_by_operator(TenantId::parse(self.id.as_str()).unwrap())
    }
}

impl Webhook {
    pub(crate) fn json(body: &Value) -> Self {
        Self::raw("application/json", body.to_string())
    }

    pub(crate) fn form(fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        Self::raw("application/x-www-form-urlencoded", body)
    }

    pub(crate) fn raw(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            content_type,
            body: body.into(),
            signature: None,
        }
    }

    pub(crate) fn signed(mut self, key: Option<&str>) -> Self {
        self.signature = key.map(|key| hmac_sha256_hex(key, &[&self.body]));
        self
    }
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Is it the answer 200 with this message?
    #[track_caller]
    pub(crate) fn assert_done(&self, message: &str) {
        assert_eq!(
            (self.status, self.json()),
            (200, json!({"status": "ok", "message": message}))
        );
    }

    /// Is it an answer 200 that names the kept message?
    #[track_caller]
    pub(crate) fn assert_kept(&self) -> String {
        let body = self.json();
        assert_eq!(
            (self.status, &body["status"]),
            (200, &json!("ok")),
            "{}",
            self.text
        );
        body["message_id"]
            .as_str()
            .unwrap_or_else(|| panic!("no message id: {}", self.text))
            .to_owned()
    }

    /// Is it an error in the shape every error has, telling nothing of our insides?
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str) {
        let body = self.json();
        assert_eq!(
            (self.status, body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert!(
            body["error"].as_str().is_some_and(|text| !text.is_empty()),
            "{}",
            self.text
        );
        let request_id = body["request_id"].as_str().unwrap_or_default();
        assert!(!request_id.is_empty(), "{}", self.text);
        assert_eq!(
            self.headers.get("x-request-id").and_then(|id| id.to_str().ok()),
            Some(request_id)
        );
        let shown = self.text.to_lowercase();
        for inside in [
            "postgres",
            "diesel",
            "sql",
            "relation",
            "panicked",
            "src/",
            ".rs",
            "serde",
            "actix",
            "line 1",
            "column",
            "redis",
            "rabbit",
            "lapin",
            "127.0.0.1",
        ] {
            assert!(!shown.contains(inside), "{inside}: {}", self.text);
        }
    }
}

/// A text from a person.
pub(crate) fn text(from: &str, id: &str, words: &str) -> Value {
    message(from, id, &json!({"conversation": words}))
}

/// Any message from a person.
pub(crate) fn message(from: &str, id: &str, content: &Value) -> Value {
    json!({"type": "Message", "event": {
        "Info": {
            "Chat": format!("{from}@s.whatsapp.net"), "Sender": format!("{from}:7@s.whatsapp.net"),
            "SenderAlt": "", "RecipientAlt": "", "IsFromMe": false, "IsGroup": false, "ID": id, "Type": "text",
            "PushName": "Rara", "Timestamp": chrono::Utc::now().to_rfc3339(),
        },
        "Message": content,
    }})
}

/// A receipt from a person's phone, as the server posts it.
pub(crate) fn receipt(from: &str, ids: &[&str], state: &str) -> Value {
    let kind = if state == "Delivered" { "" } else { "read" };
    json!({"type": "ReadReceipt", "state": state, "event": {
        "Chat": format!("{from}@s.whatsapp.net"), "Sender": format!("{from}@s.whatsapp.net"),
        "IsFromMe": false, "IsGroup": false, "MessageIDs": ids, "Type": kind,
        "Timestamp": chrono::Utc::now().to_rfc3339(),
    }})
}

/// `{"code":…,"error":…,"success":false}` as the WhatsApp server says it.
pub(crate) fn refusal(status: u16, error: &str, retry_after: Option<&str>) -> FaultKind {
    FaultKind::Status {
        status,
        body: Some(json!({"code": status, "error": error, "success": false})),
        retry_after: retry_after.map(str::to_owned),
    }
}
