//! The service put together: built from settings, served on a listener, stopped in order.

mod background;

use std::net::TcpListener;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use cache::{Buckets, RedisLink, SpamGuard};
use database::{Database, SchemaNames};
use futures_util::FutureExt as _;
use messaging::broker::Broker;
use messaging::outbox::Signal;
use messaging::topology::Topology;
use runtime::encryption::KeyRing;
use runtime::shutdown::Shutdown;
use tenant_isolation::policy::{self, PolicyError};
use tokio::sync::Semaphore;
use web::health::{Health, Need};
use web::{ErrorField, MetricsToken, ServerSettings};

use crate::api::qr_stream::QrStreams;
use crate::chats::Chats;
use crate::config::{Settings, WebhookSettings};
use crate::endpoints::reload::{self, Hangups};
use crate::endpoints::{CallSettings, Endpoints};
use crate::flows::cloud_pace::CloudPace;
use crate::flows::fetch_url::FileClient;
use crate::flows::ingest_message::Ingest;
use crate::flows::load_media::{LinkedFiles, LoadMedia};
use crate::flows::media::MediaFlow;
use crate::flows::outcomes::Outcomes;
use crate::flows::pace::Pace;
use crate::flows::record_status::Reports;
use crate::flows::route_account::AccountRoutes;
use crate::flows::send_message::Sender;
use crate::flows::session::Sessions;
use crate::flows::sign_in::Throttle;
use crate::flows::templates::Templates;
use crate::flows::tenant_config::TenantConfigs;
use crate::gate::{self, Gate};
use crate::looking_after::LookingAfter;
use crate::routes::routes;
use crate::traffic::Traffic;
use crate::ui::chats::live::ChatStreams;
use crate::ui::live::LivePages;
use crate::webhooks::body::{BodyLimits, LONG_AT_ONCE};
use crate::wiring;
use crate::workers::replicas::ThisProcess;

/// What request handlers share.
pub(crate) struct State {
    pub(crate) db: Database,
    pub(crate) keys: KeyRing,
    pub(crate) redis: RedisLink,
    pub(crate) routes: AccountRoutes,
    pub(crate) ingest: Ingest,
    pub(crate) reports: Reports,
    pub(crate) relay: Signal,
    pub(crate) senders: Signal,
    pub(crate) webhook: WebhookSettings,
    pub(crate) spam_guard: SpamGuard,
    /// Is there an AI service?
    pub(crate) govconnect: bool,
    pub(crate) body_limits: BodyLimits,
    /// Places for webhooks that are too large for memory.
    pub(crate) long_bodies: Arc<Semaphore>,
    /// Files of messages and uploads.
    pub(crate) media: MediaFlow,
    /// What is done about tenants' sessions.
    pub(crate) sessions: Arc<Sessions>,
    /// Where the WhatsApp server is to post, when that is configured.
    pub(crate) webhook_url: Option<String>,
    /// Cookies only travel over TLS.
    pub(crate) secure_cookies: bool,
    /// How often one address may try to sign in.
    pub(crate) logins_of_source: Buckets,
    /// How often one user's password may be tried.
    pub(crate) logins_of_user: Buckets,
    /// For messages and conversations.
    pub(crate) chats: Chats,
    /// The WhatsApp API servers.
    pub(crate) endpoints: Endpoints,
    /// Who watches devices being paired.
    pub(crate) qr_streams: QrStreams,
    /// Who looks at pages that show news by themselves.
    pub(crate) live: LivePages,
    /// Who watches chats in the dashboard.
    pub(crate) chat_streams: ChatStreams,
    /// Which of them a tenant was given.
    pub(crate) configs: TenantConfigs,
    /// Approved texts.
    pub(crate) templates: Templates,
    /// Counts what goes through.
    pub(crate) traffic: Traffic,
    /// This process, as operators see it.
    pub(crate) process: ThisProcess,
    /// Somebody looks after the endpoints.
    pub(crate) endpoints_are_checked: bool,
    /// The gate in the shape of Meta's Cloud API.
    pub(crate) gate: Gate,
    open: Arc<AtomicBool>,
}

