//! Orders to send that come over the broker.

use database::Database;
use messaging::Envelope;
use messaging::consumer::{HandleError, HandleEvent};
use messaging::events::send_requested::SendRequested;
use messaging::outbox::Signal;

use crate::flows::queue_message::{QueueError, queue};

/// Takes orders off the queue.
pub struct Commands {
    /// The tables.
    pub db: Database,
    /// Wakes the relay.
    pub relay: Signal,
    /// Wakes the senders.
    pub workers: Signal,
}

impl HandleEvent for Commands {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        let Some(order) = envelope.event::<SendRequested>().map_err(HandleError::poison)? else {
            return Err(HandleError::poison("this kind of event is no order"));
        };
        match queue(&self.db, &self.relay, &self.workers, &envelope.scope(), &order).await {
            Ok(_) => Ok(()),
            Err(QueueError::Database(error)) if error.is_transient() => Err(HandleError::later(error)),
            Err(error) => Err(HandleError::poison(error)),
        }
    }
}
