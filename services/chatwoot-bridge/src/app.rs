//! The service, put together: built from settings and a listener, run until it is stopped.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cache::{InvalidRedisUrl, RedisLink};
use database::{Database, DatabaseError, PoolSettings};
use futures_util::FutureExt as _;
use messaging::broker::Broker;
use messaging::consumer::consume;
use messaging::lanes::Workers;
use messaging::outbox::Relay;
use messaging::topology::Queue;
use runtime::shutdown::Shutdown;
use tenant_isolation::policy::{self, PolicyError};
use tokio::runtime::Handle;
use web::health::{Health, Need};
use web::{ErrorField, MetricsToken, ServerSettings};

use crate::api::Admin;
use crate::api::basic_auth::Door;
use crate::channel::ChannelService;
use crate::channel_files::ChannelFiles;
use crate::chatwoot::{Chatwoot, Downloads, Pace};
use crate::config::{SERVICE, Settings, StorageSettings};
use crate::flows::Tools;
use crate::flows::accept_reply::Signals;
use crate::flows::agent_files::FileLinks;
use crate::flows::forward::accept::ForwardQueue;
use crate::flows::self_test;
use crate::routes::{health_body, routes};
use crate::targets::Targets;
use crate::webhooks::book::RouteBook;
use crate::webhooks::chatwoot::Ingress;
use crate::webhooks::strangers::Strangers;
use crate::webhooks::unrouted::Unrouted;
use crate::workers;
use crate::workers::drift;
use crate::workers::events::Events;
use crate::workers::forward::ForwardWork;
use crate::workers::lanes::Lanes;
use crate::workers::{retention, watch};

/// Chatwoot gives up after five seconds; waiting longer for a connection helps nobody.
const CONNECTION_WAIT: Duration = Duration::from_secs(2);
/// The pause between two looks at a database that is away.
const CHECK_PAUSE: Duration = Duration::from_secs(1);

/// Connections that operators' tests of one target keep.
const TESTS_AT_ONCE: usize = 2;

/// A service that is ready to run.
#[derive(Debug)]
pub struct Application {
    settings: Settings,
    listener: TcpListener,
    tools: Tools,
    book: RouteBook,
    broker: Broker,
    signals: Signals,
    queue: ForwardQueue,
    forward: ForwardWork,
    targets: Targets,
    channel: Option<ChannelService>,
    open: Arc<AtomicBool>,
    hole: Arc<OnceLock<Arc<PolicyError>>>,
}

