//! Messages of people, off the broker, on their way to the AI.

use database::Database;
use messaging::Envelope;
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
        match request(&self.db, &envelope.scope(), message.chat_id, message.message_id).await {
            Ok(()) => {
                self.workers.ring();
                Ok(())
            }
            Err(error) if error.is_transient() => Err(HandleError::later(error)),
            Err(error) => Err(HandleError::poison(error)),
        }
    }
}
