//! The gate in the shape of Meta's Cloud API, put together.

use std::sync::Arc;

use cache::RedisLink;
use database::Database;
use messaging::broker::Broker;
use messaging::lanes::WorkerSettings;
use runtime::shutdown::Shutdown;

use crate::config::Settings;
use crate::flows::gate::deliver::Deliveries;
use crate::flows::gate::files::{GateFiles, References};
use crate::flows::gate::receivers::Receivers;
use crate::flows::gate::send::{GateLimits, GateSender};
use crate::flows::gate::subscribers::Subscribers;
use crate::flows::gate::uploads::Uploads;
use crate::flows::load_media::LoadMedia;
use crate::flows::media::MediaFlow;
use crate::flows::send_message::OutboundFiles;
use crate::flows::send_text::Texts;
use crate::workers::gate as gate_workers;

/// What handlers and workers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    /// Takes orders.
    pub(crate) sender: GateSender,
    /// Takes files.
    pub(crate) uploads: Uploads,
    /// The way to tenants' receivers.
    pub(crate) receivers: Receivers,
    /// Who is told.
    pub(crate) subscribers: Subscribers,
}

impl Gate {
    pub(crate) fn build(
        settings: &Settings,
        media: &MediaFlow,
        redis: &RedisLink,
        texts: &Texts,
    ) -> anyhow::Result<Self> {
        let gate = &settings.gate;
        Ok(Self {
            sender: GateSender {
                db: media.db.clone(),
                media: media.clone(),
                references: References::new(&settings.keys),
                limits: GateLimits::new(redis, gate.number_rate, gate.tenant_rate),
                texts: texts.clone(),
            },
            uploads: Uploads::new(media.clone(), gate.uploads),
            receivers: Receivers::new(settings.media.outbound.clone(), gate.timeout)?,
            subscribers: Subscribers::default(),
        })
    }

    /// Begins to tell.
    pub(crate) fn start(&self, settings: &Settings, db: &Database, broker: &Broker, shutdown: &Shutdown) {
        let gate = &settings.gate;
        let deliveries = Deliveries {
            db: db.clone(),
            keys: settings.keys.clone(),
            receivers: self.receivers.clone(),
            retries: gate.retries,
            patience: gate.patience,
        };
        let work = WorkerSettings {
            concurrency: gate.concurrency,
            lease: settings.sending.lease,
        };
        gate_workers::start(broker, &self.subscribers, deliveries, work, shutdown);
    }
}

/// Where the bytes of files come from that go out with messages.
pub(crate) fn outbound_files(
    settings: &Settings,
    media: &MediaFlow,
    others: Arc<dyn LoadMedia>,
) -> OutboundFiles {
    OutboundFiles::new(Arc::new(GateFiles {
        media: media.clone(),
        references: References::new(&settings.keys),
        others,
    }))
}
