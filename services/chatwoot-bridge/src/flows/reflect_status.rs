//! What became of an agent's message, shown where the agent wrote it. Only forward; saying the same again is harmless.
//!
//! What is told of a part is written down first, and the whole message is shown as what all its parts make of it. Parts are told of
//! on several lanes, so whoever has shown something looks once more whether that is still so.

use domain::delivery::DeliveryStatus;
use messaging::lanes::{Lease, Task};
use tenant_isolation::TenantTransaction;

use super::agent_parts::MOST_PARTS;
use super::delete_reply::revoke;
use super::retry_reply::look;
use super::whole_message::{Told, outcome, shown_as, take};
use super::work::{RetryWork, StatusWork};
use super::{NotDone, Tools};
use crate::chatwoot::{ChatwootError, ShownStatus};
use crate::store::agent_messages::{AgentMessage, Shown, Standing};
use crate::store::agent_parts::{self, Part};
use crate::store::inboxes::Inbox;
use crate::store::{agent_messages, inboxes, message_links};

/// Times that what was shown may be outdated when it is; then another worker is at it, too, and the task waits.
const MOST_LOOKS: usize = 5;

/// Shows the status and ends the task.
///
/// # Errors
/// [`NotDone`]: the task is not done.
pub async fn reflect_status(
    tools: &Tools,
    lease: &Lease,
    task: &Task,
    work: &StatusWork,
    request_id: Option<String>,
) -> Result<(), NotDone> {
    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "note status").await?;
    lease.guard(&mut tx).await?;
    let standing = agent_messages::lock(&mut tx, work.inbox_id, work.message_id).await?;
    let inbox = inboxes::find(&mut tx, work.inbox_id).await?;
    let (Some(standing), Some(inbox)) = (standing, inbox) else {
        count("nobodys");
        lease.done(&mut tx, task).await?;
        return Ok(tx.commit().await?);
    };
    if standing.is_erased() {
        count("erased");
        lease.done(&mut tx, task).await?;
        return Ok(tx.commit().await?);
    }
    let mut parts = agent_parts::of(&mut tx, inbox.id, work.message_id, &standing).await?;
    let noted = note(&mut tx, &inbox, &standing, &mut parts, work, request_id.clone()).await?;
    let reflection = Reflection {
        tools,
        lease,
        task,
        work,
        inbox: &inbox,
        request_id,
    };
    let Some(whole) = Whole::of(&parts).filter(|whole| whole.shown != standing.shown) else {
        count(if noted { "not_shown" } else { "nothing_new" });
        lease.done(&mut tx, task).await?;
        return Ok(tx.commit().await?);
    };
    tx.commit().await?;
    reflection.show(standing.conversation_id, whole).await
}

/// Writes down what is told of a part. True: it was news.
async fn note(
    tx: &mut TenantTransaction,
    inbox: &Inbox,
    standing: &Standing,
    parts: &mut [Part],
    work: &StatusWork,
    request_id: Option<String>,
) -> Result<bool, NotDone> {
    let Some(part) = parts.iter_mut().find(|part| part.number == work.part) else {
        return Ok(false);
    };
    let told = Told {
        attempt: work.attempt,
        status: work.status,
        reason: work.reason.as_deref(),
        put_aside: work.put_aside,
    };
    let news = take(part, told);
    let is_there = matches!(
        work.status,
        DeliveryStatus::Sent | DeliveryStatus::Delivered | DeliveryStatus::Read
    );
    if let (true, Some((account, id))) = (is_there, &work.sent_as) {
        let message = AgentMessage {
            inbox_id: inbox.id,
            message_id: work.message_id,
            conversation_id: standing.conversation_id,
        };
        message_links::sent(tx, *account, id, &message, link_part(work)).await?;
        if news {
            part.known_as = Some(id.clone());
        }
    }
    let revoked = revoke(tx, inbox, standing, part, request_id).await?;
    if news || revoked {
        agent_parts::put(tx, inbox.id, work.message_id, part).await?;
    }
    Ok(news)
}

/// Each attempt at each part has a link of its own: a person may quote any of them that arrived.
fn link_part(work: &StatusWork) -> i16 {
    let number = work.attempt.saturating_mul(MOST_PARTS).saturating_add(work.part);
    i16::try_from(number).unwrap_or(i16::MAX)
}

/// The whole message as its parts make it.
struct Whole {
    shown: Shown,
    /// Which of how many it is that says so.
    part: (i32, usize),
}

impl Whole {
    fn of(parts: &[Part]) -> Option<Self> {
        let (shown, part) = outcome(parts)?;
        Some(Self {
            shown,
            part: (part.number, parts.len()),
        })
    }

