//! `outbox list`, `show`, `replay`: events that the broker has not taken yet. Never what is in them.

use chrono::Utc;
use clap::{ArgGroup, Subcommand};
use database::{Database, DatabaseError};
use messaging::outbox::look;
use serde_json::{Value, json};
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use crate::journey::{Hop, Journey, Name, NameKind};
use crate::peers::Service;

/// Commands about the outbox.
#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// Say how many events of each type wait and since when, and list the oldest of them and those that were put aside
    List {
        /// Most events to list of either sort
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Show what is known of an event that is not published yet; nothing of its contents
    Show {
        /// The event's id
        event: Uuid,
    },
    /// Have an event tried again that was put aside, or all of them; each comes after what its lane published meanwhile
    #[command(group = ArgGroup::new("which").required(true).args(["event", "all"]))]
    Replay {
        /// The event's id
        event: Option<Uuid>,
        /// Every event that is put aside
        #[arg(long)]
        all: bool,
    },
}

/// Why a command about the outbox came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The outbox has no such event.
    #[error(
        "the outbox has no event {0}: it was published, or there never was one; `trace` looks for it elsewhere"
    )]
    NotThere(Uuid),
    /// It is there, and waits.
    #[error("event {0} is not put aside: the relay publishes it by itself")]
    NotParked(Uuid),
    /// The database.
    #[error("the outbox cannot be read")]
    Database(#[from] DatabaseError),
}

/// Runs a command about the outbox. Returns what to print.
///
/// # Errors
/// [`OutboxError`]; nothing is changed then.
pub async fn run(db: &Database, command: OutboxCommand) -> Result<Value, OutboxError> {
    let purpose = PlatformScope::for_purpose("look into the outbox");
    let mut tx = PlatformTransaction::begin(db, purpose).await?;
    let answer = match command {
        OutboxCommand::List { limit } => {
            let types = look::depth(&mut tx).await?;
            let oldest = types.iter().filter_map(|depth| depth.oldest).min();
            json!({
                "waiting": types.iter().map(|depth| depth.waiting).sum::<i64>(),
                "oldest_age_seconds": oldest.map(|at| (Utc::now() - at).num_seconds().max(0)),
                "types": types,
                "oldest": look::oldest(&mut tx, false, limit.into()).await?,
                "parked": look::oldest(&mut tx, true, limit.into()).await?,
            })
        }
        OutboxCommand::Show { event } => {
            let events = look::with_id(&mut tx, event).await?;
            if events.is_empty() {
                return Err(OutboxError::NotThere(event));
            }
            json!({"events": events})
        }
        OutboxCommand::Replay { event, .. } => {
            let replayed = look::replay(&mut tx, event).await?;
            if let Some(event) = event.filter(|_| replayed == 0) {
                let is_there = !look::with_id(&mut tx, event).await?.is_empty();
                return Err(if is_there {
                    OutboxError::NotParked(event)
                } else {
                    OutboxError::NotThere(event)
                });
            }
            json!({"replayed": replayed})
        }
    };
    tx.commit().await?;
    Ok(answer)
}

/// The event with this id as far as the outbox of `service` has it, for `trace`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn journeys(db: &Database, service: Service, id: &str) -> Result<Vec<Journey>, DatabaseError> {
    let Ok(event) = id.parse::<Uuid>() else {
        return Ok(Vec::new());
    };
    let purpose = PlatformScope::for_purpose("look into the outbox");
    let mut tx = PlatformTransaction::begin(db, purpose).await?;
    let events = look::with_id(&mut tx, event).await?;
    tx.commit().await?;
    Ok(events.into_iter().map(|event| journey(service, event)).collect())
}

fn journey(service: Service, event: look::Unsent) -> Journey {
    let state = if event.parked.is_some() {
        "parked"
    } else {
        "waiting"
    };
    let now = match (&event.parked, event.is_next) {
        (Some(_), _) => "`outbox replay` has it tried again",
        (None, true) => "the next one of its lane: the broker is to take it",
        (None, false) => "others of its lane are to be taken before it",
    };
    Journey {
        service: service.name().to_owned(),
        tenant_id: event.tenant_id,
        subject: "event".to_owned(),
        about: format!("event {} on its way to the broker", event.event_type),
        state: state.to_owned(),
        reason: event.parked,
        names: vec![Name::new(NameKind::Event, event.event_id.to_string())],
        hops: vec![Hop {
            class: Some(event.event_type),
            ..Hop::new(event.since, "waits_for_broker")
        }],
        now: vec![now.to_owned()],
    }
}
