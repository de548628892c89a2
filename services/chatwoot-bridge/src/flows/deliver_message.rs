//! A message of WhatsApp's goes to Chatwoot, once: what a person wrote, and what the tenant typed on the phone.
//!
//! Chatwoot takes the same message twice without a word (contract 3.4), so an intent is written before it is asked.
//! Whoever finds an intent without a result, after a crash or a lost answer, first looks for the message in the
//! conversation that was asked, and asks again only when it is not there.

use chrono::{TimeDelta, Utc};
use domain::ids::ProviderMessageId;
use messaging::events::message_received::ChatMessage;
use messaging::lanes::{self, Lease, Task};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::chatwoot_contact::person;
use super::incoming_file::{Attached, attach, is_files_fault};
use super::late_file::LateFile;
use super::look_back::{Asked, is_settled, look_back};
use super::place::PlaceFinder;
use super::render::{Form, Shown, Way, render};
use super::{NotDone, Tools};
use crate::chatwoot::{Author, ChatwootApi, ChatwootError, Message, NewMessage};
use crate::store::contacts::ContactLink;
use crate::store::inboxes::Inbox;
use crate::store::message_links::{Intent, MessageLink, WHOLE};
use crate::store::{contacts, inbound_rules, inboxes, message_links};

/// A message that is older than this is shown with the time at which it was written.
const OLD: TimeDelta = TimeDelta::minutes(2);

/// A message on its way to Chatwoot.
#[derive(Clone, Copy)]
pub struct Crossing<'a> {
    /// The message.
    pub message: &'a ChatMessage,
    /// Who wrote it.
    pub way: Way,
    /// It is imported long after it was written: nothing else waits for it.
    pub is_history: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crossed {
    /// It is in Chatwoot.
    Delivered,
    /// It had been there.
    Repeated,
    /// It does not belong there: no inbox, a person whose messages stay out, or nothing to read.
    Left(&'static str),
}

/// One delivery under way.
struct Delivery<'a> {
    tools: &'a Tools,
    lease: &'a Lease,
    ends: Option<&'a Task>,
    crossing: Crossing<'a>,
    shown: Shown,
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
    way: Way,
) -> Result<(), NotDone> {
    let crossing = Crossing {
        message,
        way,
        is_history: false,
    };
    cross(tools, lease, Some(task), crossing).await?;
    Ok(())
}

/// Brings a message over, and ends the task with it where one is named. Done again, it changes nothing.
///
/// # Errors
/// [`NotDone`]: nothing about the task was written.
pub async fn cross(
    tools: &Tools,
    lease: &Lease,
    ends: Option<&Task>,
    crossing: Crossing<'_>,
) -> Result<Crossed, NotDone> {
    let message = crossing.message;
    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "find inbox and links").await?;
    let link = message_links::find(&mut tx, message.account_id, &message.provider_message_id).await?;
    let inbox = inboxes::find_by_account(&mut tx, message.account_id).await?;
    let shown = render(message, crossing.way);
    let rules = match &inbox {
        Some(inbox) => inbound_rules::find(&mut tx, inbox.id).await?,
        None => inbound_rules::InboundRules::default(),
    };
    let is_there = |link: &MessageLink| link.chatwoot_message_id.is_some();
    let left = if link.as_ref().is_some_and(is_there) {
        Some(Crossed::Repeated)
    } else if inbox.is_none() {
        // Meant so for a tenant without Chatwoot; a mistake when an inbox was connected to another account's id.
        tracing::info!(account = %message.account_id, "a message has no inbox to go to");
        Some(Crossed::Left("no_inbox"))
    } else if rules.ignores(&message.partner.address, message.partner.phone.as_deref()) {
        Some(Crossed::Left("ignored"))
    } else if shown.form == Form::Nothing {
        Some(Crossed::Left("nothing_to_read"))
    } else {
        None
    };
    let (Some(inbox), None) = (inbox, left) else {
        let left = left.unwrap_or(Crossed::Left("no_inbox"));
        count(left);
        if let Some(task) = ends {
            lease.done(&mut tx, task).await?;
        }
        tx.commit().await?;
        return Ok(left);
    };
    let stored = contacts::find(&mut tx, inbox.id, person(&message.partner)).await?;
    let quoted = match &shown.about {
        Some(about) => Some(quote(&mut tx, crossing, inbox.id, about).await?),
        None => None,
    };
    tx.commit().await?;

    if let Some(link) = &link {
        is_settled(link, ends)?;
    }
    let at = tools.address(lease.scope(), &inbox)?;
    let _place = tools.chatwoot.place(&at).await?;
    let api = if crossing.is_history {
        tools.chatwoot.at_leisure(&at)
    } else {
        tools.chatwoot.at(&at)
    };
    let delivery = Delivery {
        tools,
        lease,
        ends,
        crossing,
        shown,
        inbox: &inbox,
        api,
        source_id: mark(message.provider_message_id.as_str()),
        quoted,
    };
    if let Some(link) = link
        && let Some(found) = delivery.look_back(&link).await?
    {
        metrics::counter!("kanal_bridge_messages_total", "outcome" => "found_again").increment(1);
        // With the file that it should have, with words that promise it, or with words that say why there is none.
        delivery
            .done(found.id, link.file_follows && !found.has_files())
            .await?;
        return Ok(Crossed::Delivered);
    }
    let finder = PlaceFinder {
        tools,
        lease,
        inbox: &inbox,
        policy: rules.policy,
        api,
        partner: &message.partner,
        way: crossing.way,
    };
    let place = finder.find(stored).await?;
    finder.refresh_name(&place).await?;
    match delivery.put(&place).await {
        // Deleted by somebody in Chatwoot: another one is made (contract 6, 24).
        Err(NotDone::Chatwoot(ChatwootError::NotFound)) => {
            let place = finder.another(Some(&place)).await?;
            delivery.put(&place).await?;
        }
        outcome => outcome?,
    }
    count(Crossed::Delivered);
    Ok(Crossed::Delivered)
}

