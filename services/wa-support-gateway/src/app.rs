//! The running service: built from settings, a database and a listener, so that tests build it exactly as `main` does.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use cache::{InvalidRedisUrl, RedisLink};
use database::Database;
use futures_util::FutureExt as _;
use runtime::shutdown::Shutdown;
use serde_json::json;
use tenant_isolation::policy::{self, PolicyError};
use tokio::runtime::Handle;
use web::health::{Health, Need};
use web::{ErrorField, MetricsToken, ServerSettings};

use crate::config::{BusinessZone, ExpirySettings, Settings};
use crate::flows::admit::Admissions;
use crate::flows::customer_key::CustomerKeys;
use crate::flows::customers::Customers;
use crate::flows::key_guard::KeyGuard;
use crate::flows::quota::QuotaWork;
use crate::flows::standing::Standings;
use crate::routes;
use crate::state::{Gateway, PoliciesConfirmed};
use crate::traffic::Traffic;
use crate::wa_server::{Forwarder, WaServer, WaServerAdmin};
use crate::workers::expire_subscriptions::ExpireSubscriptions;
use crate::workers::traffic::TrafficWork;

/// First and longest wait before the policies are asked for again.
const CHECK_AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Why the service does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// The listener cannot be used.
    #[error("the HTTP server cannot run: {0}")]
    Server(#[from] io::Error),
    /// The client of the WA server cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[from] reqwest::Error),
    /// The WA server's address has no usable host.
    #[error("WA_SERVER_URL: its host cannot be called")]
    WaServerUrl,
    /// Redis' address is none.
    #[error("REDIS_URL: {0}")]
    Redis(#[from] InvalidRedisUrl),
    /// The database does not keep tenants apart; serving would be wrong.
    #[error(transparent)]
    Policies(#[from] PolicyError),
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Application {
    listener: TcpListener,
    port: u16,
    server: ServerParts,
    gateway: Gateway,
    quota_work: QuotaWork,
    zone: BusinessZone,
    expiry: ExpirySettings,
}

#[derive(Debug)]
struct ServerParts {
    workers: usize,
    metrics: MetricsToken,
}

impl Application {
    /// Puts the service together. Neither Postgres nor the WA server has to be there. Connections live on the runtime
    /// this is called on, so it has to outlive the application.
    ///
    /// # Errors
    /// [`ApplicationError`].
    pub fn build(settings: &Settings, db: Database, listener: TcpListener) -> Result<Self, ApplicationError> {
        let port = listener.local_addr()?.port();
        let redis = RedisLink::new(&settings.redis.url, &settings.redis.prefix)?;
        let wa_server = WaServer::new(&settings.wa_server)?;
        let standings = Standings::new(db.clone(), redis.clone());
        let (traffic, quota_work) = Traffic::new(
            &settings.traffic,
            settings.zone,
            &db,
            &redis,
            &settings.keys,
            &wa_server,
        );
        let customer_keys = CustomerKeys::new(db.clone(), standings.clone(), redis.clone());
        let gateway = Gateway {
            traffic,
            admissions: Admissions::new(
                db.clone(),
                settings.keys.clone(),
                standings.clone(),
                redis.clone(),
            ),
            customers: Customers::new(db.clone(), standings.clone(), customer_keys.clone()),
            customer_keys,
            key_guard: KeyGuard::new(redis.clone()),
            http: Arc::new(settings.http.clone()),
            admin: WaServerAdmin::new(wa_server.clone(), settings.admin_token.clone()),
            db,
            redis,
            callers: Arc::new(settings.callers.clone()),
            standings,
            keys: settings.keys.clone(),
            forwarder: Forwarder::new(&settings.wa_server).ok_or(ApplicationError::WaServerUrl)?,
            wa_server,
            body_limit: settings.body_limit,
            policies: PoliciesConfirmed::default(),
            process: Handle::current(),
        };
        let metrics = MetricsToken(settings.process.metrics_token.clone());
        let server = ServerParts {
            workers: settings.process.workers,
            metrics,
        };
        Ok(Self {
            listener,
            port,
            server,
            gateway,
            quota_work,
            zone: settings.zone,
            expiry: settings.expiry,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Serves until `shutdown` begins, and then until the requests in hand are answered.
    ///
    /// # Errors
    /// [`ApplicationError`]; a hole in the database's policies ends the service.
    pub async fn run_until_stopped(self, shutdown: Shutdown) -> Result<(), ApplicationError> {
        let Self {
            listener,
            server,
            gateway,
            quota_work,
            zone,
            expiry,
            ..
        } = self;
        let traffic_work = TrafficWork::start(quota_work, gateway.traffic.usage.clone());
        let settings = ServerSettings {
            error_field: ErrorField::Message,
            health: health(&gateway),
            metrics: server.metrics,
            workers: server.workers,
            cancel_when_caller_leaves: true,
        };
        let expiring = ExpireSubscriptions::new(&gateway, zone, expiry, shutdown.clone());
        let for_routes = gateway.clone();
        let serving = async {
            let routes = move |config: &mut actix_web::web::ServiceConfig| routes::add(&for_routes, config);
            let served = web::serve(listener, settings, routes, shutdown.clone()).await;
            shutdown.begin();
            served
        };
        let checking = async {
            confirm_policies(&gateway, &shutdown).await?;
            if gateway.policies.are_confirmed() {
                shutdown.spawn("expire subscriptions", expiring.run());
            }
            Ok::<(), PolicyError>(())
        };
        let (served, checked) = tokio::join!(serving, checking);
        traffic_work.finish().await;
        checked?;
        Ok(served?)
    }
}

fn health(gateway: &Gateway) -> Health {
    let (for_database, for_redis, for_server) = (gateway.clone(), gateway.clone(), gateway.clone());
    Health::new(json!({"status": "healthy"}))
        .check("database", Need::Vital, move || {
            let gateway = for_database.clone();
            let (policies, db) = (gateway.policies.clone(), gateway.db.clone());
            let probe = async move { Ok(policies.are_confirmed() && db.ping().await.is_ok()) };
            async move { gateway.on_process(probe).await.unwrap_or(false) }.boxed()
        })
        .check("redis", Need::Helpful, move || {
            let gateway = for_redis.clone();
            let redis = gateway.redis.clone();
            let probe = async move { Ok(redis.is_up().await) };
            async move { gateway.on_process(probe).await.unwrap_or(false) }.boxed()
        })
        .check("wa_server", Need::Helpful, move || {
            let gateway = for_server.clone();
            let server = gateway.wa_server.clone();
            let probe = async move { Ok(server.is_up().await) };
            async move { gateway.on_process(probe).await.unwrap_or(false) }.boxed()
        })
}

/// Asks until Postgres answers whether tenants are kept apart. The port is open meanwhile, and nobody is served.
async fn confirm_policies(gateway: &Gateway, shutdown: &Shutdown) -> Result<(), PolicyError> {
    let (mut wait, longest) = CHECK_AGAIN;
    loop {
        let checked = tokio::select! {
            checked = policy::check(&gateway.db) => checked,
            () = shutdown.begun() => return Ok(()),
        };
        match checked {
            Ok(()) => {
                gateway.policies.confirm();
                tracing::info!("the database keeps tenants apart; serving");
                return Ok(());
            }
            Err(PolicyError::Database(error)) => {
                tracing::warn!(error = ?error, "the database's policies cannot be checked yet");
            }
            Err(holes @ PolicyError::Holes(_)) => {
                tracing::error!(error = %holes, "not serving");
                shutdown.begin();
                return Err(holes);
            }
        }
        if !shutdown.sleep(wait).await {
            return Ok(());
        }
        wait = (wait * 2).min(longest);
    }
}
