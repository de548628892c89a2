//! One message's whole journey, found by any id that anybody has of it: every hop with its time, its number and what was
//! answered, as classes and codes. Never its words, nor with whom it is.
//!
//! | hop | where it is written down |
//! |---|---|
//! | it came in or was ordered | `inbound_ledger`, `messages` |
//! | it was tried | `send_attempts` |
//! | it stood somewhere | `message_standings`, by whatever moved it |
//! | the provider reported of it | `message_status_details` |
//! | its file | `media` |
//! | the AI | `messages.ai_handling`, `pending_messages` |
//! | people took it up again | `audit_log` |
//! | who has it now, and what waits | `lane_tasks`, `lanes`, `outbox` |
//!
//! An event leaves the outbox when the broker has confirmed it: what does not wait there was published.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use database::{Database, DatabaseError};
use domain::ids::MessageId;
use serde::Serialize;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::send_text::IdempotencyKey;
use crate::store::cloud_status::{self, StatusDetails};
use crate::store::journey::{self, HeadRow, PlaceRow, WaitingEventRow};
use crate::store::message_search::{self, HitRow, Wanted};

/// An id that somebody has of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyId(String);

impl AnyId {
    /// Longest id that is looked for, in bytes.
    pub const MAX_LENGTH: usize = chores::journey::LONGEST_ID;

    /// Reads what was typed or pasted. `None` for what can be no id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        chores::journey::readable(text).map(|text| Self(text.to_owned()))
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn wanted(&self, scope: Option<&TenantScope>) -> Wanted<'_> {
        let keyed = scope.zip(IdempotencyKey::parse(&self.0));
        Wanted {
            text: &self.0,
            uuid: Uuid::try_parse(&self.0).ok(),
            keyed: keyed.map(|(scope, key)| key.request_id(scope)),
        }
    }

    /// The number of a message in Chatwoot, if it can be one.
    fn chatwoot(&self) -> Option<&str> {
        let digits = self.0.len() <= 18 && self.0.bytes().all(|byte| byte.is_ascii_digit());
        digits.then_some(self.as_str())
    }
}

/// What an id means.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The messages, each once, by the first of their ids that it is.
    pub messages: Vec<HitRow>,
    /// Where else it may be known when there is none: the other services that give ids away.
    pub ask: &'static [&'static str],
}

impl Found {
    fn of(rows: Vec<HitRow>, id: &AnyId) -> Self {
        let mut messages: Vec<HitRow> = Vec::with_capacity(rows.len());
        for row in rows {
            let is_known = messages
                .iter()
                .any(|known| known.tenant_id == row.tenant_id && known.message_id == row.message_id);
            if !is_known {
                messages.push(row);
            }
        }
        let ask: &[_] = match (messages.is_empty(), id.chatwoot()) {
            (false, _) => &[],
            (true, Some(_)) => &["chatwoot-bridge"],
            (true, None) => &["chatwoot-bridge", "wa-support-gateway"],
        };
        Self { messages, ask }
    }
}

/// The tenant's messages that an id means.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(db: &Database, scope: &TenantScope, id: &AnyId) -> Result<Found, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "find message").await?;
    let mut rows = message_search::find(&mut tx, &id.wanted(Some(scope))).await?;
    tx.commit().await?;
    rows.extend(by_chatwoot_id(db, Some(scope), id).await?);
    Ok(Found::of(rows, id))
}

/// Messages of any tenant that an id means, for whoever works for all of them. A caller's own key is good within a tenant
/// only and means nothing here.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_everywhere(db: &Database, id: &AnyId) -> Result<Found, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("find message")).await?;
    let mut rows = message_search::find_everywhere(&mut tx, &id.wanted(None)).await?;
    tx.commit().await?;
    rows.extend(by_chatwoot_id(db, None, id).await?);
    Ok(Found::of(rows, id))
}

async fn by_chatwoot_id(
    db: &Database,
    scope: Option<&TenantScope>,
    id: &AnyId,
) -> Result<Vec<HitRow>, DatabaseError> {
    let Some(number) = id.chatwoot() else {
        return Ok(Vec::new());
    };
    let tenant = scope.map(|scope| scope.tenant().as_str());
    let purpose = PlatformScope::for_purpose("find message by Chatwoot's id");
    let mut tx = PlatformTransaction::begin(db, purpose).await?;
    let rows = message_search::find_by_chatwoot_id(&mut tx, tenant, number).await?;
    tx.commit().await?;
    Ok(rows)
}

