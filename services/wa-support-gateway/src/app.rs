//! The running service: built from settings, a database and a listener, so that tests build it exactly as `main` does.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{BusinessZone, ExpirySettings, SessionSettings, Settings};
use crate::flows::admit::Admissions;
use crate::flows::customer_key::CustomerKeys;
use crate::flows::customers::Customers;
use crate::flows::hooks::accept::Hooks;
use crate::flows::key_guard::KeyGuard;
use crate::flows::quota::QuotaWork;
use crate::flows::session_status::StatusNotes;
use crate::flows::sessions::Sessions;
use crate::flows::standing::Standings;
use crate::routes;
use crate::state::{Gateway, PoliciesConfirmed};
use crate::traffic::Traffic;
use crate::wa_server::{Forwarder, WaCalls, WaServer};
use crate::workers;
use crate::workers::expire_subscriptions::ExpireSubscriptions;
use crate::workers::hooks::{HookWork, HookWorkError};
use crate::workers::traffic::TrafficWork;
use cache::{InvalidRedisUrl, RedisLink};
use database::Database;
use futures_util::FutureExt as _;
use runtime::shutdown::Shutdown;
use serde_json::json;
use tenant_isolation::policy::{self, PolicyError};
use tokio::runtime::Handle;
use web::health::{Health, Need};
use web::{BodyBudget, ErrorField, MetricsToken, ServerSettings};
use whatsapp::genfity::InvalidEndpoint;

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
    /// The WA server's address cannot be extended.
    #[error("WA_SERVER_URL: {0}")]
    WaServer(#[from] InvalidEndpoint),
    /// Redis' address is none.
    #[error("REDIS_URL: {0}")]
    Redis(#[from] InvalidRedisUrl),
    /// The webhook relay cannot be put together.
    #[error(transparent)]
    Hooks(#[from] HookWorkError),
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
    hooks: HookWork,
    session_upkeep: SessionSettings,
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
        settings.relay.warn_if_unreachable();
        let redis = RedisLink::new(&settings.redis.url, &settings.redis.prefix)?
            .keeping_copies_for(settings.redis.copies_live);
        let wa_server = WaServer::new(&settings.wa_server)?;
        let standings = Standings::new(db.clone(), redis.clone());
        let admissions = Admissions::new(
            db.clone(),
            settings.keys.clone(),
            standings.clone(),
            redis.clone(),
        );
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
            sessions: sessions(settings, &db)?.with_admissions(admissions.clone()),
            status_notes: StatusNotes::new(db.clone()),
            admissions,
            customers: Customers::new(db.clone(), standings.clone(), customer_keys.clone()),
            customer_keys,
            key_guard: KeyGuard::new(redis.clone()),
            http: Arc::new(settings.http.clone()),
            hooks: Hooks::new(
                db.clone(),
                settings.keys.clone(),
                redis.clone(),
                settings.hooks.queue_bytes,
            ),
            hook_body_limit: settings
                .relay
                .public_base
                .as_ref()
                .map(|_| settings.hooks.body_limit),
            hook_bodies: BodyBudget::of(settings.hooks.bodies_at_once()),
            db,
            redis,
            callers: Arc::new(settings.callers.clone()),
            standings,
            keys: settings.keys.clone(),
            forwarding: Arc::new(settings.wa_server.clone()),
            wa_server,
            body_limit: settings.body_limit,
            policies: PoliciesConfirmed::default(),
            process: Handle::current(),
        };
        // Each worker makes one of its own, and would have to do without.
        Forwarder::new(&settings.wa_server).ok_or(ApplicationError::WaServerUrl)?;
        let hooks = HookWork::new(settings, &gateway)?;
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
            hooks,
            session_upkeep: settings.sessions.clone(),
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
            hooks,
            session_upkeep,
            ..
        } = self;
        let traffic_work = TrafficWork::start(quota_work, gateway.traffic.usage.clone());
        let looking_after = workers::sessions::run(
            gateway.sessions.clone(),
            session_upkeep,
            gateway.policies.clone(),
            shutdown.clone(),
        );
        shutdown.spawn("sessions", looking_after);
        shutdown.spawn("revocations", gateway.redis.clone().hear(shutdown.token()));
        let settings = ServerSettings {
            error_field: ErrorField::Message,
            health: with_broker(health(&gateway), &hooks),
            metrics: server.metrics,
            workers: server.workers,
            cancel_when_caller_leaves: true,
        };
        let expiring = ExpireSubscriptions::new(&gateway, zone, expiry, shutdown.clone());
        hooks.start(&shutdown);
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

fn sessions(settings: &Settings, db: &Database) -> Result<Sessions, ApplicationError> {
    let calls = WaCalls::new(
        &settings.wa_server,
        &settings.sessions,
        settings.admin_token.clone(),
    )?;
    let (keys, relay) = (settings.keys.clone(), settings.relay.clone());
    Ok(Sessions::new(db.clone(), keys, calls, relay, &settings.sessions))
}

fn health(gateway: &Gateway) -> Health {
    let for_schema = gateway.clone();
    let (for_database, for_redis, for_server) = (gateway.clone(), gateway.clone(), gateway.clone());
    Health::new(json!({"status": "healthy"}))
        .check("database", Need::Vital, move || {
            let gateway = for_database.clone();
            let (policies, db) = (gateway.policies.clone(), gateway.db.clone());
            let probe = async move { Ok(policies.are_confirmed() && db.ping().await.is_ok()) };
            async move { gateway.on_process(probe).await.unwrap_or(false) }.boxed()
        })
        .check("schema", Need::Vital, move || {
            let gateway = for_schema.clone();
            let db = gateway.db.clone();
            let probe = async move { Ok(policy::knows_schema(&db, &crate::MIGRATIONS).await) };
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

/// Announcements wait for RabbitMQ, and nothing else does.
fn with_broker(health: Health, hooks: &HookWork) -> Health {
    let Some(broker) = hooks.broker() else {
        return health;
    };
    health.check("rabbitmq", Need::Helpful, move || {
        let up = broker.is_up();
        async move { up }.boxed()
    })
}

/// Asks until Postgres answers whether tenants are kept apart. The port is open meanwhile, and nobody is served.
async fn confirm_policies(gateway: &Gateway, shutdown: &Shutdown) -> Result<(), PolicyError> {
    let (mut wait, longest) = CHECK_AGAIN;
    loop {
        let checked = tokio::select! {
            checked = policy::before_serving(&gateway.db, &crate::MIGRATIONS) => checked,
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
            Err(error @ (PolicyError::Holes(_) | PolicyError::Schema(_))) => {
                tracing::error!(%error, "not serving");
                shutdown.begin();
                return Err(error);
            }
        }
        if !shutdown.sleep(wait).await {
            return Ok(());
        }
        wait = (wait * 2).min(longest);
    }
}
