//! What became of an agent's message, shown where the agent wrote it. Only forward; saying the same again is harmless.

use domain::delivery::DeliveryStatus;
use messaging::lanes::{Lease, Task};
use tenant_isolation::TenantTransaction;

use super::work::StatusWork;
use super::{NotDone, Tools};
use crate::chatwoot::{ChatwootError, ShownStatus};
use crate::store::agent_messages::AgentMessage;
use crate::store::{agent_messages, inboxes, message_links};

/// Shows the status and ends the task.
///
/// # Errors
/// [`NotDone`]: nothing about the task was written.
pub async fn reflect_status(
    tools: &Tools,
    lease: &Lease,
    task: &Task,
    work: &StatusWork,
) -> Result<(), NotDone> {
    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "find agent message").await?;
    let standing = agent_messages::find(&mut tx, work.inbox_id, work.message_id).await?;
    let inbox = inboxes::find(&mut tx, work.inbox_id).await?;
    let Some(standing) = standing.filter(|standing| is_news(standing.status, work)) else {
        count("nothing_new");
        lease.done(&mut tx, task).await?;
        return Ok(tx.commit().await?);
    };
    tx.commit().await?;

    if let (Some(shown), Some(inbox)) = (shown(work), inbox) {
        let at = tools.address(lease.scope(), &inbox)?;
        let text = (shown == ShownStatus::Failed).then(|| explanation(work.status, work.reason.as_deref()));
        let _place = tools.chatwoot.place(&at).await?;
        let api = tools.chatwoot.at(&at);
        match api
            .set_status(standing.conversation_id, work.message_id, shown, text.as_deref())
            .await
        {
            Ok(()) => count("shown"),
            // The message was deleted, or the inbox is none that has statuses: there is nobody to tell.
            Err(ChatwootError::NotFound) => count("message_gone"),
            Err(ChatwootError::Refused { status: 403 }) => count("not_an_api_inbox"),
            Err(error) => return Err(error.into()),
        }
    } else {
        count("not_shown");
    }

    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "agent message moved").await?;
    agent_messages::advance(
        &mut tx,
        work.inbox_id,
        work.message_id,
        work.status,
        work.reason.as_deref(),
    )
    .await?;
    if let Some((account, id)) = &work.sent_as {
        let message = AgentMessage {
            inbox_id: work.inbox_id,
            message_id: work.message_id,
            conversation_id: standing.conversation_id,
        };
        message_links::sent(&mut tx, *account, id, &message, message_links::WHOLE).await?;
    }
    lease.done(&mut tx, task).await?;
    Ok(tx.commit().await?)
}

/// A step forward; or the end of the tries for a message of which nobody knows.
fn is_news(standing: DeliveryStatus, work: &StatusWork) -> bool {
    let given_up = work.put_aside && work.status == DeliveryStatus::Unknown;
    standing.may_become(work.status) || (given_up && standing == DeliveryStatus::Unknown)
}

const fn shown(work: &StatusWork) -> Option<ShownStatus> {
    match work.status {
        DeliveryStatus::Sent => Some(ShownStatus::Sent),
        DeliveryStatus::Delivered => Some(ShownStatus::Delivered),
        DeliveryStatus::Read => Some(ShownStatus::Read),
        DeliveryStatus::Failed | DeliveryStatus::Parked => Some(ShownStatus::Failed),
        // Nothing more is tried, and silence would read as success.
        DeliveryStatus::Unknown if work.put_aside => Some(ShownStatus::Failed),
        // Nothing to show yet, or nothing that is certain.
        DeliveryStatus::Queued | DeliveryStatus::Unknown => None,
    }
}

/// Our reasons for messages that never left the bridge.
pub mod refusals {
    /// A file; there is no way for it yet.
    pub const ATTACHMENTS: &str = "attachments_unsupported";
    /// Nobody to send it to.
    pub const NO_DESTINATION: &str = "no_destination";
    /// More than a WhatsApp message holds.
    pub const TOO_LONG: &str = "text_too_long";
    /// Nothing in it.
    pub const EMPTY: &str = "empty_message";
}

/// What the agent reads under the red mark.
fn explanation(status: DeliveryStatus, reason: Option<&str>) -> String {
    let fixed = match reason {
        Some(refusals::ATTACHMENTS) => "attachments are not supported yet",
        Some(refusals::NO_DESTINATION) => "this conversation has no WhatsApp number to send to",
        Some(refusals::TOO_LONG) => "the text is too long for WhatsApp",
        Some(refusals::EMPTY) => "there is nothing in this message to send",
        _ if status == DeliveryStatus::Unknown => {
            "it is not known whether this reached WhatsApp: look at the phone before sending it again"
        }
        // Codes of the sender are stable words, safe to show.
        Some(code) => return format!("not delivered to WhatsApp: {}", code.replace('_', " ")),
        None => "not delivered to WhatsApp",
    };
    fixed.to_owned()
}

fn count(outcome: &'static str) {
    metrics::counter!("kanal_bridge_statuses_total", "outcome" => outcome).increment(1);
}