/// A message with everything that happened to it.
#[derive(Debug, Clone, Serialize)]
pub struct Journey {
    /// The message.
    pub message: HeadRow,
    /// What happened, oldest first.
    pub hops: Vec<Hop>,
    /// What is still to be done about it. `None`: nothing.
    pub place: Option<PlaceRow>,
    /// Events about it that the broker has not confirmed yet. None of them: all were published.
    pub waiting_events: Vec<WaitingEventRow>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub what: What,
    /// What was answered, or where it stood: a class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Why, as a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Which attempt, from 1; of files and answers, how many failed so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,
    /// How long the answer took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<i64>,
    /// Through which endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What sort of thing happened. In the order in which things of one moment follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A person wrote it, by the clock of WhatsApp.
    Written,
    /// A webhook brought it, and it was let in.
    Accepted,
    /// It was ordered, and put on its chat's lane.
    Ordered,
    /// It was kept.
    Kept,
    /// It has a file that is to be had.
    File,
    /// What became of the file last.
    FileSettled,
    /// Somebody took it up again that was put aside.
    Replayed,
    /// Somebody said what became of it.
    Settled,
    /// Somebody read it among what was put aside.
    Shown,
    /// The provider was called and answered, or not.
    Attempt,
    /// It stands somewhere since.
    Stands,
    /// The provider reported how far it went, by its clock.
    Reported,
    /// It was handed over to the AI, or not.
    HandedOver,
    /// Where the AI's answer stands.
    Answer,
    /// Its words were changed.
    Edited,
    /// It was deleted.
    Revoked,
}

impl What {
    /// The name in JSON and on a terminal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Accepted => "accepted",
            Self::Ordered => "ordered",
            Self::Kept => "kept",
            Self::File => "file",
            Self::FileSettled => "file_settled",
            Self::Replayed => "replayed",
            Self::Settled => "settled",
            Self::Shown => "shown",
            Self::Attempt => "attempt",
            Self::Stands => "stands",
            Self::Reported => "reported",
            Self::HandedOver => "handed_over",
            Self::Answer => "answer",
            Self::Edited => "edited",
            Self::Revoked => "revoked",
        }
    }
}

impl Hop {
    const fn new(at: DateTime<Utc>, what: What) -> Self {
        Self {
            at,
            what,
            class: None,
            code: None,
            attempt: None,
            took_ms: None,
            endpoint: None,
            by: None,
        }
    }

    fn class(self, class: impl Into<String>) -> Self {
        let class = Some(class.into());
        Self { class, ..self }
    }

    fn code(self, code: Option<String>) -> Self {
        let code = code.filter(|code| !code.is_empty());
        Self { code, ..self }
    }
}

/// A message's journey. `None`: the tenant has no such message.
///
/// # Errors
/// [`DatabaseError`].
pub async fn journey(
    db: &Database,
    scope: &TenantScope,
    id: MessageId,
) -> Result<Option<Journey>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "follow message").await?;
    let Some(message) = journey::head(&mut tx, id).await? else {
        return Ok(None);
    };
    let mut hops = beginning(&message, journey::accepted_at(&mut tx, &message).await?);
    for row in journey::attempts(&mut tx, id).await? {
        hops.push(Hop {
            attempt: Some(row.number),
            took_ms: Some(row.took_ms),
            endpoint: row.endpoint,
            ..Hop::new(row.at, What::Attempt)
                .class(row.outcome)
                .code(row.reason)
        });
    }
    let standings = journey::standings(&mut tx, id).await?;
    let is_told = standings.iter().any(|row| row.status == message.status);
    for row in standings {
        hops.push(Hop::new(row.at, What::Stands).class(row.status).code(row.reason));
    }
    if !is_told && message.updated_at > message.created_at {
        // Older than what is kept of where it stood.
        let hop = Hop::new(message.updated_at, What::Stands).class(message.status.as_str());
        hops.push(hop.code(message.reason.clone()));
    }
    if let Some(details) = cloud_status::details_of(&mut tx, id).await? {
        hops.extend(reports(&details));
    }
    if let Some(file) = journey::file(&mut tx, id).await? {
        hops.push(Hop::new(file.created_at, What::File));
        hops.push(Hop {
            attempt: (file.attempts > 0).then(|| file.attempts.into()),
            ..Hop::new(file.updated_at, What::FileSettled)
                .class(file.state)
                .code(file.reason)
        });
    }
    if let Some(answer) = journey::awaited_answer(&mut tx, id).await? {
        hops.push(Hop {
            attempt: (answer.failures > 0).then(|| answer.failures.into()),
            ..Hop::new(answer.updated_at.max(answer.received_at), What::Answer).class(answer.state)
        });
    }
    for act in journey::acts(&mut tx, id).await? {
        let what = match act.action.as_str() {
            "dead_letter.replay" => What::Replayed,
            "dead_letter.settle" => What::Settled,
            _ => What::Shown,
        };
        hops.push(Hop {
            by: Some(act.actor),
            ..Hop::new(act.at, what)
        });
    }
    let place = journey::place(&mut tx, id).await?;
    let waiting_events = journey::waiting_events(&mut tx, &message).await?;
    tx.commit().await?;
    hops.sort_by_key(|hop| (hop.at, hop.what));
    Ok(Some(Journey {
        message,
        hops,
        place,
        waiting_events,
    }))
}