/// Why the service cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The pool's settings are impossible.
    #[error("the database's pool cannot be made")]
    Database(#[from] DatabaseError),
    /// The HTTP client.
    #[error("the HTTP client cannot be made")]
    Http(#[from] reqwest::Error),
    /// Redis' URL.
    #[error("REDIS_URL")]
    Redis(#[from] InvalidRedisUrl),
}

/// Why the service ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server cannot run.
    #[error("the server failed")]
    Server(#[from] std::io::Error),
    /// The schema is none that this release works with, or tenants are not kept apart in it.
    #[error(transparent)]
    Unsafe(Arc<PolicyError>),
}

/// Makes what the flows work with.
///
/// # Errors
/// [`BuildError`].
pub fn tools(settings: &StorageSettings) -> Result<Tools, BuildError> {
    let pool = PoolSettings {
        size: settings.pool_size,
        wait: CONNECTION_WAIT,
    };
    let redis = match &settings.router.redis {
        Some(redis) => Some(RedisLink::new(&redis.url, &redis.prefix)?),
        None => None,
    };
    Ok(Tools {
        db: Database::new(&settings.database_url, settings.names.clone(), pool)?,
        chatwoot: Chatwoot::new(
            settings.outbound.clone(),
            settings.fetch_timeout,
            settings.server_concurrency,
        )?
        .paced(Pace::new(redis.clone(), settings.inbound.calls_per_minute)),
        files: ChannelFiles::new(
            settings.inbound.files_url.as_str(),
            settings.inbound.file_limit,
            settings.inbound.file_patience,
        )?,
        keys: settings.keys.clone(),
        redis,
        public_url: settings.router.public_url.clone(),
        downloads: Downloads::new(
            settings.outbound.clone(),
            settings.files.file_limit,
            settings.files.rewrite_host,
        )?,
        file_links: settings
            .files
            .files_url
            .as_ref()
            .or(settings.router.public_url.as_ref())
            .and_then(|base| FileLinks::new(&settings.keys, base.as_str())),
    })
}

/// The way to channel-service, where it is known.
///
/// # Errors
/// [`BuildError::Http`].
pub fn channel_service(settings: &StorageSettings) -> Result<Option<ChannelService>, BuildError> {
    let service = settings.channel.service.as_ref();
    let client = service.map(|(base, key)| ChannelService::new(base, key.clone()));
    Ok(client.transpose()?)
}

impl Application {
    /// Puts the service together. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(settings: Settings, listener: TcpListener) -> Result<Self, BuildError> {
        let tools = tools(&settings.storage)?;
        let broker = Broker::new(
            settings.rabbitmq_url.clone(),
            SERVICE,
            settings.topology.clone(),
            false,
        );
        let signals = Signals::default();
        let (queue, forward) = ForwardWork::new(&settings, &tools, signals.lanes.clone())?;
        let storage = &settings.storage;
        let targets = Targets::new(storage.outbound.clone(), storage.fetch_timeout, TESTS_AT_ONCE)?;
        let channel = channel_service(storage)?;
        Ok(Self {
            settings,
            listener,
            book: RouteBook::new(tools.db.clone()),
            tools,
            broker,
            signals,
            queue,
            forward,
            targets,
            channel,
            open: Arc::default(),
            hole: Arc::default(),
        })
    }

    /// The port that was taken.
    ///
    /// # Errors
    /// When the listener has none.
    pub fn port(&self) -> std::io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Serves and works until `shutdown` begins; what is in hand is finished.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run_until_stopped(self, shutdown: Shutdown) -> Result<(), RunError> {
        let (health, ingress) = (self.health(), self.ingress());
        let (operators, door) = self.operators();
        let server = ServerSettings {
            error_field: ErrorField::Error,
            health,
            metrics: MetricsToken(self.settings.process.metrics_token.clone()),
            workers: self.settings.process.workers,
            // What was accepted is finished, whether the caller waits for it or not.
            cancel_when_caller_leaves: false,
        };
        let work = Work {
            settings: self.settings,
            tools: self.tools,
            book: self.book,
            broker: self.broker,
            signals: self.signals,
            forward: self.forward,
            open: self.open,
            hole: Arc::clone(&self.hole),
        };
        shutdown.spawn("start of the workers", work.start(shutdown.clone()));
        let served = web::serve(
            self.listener,
            server,
            routes(ingress, operators, door),
            shutdown.clone(),
        )
        .await;
        shutdown.begin();
        served?;
        match self.hole.get() {
            Some(error) => Err(RunError::Unsafe(Arc::clone(error))),
            None => Ok(()),
        }
    }

    fn ingress(&self) -> Ingress {
        Ingress {
            tools: self.tools.keeping_plans(),
            book: self.book.clone(),
            unrouted: Unrouted::new(self.tools.db.clone()),
            strangers: Strangers::default(),
            proxies: self.settings.storage.router.proxies.clone(),
            forward: Some(Arc::new(self.queue.clone())),
            signals: self.signals.clone(),
            body_limit: self.settings.webhook_body_limit,
            tolerance: self.settings.signature_tolerance,
            open: Arc::clone(&self.open),
        }
    }

    fn operators(&self) -> (Admin, Door) {
        let router = &self.settings.storage.router;
        let public_host = router.public_url.as_ref().and_then(|url| {
            let host = url.url().host_str()?;
            Some(match url.url().port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            })
        });
        let (proxies, open) = (router.proxies.clone(), Arc::clone(&self.open));
        let admin = Admin {
            tools: self.tools.clone(),
            outbound: self.settings.storage.outbound.clone(),
            routes_tenant: router.routes_tenant.clone(),
            patience: self_test::PATIENCE,
            targets: self.targets.clone(),
            channel: self.channel.clone(),
            log_is_kept: self.settings.forward.log_days > 0,
        };
        (admin, Door::new(&self.settings.admin, proxies, public_host, open))
    }

    fn health(&self) -> Health {
        let schema = self.tools.db.clone();
        let (db, open, broker) = (self.tools.db.clone(), Arc::clone(&self.open), self.broker.clone());
        let health = Health::new(health_body())
            .check("postgres", Need::Vital, move || {
                let (db, open) = (db.clone(), Arc::clone(&open));
                async move { open.load(Ordering::Acquire) && db.ping().await.is_ok() }.boxed()
            })
            .check("schema", Need::Vital, move || {
                let db = schema.clone();
                async move { policy::knows_schema(&db, &crate::MIGRATIONS).await }.boxed()
            })
            .check("rabbitmq", Need::Helpful, move || {
                let up = broker.is_up();
                async move { up }.boxed()
            });
        let Some(redis) = self.tools.redis.clone() else {
            return health;
        };
        // A connection lives on the runtime that opened it, and the server's threads have their own.
        let process = Handle::current();
        health.check("redis", Need::Helpful, move || {
            let (redis, process) = (redis.clone(), process.clone());
            async move {
                process
                    .spawn(async move { redis.is_up().await })
                    .await
                    .unwrap_or(false)
            }
            .boxed()
        })
    }
}

