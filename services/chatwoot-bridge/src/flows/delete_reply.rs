//! An agent deletes a message in Chatwoot: what of it is on WhatsApp is deleted for everyone, what is still on its way is
//! deleted as soon as it is there, and what has not left is not sent.

use database::DatabaseError;
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use domain::ids::AccountId;
use domain::message::MessageContent;
use messaging::Envelope;
use messaging::events::send_requested::SendRequested;
use messaging::outbox::{self, NewRow};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::Tools;
use super::accept_reply::{Acceptance, Signals, unwritable};
use super::agent_event::AboutReply;
use super::reflect_status::refusals;
use super::work::conversation_lane;
use crate::store::agent_messages::{self, AgentMessage, Shown, Standing};
use crate::store::agent_parts::{self, Part};
use crate::store::inboxes::Inbox;
use crate::store::message_links;

/// Accepts a deletion. Done again with the same message, it changes nothing.
///
/// # Errors
/// [`DatabaseError`]: nothing was accepted.
pub async fn accept_delete(
    tools: &Tools,
    scope: &TenantScope,
    inbox: &Inbox,
    about: &AboutReply,
    request_id: Option<String>,
    signals: &Signals,
) -> Result<Acceptance, DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "accept deletion").await?;
    if message_links::is_ours(&mut tx, inbox.id, about.message_id).await? {
        tx.commit().await?;
        return Ok(Acceptance::Echo);
    }
    let to = about.to.as_ref().map(ChatAddress::as_str);
    let message = AgentMessage {
        inbox_id: inbox.id,
        message_id: about.message_id,
        conversation_id: about.conversation_id,
    };
    // Chatwoot's webhooks overtake each other: what is deleted before it came is not sent when it comes.
    let is_new = agent_messages::add(&mut tx, &message, Uuid::now_v7(), to).await?;
    let standing = agent_messages::lock(&mut tx, inbox.id, about.message_id).await?;
    let Some(standing) = standing.filter(|standing| !standing.deleted) else {
        tx.commit().await?;
        return Ok(Acceptance::Repeated);
    };
    agent_messages::delete(&mut tx, inbox.id, about.message_id, to).await?;
    if is_new {
        agent_messages::show(&mut tx, inbox.id, about.message_id, &not_sent()).await?;
        tx.commit().await?;
        return Ok(Acceptance::Forwarded);
    }
    let standing = Standing {
        deleted: true,
        recipient: standing.recipient.or(to.map(str::to_owned)),
        ..standing
    };
    let parts = agent_parts::of(&mut tx, inbox.id, about.message_id, &standing).await?;
    for mut part in parts {
        if revoke(&mut tx, inbox, &standing, &mut part, request_id.clone()).await? {
            agent_parts::put(&mut tx, inbox.id, about.message_id, &part).await?;
        }
    }
    tx.commit().await?;
    signals.outbox.ring();
    Ok(Acceptance::Forwarded)
}

/// What is shown of a message that was deleted before it left.
pub(super) fn not_sent() -> Shown {
    Shown {
        status: DeliveryStatus::Failed,
        reason: Some(refusals::DELETED.to_owned()),
        put_aside: false,
    }
}

/// Orders a part of a deleted message to be deleted for everyone, if it is there and that was not ordered yet. True: the
/// part has changed.
pub(super) async fn revoke(
    tx: &mut TenantTransaction,
    inbox: &Inbox,
    standing: &Standing,
    part: &mut Part,
    request_id: Option<String>,
) -> Result<bool, DatabaseError> {
    let is_there = matches!(
        part.status,
        DeliveryStatus::Sent | DeliveryStatus::Delivered | DeliveryStatus::Read
    );
    let (true, false, true) = (standing.deleted, part.revoked, is_there) else {
        return Ok(false);
    };
    let (Some(target), Some(to)) = (part.known_as.clone(), standing.recipient.clone()) else {
        return Ok(false);
    };
    let order = SendRequested {
        request_id: Uuid::now_v7(),
        account_id: AccountId::from_uuid(inbox.account_id),
        to,
        text: String::new(),
        content: Some(MessageContent::Revoke { target }),
        quoted: None,
        // Where the message itself stands is not what becomes of this.
        reference: None,
        replaces: None,
    };
    let envelope = Envelope::new(tx.scope(), &order)
        .map_err(unwritable)?
        .caused_by(request_id);
    let row = NewRow {
        lane: conversation_lane(inbox.id, standing.conversation_id),
        envelope,
    };
    outbox::enqueue(tx, vec![row]).await?;
    part.revoked = true;
    metrics::counter!("kanal_bridge_revokes_total").increment(1);
    Ok(true)
}
