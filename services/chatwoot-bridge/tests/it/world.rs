//! A bridge with a database of its own and a Chatwoot of its own; work is done step by step.

use std::net::TcpListener;
use std::time::Duration;

use chatwoot_bridge::MIGRATIONS;
use chatwoot_bridge::app::{Application, RunError};
use chatwoot_bridge::channel_files::ChannelFiles;
use chatwoot_bridge::chatwoot::{Chatwoot, Downloads};
use chatwoot_bridge::config::Settings;
use chatwoot_bridge::flows::Tools;
use chatwoot_bridge::flows::agent_files::FileLinks;
use chatwoot_bridge::flows::connect_inbox::{Connection, connect_inbox};
use chatwoot_bridge::outbound_url::OutboundPolicy;
use chatwoot_bridge::store::inboxes::InboxKey;
use chatwoot_bridge::workers::events::Events;
use chatwoot_bridge::workers::lanes::Lanes;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId, TenantId};
use domain::retry::RetrySchedule;
use messaging::consumer::HandleEvent as _;
use messaging::events::message_received::{ChatMessage, ChatPartner, MessageReceived};
use messaging::events::message_status_changed::MessageStatusChanged;
use messaging::lanes::{WorkerSettings, claim_and_work};
use messaging::outbox::Signal;
use messaging::{Envelope, Event};
use runtime::config::{Setting as _, SettingsReader};
use runtime::encryption::KeyRing;
use runtime::shutdown::Shutdown;
use secrecy::SecretString;
use serde_json::Value;
use simulator::{FaultKind, FaultSpec, NewAccount, NewInbox, Simulator, SimulatorConfig};
use tenant_isolation::TenantScope;
use test_support::logs::{self, Mark};
use test_support::{ENCRYPTION_KEYS, TestDatabase, eventually, install_crypto_provider};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(crate) const SECRET: &str = "test-secret-not-real-0001";

/// The bridge's own side.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) tools: Tools,
    pub(crate) lanes: Lanes,
    pub(crate) events: Events,
}

/// A tenant's account and the Chatwoot inbox that speaks for it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) scope: TenantScope,
    pub(crate) account: AccountId,
    pub(crate) chatwoot_account: u64,
    pub(crate) inbox: u64,
    pub(crate) link: Uuid,
}

/// Under which links to agents' files stand.
pub(crate) const FILES_URL: &str = "http://bridge.test";

/// Has everything kept that the bridge logs.
pub(crate) fn keep_logs() -> Mark {
    logs::keep_of(&["chatwoot_bridge", "chores", "messaging", "web"])
}

pub(crate) const LANES: WorkerSettings = WorkerSettings {
    concurrency: 8,
    lease: Duration::from_secs(15),
};

pub(crate) fn quick_retries() -> RetrySchedule {
    RetrySchedule::new(Duration::from_millis(10), Duration::from_millis(40), 6, 0.0).unwrap()
}

pub(crate) fn open_policy() -> OutboundPolicy {
    OutboundPolicy::from_text("127.0.0.1:*").unwrap()
}

pub(crate) fn keys() -> KeyRing {
    KeyRing::from_text(ENCRYPTION_KEYS).unwrap()
}

pub(crate) fn scope(tenant: &str) -> TenantScope {
    TenantScope::named_by_operator(TenantId::parse(tenant).unwrap())
}

pub(crate) async fn start_chatwoot() -> Simulator {
    Simulator::start(SimulatorConfig::for_tests()).await.unwrap()
}

impl World {
    pub(crate) async fn start() -> Self {
        install_crypto_provider();
        Self::over(TestDatabase::create("chatwoot_bridge", MIGRATIONS).await)
    }

    pub(crate) fn over(database: TestDatabase) -> Self {
        let chatwoot = Chatwoot::new(open_policy(), Duration::from_secs(5), 8)
            .unwrap()
            .settling_in(Duration::from_millis(50));
        let tools = Tools {
            db: database.db.clone(),
            chatwoot,
            files: ChannelFiles::new("http://127.0.0.1:1/uploads", 1_000_000, Duration::ZERO).unwrap(),
            keys: keys(),
            redis: None,
            public_url: None,
            file_links: FileLinks::new(&keys(), FILES_URL),
            downloads: Downloads::new(open_policy(), 1_000_000, false).unwrap(),
        };
        let lanes = Lanes {
            tools: tools.clone(),
            retry: quick_retries(),
            reply_window: Duration::from_millis(50),
            outbox: Signal::default(),
        };
        let events = Events {
            tools: tools.clone(),
            signal: Signal::default(),
        };
        Self {
            database,
            tools,
            lanes,
            events,
        }
    }

