//! What this service tells of an id, in the shape that the three services share. What it passes on it forgets: it knows
//! of webhooks that a receiver has not taken yet.

use chores::journey::{Answer, Hop, Journey, Name, NameKind, Place};
use chores::outbox;
use chores::peers::Service;
use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use crate::store::hook_events::{self, FoundEvent};

/// Everything that goes by the id, of the customers of one source or, without it, of all.
///
/// # Errors
/// [`DatabaseError`].
pub async fn trace(db: &Database, source: Option<&str>, id: &str) -> Result<Answer, DatabaseError> {
    let id = id.trim();
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("trace")).await?;
    let mut events = hook_events::by_request(&mut tx, source, id).await?;
    if let Ok(id) = id.parse::<Uuid>() {
        events.extend(hook_events::by_id(&mut tx, source, id).await?);
    }
    tx.commit().await?;
    let mut journeys: Vec<Journey> = events.into_iter().map(of_event).collect();
    if source.is_none() {
        // Whose customers those are about is not written there.
        journeys.extend(outbox::journeys(db, Service::Gateway, id).await?);
    }
    Ok(Answer {
        service: Service::Gateway.name().to_owned(),
        looked_in: vec![
            Place::new(
                "webhooks on their way to the customers",
                "until they are delivered, HOOK_RETENTION_DAYS (7 unless set) at most",
            ),
            Place::new("events for the broker", "until it has them"),
        ],
        journeys,
    })
}

fn of_event(event: FoundEvent) -> Journey {
    let (state, now) = if event.parked {
        (
            "parked",
            "put aside; `deadletter replay` takes it up again".to_owned(),
        )
    } else {
        ("waiting", format!("to be delivered, {} failures", event.failures))
    };
    let mut names = vec![Name::new(NameKind::Event, event.event_id.to_string())];
    names.extend(event.request_id.map(|id| Name::new(NameKind::Request, id)));
    Journey {
        service: Service::Gateway.name().to_owned(),
        tenant_id: event.tenant_id,
        subject: "webhook".to_owned(),
        about: format!("webhook {}", event.event_type),
        state: state.to_owned(),
        reason: event.reason,
        names,
        hops: vec![Hop {
            class: Some(event.event_type),
            ..Hop::new(event.received_at, "accepted_from_wa_server")
        }],
        now: vec![now],
    }
}
