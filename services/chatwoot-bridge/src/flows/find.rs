//! Where is it? Looks for events and messages by whatever id somebody has: ours, Chatwoot's, WhatsApp's, a request's.

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

pub use crate::store::deliveries::{Delivery, Which};
use crate::store::forward_steps::StepRow;
pub use crate::store::message_search::{MessageFound, PartRow, TaskRow};
use crate::store::{deliveries, message_search};

/// Longest id that anybody gives anything, in characters.
const LONGEST: usize = 200;
/// Of each sort.
const MOST: i64 = 50;

/// What goes by an id.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Events for URLs.
    pub events: Vec<Delivery>,
    /// Messages of connected inboxes.
    pub messages: Vec<MessageFound>,
}

/// Looks everywhere.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(db: &Database, text: &str) -> Result<Found, DatabaseError> {
    let id = text.trim().trim_start_matches("WAID:").replace('\0', "");
    if id.is_empty() || id.chars().count() > LONGEST {
        return Ok(Found::default());
    }
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("find by an id")).await?;
    let mut found = Found {
        events: deliveries::by_request(&mut tx, &id, MOST).await?,
        messages: message_search::by_provider_id(&mut tx, &id, MOST).await?,
    };
    if let Ok(id) = id.parse::<Uuid>() {
        found.events.extend(deliveries::by_id(&mut tx, id).await?);
        found
            .messages
            .extend(message_search::by_order(&mut tx, id, MOST).await?);
    }
    if let Ok(message) = id.parse::<i64>() {
        found
            .events
            .extend(deliveries::by_message(&mut tx, message, MOST).await?);
        found
            .messages
            .extend(message_search::by_message(&mut tx, message, MOST).await?);
    }
    tx.commit().await?;
    found
        .events
        .sort_by_key(|event| std::cmp::Reverse(event.received_at));
    found.events.dedup_by_key(|event| event.event_id);
    Ok(found)
}

/// One of the tenant's events, and what happened to it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn journey(
    db: &Database,
    scope: &TenantScope,
    event: Uuid,
) -> Result<(Option<Delivery>, Vec<StepRow>), DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "show an event's journey").await?;
    let journey = deliveries::journey(&mut tx, event).await?;
    tx.commit().await?;
    Ok(journey)
}

/// What became of a message of a connected inbox.
///
/// # Errors
/// [`DatabaseError`].
pub async fn parts(
    db: &Database,
    scope: &TenantScope,
    inbox: Uuid,
    message: i64,
) -> Result<Vec<PartRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "show a message's journey").await?;
    let parts = message_search::parts(&mut tx, inbox, message).await?;
    tx.commit().await?;
    Ok(parts)
}
