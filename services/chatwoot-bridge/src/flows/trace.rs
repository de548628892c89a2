//! What this service tells of an id, in the shape that the three services share.

use chores::journey::{Answer, Hop, Journey, Name, NameKind, Place};
use chores::outbox;
use chores::peers::Service;
use database::{Database, DatabaseError};
use domain::ids::TenantId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};
use uuid::Uuid;

use super::find::{self, Delivery, MessageFound};
use crate::store::message_search::{self, HandledRow};

const PLATFORM: PlatformScope = PlatformScope::for_purpose("trace");

/// Everything that goes by the id, whoever's it is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn trace(db: &Database, id: &str) -> Result<Answer, DatabaseError> {
    let found = find::find(db, id).await?;
    let mut journeys = Vec::new();
    for message in found.messages {
        if let Some(scope) = scope(&message.tenant_id) {
            journeys.push(of_message(db, &scope, message).await?);
        }
    }
    for event in found.events {
        if let Some(scope) = scope(&event.tenant_id) {
            journeys.push(of_event(db, &scope, event).await?);
        }
    }
    if let Ok(event) = id.trim().parse::<Uuid>() {
        let mut tx = PlatformTransaction::begin(db, PLATFORM).await?;
        let handled = message_search::handled(&mut tx, event).await?;
        tx.commit().await?;
        journeys.extend(handled.into_iter().map(|row| of_handled(event, row)));
    }
    journeys.extend(outbox::journeys(db, Service::Bridge, id.trim()).await?);
    Ok(Answer {
        service: Service::Bridge.name().to_owned(),
        looked_in: looked_in(),
        journeys,
    })
}

fn scope(tenant: &str) -> Option<TenantScope> {
    let tenant = TenantId::parse(tenant).ok()?;
    Some(TenantScope::of_swept_row(&PLATFORM, tenant))
}

fn in_route(route: i64) -> String {
    format!("route {route}")
}

/// A message of a connected inbox, with what it is on WhatsApp.
async fn of_message(
    db: &Database,
    scope: &TenantScope,
    message: MessageFound,
) -> Result<Journey, DatabaseError> {
    let parts = find::parts(db, scope, message.inbox_id, message.message).await?;
    let number = message.message.to_string();
    let mut names = vec![Name::within(
        NameKind::Chatwoot,
        number.as_str(),
        message.inbox_id.to_string(),
    )];
    names.extend(
        message
            .route
            .map(|route| Name::within(NameKind::Chatwoot, number.as_str(), in_route(route))),
    );
    let mut hops = Vec::new();
    if message.is_agents {
        let taken = parts.iter().map(|part| part.created_at).min();
        hops.extend(taken.map(|at| Hop::new(at, "accepted_from_chatwoot")));
    }
    let mut worst: Option<(String, Option<String>)> = None;
    for part in parts {
        names.extend(
            part.request_id
                .map(|id| Name::new(NameKind::Order, id.to_string())),
        );
        names.extend(
            part.provider_message_id
                .map(|id| Name::new(NameKind::Whatsapp, id)),
        );
        let what = if message.is_agents {
            "stands"
        } else {
            "put_in_chatwoot"
        };
        hops.push(Hop {
            class: message.is_agents.then(|| part.status.clone()),
            code: part.reason.clone(),
            attempt: part.attempt.map(|again| i64::from(again) + 1),
            ..Hop::new(part.updated_at, what)
        });
        // One that has a reason is what somebody looks for.
        if worst.as_ref().is_none_or(|(_, reason)| reason.is_none()) {
            worst = Some((part.status, part.reason));
        }
    }
    hops.sort_by_key(|hop| hop.at);
    let (state, reason) = worst.unwrap_or_else(|| ("not_known_any_more".to_owned(), None));
    let about = if message.is_agents {
        "an agent's message"
    } else {
        "a message to agents"
    };
    Ok(Journey {
        service: Service::Bridge.name().to_owned(),
        tenant_id: message.tenant_id,
        subject: "chatwoot_message".to_owned(),
        about: about.to_owned(),
        state,
        reason,
        names,
        hops,
        now: Vec::new(),
    })
}

/// An event for the URL of a route.
async fn of_event(db: &Database, scope: &TenantScope, event: Delivery) -> Result<Journey, DatabaseError> {
    let (_, steps) = find::journey(db, scope, event.event_id).await?;
    let mut names = vec![Name::new(NameKind::Event, event.event_id.to_string())];
    names.extend(event.request_id.map(|id| Name::new(NameKind::Request, id)));
    if let Some((number, route)) = event.message.zip(event.route) {
        names.push(Name::within(
            NameKind::Chatwoot,
            number.to_string(),
            in_route(route),
        ));
    }
    let mut hops = vec![Hop::new(event.received_at, "accepted_from_chatwoot")];
    let tells_the_end = steps.iter().any(|step| step.step == event.state);
    hops.extend(steps.into_iter().map(|step| Hop {
        code: step.detail,
        ..Hop::new(step.at, step.step)
    }));
    if let Some(at) = event.ended_at.filter(|_| !tells_the_end) {
        hops.push(Hop::new(at, event.state.as_str()));
    }
    let about = match event.route {
        Some(route) => format!("event {} for the URL of route {route}", event.event),
        None => format!("event {} for the URL of a route that is gone", event.event),
    };
    Ok(Journey {
        service: Service::Bridge.name().to_owned(),
        tenant_id: event.tenant_id,
        subject: "url_event".to_owned(),
        about,
        state: event.state,
        reason: event.reason,
        names,
        hops,
        now: Vec::new(),
    })
}

/// An event off the broker, and what is still to be done because of it.
fn of_handled(event: Uuid, row: HandledRow) -> Journey {
    let (state, now) = match (row.task, row.parked) {
        (Some(task), true) => (
            "parked",
            Some(format!(
                "{task} is put aside; `deadletter replay` takes it up again"
            )),
        ),
        (Some(task), false) => ("waiting", Some(format!("{task} is to be done"))),
        (None, _) => ("done", None),
    };
    Journey {
        service: Service::Bridge.name().to_owned(),
        tenant_id: row.tenant_id,
        subject: "event".to_owned(),
        about: "an event off the broker".to_owned(),
        state: state.to_owned(),
        reason: row.reason,
        names: vec![Name::new(NameKind::Event, event.to_string())],
        hops: vec![Hop::new(row.received_at, "taken_from_broker")],
        now: now.into_iter().collect(),
    }
}

fn looked_in() -> Vec<Place> {
    vec![
        Place::new(
            "messages of connected inboxes",
            "for MESSAGE_LINKS_KEPT_DAYS (180 days unless set)",
        ),
        Place::new(
            "events for the URLs of routes",
            "until they are delivered, FORWARD_RETENTION_DAYS (7) at most, and for FORWARD_LOG_DAYS (3) afterwards",
        ),
        Place::new("events off the broker", "for 14 days"),
        Place::new("events for the broker", "until it has them"),
    ]
}
