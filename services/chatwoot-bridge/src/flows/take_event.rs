//! From the broker into our own tables: one transaction, after which the broker may forget the event.

use database::DatabaseError;
use messaging::Envelope;
use messaging::consumer::HandleError;
use messaging::events::chat_merged::ChatMerged;
use messaging::events::chat_profile::ChatProfile;
use messaging::events::message_received::{MessageReceived, MessageSentElsewhere};
use messaging::events::message_status_changed::MessageStatusChanged;
use messaging::lanes::{self, NewTask};
use messaging::outbox::Signal;
use tenant_isolation::TenantTransaction;

use super::Tools;
use super::erased::is_of_erased;
use super::reference::Reference;
use super::work::{StatusWork, chat_lane, incoming_task, merged_task, phone_task, profile_task};
use crate::store::handled_events;

/// An event whose type is not on the list of our queue.
#[derive(Debug, thiserror::Error)]
#[error("events of this type do not belong on this queue")]
struct UnknownType;

/// Takes one event; a second time is as good as once.
///
/// # Errors
/// [`HandleError::Poison`] for what is not the event it claims to be, [`HandleError::Later`] when the database is away.
pub async fn take_event(tools: &Tools, signal: &Signal, envelope: &Envelope) -> Result<(), HandleError> {
    let Some(task) = task_of(envelope)? else {
        metrics::counter!("kanal_bridge_events_ignored_total", "type" => envelope.kind.clone()).increment(1);
        return Ok(());
    };
    let merged = envelope.event().map_err(HandleError::poison)?;
    match store(tools, envelope, &task, merged.as_ref()).await {
        Ok(Taken::New) => signal.ring(),
        Ok(Taken::Repeated) => metrics::counter!("kanal_bridge_events_repeated_total").increment(1),
        Ok(Taken::OfErased) => {
            metrics::counter!("kanal_bridge_events_ignored_total", "type" => envelope.kind.clone())
                .increment(1);
        }
        // Also what the database refuses is kept in hand: it is our mistake, and the event is not to blame.
        Err(error) => return Err(HandleError::later(error)),
    }
    Ok(())
}

fn task_of(envelope: &Envelope) -> Result<Option<NewTask>, HandleError> {
    let (id, request_id) = (envelope.id.as_uuid(), envelope.request_id.as_deref());
    if let Some(MessageReceived(message)) = envelope.event().map_err(HandleError::poison)? {
        // A group, a broadcast list or a status post is no customer who writes to an agent.
        if message.place.is_some() {
            return Ok(None);
        }
        return incoming_task(&message, id, request_id)
            .map(Some)
            .map_err(HandleError::poison);
    }
    if let Some(MessageSentElsewhere(message)) = envelope.event().map_err(HandleError::poison)? {
        if message.place.is_some() {
            return Ok(None);
        }
        return phone_task(&message, id, request_id)
            .map(Some)
            .map_err(HandleError::poison);
    }
    if let Some(changed) = envelope
        .event::<MessageStatusChanged>()
        .map_err(HandleError::poison)?
    {
        let Some(reference) = changed
            .reference
            .as_deref()
            .and_then(|text| text.parse::<Reference>().ok())
        else {
            return Ok(None);
        };
        let lane = chat_lane(changed.account_id, changed.chat_id);
        let work = StatusWork {
            put_aside: changed.put_aside,
            sent_as: Some((changed.account_id, changed.provider_message_id)),
            ..StatusWork::new(reference, changed.status, changed.reason)
        };
        return work
            .task(lane, id, request_id)
            .map(Some)
            .map_err(HandleError::poison);
    }
    if let Some(merged) = envelope.event::<ChatMerged>().map_err(HandleError::poison)? {
        return merged_task(&merged, id, request_id)
            .map(Some)
            .map_err(HandleError::poison);
    }
    if let Some(profile) = envelope.event::<ChatProfile>().map_err(HandleError::poison)? {
        return profile_task(&profile, id, request_id)
            .map(Some)
            .map_err(HandleError::poison);
    }
    Err(HandleError::poison(UnknownType))
}

/// What became of an event.
enum Taken {
    New,
    Repeated,
    /// It happened before its person, or its tenant, was erased.
    OfErased,
}

/// Where two chats became one, what still waits in the lane of the one that is gone comes first.
async fn store(
    tools: &Tools,
    envelope: &Envelope,
    task: &NewTask,
    merged: Option<&ChatMerged>,
) -> Result<Taken, DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, &envelope.scope(), "take event").await?;
    if is_of_erased(&mut tx, &tools.keys, task, envelope.occurred_at).await? {
        tx.commit().await?;
        return Ok(Taken::OfErased);
    }
    let new = handled_events::add(&mut tx, envelope.id).await?;
    if new {
        if let Some(merged) = merged {
            let gone = chat_lane(merged.account_id, merged.merged_chat_id);
            lanes::merge_one(&mut tx, &gone, &task.lane).await?;
        }
        lanes::enqueue(&mut tx, task).await?;
    }
    tx.commit().await?;
    Ok(if new { Taken::New } else { Taken::Repeated })
}
