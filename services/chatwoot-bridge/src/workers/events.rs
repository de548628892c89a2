//! Events of our own services, off the broker.

use messaging::Envelope;
use messaging::cause::left_by;
use messaging::consumer::{HandleError, HandleEvent};
use messaging::outbox::Signal;

use crate::flows::Tools;
use crate::flows::take_event::take_event;

/// Makes events durable here.
#[derive(Debug, Clone)]
pub struct Events {
    /// Tables.
    pub tools: Tools,
    /// Rung when there is a task.
    pub signal: Signal,
}

impl HandleEvent for Events {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        let taking = take_event(&self.tools, &self.signal, envelope);
        let request_id = envelope.request_id.clone();
        left_by(
            "take event",
            request_id,
            envelope.traceparent,
            &envelope.scope(),
            taking,
        )
        .await
    }
}
