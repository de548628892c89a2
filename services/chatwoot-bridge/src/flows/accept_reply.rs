//! An agent's message is accepted: one transaction that holds its dedup key and the order to send it. The order leaves
//! when the conversation's other replies had time to come, see [`order_replies`](super::order_replies).

use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use domain::ids::AccountId;
use messaging::events::send_requested::SendRequested;
use messaging::lanes;
use messaging::outbox::Signal;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::reference::Reference;
use super::reflect_status::refusals;
use super::work::{ReplyWork, StatusWork, conversation_lane};
use crate::store::agent_messages::{self, AgentMessage};
use crate::store::inboxes::Inbox;
use crate::store::{contacts, message_links};

/// Longest text the sender takes, in characters.
const LONGEST_TEXT: usize = 65_536;

/// What an agent wrote.
#[derive(Clone)]
pub struct Reply {
    /// Its id in Chatwoot.
    pub message_id: i64,
    /// The conversation's display id.
    pub conversation_id: i64,
    /// The text as Chatwoot has it.
    pub content: Option<String>,
    /// Are there files with it?
    pub has_attachments: bool,
    /// To whom, where the conversation tells.
    pub to: Option<ChatAddress>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("message_id", &self.message_id)
            .field("conversation_id", &self.conversation_id)
            .finish_non_exhaustive()
    }
}

/// What was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It will be sent.
    Forwarded,
    /// It was accepted by an earlier webhook.
    Repeated,
    /// It cannot be sent; the agent will see why.
    Refused,
    /// We made it ourselves.
    Echo,
    /// There is nothing to do for it; the word says why.
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
    db: &Database,
    scope: &TenantScope,
    inbox: &Inbox,
    reply: &Reply,
    request_id: Option<String>,
    signals: &Signals,
) -> Result<Acceptance, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "accept reply").await?;
    if message_links::is_ours(&mut tx, inbox.id, reply.message_id).await? {
        tx.commit().await?;
        return Ok(Acceptance::Echo);
    }
    let lane = conversation_lane(inbox.id, reply.conversation_id);
    let request = Uuid::now_v7();
    let message = AgentMessage {
        inbox_id: inbox.id,
        message_id: reply.message_id,
        conversation_id: reply.conversation_id,
    };
    if !agent_messages::add(&mut tx, &message, request).await? {
        tx.commit().await?;
        return Ok(Acceptance::Repeated);
    }
    let reference = Reference {
        inbox_id: inbox.id,
        message_id: reply.message_id,
    };
    let refused = |error: serde_json::Error| DatabaseError::Refused(Box::new(error));
    let request_id = request_id.as_deref();
    let (task, refusal) = match sendable(reply) {
        Ok((to, text)) => {
            // In a conversation that began under a hidden id, the number may be known by now.
            let surviving = match to.lid() {
                Some(_) => contacts::surviving(&mut tx, inbox.id, to.as_str()).await?,
                None => None,
            };
            let order = SendRequested {
                request_id: request,
                account_id: AccountId::from_uuid(inbox.account_id),
                to: surviving.unwrap_or_else(|| to.as_str().to_owned()),
                text,
                content: None,
                quoted: None,
                reference: Some(reference.to_string()),
            };
            let work = ReplyWork {
                message_id: reply.message_id,
                order,
            };
            (work.task(lane, request_id), None)
        }
        Err(reason) => {
            let work = StatusWork::new(reference, DeliveryStatus::Failed, Some(reason.to_owned()));
            (work.task(lane, request, request_id), Some(reason))
        }
    };
    lanes::enqueue(&mut tx, &task.map_err(refused)?).await?;
    tx.commit().await?;
    signals.lanes.ring();
    let Some(reason) = refusal else {
        return Ok(Acceptance::Forwarded);
    };
    metrics::counter!("kanal_bridge_replies_refused_total", "reason" => reason).increment(1);
    Ok(Acceptance::Refused)
}

/// Where to and what, or why not. A text with a file is refused as a whole: half a message is worse than a red mark.
fn sendable(reply: &Reply) -> Result<(&ChatAddress, String), &'static str> {
    if reply.has_attachments {
        return Err(refusals::ATTACHMENTS);
    }
    let text = plain_text(reply.content.as_deref().unwrap_or_default());
    if text.trim().is_empty() {
        return Err(refusals::EMPTY);
    }
    if text.chars().count() > LONGEST_TEXT {
        return Err(refusals::TOO_LONG);
    }
    let to = reply.to.as_ref().ok_or(refusals::NO_DESTINATION)?;
    Ok((to, text))
}

/// Chatwoot's editor leaves a backslash before line breaks and empty lines at the end (contract 6, 17).
fn plain_text(content: &str) -> String {
    let text = content
        .replace("\\\r\n", "\n")
        .replace("\\\n", "\n")
        .replace('\0', "");
    text.trim_end_matches(['\n', '\r']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(content: &str) -> Reply {
        let to = ChatAddress::parse("6281200000001@s.whatsapp.net").ok();
        Reply {
            message_id: 1,
            conversation_id: 2,
            content: Some(content.into()),
            has_attachments: false,
            to,
        }
    }

    #[test]
    fn the_editors_leftovers_are_taken_away() {
        assert_eq!(
            plain_text("Halo\\\nkak\\\r\n\n  *tebal*\n\n"),
            "Halo\nkak\n\n  *tebal*"
        );
        assert_eq!(plain_text("a\\b"), "a\\b");
    }

    #[test]
    fn what_cannot_be_sent_has_a_reason() {
        assert!(sendable(&reply("ok")).is_ok());
        assert_eq!(sendable(&reply(" \n")).unwrap_err(), refusals::EMPTY);
        assert_eq!(
            sendable(&reply(&"x".repeat(LONGEST_TEXT + 1))).unwrap_err(),
            refusals::TOO_LONG
        );
        assert!(sendable(&reply(&"é".repeat(LONGEST_TEXT))).is_ok());
        assert_eq!(
            sendable(&Reply {
                to: None,
                ..reply("ok")
            })
            .unwrap_err(),
            refusals::NO_DESTINATION
        );
        let file = Reply {
            has_attachments: true,
            ..reply("ok")
        };
        assert_eq!(sendable(&file).unwrap_err(), refusals::ATTACHMENTS);
    }
}
