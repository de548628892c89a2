//! What GovConnect's AI service says over the broker.

use database::Database;
use messaging::consumer::{HandleBody, HandleError};
use messaging::events::govconnect::{AiError, AiReply, MessageStatus};
use messaging::outbox::Signal;
use messaging::topology::GovconnectQueue;
use serde::de::DeserializeOwned;

use crate::flows::ai_person::AiEventError;
use crate::flows::{ai_progress, ai_reply};

/// Largest event that is read, in bytes: the longest message a dozen times over.
const MOST_BYTES: usize = 1024 * 1024;

/// Takes events off one of GovConnect's queues.
pub struct AiEvents {
    /// Which queue.
    pub queue: GovconnectQueue,
    /// The tables.
    pub db: Database,
    /// Wakes the relay.
    pub relay: Signal,
    /// Wakes the senders.
    pub workers: Signal,
}

impl HandleBody for AiEvents {
    async fn handle(&self, body: &[u8]) -> Result<(), HandleError> {
        let outcome = match self.queue {
            GovconnectQueue::AiReply => {
                let reply: AiReply = read(body)?;
                let taken = ai_reply::take(&self.db, &self.relay, &self.workers, &reply).await;
                taken.map(|is_new| {
                    metrics::counter!("kanal_ai_replies_total", "new" => if is_new { "yes" } else { "no" })
                        .increment(1);
                })
            }
            GovconnectQueue::AiError => ai_progress::error(&self.db, &read::<AiError>(body)?).await,
            GovconnectQueue::MessageStatus => {
                ai_progress::status(&self.db, &read::<MessageStatus>(body)?).await
            }
        };
        outcome.map_err(|error| match error {
            // Whatever Postgres' trouble is, the next event would meet it too.
            AiEventError::Database(error) => HandleError::later(error),
            error => HandleError::poison(error),
        })
    }
}

/// Reads an event. What is said of one that cannot be read holds nothing of it: it may be people's words.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, HandleError> {
    if body.len() > MOST_BYTES {
        return Err(HandleError::poison(format!("larger than {MOST_BYTES} bytes")));
    }
    serde_json::from_slice(body).map_err(|error| {
        let trouble = if error.is_data() {
            "a field is missing or of another type"
        } else {
            "not JSON"
        };
        HandleError::poison(format!(
            "{trouble} (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}
