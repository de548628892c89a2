//! The service put together: built from settings, served on a listener, stopped in order.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use cache::{Buckets, RedisLink};
use database::{Database, SchemaNames};
use futures_util::FutureExt as _;
use messaging::broker::Broker;
use messaging::lanes::{LaneChoice, WorkerSettings, Workers};
use messaging::outbox::{Relay, Signal};
use messaging::topology::{Queue, Topology};
use runtime::encryption::KeyRing;
use runtime::shutdown::Shutdown;
use tenant_isolation::policy::{self, PolicyError};
use tokio::sync::{Mutex, Semaphore};
use web::health::{Health, Need};
use web::{ErrorField, MetricsToken, ServerSettings};
use whatsapp::genfity::{Endpoint, GenfityDownloads, GenfitySender};

use crate::config::Settings;
use crate::flows::fetch_media::MediaFetcher;
use crate::flows::fetch_url::FileClient;
use crate::flows::ingest_message::{Ingest, Waiting};
use crate::flows::media::{LANES as MEDIA_LANES, MediaFlow};
use crate::flows::route_account::AccountRoutes;
use crate::flows::send_message::Sender;
use crate::routes::routes;
use crate::webhooks::body::{BodyLimits, LONG_AT_ONCE};
use crate::workers::commands::Commands;
use crate::workers::{committer, media as media_workers, retention};

/// What request handlers share.
pub(crate) struct State {
    pub(crate) db: Database,
    pub(crate) keys: KeyRing,
    pub(crate) routes: AccountRoutes,
    pub(crate) ingest: Ingest,
    pub(crate) relay: Signal,
    pub(crate) body_limits: BodyLimits,
    /// Places for webhooks that are too large for memory.
    pub(crate) long_bodies: Arc<Semaphore>,
    /// Files of messages and uploads.
    pub(crate) media: MediaFlow,
    /// Where the WhatsApp server is to post, when that is configured.
    pub(crate) webhook_url: Option<String>,
    open: Arc<AtomicBool>,
}

impl State {
    /// Has the database shown that it keeps tenants apart?
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

/// A service that is ready to run.
pub struct Application {
    settings: Settings,
    listener: TcpListener,
    db: Database,
    redis: RedisLink,
    broker: Broker,
    sender: Arc<Sender>,
    media: MediaFlow,
    downloads: GenfityDownloads,
    files: FileClient,
    relay: Signal,
    workers: Signal,
    open: Arc<AtomicBool>,
}

/// How often a database that is away is asked again at the start.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Application {
    /// Puts the service together on a bound listener. Needs no dependency to be there.
    ///
    /// # Errors
    /// When a setting that parsed cannot be used after all.
    pub fn build(settings: Settings, listener: TcpListener) -> anyhow::Result<Self> {
        Self::build_in(settings, SchemaNames::of_service(crate::SCHEMA), listener)
    }

