//! Replies of one conversation leave in the order in which agents wrote them.
//!
//! Chatwoot delivers its webhooks as jobs that overtake each other (contract 2.4). An accepted reply therefore stays in
//! its lane for a short while, and then all that came meanwhile become orders at once, sorted by Chatwoot's message
//! ids, which grow.

use std::time::Duration;

use database::{Database, DatabaseError};
use messaging::Envelope;
use messaging::lanes::{self, LaneError, Lease, Next, Task, Waits};
use messaging::outbox::{self, NewRow};
use tenant_isolation::TenantTransaction;
use trace_context::TraceContext;

use super::accept_reply::unwritable;
use super::delete_reply::not_sent;
use super::reference::Reference;
use super::work::{self, Errand, REPLY, ReplyWork, Work};
use crate::store::agent_messages;
use crate::store::agent_parts::{self, Part};

/// Replies that leave at once; the rest follows right after.
const MOST: i64 = 200;

/// Waits for what is left of `window`, or sends what came.
///
/// # Errors
/// [`LaneError`]: nothing was written.
pub async fn order_replies(
    db: &Database,
    lease: &Lease,
    head: &Task,
    window: Duration,
) -> Result<Next, LaneError> {
    let mut tx = TenantTransaction::begin(db, lease.scope(), "order replies").await?;
    let waiting = lanes::waiting(&mut tx, lease, REPLY, MOST).await?;
    let longest = waiting.iter().map(|reply| reply.seconds).fold(0.0, f64::max);
    let left = window.saturating_sub(Duration::try_from_secs_f64(longest).unwrap_or_default());
    if !left.is_zero() {
        lease
            .retry(&mut tx, head, left, Waits::NotBegun, "reply_order_window")
            .await?;
        tx.commit().await?;
        return Ok(Next::Wait);
    }
    let mut replies: Vec<(ReplyWork, Cause)> = Vec::with_capacity(waiting.len());
    for reply in &waiting {
        match work::read(&reply.task) {
            Ok(Errand {
                request_id,
                traceparent,
                work: Work::Reply(work),
            }) => {
                replies.push((work, (request_id, traceparent)));
                lease.done(&mut tx, &reply.task).await?;
            }
            Ok(_) | Err(_) => lease.park(&mut tx, &reply.task, "unreadable_task").await?,
        }
    }
    replies.sort_by_key(|(reply, _)| reply.message_id);
    let mut rows = Vec::with_capacity(replies.len());
    for (reply, (request_id, traceparent)) in replies {
        if is_deleted(&mut tx, &reply).await? {
            continue;
        }
        for order in &reply.orders {
            let envelope = Envelope::new(lease.scope(), order).map_err(unwritable)?;
            rows.push(NewRow {
                lane: lease.lane().to_owned(),
                envelope: envelope.caused_by(request_id.clone()).traced(traceparent),
            });
        }
    }
    outbox::enqueue(&mut tx, rows).await?;
    tx.commit().await?;
    Ok(Next::Continue)
}

/// The request behind a reply, and its place in a trace: its own, not that of the head of the lane.
type Cause = (Option<String>, Option<TraceContext>);

/// Was the reply deleted while it waited? Then it is over, and nobody has to be told: the agent did it. One that is deleted
/// from here on is deleted for everyone when it is there.
async fn is_deleted(tx: &mut TenantTransaction, reply: &ReplyWork) -> Result<bool, DatabaseError> {
    let first = reply.orders.first().and_then(|order| order.reference.as_deref());
    let Some(reference) = first.and_then(|text| text.parse::<Reference>().ok()) else {
        return Ok(false);
    };
    let (inbox, message) = (reference.inbox_id, reference.message_id);
    let standing = agent_messages::find(tx, inbox, message).await?;
    let Some(standing) = standing.filter(|standing| standing.deleted) else {
        return Ok(false);
    };
    let not_sent = not_sent();
    for part in agent_parts::of(tx, inbox, message, &standing).await? {
        let part = Part {
            status: not_sent.status,
            reason: not_sent.reason.clone(),
            ..part
        };
        agent_parts::put(tx, inbox, message, &part).await?;
    }
    agent_messages::show(tx, inbox, message, &not_sent).await?;
    Ok(true)
}