    fn explanation(&self) -> String {
        let why = explanation(self.shown.status, self.shown.reason.as_deref());
        match self.part {
            (_, 0 | 1) => why,
            (number, of) => format!("part {} of {of}: {why}", number + 1),
        }
    }
}

/// One message that is being shown as it stands.
struct Reflection<'a> {
    tools: &'a Tools,
    lease: &'a Lease,
    task: &'a Task,
    work: &'a StatusWork,
    inbox: &'a Inbox,
    request_id: Option<String>,
}

impl Reflection<'_> {
    /// Shows the message as it stands until nothing has changed meanwhile, and ends the task.
    async fn show(&self, conversation: i64, mut whole: Whole) -> Result<(), NotDone> {
        for _ in 0..MOST_LOOKS {
            let marked = self.tell(conversation, &whole).await?;
            match self.written(conversation, whole, marked).await? {
                Some(now) => whole = now,
                None => return Ok(()),
            }
        }
        Err(ChatwootError::Busy.into())
    }

    /// Whether Chatwoot shows a failure now. `None`: as it did.
    async fn tell(&self, conversation: i64, whole: &Whole) -> Result<Option<bool>, NotDone> {
        let Some(status) = shown_as(&whole.shown) else {
            count("not_shown");
            return Ok(None);
        };
        let at = self.tools.address(self.lease.scope(), self.inbox)?;
        let text = (status == ShownStatus::Failed).then(|| whole.explanation());
        let _place = self.tools.chatwoot.place(&at).await?;
        let api = self.tools.chatwoot.at(&at);
        let taken = match api
            .set_status(conversation, self.work.message_id, status, text.as_deref())
            .await
        {
            Ok(()) => "shown",
            // The message was deleted, or the inbox is none that has statuses: there is nobody to tell.
            Err(ChatwootError::NotFound) => "message_gone",
            Err(ChatwootError::Refused { status: 403 }) => "not_an_api_inbox",
            Err(error) => return Err(error.into()),
        };
        count(taken);
        Ok(Some(status == ShownStatus::Failed && taken == "shown"))
    }

    /// Writes down what was shown. `None`: it is still so, and the task is done.
    async fn written(
        &self,
        conversation: i64,
        whole: Whole,
        marked: Option<bool>,
    ) -> Result<Option<Whole>, NotDone> {
        let message = self.work.message_id;
        let mut tx =
            TenantTransaction::begin(&self.tools.db, self.lease.scope(), "agent message shown").await?;
        self.lease.guard(&mut tx).await?;
        if marked == Some(true) {
            // The agent may have pressed the button since, and was not believed. Lanes are locked before messages.
            let work = RetryWork {
                inbox_id: self.inbox.id,
                message_id: message,
                to: None,
            };
            look(&mut tx, &work, conversation, self.request_id.as_deref()).await?;
        }
        let standing = agent_messages::lock(&mut tx, self.inbox.id, message).await?;
        let now = match &standing {
            Some(standing) => {
                agent_messages::show(&mut tx, self.inbox.id, message, &whole.shown).await?;
                if let Some(marked) = marked {
                    agent_messages::mark_failed(&mut tx, self.inbox.id, message, marked).await?;
                }
                let parts = agent_parts::of(&mut tx, self.inbox.id, message, standing).await?;
                Whole::of(&parts).filter(|now| now.shown != whole.shown)
            }
            None => None,
        };
        if now.is_none() {
            self.lease.done(&mut tx, self.task).await?;
        }
        tx.commit().await?;
        Ok(now)
    }
}

/// Our reasons for messages that never left the bridge.
pub mod refusals {
    /// A file that is nowhere, or something else that WhatsApp has nothing for.
    pub const ATTACHMENTS: &str = "attachments_unsupported";
    /// A file, and nobody could fetch it from us.
    pub const NO_FILES_URL: &str = "no_files_url";
    /// A template that breaks a rule of WhatsApp's.
    pub const TEMPLATE: &str = "invalid_template";
    /// It was deleted before it left.
    pub const DELETED: &str = "deleted";
    /// Nobody to send it to.
    pub const NO_DESTINATION: &str = "no_destination";
    /// More than a WhatsApp message holds.
    pub const TOO_LONG: &str = "text_too_long";
    /// Nothing in it.
    pub const EMPTY: &str = "empty_message";
}

/// What the agent reads under the red mark.
pub(super) fn explanation(status: DeliveryStatus, reason: Option<&str>) -> String {
    let fixed = match reason {
        Some(refusals::ATTACHMENTS) => "an attachment of this message cannot be sent to WhatsApp",
        Some(refusals::NO_FILES_URL) => {
            "files cannot be sent: the bridge does not know its own address (FILES_URL)"
        }
        Some(refusals::TEMPLATE) => "WhatsApp does not know templates of this form",
        Some(refusals::DELETED) => "it was deleted before it was sent",
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