/// How it came to us.
fn beginning(message: &HeadRow, accepted_at: Option<DateTime<Utc>>) -> Vec<Hop> {
    let mut hops = Vec::new();
    if message.direction == "inbound" || message.source == "phone" {
        hops.push(Hop::new(message.sent_at, What::Written));
        if let Some(at) = accepted_at {
            hops.push(Hop::new(at, What::Accepted));
        }
        hops.push(Hop::new(message.created_at, What::Kept));
    } else {
        hops.push(Hop {
            by: Some(message.source.clone()),
            ..Hop::new(message.created_at, What::Ordered)
        });
    }
    if let Some(handling) = &message.ai_handling {
        // When it was decided is not written down: soon after it was kept.
        hops.push(Hop::new(message.created_at, What::HandedOver).class(handling.as_str()));
    }
    if let Some(at) = message.edited_at {
        hops.push(Hop::new(at, What::Edited));
    }
    if let Some(at) = message.revoked_at {
        hops.push(Hop::new(at, What::Revoked));
    }
    hops
}

/// What the provider told besides, by its own clock.
fn reports(details: &StatusDetails) -> impl Iterator<Item = Hop> {
    let code = details.error_code.map(|code| format!("meta_{code}"));
    let told = [
        (details.sent_at, "sent", None),
        (details.delivered_at, "delivered", None),
        (details.read_at, "read", None),
        (details.played_at, "played", None),
        (details.failed_at, "failed", code),
    ];
    told.into_iter()
        .filter_map(|(at, class, code)| Some(Hop::new(at?, What::Reported).class(class).code(code)))
}

/// A line a hop, for a terminal.
impl fmt::Display for Journey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = &self.message;
        writeln!(
            f,
            "{} {} of {}: {}{}",
            message.direction,
            message.kind,
            message.tenant_id,
            message.status,
            in_brackets(message.reason.as_deref())
        )?;
        writeln!(f, "  message    {}", message.message_id)?;
        writeln!(f, "  {:<10} {}", message.provider, message.provider_message_id)?;
        if let Some(id) = &message.ordered_as {
            writeln!(f, "  ordered as {id}")?;
        }
        if let Some(id) = &message.chatwoot_message {
            writeln!(f, "  chatwoot   {id}")?;
        }
        for hop in &self.hops {
            writeln!(f, "{hop}")?;
        }
        if let Some(place) = &self.place {
            writeln!(f, "now: {}", now(place))?;
        }
        for event in &self.waiting_events {
            let why = in_brackets(event.parked.as_deref());
            writeln!(
                f,
                "{}  waits for the broker: {}{why}",
                stamp(event.since),
                event.event_type
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", stamp(self.at), self.what.as_str())?;
        if let Some(attempt) = self.attempt {
            write!(f, " {attempt}")?;
        }
        if let Some(class) = &self.class {
            write!(f, " {class}")?;
        }
        f.write_str(&in_brackets(self.code.as_deref()))?;
        if let Some(endpoint) = &self.endpoint {
            write!(f, " at {endpoint}")?;
        }
        if let Some(took) = self.took_ms {
            write!(f, " after {took} ms")?;
        }
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        Ok(())
    }
}

pub(super) fn now(place: &PlaceRow) -> String {
    let why = in_brackets(place.last_error.as_deref());
    if place.parked {
        return format!("put aside after {} failures{why}", place.failures);
    }
    if let Some(until) = place.leased_until {
        return format!("a worker has its chat until {}", stamp(until));
    }
    let due = place.due_at.map(stamp).unwrap_or_default();
    format!(
        "due {due}, {} before it, {} failures{why}",
        place.ahead, place.failures
    )
}

fn in_brackets(code: Option<&str>) -> String {
    code.filter(|code| !code.is_empty())
        .map(|code| format!(" ({code})"))
        .unwrap_or_default()
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_anything_short_without_control_characters() {
        assert_eq!(AnyId::parse("  wamid.ABC= ").unwrap().as_str(), "wamid.ABC=");
        for wrong in ["", "   ", "a\0b", "a\nb", &"x".repeat(301)] {
            assert_eq!(AnyId::parse(wrong), None, "{wrong:?}");
        }
        let id = |text| AnyId::parse(text).unwrap();
        assert_eq!(id("4711").chatwoot(), Some("4711"));
        assert_eq!(id("3EB0").chatwoot(), None);
        assert_eq!(id(&"1".repeat(19)).chatwoot(), None);
    }

    #[test]
    fn a_hop_is_a_line_with_codes() {
        let at = DateTime::from_timestamp_millis(1_772_000_000_000).unwrap();
        let hop = Hop {
            attempt: Some(2),
            took_ms: Some(31),
            endpoint: Some("Primary".to_owned()),
            ..Hop::new(at, What::Attempt)
                .class("retry_later")
                .code(Some("no_session".to_owned()))
        };
        assert_eq!(
            hop.to_string(),
            "2026-02-25T06:13:20.000Z  attempt 2 retry_later (no_session) at Primary after 31 ms"
        );
    }
}
