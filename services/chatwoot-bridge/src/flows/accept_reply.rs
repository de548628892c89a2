//! An agent's message is accepted: one transaction that holds its dedup key and the orders to send its parts. The orders
//! leave when the conversation's other replies had time to come, see [`order_replies`](super::order_replies).

use database::DatabaseError;
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use messaging::lanes::{self, NewTask};
use messaging::outbox::Signal;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::Tools;
use super::agent_parts::{self, Ordering, Said, Written, parts_of};
use super::reference::Reference;
use super::reflect_status::refusals;
use super::work::{ReplyWork, StatusWork, conversation_lane};
use crate::store::agent_messages::{self, AgentMessage};
use crate::store::agent_parts::Part;
use crate::store::inboxes::Inbox;
use crate::store::{contacts, message_links, outbound_options};

/// What an agent wrote, and where.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its id in Chatwoot.
    pub message_id: i64,
    /// The conversation's display id.
    pub conversation_id: i64,
    /// What it says.
    pub written: Written,
    /// To whom, where the conversation tells.
    pub to: Option<ChatAddress>,
}

/// What was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It will be sent, or done.
    Forwarded,
    /// It was accepted by an earlier webhook.
    Repeated,
    /// It cannot be sent; the agent will see why.
    Refused,
    /// We made it ourselves.
    Echo,
    /// Nothing that goes to WhatsApp; the word says why.
    Ignored(&'static str),
}

/// The bells to ring after the commit.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// For the relay.
    pub outbox: Signal,
    /// For the lane workers.
    pub lanes: Signal,
}

/// Accepts a reply. Done again with the same message, it changes nothing.
///
/// # Errors
/// [`DatabaseError`]: nothing was accepted.
pub async fn accept_reply(
    tools: &Tools,
    scope: &TenantScope,
    inbox: &Inbox,
    reply: &Reply,
    request_id: Option<String>,
    signals: &Signals,
) -> Result<Acceptance, DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "accept reply").await?;
    if message_links::is_ours(&mut tx, inbox.id, reply.message_id).await? {
        tx.commit().await?;
        return Ok(Acceptance::Echo);
    }
    let options = outbound_options::find(&mut tx, inbox.id)
        .await?
        .unwrap_or_default();
    if reply.written.automatic && !options.send_automatic {
        tx.commit().await?;
        return Ok(Acceptance::Ignored("automatic"));
    }
    // Whoever wrote years ago is not told today that the office is closed.
    let (conversation, id) = (reply.conversation_id, reply.message_id);
    if reply.written.by_machine && message_links::follows_history(&mut tx, inbox.id, conversation, id).await?
    {
        tx.commit().await?;
        return Ok(Acceptance::Ignored("answers_history"));
    }
    let to = match &reply.to {
        // In a conversation that began under a hidden id, the number may be known by now.
        Some(to) if to.lid().is_some() => {
            let surviving = contacts::surviving(&mut tx, inbox.id, to.as_str()).await?;
            Some(surviving.unwrap_or_else(|| to.as_str().to_owned()))
        }
        to => to.as_ref().map(|to| to.as_str().to_owned()),
    };
    let message = AgentMessage {
        inbox_id: inbox.id,
        message_id: reply.message_id,
        conversation_id: reply.conversation_id,
    };
    let request = Uuid::now_v7();
    if !agent_messages::add(&mut tx, &message, request, to.as_deref()).await? {
        tx.commit().await?;
        return Ok(Acceptance::Repeated);
    }
    let sendable = parts_of(&reply.written, &options).and_then(|parts| {
        let to = to.as_deref().ok_or(refusals::NO_DESTINATION)?;
        Ok((parts, to))
    });
    let sendable = sendable.and_then(|(parts, to)| {
        let ordering = Ordering {
            tools,
            inbox,
            message_id: reply.message_id,
            to,
            quoted: None,
        };
        parts.iter().try_for_each(|part| ordering.check(part))?;
        Ok((parts, ordering))
    });
    let (task, refusal) = match sendable {
        Ok((parts, ordering)) => {
            let quoted = agent_parts::quoted(&mut tx, inbox, &reply.written).await?;
            let ordering = Ordering { quoted, ..ordering };
            let task = order(&mut tx, &ordering, parts, request, reply, request_id.as_deref()).await?;
            (task, None)
        }
        Err(reason) => {
            let reference = Reference::of(inbox.id, reply.message_id);
            let work = StatusWork::new(reference, DeliveryStatus::Failed, Some(reason.to_owned()));
            let lane = conversation_lane(inbox.id, reply.conversation_id);
            let task = work.task(lane, request, request_id.as_deref());
            (task.map_err(unwritable)?, Some(reason))
        }
    };
    lanes::enqueue(&mut tx, &task).await?;
    tx.commit().await?;
    signals.lanes.ring();
    let Some(reason) = refusal else {
        return Ok(Acceptance::Forwarded);
    };
    metrics::counter!("kanal_bridge_replies_refused_total", "reason" => reason).increment(1);
    Ok(Acceptance::Refused)
}

/// Every part and its order; `request` is the first one's.
async fn order(
    tx: &mut TenantTransaction,
    ordering: &Ordering<'_>,
    parts: Vec<Said>,
    request: Uuid,
    reply: &Reply,
    request_id: Option<&str>,
) -> Result<NewTask, DatabaseError> {
    let mut orders = Vec::with_capacity(parts.len());
    for (number, said) in (0..).zip(parts) {
        let id = if number == 0 { request } else { Uuid::now_v7() };
        orders.push(ordering.order(tx, &Part::new(number, id), said, None).await?);
    }
    let work = ReplyWork {
        message_id: reply.message_id,
        orders,
    };
    let lane = conversation_lane(ordering.inbox.id, reply.conversation_id);
    work.task(lane, request, request_id).map_err(unwritable)
}

pub(super) fn unwritable(error: serde_json::Error) -> DatabaseError {
    DatabaseError::Refused(Box::new(error))
}