fn count(crossed: Crossed) {
    let outcome = match crossed {
        Crossed::Delivered => "delivered",
        Crossed::Repeated => "repeated",
        Crossed::Left(why) => why,
    };
    metrics::counter!("kanal_bridge_messages_total", "outcome" => outcome).increment(1);
}

/// How our messages are marked in Chatwoot; the convention of GoWA and Evolution (contract 2.11).
pub(super) fn mark(provider_message_id: &str) -> String {
    format!("WAID:{provider_message_id}")
}

/// What quotes another message: its mark, and its id in Chatwoot where it is known there.
async fn quote(
    tx: &mut TenantTransaction,
    crossing: Crossing<'_>,
    inbox: Uuid,
    about: &ProviderMessageId,
) -> Result<(String, Option<i64>), NotDone> {
    let link = message_links::find(tx, crossing.message.account_id, about).await?;
    let id = link
        .filter(|link| link.inbox_id == inbox)
        .and_then(|link| link.chatwoot_message_id);
    Ok((mark(about.as_str()), id))
}

impl Delivery<'_> {
    async fn begin(&self, name: &'static str) -> Result<TenantTransaction, NotDone> {
        let mut tx = TenantTransaction::begin(&self.tools.db, self.lease.scope(), name).await?;
        self.lease.guard(&mut tx).await?;
        Ok(tx)
    }

    /// Looks for our message in the conversation that was asked to take it.
    async fn look_back(&self, link: &MessageLink) -> Result<Option<Message>, NotDone> {
        let asked = Asked {
            conversation: link.chatwoot_conversation_id,
            at: link.created_at,
        };
        look_back(self.api, asked, &self.source_id).await
    }

    /// Puts the message into the conversation.
    async fn put(&self, place: &ContactLink) -> Result<(), NotDone> {
        let conversation = place.chatwoot_conversation_id;
        let message = self.crossing.message;
        let since = self.ends.map(|task| task.created_at);
        // Before the intent: while a file is waited for, Chatwoot was not asked.
        let attached = attach(&self.tools.files, &self.shown, message.media.as_ref(), since).await?;
        let mut tx = self.begin("intend message").await?;
        let intent = Intent {
            account: message.account_id,
            message: &message.provider_message_id,
            part: WHOLE,
            inbox: self.inbox.id,
            conversation,
            from_history: self.crossing.is_history,
            file_follows: attached.is_late(),
            settles_in: self.tools.chatwoot.settles_with(attached.bytes()),
        };
        message_links::intend(&mut tx, &intent).await?;
        tx.commit().await?;

        let (words, is_late) = match attached {
            Attached::File(file) => {
                let new = self.new_message(&self.shown.words);
                match self.api.create_message_with_file(conversation, new, file).await {
                    Ok(made) => return self.done(made.id, false).await,
                    // Chatwoot has its own opinion of sizes and kinds: the words go all the same.
                    Err(error) if is_files_fault(error) => {
                        metrics::counter!("kanal_bridge_files_refused_total").increment(1);
                        let why = "Chatwoot does not take this file; it is in WhatsApp.";
                        (self.shown.words_without_file(why), false)
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Attached::Words { words, is_late } => (words, is_late),
        };
        let made = self
            .api
            .create_message(conversation, self.new_message(&words))
            .await?;
        self.done(made.id, is_late).await
    }

    fn new_message<'a>(&'a self, content: &'a str) -> NewMessage<'a> {
        let sent_at = self.crossing.message.sent_at;
        let is_old = Utc::now() - sent_at > OLD;
        NewMessage {
            author: match (self.shown.form, self.crossing.way) {
                (Form::Note, _) => Author::Note,
                (_, Way::FromPerson) => Author::Contact,
                (_, Way::FromPhone) => Author::Tenant,
            },
            content,
            source_id: &self.source_id,
            quoted: self.quoted.as_ref().map(|(mark, id)| (mark.as_str(), *id)),
            written_at: is_old.then(|| sent_at.timestamp()),
        }
    }

    /// `is_late`: its file is still to come.
    async fn done(&self, made: i64, is_late: bool) -> Result<(), NotDone> {
        let message = self.crossing.message;
        let name = "message delivered";
        let mut tx = match self.ends {
            // Which guards the lease, too.
            Some(task) => {
                let mut tx = TenantTransaction::begin(&self.tools.db, self.lease.scope(), name).await?;
                self.lease.done(&mut tx, task).await?;
                tx
            }
            None => self.begin(name).await?,
        };
        message_links::made(
            &mut tx,
            message.account_id,
            &message.provider_message_id,
            WHOLE,
            made,
        )
        .await?;
        if is_late {
            let late = LateFile::of(message, self.crossing.way);
            lanes::enqueue(&mut tx, &late.task()?).await?;
        }
        Ok(tx.commit().await?)
    }
}
