//! A gateway of the test's own, in front of a fake WA server.

use std::time::Duration;

use database::Database;
use diesel_async::SimpleAsyncConnection as _;
use domain::ids::TenantId;
use runtime::config::{Setting as _, SettingsReader};
use runtime::encryption::KeyRing;
use runtime::shutdown::Shutdown;
use secrecy::{ExposeSecret as _, SecretString};
use tenant_isolation::TenantScope;
use test_support::{ENCRYPTION_KEYS, TestDatabase, eventually, redis_url, unique_prefix};
use tokio::task::JoinHandle;
use wa_support_gateway::MIGRATIONS;
use wa_support_gateway::app::{Application, ApplicationError};
use wa_support_gateway::config::Settings;
use wa_support_gateway::flows::provision_session::{ProvisionError, Provisioned, Wanted, provision};
use wa_support_gateway::wa_server::{WaServer, WaServerAdmin};

use super::wa_server::{ADMIN_TOKEN, FakeWaServer};

/// A customer's session, as its owner knows it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) token: String,
    pub(crate) session_id: String,
}

/// A running gateway and everything around it.
pub(crate) struct Gateway {
    pub(crate) wa: FakeWaServer,
    pub(crate) database: TestDatabase,
    pub(crate) client: reqwest::Client,
    pub(crate) port: u16,
    pub(crate) shutdown: Shutdown,
    pub(crate) running: JoinHandle<Result<(), ApplicationError>>,
}

/// Settings for a WA server at `wa_server`.
pub(super) fn settings(wa_server: &str) -> Settings {
    Settings::from_reader(SettingsReader::from_map([
        ("DATABASE_URL", "postgres://not:used@127.0.0.1:1/here"),
        ("WA_SERVER_URL", wa_server),
        ("WA_ADMIN_TOKEN", ADMIN_TOKEN),
        ("REDIS_URL", &redis_url()),
        ("REDIS_PREFIX", &unique_prefix("wa-support")),
        ("ENCRYPTION_KEYS", ENCRYPTION_KEYS),
    ]))
    .unwrap()
}

pub(crate) fn scope(customer: &str) -> TenantScope {
    TenantScope::named_by_operator(TenantId::parse(customer).unwrap())
}

/// Makes a session of this name for a customer, the way the chore does.
pub(crate) async fn try_session(
    db: &Database,
    wa: &FakeWaServer,
    customer: &str,
    name: &str,
    change: impl FnOnce(&mut Wanted),
) -> Result<Provisioned, ProvisionError> {
    session_at(db, &wa.url(), ADMIN_TOKEN, customer, name, change).await
}

/// As [`try_session`], wherever the WA server is and whatever token it wants.
pub(crate) async fn session_at(
    db: &Database,
    wa_server: &str,
    admin_token: &str,
    customer: &str,
    name: &str,
    change: impl FnOnce(&mut Wanted),
) -> Result<Provisioned, ProvisionError> {
    let keys = KeyRing::from_text(ENCRYPTION_KEYS).unwrap();
    let server = WaServer::new(&settings(wa_server).wa_server).unwrap();
    let admin = WaServerAdmin::new(server, SecretString::from(admin_token));
    let mut wanted = Wanted {
        scope: scope(customer),
        name: name.parse().unwrap(),
        webhook_url: Some("http://channel.example.id/webhook".parse().unwrap()),
        source: "operator".to_owned(),
        max_sessions: None,
    };
    change(&mut wanted);
    provision(db, &keys, &admin, &wanted).await
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        test_support::install_crypto_provider();
        let database = TestDatabase::create("wa_support", MIGRATIONS).await;
        let gateway = Self::start_on(database, change);
        gateway.until_ready().await;
        gateway
    }

    /// Starts without waiting for it to be ready.
    pub(crate) fn start_on(database: TestDatabase, change: impl FnOnce(&mut Settings)) -> Self {
        test_support::install_crypto_provider();
        let wa = FakeWaServer::start();
        let mut settings = settings(&wa.url());
        change(&mut settings);
        let listener = web::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let application = Application::build(&settings, database.db.clone(), listener).unwrap();
        let (port, shutdown) = (application.port(), Shutdown::new());
        let running = tokio::spawn(application.run_until_stopped(shutdown.clone()));
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self {
            wa,
            database,
            client,
            port,
            shutdown,
            running,
        }
    }

    pub(crate) async fn until_ready(&self) {
        eventually("the gateway is ready", || async {
            let answer = self.client.get(self.url("/health/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A session of the customer's, made afresh; the WA server forgets the calls this took.
    pub(crate) async fn session(&self, customer: &str) -> Session {
        let made = try_session(&self.database.db, &self.wa, customer, customer, |_| {})
            .await
            .unwrap();
        self.wa.forget();
        Session {
            token: made.token.expose_secret().to_owned(),
            session_id: made.session_id,
        }
    }

    pub(crate) fn get(&self, path: &str, session: &Session) -> reqwest::RequestBuilder {
        self.client.get(self.url(path)).header("token", &session.token)
    }

    pub(crate) fn post(&self, path: &str, session: &Session) -> reqwest::RequestBuilder {
        self.client.post(self.url(path)).header("token", &session.token)
    }

    /// Changes rows behind the service's back.
    pub(crate) async fn sql(&self, statement: &str) {
        self.database
            .admin()
            .await
            .batch_execute(statement)
            .await
            .unwrap();
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) {
        self.shutdown.begin();
        self.running.await.unwrap().unwrap();
        self.wa.stop().await;
    }
}
