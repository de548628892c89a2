//! Orders to send that come over the broker.

use database::Database;
use messaging::Envelope;
use messaging::cause::left_by;
use messaging::consumer::{HandleError, HandleEvent};
use messaging::events::send_requested::SendRequested;
use messaging::outbox::Signal;
use tenant_isolation::TenantScope;

use crate::flows::queue_message::{QueueError, queue};
use crate::flows::refuse_order::refuse;

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
        let scope = envelope.scope();
        let request_id = envelope.request_id.clone();
        left_by(
            "take order",
            request_id,
            envelope.traceparent,
            &scope,
            self.take(&scope, &order),
        )
        .await
    }
}

impl Commands {
    /// Only what is wrong with the order itself is for ever. Whatever Postgres' trouble is (a full disk, a standby that
    /// takes no writes), the next order would meet it too: this one stays in hand until it is over.
    async fn take(&self, scope: &TenantScope, order: &SendRequested) -> Result<(), HandleError> {
        let error = match queue(&self.db, &self.relay, &self.workers, scope, order).await {
            Ok(_) => return Ok(()),
            Err(QueueError::Database(error)) => return Err(HandleError::later(error)),
            Err(error) => error,
        };
        refuse(&self.db, &self.relay, scope, order, error.reason())
            .await
            .map_err(HandleError::later)?;
        Err(HandleError::poison(error))
    }
}
