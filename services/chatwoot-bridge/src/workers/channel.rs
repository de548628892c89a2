//! What goes on beside the events: looking for what nobody told, and what channel-service has to say.

use runtime::shutdown::Shutdown;

use super::{history, notices, reconcile};
use crate::channel::ChannelService;
use crate::config::{ChannelSettings, Kept};
use crate::flows::Tools;
use crate::flows::accept_reply::Signals;
use crate::flows::history::Importer;
use crate::flows::notices::Notices;
use crate::flows::reconcile::Reconciler;
use crate::webhooks::book::RouteBook;

/// Starts all of it, as far as it is set up.
pub fn start(
    settings: &ChannelSettings,
    kept: Kept,
    tools: &Tools,
    book: RouteBook,
    signals: &Signals,
    shutdown: &Shutdown,
) {
    if !settings.reconcile_every.is_zero() {
        let reconciler = Reconciler::new(tools.clone(), book, signals.clone());
        let work = reconcile::run(reconciler, settings.reconcile_every, shutdown.clone());
        shutdown.spawn("reconcile", work);
    }
    let Some((base, key)) = &settings.service else {
        return;
    };
    let channel = match ChannelService::new(base, key.clone()) {
        Ok(channel) => channel,
        Err(error) => {
            tracing::error!(%error, "the client for channel-service cannot be made");
            return;
        }
    };
    let importer = Importer {
        db: tools.db.clone(),
        channel: channel.clone(),
        keys: tools.keys.clone(),
        signal: signals.lanes.clone(),
        per_minute: settings.history_per_minute,
        links_days: kept.links_days,
    };
    shutdown.spawn("history", history::run(importer, shutdown.clone()));
    let notices = Notices {
        tools: tools.clone(),
        channel,
    };
    shutdown.spawn("notices", notices::run(notices, shutdown.clone()));
}
