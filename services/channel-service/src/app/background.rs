//! What works beside the requests, put together and started: committers, the relay, lanes, consumers, and whatever looks now
//! and then.

use std::sync::Arc;

use messaging::lanes::{LaneChoice, WorkerSettings, Workers};
use messaging::outbox::Relay;
use messaging::topology::{GovconnectQueue, Queue};
use runtime::shutdown::Shutdown;

use super::Application;
use crate::flows::ai_reply::ReplySender;
use crate::flows::fetch_media::MediaFetcher;
use crate::flows::gate::deliver::LANES as GATE_LANES;
use crate::flows::hand_over::HandOver;
use crate::flows::ingest_message::Waiting;
use crate::flows::media::LANES as MEDIA_LANES;
use crate::flows::outcomes::Telling;
use crate::flows::record_status;
use crate::wiring;
use crate::workers::ai_events::AiEvents;
use crate::workers::ai_handover::AiHandover;
use crate::workers::commands::Commands;
use crate::workers::lanes::LaneWork;
use crate::workers::replay_jobs::ReplayWorker;
use crate::workers::sessions_to_unlink::UnlinkWorker;
use crate::workers::{
    committer, endpoint_tenants, media as media_workers, replicas, retention, session_intents, templates,
    traffic,
};

impl Application {
    /// Starts all of it but what fetches files.
    pub(super) fn start_workers(
        &self,
        queues: Vec<tokio::sync::mpsc::Receiver<Waiting>>,
        reports: Vec<tokio::sync::mpsc::Receiver<record_status::Waiting>>,
        shutdown: &Shutdown,
    ) {
        let batch = self.settings.ingest.batch;
        let pictures = wiring::pictures(
            &self.settings,
            &self.db,
            &self.endpoints,
            &self.media,
            &self.files,
            &self.relay,
            shutdown,
        );
        for jobs in queues {
            let committing = committer::run(
                self.db.clone(),
                self.media.links.clone(),
                self.relay.clone(),
                self.traffic.clone(),
                pictures.clone(),
                jobs,
                batch,
            );
            shutdown.spawn("committer", committing);
        }
        for jobs in reports {
            let recording =
                committer::run_reports(self.db.clone(), self.relay.clone(), self.traffic.clone(), jobs);
            shutdown.spawn("report committer", recording);
        }
        let govconnect = self.settings.govconnect;
        let relay = Relay::new(
            self.db.clone(),
            self.broker.clone(),
            self.relay.clone(),
            govconnect,
        );
        shutdown.spawn("relay", relay.run(shutdown.token()));
        shutdown.spawn("watch", messaging::watch::run(self.db.clone(), shutdown.token()));
        shutdown.spawn("revocations", self.redis.clone().hear(shutdown.token()));

        let sending = self.settings.sending;
        let settings = WorkerSettings {
            concurrency: sending.concurrency,
            lease: sending.lease,
        };
        let senders = Workers::new(
            self.db.clone(),
            Arc::new(Telling::new(Arc::new(self.lane_work()), self.outcomes.clone())),
            settings,
            self.workers.clone(),
        )
        .choosing(LaneChoice::AllBut(&[MEDIA_LANES, GATE_LANES]));
        shutdown.spawn("senders", senders.run(shutdown.token()));

        let commands = Commands {
            db: self.db.keeping_plans(),
            relay: self.relay.clone(),
            workers: self.workers.clone(),
        };
        let (broker, stop) = (self.broker.clone(), shutdown.token());
        shutdown.spawn("commands", async move {
            messaging::consumer::consume(&broker, Queue::ChannelCommands, &commands, &stop).await;
        });

        if govconnect {
            self.start_ai_workers(shutdown);
        }

        let counting = endpoint_tenants::run(self.db.clone(), self.endpoints.clone(), shutdown.clone());
        shutdown.spawn("endpoint tenants", counting);

        let taking_back = session_intents::run(Arc::clone(&self.sessions), shutdown.clone());
        shutdown.spawn("session intents", taking_back);

        let unlinking = UnlinkWorker {
            db: self.db.clone(),
            sessions: Arc::clone(&self.sessions),
        };
        shutdown.spawn("sessions to unlink", unlinking.run(shutdown.clone()));

        if let Some(age) = self.settings.cloud_sending.template_refresh {
            let renewing = templates::run(self.db.clone(), self.templates(), age, shutdown.clone());
            shutdown.spawn("templates", renewing);
        }

        let counting = traffic::run(
            self.db.clone(),
            self.traffic.clone(),
            self.settings.traffic_write,
            shutdown.clone(),
        );
        shutdown.spawn("traffic", counting);
        let noting = replicas::run(self.db.clone(), self.process.clone(), shutdown.clone());
        shutdown.spawn("replicas", noting);
        let replaying = ReplayWorker {
            db: self.db.clone(),
            relay: self.relay.clone(),
            senders: self.workers.clone(),
            settings: self.settings.replay,
        };
        shutdown.spawn("replays", replaying.run(shutdown.clone()));

        let sweeping = retention::run(
            self.db.clone(),
            self.settings.ledger_retention,
            self.settings.retention,
            shutdown.clone(),
        );
        shutdown.spawn("retention", sweeping);
    }

    fn lane_work(&self) -> LaneWork {
        LaneWork {
            sender: Arc::clone(&self.sender),
            replies: ReplySender {
                db: self.db.clone(),
                sender: Arc::clone(&self.sender),
                relay: self.relay.clone(),
            },
            hand_over: HandOver {
                db: self.db.clone(),
                guard: self.spam_guard(),
                links: self.media.links.clone(),
                relay: self.relay.clone(),
            },
        }
    }

    /// Whoever reads what is for the AI, and what it says.
    fn start_ai_workers(&self, shutdown: &Shutdown) {
        let handover = AiHandover {
            db: self.db.clone(),
            workers: self.workers.clone(),
        };
        let (broker, stop) = (self.broker.clone(), shutdown.token());
        shutdown.spawn("ai handover", async move {
            messaging::consumer::consume(&broker, Queue::AiHandover, &handover, &stop).await;
        });
        for queue in GovconnectQueue::ALL {
            let events = AiEvents {
                queue,
                db: self.db.clone(),
                relay: self.relay.clone(),
                workers: self.workers.clone(),
            };
            let (broker, stop) = (self.broker.clone(), shutdown.token());
            shutdown.spawn("ai events", async move {
                messaging::consumer::consume_govconnect(&broker, queue, &events, &stop).await;
            });
        }
    }

    /// Starts what fetches files.
    pub(super) fn start_media(&self, shutdown: &Shutdown) {
        let (media, sending) = (&self.settings.media, self.settings.sending);
        let fetcher = MediaFetcher {
            db: self.db.clone(),
            keys: self.settings.keys.clone(),
            storage: self.media.storage.clone(),
            endpoints: self.endpoints.clone(),
            configs: self.configs.clone(),
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