    /// Settings for a whole application over this world's database.
    pub(crate) fn settings(&self, rabbitmq_url: &str, prefix: &str) -> Settings {
        let reader = SettingsReader::from_map([
            ("DATABASE_URL", "postgres://u:p@h/d"),
            ("RABBITMQ_URL", rabbitmq_url),
            ("BROKER_PREFIX", prefix),
            ("ENCRYPTION_KEYS", ENCRYPTION_KEYS),
            ("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "127.0.0.1:*"),
            ("HTTP_WORKERS", "1"),
            ("DATABASE_POOL_SIZE", "4"),
        ]);
        let mut settings = Settings::read(reader).unwrap();
        settings.storage.database_url = self.database.url.clone();
        settings.storage.names = self.database.names.clone();
        settings.retry = quick_retries();
        settings.reply_window = Duration::from_millis(50);
        settings
    }

    /// Connects a new Chatwoot inbox; `webhook_url` is where its events go.
    pub(crate) async fn connect(
        &self,
        chatwoot: &Simulator,
        tenant: &str,
        installation: &str,
        webhook_url: &str,
    ) -> Place {
        let account = chatwoot.create_chatwoot_account(NewAccount::default());
        let inbox = chatwoot
            .create_chatwoot_inbox(NewInbox {
                account_id: account.id,
                name: "WA Contoh".into(),
                webhook_url: webhook_url.into(),
                secret: Some(SECRET.into()),
                lock_to_single_conversation: false,
                channel_type: None,
            })
            .unwrap();
        let scope = scope(tenant);
        let our_account = AccountId::generate();
        let new = Connection {
            account: our_account,
            chatwoot_url: format!("{}/chatwoot", chatwoot.base_url()),
            key: key(installation, account.id, inbox.id),
            api_token: SecretString::from(account.api_access_token),
            webhook_secrets: Some(vec![SecretString::from(SECRET)]),
        };
        let link = connect_inbox(&self.tools, &scope, &new).await.unwrap();
        Place {
            scope,
            account: our_account,
            chatwoot_account: account.id,
            inbox: inbox.id,
            link,
        }
    }

    /// Hands an event over as the broker would.
    pub(crate) async fn take(&self, envelope: &Envelope) {
        self.events.handle(envelope).await.unwrap();
    }

    /// Works until no lane is ready and none is waiting for a retry.
    pub(crate) async fn work(&self) {
        eventually("all lanes are done", || async {
            claim_and_work(&self.database.db, &self.lanes, LANES)
                .await
                .unwrap();
            (self
                .count("SELECT count(*) AS n FROM lane_tasks WHERE NOT parked")
                .await
                == 0)
                .then_some(())
        })
        .await;
    }

    /// One step.
    pub(crate) async fn step(&self) -> usize {
        claim_and_work(&self.database.db, &self.lanes, LANES)
            .await
            .unwrap()
    }

    /// Replies that were accepted: orders, and those that still wait for their neighbours.
    pub(crate) async fn accepted_replies(&self) -> i64 {
        self.count(
            "SELECT (SELECT count(*) FROM outbox) + \
                 (SELECT count(*) FROM lane_tasks WHERE kind = 'reply') AS n",
        )
        .await
    }

    /// The texts of orders, in the order in which they leave.
    pub(crate) async fn ordered_texts(&self) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            text: String,
        }
        let mut connection = self.database.admin().await;
        let rows: Vec<Row> =
            diesel::sql_query("SELECT envelope::jsonb->'data'->>'text' AS text FROM outbox ORDER BY seq")
                .load(&mut connection)
                .await
                .unwrap();
        rows.into_iter().map(|row| row.text).collect()
    }

    /// A number, seen by the privileged role: behind all policies.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            n: i64,
        }
        let mut connection = self.database.admin().await;
        let rows: Vec<Count> = diesel::sql_query(query).load(&mut connection).await.unwrap();
        rows[0].n
    }

    /// The texts of one column, `value`.
    pub(crate) async fn values(&self, query: &str) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            value: String,
        }
        let mut connection = self.database.admin().await;
        let rows: Vec<Row> = diesel::sql_query(query).load(&mut connection).await.unwrap();
        rows.into_iter().map(|row| row.value).collect()
    }

    pub(crate) async fn sql(&self, statement: &str) {
        let mut connection = self.database.admin().await;
        diesel::sql_query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

pub(crate) fn key(installation: &str, account: u64, inbox: u64) -> InboxKey {
    InboxKey {
        installation: installation.into(),
        account_id: account.try_into().unwrap(),
        inbox_id: inbox.try_into().unwrap(),
    }
}

/// A person's message, as channel-service tells it.
pub(crate) fn message(place: &Place, chat: ChatId, phone: &str, id: &str, text: &str) -> ChatMessage {
    ChatMessage {
        account_id: place.account,
        chat_id: chat,
        partner: ChatPartner {
            address: format!("{phone}@s.whatsapp.net"),
            phone: Some(phone.into()),
            name: Some("Sari Contoh".into()),
        },
        place: None,
        sender: None,
        message_id: MessageId::generate(),
        provider_message_id: ProviderMessageId::parse(id).unwrap(),
        kind: "text".into(),
        text: text.into(),
        content: serde_json::value::to_raw_value(&serde_json::json!({"kind": "text", "text": text})).unwrap(),
        media: None,
        quoted: None,
        sent_at: chrono::Utc::now(),
    }
}

pub(crate) fn received(place: &Place, message: ChatMessage) -> Envelope {
    envelope(place, &MessageReceived(message))
}

pub(crate) fn envelope<E: Event>(place: &Place, event: &E) -> Envelope {
    Envelope::new(&place.scope, event).unwrap()
}

pub(crate) fn status(
    place: &Place,
    reference: &str,
    status: DeliveryStatus,
    reason: Option<&str>,
) -> Envelope {
    told(place, reference, status, reason, false)
}

/// A message of which nobody knows whether it went out, and that is not tried again by itself.
pub(crate) fn given_up(place: &Place, reference: &str, reason: &str) -> Envelope {
    told(place, reference, DeliveryStatus::Unknown, Some(reason), true)
}

fn told(
    place: &Place,
    reference: &str,
    status: DeliveryStatus,
    reason: Option<&str>,
    put_aside: bool,
) -> Envelope {
    let event = MessageStatusChanged {
        account_id: place.account,
        chat_id: ChatId::from_uuid(Uuid::from_u128(7)),
        message_id: MessageId::generate(),
        provider_message_id: ProviderMessageId::parse("3EB0STATUS").unwrap(),
        status,
        reason: reason.map(str::to_owned),
        detail: None,
        put_aside,
        reference: Some(reference.to_owned()),
        at: chrono::Utc::now(),
    };
    envelope(place, &event)
}

/// A fault on one kind of call to Chatwoot.
pub(crate) fn fault(place: &Place, method: &str, path: &str, kind: FaultKind, times: u64) -> FaultSpec {
    let prefix = format!("/chatwoot/api/v1/accounts/{}{path}", place.chatwoot_account);
    FaultSpec {
        method: Some(method.into()),
        ..FaultSpec::on_path(prefix, kind).times(times)
    }
}

pub(crate) fn server_error() -> FaultKind {
    FaultKind::Status {
        status: 500,
        body: Some("<html>sorry</html>".into()),
        retry_after: None,
    }
}

/// A whole application, listening.
pub(crate) struct Running {
    pub(crate) base: String,
    shutdown: Shutdown,
    served: JoinHandle<Result<(), RunError>>,
}

impl Running {
    pub(crate) fn start(settings: Settings) -> Self {
        Self::on(web::bind(([127, 0, 0, 1], 0).into()).unwrap(), settings)
    }

    pub(crate) fn on(listener: TcpListener, settings: Settings) -> Self {
        let application = Application::build(settings, listener).unwrap();
        let base = format!("http://127.0.0.1:{}", application.port().unwrap());
        let shutdown = Shutdown::new();
        let served = tokio::spawn(application.run_until_stopped(shutdown.clone()));
        Self {
            base,
            shutdown,
            served,
        }
    }

    pub(crate) async fn ready(settings: Settings) -> Self {
        let running = Self::start(settings);
        running.until_ready().await;
        running
    }

    pub(crate) async fn until_ready(&self) {
        eventually("the service is ready", || async {
            (self.readiness().await.0 == 200).then_some(())
        })
        .await;
    }

    pub(crate) async fn readiness(&self) -> (u16, Value) {
        let answer = reqwest::get(format!("{}/health/ready", self.base)).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Ends it and says how it ended; true when everything in hand was finished.
    pub(crate) async fn stop(self) -> bool {
        self.shutdown.begin();
        self.ended().await.unwrap()
    }

    pub(crate) async fn ended(self) -> Result<bool, RunError> {
        self.served.await.unwrap()?;
        Ok(self.shutdown.finished_within(Duration::from_secs(10)).await)
    }
}
