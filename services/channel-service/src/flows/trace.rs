//! What this service tells of an id, in the shape that the three services share. For whoever looks after all tenants.

use chores::journey::{self as told, Answer, Name, NameKind, Place};
use chores::outbox;
use chores::peers::Service;
use database::{Database, DatabaseError};
use domain::ids::{MessageId, TenantId};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};

use super::journey::{AnyId, Hop, Journey, find_everywhere, journey, now};
use super::send_text::IdempotencyKey;
use crate::store::message_search::{self, HitRow};
use crate::store::tenant;

const PLATFORM: PlatformScope = PlatformScope::for_purpose("trace");

/// Tenants for which a caller's key is tried: there are far fewer.
const MOST_TENANTS: i64 = 10_000;

/// Everything that goes by the id, whoever's it is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn trace(db: &Database, id: &AnyId) -> Result<Answer, DatabaseError> {
    let mut hits = find_everywhere(db, id).await?.messages;
    let mut tx = PlatformTransaction::begin(db, PLATFORM).await?;
    if let Some(key) = IdempotencyKey::parse(id.as_str()) {
        hits.extend(by_key(&mut tx, &key).await?);
    }
    hits.extend(message_search::find_by_cause(&mut tx, id.as_str()).await?);
    tx.commit().await?;
    let mut journeys: Vec<told::Journey> = Vec::new();
    for hit in hits {
        let Ok(tenant) = TenantId::parse(&hit.tenant_id) else {
            continue;
        };
        let own = Name::new(NameKind::Message, hit.message_id.to_string());
        let asked_by = asked_by(&hit, id);
        let before = journeys
            .iter_mut()
            .find(|one| one.tenant_id == hit.tenant_id && one.names.first() == Some(&own));
        if let Some(before) = before {
            before.names.extend(asked_by);
            continue;
        }
        let scope = TenantScope::of_swept_row(&PLATFORM, tenant);
        // It may have been erased meanwhile.
        if let Some(found) = journey(db, &scope, MessageId::from_uuid(hit.message_id)).await? {
            let mut found = tell(found);
            found.names.extend(asked_by);
            journeys.push(found);
        }
    }
    journeys.extend(outbox::journeys(db, Service::Channel, id.as_str()).await?);
    Ok(Answer {
        journeys,
        ..nothing()
    })
}

/// What is told of a text that can be no id.
#[must_use]
pub fn nothing() -> Answer {
    Answer {
        service: Service::Channel.name().to_owned(),
        looked_in: looked_in(),
        journeys: Vec::new(),
    }
}

async fn by_key(tx: &mut PlatformTransaction, key: &IdempotencyKey) -> Result<Vec<HitRow>, DatabaseError> {
    let tenants = tenant::some_ids(tx, None, MOST_TENANTS).await?;
    let (tenants, keyed): (Vec<_>, Vec<_>) = tenants
        .into_iter()
        .filter_map(|name| {
            let tenant = TenantId::parse(&name).ok()?;
            Some((
                name,
                key.request_id(&TenantScope::of_swept_row(&PLATFORM, tenant)),
            ))
        })
        .unzip();
    message_search::find_keyed(tx, &tenants, &keyed).await
}

/// The id by which it was found, where that stands nowhere in the message itself.
fn asked_by(hit: &HitRow, id: &AnyId) -> Option<Name> {
    let kind = match hit.found_by.as_str() {
        "request" | "key" => NameKind::Order,
        "caused_by" => NameKind::Request,
        _ => return None,
    };
    Some(Name::new(kind, id.as_str()))
}

fn tell(found: Journey) -> told::Journey {
    let message = found.message;
    let mut names = vec![
        Name::new(NameKind::Message, message.message_id.to_string()),
        Name::new(NameKind::Whatsapp, message.provider_message_id),
    ];
    names.extend(message.ordered_as.map(|id| Name::new(NameKind::Whatsapp, id)));
    if let Some((number, inbox)) = message.chatwoot_message.zip(message.chatwoot_inbox) {
        names.push(Name::within(NameKind::Chatwoot, number, inbox));
    }
    if let Some(request) = found.place.as_ref().and_then(|place| place.caused_by.clone()) {
        names.push(Name::new(NameKind::Request, request));
    }
    let waiting = found.waiting_events.iter().map(|event| told::Hop {
        class: Some(event.event_type.clone()),
        code: event.parked.clone(),
        ..told::Hop::new(event.since, "waits_for_broker")
    });
    told::Journey {
        service: Service::Channel.name().to_owned(),
        tenant_id: message.tenant_id,
        subject: "message".to_owned(),
        about: format!("{} {}", message.direction, message.kind),
        state: message.status,
        reason: message.reason,
        names,
        hops: found.hops.into_iter().map(hop).chain(waiting).collect(),
        now: found.place.iter().map(now).collect(),
    }
}

fn hop(hop: Hop) -> told::Hop {
    let Hop {
        at,
        what,
        class,
        code,
        attempt,
        took_ms,
        endpoint,
        by,
    } = hop;
    told::Hop {
        at,
        what: what.as_str().to_owned(),
        class,
        code,
        attempt,
        took_ms,
        endpoint,
        by,
    }
}

fn looked_in() -> Vec<Place> {
    let days = "for LEDGER_RETENTION_DAYS (14 days unless set)";
    vec![
        Place::new("messages", "as long as their tenants have them"),
        Place::new("orders by their ids and their callers' keys", days),
        Place::new("requests of messages that are to be sent", "until they are sent"),
        Place::new("events for the broker", "until it has them"),
    ]
}