impl State {
    /// How often signing in may be tried.
    pub(crate) const fn throttle(&self) -> Throttle<'_> {
        Throttle {
            of_source: &self.logins_of_source,
            of_user: &self.logins_of_user,
        }
    }

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
    routes: AccountRoutes,
    broker: Broker,
    sender: Arc<Sender>,
    sessions: Arc<Sessions>,
    media: MediaFlow,
    files: FileClient,
    relay: Signal,
    workers: Signal,
    outcomes: Outcomes,
    endpoints: Endpoints,
    reread: Option<(Hangups, reload::ReadSettings)>,
    configs: TenantConfigs,
    looking_after: Option<LookingAfter>,
    traffic: Traffic,
    process: ThisProcess,
    open: Arc<AtomicBool>,
}

/// How often a database that is away is asked again at the start.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Attempts to sign in from one address: ten at once, then one each six seconds.
const LOGIN_OF_SOURCE: (Duration, NonZeroU32) = (Duration::from_secs(6), NonZeroU32::new(10).unwrap());
/// Attempts at one user's password: five at once, then one each half minute.
const LOGIN_OF_USER: (Duration, NonZeroU32) = (Duration::from_secs(30), NonZeroU32::new(5).unwrap());

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
        let calls = CallSettings {
            timeout: settings.sending.timeout,
            dry_run: settings.sessions.dry_run,
            outage: settings.outage,
        };
        let endpoints = Endpoints::build(&settings.endpoints, calls)?;
        let configs = TenantConfigs::new(db.clone(), redis.clone());
        let relay = Signal::default();
        let traffic = Traffic::default();
        let routes = AccountRoutes::new(db.clone(), redis.clone());
        let files = FileClient::new(settings.media.outbound.clone())?;
        let sessions = Arc::new(wiring::sessions(
            &settings, &endpoints, &configs, &db, &redis, &routes,
        ));
        let looking_after = LookingAfter::build(&settings, &db, &redis, &endpoints, &configs, &sessions)?;
        let media = MediaFlow::open(db.clone(), &settings.keys, &settings.media)?;
        let linked = Arc::new(LinkedFiles::new(files.clone(), settings.media.timeout));
        let sender = Sender {
            db: db.keeping_plans(),
            keys: settings.keys.clone(),
            endpoints: endpoints.clone(),
            fallback_token: settings.sessions.access_token.clone(),
            files: gate::outbound_files(&settings, &media, linked),
            account_pace: Pace::new(redis.clone(), settings.sending.account_rate),
            tenant_pace: Pace::new(redis.clone(), settings.sending.tenant_rate),
            cloud: CloudPace::new(redis.clone(), settings.cloud_sending),
            retries: settings.sending.retries,
            timeout: settings.sending.timeout,
            configs: configs.clone(),
            relay: relay.clone(),
            hearing: sessions.hearing().clone(),
            traffic: traffic.clone(),
        };
        Ok(Self {
            settings,
            listener,
            db,
            redis,
            routes,
            broker,
            sender: Arc::new(sender),
            sessions,
            media,
            files,
            relay,
            workers: Signal::default(),
            outcomes: Outcomes::default(),
            endpoints,
            reread: None,
            configs,
            looking_after: Some(looking_after),
            traffic,
            process: ThisProcess::begins(),
            open: Arc::default(),
        })
    }

    /// Takes the files that go out with messages from this source.
    #[must_use]
    pub fn with_files(mut self, source: Arc<dyn LoadMedia>) -> Self {
        // Nobody else has the sender before the service runs.
        if let Some(sender) = Arc::get_mut(&mut self.sender) {
            sender.files = gate::outbound_files(&self.settings, &self.media, source);
        }
        self
    }

    /// At each of these signals, reads the endpoints anew from these settings.
    #[must_use]
    pub fn rereading(mut self, hangups: Hangups, read: reload::ReadSettings) -> Self {
        self.reread = Some((hangups, read));
        self
    }

    /// The WhatsApp API servers, as they are now and after each reload.
    #[must_use]
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
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
    pub async fn run_until_stopped(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        if let Some((hangups, read)) = self.reread.take() {
            let reloading = reload::run(hangups, self.endpoints.clone(), read, shutdown.clone());
            shutdown.spawn("endpoint reloads", reloading);
        }
        let ingest_settings = self.settings.ingest;
        let (ingest, queues) = Ingest::new(ingest_settings.queue, ingest_settings.committers);
        let (reports, report_queues) = Reports::new(ingest_settings.queue, ingest_settings.committers);
        let server = self.server_settings();
        let chats = Chats::build(
            &self.settings,
            &self.endpoints,
            &self.db,
            &self.relay,
            &self.workers,
            &self.outcomes,
            &shutdown,
        )?;
        let gate = Gate::build(&self.settings, &self.media, &self.redis, &chats.texts)?;
        let state = actix_web::web::Data::new(State {
            db: self.db.clone(),
            keys: self.settings.keys.clone(),
            redis: self.redis.clone(),
            routes: self.routes.clone(),
            ingest,
            reports,
            sessions: Arc::clone(&self.sessions),
            relay: self.relay.clone(),
            senders: self.workers.clone(),
            webhook: self.settings.webhook.clone(),
            spam_guard: self.spam_guard(),
            govconnect: self.settings.govconnect,
            body_limits: BodyLimits::of(ingest_settings.body_limit, self.media.limit),
            long_bodies: Arc::new(Semaphore::new(LONG_AT_ONCE)),
            media: self.media.clone(),
            webhook_url: self.settings.internal.webhook_url(),
            secure_cookies: self.settings.dashboard.secure_cookies,
            logins_of_source: Buckets::every(self.redis.clone(), LOGIN_OF_SOURCE.0, LOGIN_OF_SOURCE.1),
            logins_of_user: Buckets::every(self.redis.clone(), LOGIN_OF_USER.0, LOGIN_OF_USER.1),
            chats,
            endpoints: self.endpoints.clone(),
            qr_streams: QrStreams::new(self.settings.devices, shutdown.token()),
            live: LivePages::new(self.settings.pages, shutdown.token()),
            chat_streams: ChatStreams::new(shutdown.token()),
            configs: self.configs.clone(),
            templates: self.templates(),
            traffic: self.traffic.clone(),
            process: self.process.clone(),
            endpoints_are_checked: self.settings.health.checks.is_some() && !self.settings.sessions.dry_run,
            gate: gate.clone(),
            open: Arc::clone(&self.open),
        });
        let budget = web::BodyBudget::of(ingest_settings.body_budget);
        let docs = self.settings.dashboard.docs;
        let callers = actix_web::web::Data::new(self.settings.internal.callers.clone());
        let listener = self.listener.try_clone()?;
        let app_routes = move |config: &mut actix_web::web::ServiceConfig| {
            config.app_data(state.clone()).app_data(callers.clone());
            config.app_data(budget.clone());
            routes(config, docs);
        };
        let serving = tokio::spawn(web::serve(listener, server, app_routes, shutdown.clone()));
        let opened = self.open_when_safe(&shutdown).await;
        if opened.is_ok() {
            self.start_workers(queues, report_queues, &shutdown);
            self.start_media(&shutdown);
            gate.start(&self.settings, &self.db, &self.broker, &shutdown);
            if let Some(looking_after) = self.looking_after.take() {
                looking_after.start(&shutdown);
            }
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
        let (db, open, schema) = (self.db.clone(), Arc::clone(&self.open), self.db.clone());
        let (redis, broker) = (self.redis.clone(), self.broker.clone());
        let health = health
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
            match policy::before_serving(&self.db, &crate::MIGRATIONS).await {
                Ok(()) => {
                    self.open.store(true, Ordering::Release);
                    return Ok(());
                }
                Err(error @ (PolicyError::Holes(_) | PolicyError::Schema(_))) => return Err(error.into()),
                Err(PolicyError::Database(error)) => {
                    tracing::warn!(error = %crate::error::chain(&error), "waiting for the database");
                    if !shutdown.sleep(ASK_AGAIN).await {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn templates(&self) -> Templates {
        Templates {
            db: self.db.clone(),
            keys: self.settings.keys.clone(),
            endpoints: self.endpoints.clone(),
        }
    }

    fn spam_guard(&self) -> SpamGuard {
        SpamGuard::new(self.redis.clone(), self.settings.spam_guard)
    }
}