/// The side of the service that has no port.
struct Work {
    settings: Settings,
    tools: Tools,
    book: RouteBook,
    broker: Broker,
    signals: Signals,
    forward: ForwardWork,
    open: Arc<AtomicBool>,
    hole: Arc<OnceLock<Arc<PolicyError>>>,
}

impl Work {
    /// Looks at the database's defences before anything is done with it, however long it is away.
    async fn start(self, shutdown: Shutdown) {
        loop {
            match policy::before_serving(&self.tools.db, &crate::MIGRATIONS).await {
                Ok(()) => break,
                Err(error @ (PolicyError::Holes(_) | PolicyError::Schema(_))) => {
                    tracing::error!(%error, "the service must not serve");
                    // There is one start, so nothing stands there yet.
                    drop(self.hole.set(Arc::new(error)));
                    return shutdown.begin();
                }
                Err(error @ PolicyError::Database(_)) => {
                    tracing::warn!(%error, "waiting for the database");
                    if !shutdown.sleep(CHECK_PAUSE).await {
                        return;
                    }
                }
            }
        }
        if shutdown.has_begun() {
            return;
        }
        self.open.store(true, Ordering::Release);
        self.spawn(&shutdown);
    }

    fn spawn(self, shutdown: &Shutdown) {
        let Self {
            settings,
            tools,
            book,
            broker,
            signals,
            forward,
            ..
        } = self;
        let channel = &settings.storage.channel;
        workers::channel::start(channel, settings.kept, &tools, book.clone(), &signals, shutdown);
        shutdown.spawn("route book", book.keep_up(shutdown.clone()));

        forward.spawn(shutdown);

        let relay = Relay::new(tools.db.clone(), broker.clone(), signals.outbox.clone(), false);
        shutdown.spawn("outbox relay", relay.run(shutdown.token()));
        shutdown.spawn("watch", messaging::watch::run(tools.db.clone(), shutdown.token()));
        shutdown.spawn("watch of events", watch::run(tools.db.clone(), shutdown.clone()));

        let busy = tools.keeping_plans();
        let events = Events {
            tools: busy.clone(),
            signal: signals.lanes.clone(),
        };
        let stop = shutdown.token();
        shutdown.spawn("event consumer", async move {
            consume(&broker, Queue::BridgeEvents, &events, &stop).await;
        });

        let lanes = Arc::new(Lanes {
            tools: busy,
            retry: settings.retry,
            reply_window: settings.reply_window,
            outbox: signals.outbox,
        });
        let workers = Workers::new(tools.db.clone(), lanes, settings.lanes, signals.lanes);
        shutdown.spawn("lane workers", workers.run(shutdown.token()));

        let every = settings.admin.drift_every;
        shutdown.spawn("drift", drift::run(tools.clone(), every, shutdown.clone()));

        shutdown.spawn(
            "retention",
            retention::run(tools.db, settings.kept, shutdown.clone()),
        );
    }
}