    /// As [`Self::build`], in another schema: for tests.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn build_in(settings: Settings, names: SchemaNames, listener: TcpListener) -> anyhow::Result<Self> {
        let db = Database::new(&settings.database, names, settings.pool)?;
        let redis = RedisLink::new(&settings.redis, &settings.redis_prefix).context("REDIS_URL")?;
        let topology = Topology::with_prefix(&settings.broker_prefix);
        let broker = Broker::new(
            settings.rabbitmq.clone(),
            "channel-service",
            topology,
            settings.govconnect,
        );
        let endpoint = Endpoint::new(settings.wa_api.url().clone())
            .context("WA_API_URL")?
            .with_total_timeout(settings.sending.timeout);
        let relay = Signal::default();
        let sender = Sender {
            db: db.clone(),
            keys: settings.keys.clone(),
            provider: Arc::new(GenfitySender::new(&endpoint).context("the HTTP client cannot be built")?),
            account_buckets: Buckets::new(redis.clone(), settings.sending.account_rate),
            tenant_buckets: Buckets::new(redis.clone(), settings.sending.tenant_rate),
            retries: settings.sending.retries,
            relay: relay.clone(),
        };
        let files = FileClient::new(settings.media.outbound.clone())?;
        let media = MediaFlow::open(db.clone(), &settings.keys, &settings.media)?;
        Ok(Self {
            settings,
            listener,
            db,
            redis,
            broker,
            sender: Arc::new(sender),
            media,
            downloads: GenfityDownloads::new(&endpoint).context("the HTTP client cannot be built")?,
            files,
            relay,
            workers: Signal::default(),
            open: Arc::default(),
        })
    }

    /// The port the service listens on.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn port(&self) -> std::io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Serves until `shutdown`, then finishes what is in hand.
    ///
    /// # Errors
    /// When the database does not keep tenants apart, or the server cannot run.
    pub async fn run_until_stopped(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let ingest_settings = self.settings.ingest;
        let (ingest, jobs) = Ingest::new(ingest_settings.queue);
        let server = self.server_settings();
        let state = actix_web::web::Data::new(State {
            db: self.db.clone(),
            keys: self.settings.keys.clone(),
            routes: AccountRoutes::new(self.db.clone(), self.redis.clone()),
            ingest,
            relay: self.relay.clone(),
            body_limits: BodyLimits::of(ingest_settings.body_limit, self.media.limit),
            long_bodies: Arc::new(Semaphore::new(LONG_AT_ONCE)),
            media: self.media.clone(),
            webhook_url: self.settings.internal.webhook_url(),
            open: Arc::clone(&self.open),
        });
        let callers = actix_web::web::Data::new(self.settings.internal.callers.clone());
        let listener = self.listener.try_clone()?;
        let app_routes = move |config: &mut actix_web::web::ServiceConfig| {
            config.app_data(state.clone()).app_data(callers.clone());
            routes(config);
        };
        let serving = tokio::spawn(web::serve(listener, server, app_routes, shutdown.clone()));
        let opened = self.open_when_safe(&shutdown).await;
        if opened.is_ok() {
            self.start_workers(jobs, &shutdown);
            self.start_media(&shutdown);
        } else {
            shutdown.begin();
        }
        let served = serving.await.context("the server task died");
        shutdown.begin();
        opened?;
        Ok(served??)
    }

    fn server_settings(&self) -> ServerSettings {
        let health =
            Health::new(serde_json::json!({"status": "ok", "service": "channel-service", "timestamp": ""}));
        let (db, open) = (self.db.clone(), Arc::clone(&self.open));
        let (redis, broker) = (self.redis.clone(), self.broker.clone());
        let health = health
            .check("postgres", Need::Vital, move || {
                let (db, open) = (db.clone(), Arc::clone(&open));
                async move { open.load(Ordering::Acquire) && db.ping().await.is_ok() }.boxed()
            })
            .check("rabbitmq", Need::Helpful, move || {
                let up = broker.is_up();
                async move { up }.boxed()
            })
            .check("redis", Need::Helpful, move || {
                let redis = redis.clone();
                async move { redis.is_up().await }.boxed()
            });
        ServerSettings {
            error_field: ErrorField::Error,
            health,
            metrics: MetricsToken(self.settings.process.metrics_token.clone()),
            workers: self.settings.process.workers,
            // What was taken in is finished, whether or not the provider waits for the answer.
            cancel_when_caller_leaves: false,
        }
    }

    /// Opens the service when the database has shown that it keeps tenants apart; waits for a database that is away.
    async fn open_when_safe(&self, shutdown: &Shutdown) -> anyhow::Result<()> {
        loop {
            match policy::check(&self.db).await {
                Ok(()) => {
                    self.open.store(true, Ordering::Release);
                    return Ok(());
                }
                Err(error @ PolicyError::Holes(_)) => return Err(error.into()),
                Err(PolicyError::Database(error)) => {
                    tracing::warn!(error = %crate::error::chain(&error), "waiting for the database");
                    if !shutdown.sleep(ASK_AGAIN).await {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn start_workers(&self, jobs: tokio::sync::mpsc::Receiver<Waiting>, shutdown: &Shutdown) {
        let jobs = Arc::new(Mutex::new(jobs));
        let ingest = self.settings.ingest;
        for _ in 0..ingest.committers {
            let committing = committer::run(
                self.db.clone(),
                self.relay.clone(),
                Arc::clone(&jobs),
                ingest.batch,
            );
            shutdown.spawn("committer", committing);
        }
        let govconnect = self.settings.govconnect;
        let relay = Relay::new(
            self.db.clone(),
            self.broker.clone(),
            self.relay.clone(),
            govconnect,
        );
        shutdown.spawn("relay", relay.run(shutdown.token()));

        let sending = self.settings.sending;
        let settings = WorkerSettings {
            concurrency: sending.concurrency,
            lease: sending.lease,
        };
        let senders = Workers::new(
            self.db.clone(),
            Arc::clone(&self.sender),
            settings,
            self.workers.clone(),
        )
        .choosing(LaneChoice::AllBut(&[MEDIA_LANES]));
        shutdown.spawn("senders", senders.run(shutdown.token()));

        let commands = Commands {
            db: self.db.clone(),
            relay: self.relay.clone(),
            workers: self.workers.clone(),
        };
        let (broker, stop) = (self.broker.clone(), shutdown.token());
        shutdown.spawn("commands", async move {
            messaging::consumer::consume(&broker, Queue::ChannelCommands, &commands, &stop).await;
        });

        let sweeping = retention::run(self.db.clone(), self.settings.ledger_retention, shutdown.clone());
        shutdown.spawn("retention", sweeping);
    }

    fn start_media(&self, shutdown: &Shutdown) {
        let (media, sending) = (&self.settings.media, self.settings.sending);
        let fetcher = MediaFetcher {
            db: self.db.clone(),
            keys: self.settings.keys.clone(),
            storage: self.media.storage.clone(),
            provider: Arc::new(self.downloads.clone()),
            files: self.files.clone(),
            limit: media.limit,
            timeout: media.timeout,
            retries: media.retries,
            stop: shutdown.token(),
        };
        let workers = WorkerSettings {
            concurrency: media.concurrency,
            lease: sending.lease,
        };
        media_workers::start(fetcher, workers, shutdown);
    }
}
