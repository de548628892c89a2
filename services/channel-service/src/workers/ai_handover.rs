//! Messages of people, off the broker, on their way to the AI.

use database::Database;
use messaging::Envelope;
use messaging::cause::left_by;
use messaging::consumer::{HandleError, HandleEvent};
use messaging::events::message_received::MessageReceived;
use messaging::outbox::Signal;

use crate::flows::hand_over::request;

/// Takes received messages off the queue.
pub struct AiHandover {
    /// The tables.
    pub db: Database,
    /// Wakes whoever works the lanes.
    pub workers: Signal,
}

impl HandleEvent for AiHandover {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        let event = envelope.event::<MessageReceived>().map_err(HandleError::poison)?;
        let Some(MessageReceived(message)) = event else {
            return Err(HandleError::poison("this kind of event is no received message"));
        };
        let scope = envelope.scope();
        let requested = request(&self.db, &scope, message.message_id);
        // Whatever Postgres' trouble is, the next message would meet it too.
        left_by(
            "request hand-over",
            envelope.request_id.clone(),
            envelope.traceparent,
            &scope,
            requested,
        )
        .await
        .map_err(HandleError::later)?;
        self.workers.ring();
        Ok(())
    }
}
