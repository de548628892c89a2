//! A person's message goes to Chatwoot, once.
//!
//! Chatwoot takes the same message twice without a word (contract 3.4), so an intent is written before it is asked.
//! Whoever finds an intent without a result, after a crash or a lost answer, first looks for the message in the
//! conversation and asks again only when it is not there.

use chrono::{DateTime, TimeDelta, Utc};
use messaging::events::message_received::ChatMessage;
use messaging::lanes::{Lease, Task};
use tenant_isolation::TenantTransaction;

use super::chatwoot_contact::establish;
use super::{NotDone, Tools};
use crate::chatwoot::{ChatwootApi, ChatwootError, NewMessage};
use crate::store::contacts::ContactLink;
use crate::store::inboxes::Inbox;
use crate::store::{contacts, inboxes, message_links};

/// How far Chatwoot's clock may be behind ours.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(10);
/// Pages of a conversation that are looked through for one message; about 20 messages each.
const MOST_PAGES: usize = 50;

/// One delivery under way.
struct Delivery<'a> {
    tools: &'a Tools,
    lease: &'a Lease,
    task: &'a Task,
    message: &'a ChatMessage,
    inbox: &'a Inbox,
    api: ChatwootApi<'a>,
    source_id: String,
    quoted: Option<(String, Option<i64>)>,
}

/// Delivers the message and ends the task.
///
/// # Errors
/// [`NotDone`]: nothing about the task was written.
pub async fn deliver_message(
    tools: &Tools,
    lease: &Lease,
    task: &Task,
    message: &ChatMessage,
) -> Result<(), NotDone> {
    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "find inbox and links").await?;
    let link = message_links::find(&mut tx, message.account_id, &message.provider_message_id).await?;
    let inbox = inboxes::find_by_account(&mut tx, message.account_id).await?;
    let done_before = link
        .as_ref()
        .is_some_and(|link| link.chatwoot_message_id.is_some());
    let (Some(inbox), false) = (inbox, done_before) else {
        let outcome = if done_before { "repeated" } else { "no_inbox" };
        metrics::counter!("kanal_bridge_messages_total", "outcome" => outcome).increment(1);
        if !done_before {
            // Meant so for a tenant without Chatwoot; a mistake when an inbox was connected to another account's id.
            tracing::info!(account = %message.account_id, "a message has no inbox to go to");
        }
        lease.done(&mut tx, task).await?;
        return Ok(tx.commit().await?);
    };
    let stored = contacts::find(&mut tx, inbox.id, &message.partner.address).await?;
    let quoted = match &message.quoted {
        Some(quoted) => {
            let link = message_links::find(&mut tx, message.account_id, quoted).await?;
            let id = link
                .filter(|link| link.inbox_id == inbox.id)
                .and_then(|link| link.chatwoot_message_id);
            Some((mark(quoted.as_str()), id))
        }
        None => None,
    };
    tx.commit().await?;

    let at = tools.address(lease.scope(), &inbox)?;
    let source_id = mark(message.provider_message_id.as_str());
    let _place = tools.chatwoot.place(&at).await?;
    let api = tools.chatwoot.at(&at);
    let delivery = Delivery {
        tools,
        lease,
        task,
        message,
        inbox: &inbox,
        api,
        source_id,
        quoted,
    };
    let asked_at = link.map(|link| link.created_at);
    match stored {
        Some(place) => match delivery.put(&place, asked_at).await {
            // Deleted by somebody in Chatwoot: forget and make anew (contract 6, 24).
            Err(NotDone::Chatwoot(ChatwootError::NotFound)) => {
                let place = delivery.make_place().await?;
                delivery.put(&place, asked_at).await
            }
            outcome => outcome,
        },
        None => {
            let place = delivery.make_place().await?;
            delivery.put(&place, asked_at).await
        }
    }
}

/// How our messages are marked in Chatwoot; the convention of GoWA and Evolution (contract 2.11).
fn mark(provider_message_id: &str) -> String {
    format!("WAID:{provider_message_id}")
}

/// What agents read. Never nothing: a message without words is shown by its kind.
fn content(message: &ChatMessage) -> String {
    let text = message.text.replace('\0', "");
    if text.trim().is_empty() {
        format!("[{}]", message.kind)
    } else {
        text
    }
}

impl Delivery<'_> {
    async fn begin(&self, name: &'static str) -> Result<TenantTransaction, NotDone> {
        let mut tx = TenantTransaction::begin(&self.tools.db, self.lease.scope(), name).await?;
        self.lease.guard(&mut tx).await?;
        Ok(tx)
    }

    /// Finds or makes contact and conversation and remembers them.
    async fn make_place(&self) -> Result<ContactLink, NotDone> {
        let address = &self.message.partner.address;
        let mut tx = self.begin("forget contact").await?;
        contacts::forget(&mut tx, self.inbox.id, address).await?;
        tx.commit().await?;
        let place = establish(self.api, &self.message.partner).await?;
        let mut tx = self.begin("remember contact").await?;
        contacts::put(&mut tx, self.inbox.id, address, &place).await?;
        tx.commit().await?;
        Ok(place)
    }

    /// Puts the message into the conversation. `asked_at`: when Chatwoot may first have been asked.
    async fn put(&self, place: &ContactLink, asked_at: Option<DateTime<Utc>>) -> Result<(), NotDone> {
        let conversation = place.chatwoot_conversation_id;
        if let Some(asked_at) = asked_at
            && let Some(made) = self.look_back(conversation, asked_at).await?
        {
            metrics::counter!("kanal_bridge_messages_total", "outcome" => "found_again").increment(1);
            return self.done(made).await;
        }
        let mut tx = self.begin("intend message").await?;
        let (account, id) = (self.message.account_id, &self.message.provider_message_id);
        message_links::intend(&mut tx, account, id, self.inbox.id, conversation).await?;
        tx.commit().await?;

        let content = content(self.message);
        let quoted = self.quoted.as_ref().map(|(mark, id)| (mark.as_str(), *id));
        let new = NewMessage {
            content: &content,
            source_id: &self.source_id,
            quoted,
        };
        let made = self.api.create_incoming(conversation, new).await?;
        metrics::counter!("kanal_bridge_messages_total", "outcome" => "delivered").increment(1);
        self.done(made.id).await
    }

    /// Looks for our message among those that are as new as the question.
    async fn look_back(&self, conversation: i64, asked_at: DateTime<Utc>) -> Result<Option<i64>, NotDone> {
        let mut before = None;
        for _ in 0..MOST_PAGES {
            let page = self.api.messages(conversation, before).await?;
            let ours = page
                .iter()
                .find(|message| message.source_id.as_deref() == Some(&self.source_id));
            if let Some(message) = ours {
                return Ok(Some(message.id));
            }
            let Some(oldest) = page.iter().min_by_key(|message| message.id) else {
                return Ok(None);
            };
            if oldest.created_at().is_some_and(|at| at < asked_at - CLOCK_SLACK) {
                return Ok(None);
            }
            before = Some(oldest.id);
        }
        Err(NotDone::TooBusy)
    }

    async fn done(&self, made: i64) -> Result<(), NotDone> {
        let mut tx = self.begin("message delivered").await?;
        message_links::made(
            &mut tx,
            self.message.account_id,
            &self.message.provider_message_id,
            made,
        )
        .await?;
        self.lease.done(&mut tx, self.task).await?;
        Ok(tx.commit().await?)
    }
}
