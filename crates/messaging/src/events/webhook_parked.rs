//! A webhook of a customer's session was put aside: nobody tries to deliver it again until somebody says so.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::Event;

/// What stands in the queue of parked webhooks. The webhook itself is in the database, for a while, and never here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookParked {
    /// Our id of the session.
    pub session: Uuid,
    /// The WA server's id of it.
    pub session_id: Option<String>,
    /// Which event; what `wa-support-gateway hook replay` asks for, and the receiver has seen in `x-kanal-event-id`.
    pub event_id: Uuid,
    /// What sort of event, in the WA server's words.
    pub event_type: String,
    /// Why, as a stable code.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was accepted.
    pub received_at: DateTime<Utc>,
    /// When it was put aside.
    pub at: DateTime<Utc>,
}

impl Event for WebhookParked {
    const TYPE: &'static str = "webhook.parked";
    const VERSION: u16 = 1;
}
