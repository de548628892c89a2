//! The button under a message that failed (contract 2.6).
//!
//! Chatwoot tells of it by a change like any other, which does not say what changed and may come late. So whoever hears
//! that nothing is wrong with a message of which Chatwoot took our word that it failed (before that it stands as sent, too)
//! looks at the message itself, and only when Chatwoot shows it as sent and without an error, the parts that failed are
//! ordered once more. What they say is read back, too: nothing of it is kept here. A button that was pressed before we had
//! written down that Chatwoot took our word is found by a look of our own.

use database::DatabaseError;
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use messaging::Envelope;
use messaging::lanes::{self, Lease, Task};
use messaging::outbox::{self, NewRow};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::accept_reply::{Acceptance, Signals, unwritable};
use super::agent_event::AboutReply;
use super::agent_parts::{Ordering, Said, Written, parts_of, quoted};
use super::reflect_status::{explanation, refusals};
use super::whole_message::{has_failed, outcome};
use super::work::{RetryWork, conversation_lane};
use super::{NotDone, Tools};
use crate::chatwoot::{ChatwootError, ShownStatus};
use crate::store::agent_messages::{self, Standing};
use crate::store::agent_parts::{self, Part};
use crate::store::inboxes::{self, Inbox};
use crate::store::outbound_options;

/// Accepts that a message may have been asked for again. Most changes are none of these, and cost a look at our own tables.
///
/// # Errors
/// [`DatabaseError`]: nothing was accepted.
pub async fn accept_retry(
    tools: &Tools,
    scope: &TenantScope,
    inbox: &Inbox,
    about: &AboutReply,
    request_id: Option<String>,
    signals: &Signals,
) -> Result<Acceptance, DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "accept retry").await?;
    let standing = agent_messages::find(&mut tx, inbox.id, about.message_id).await?;
    let failed = failed_parts(&mut tx, inbox.id, about.message_id, standing.as_ref()).await?;
    if failed.is_none() {
        tx.commit().await?;
        return Ok(Acceptance::Ignored("nothing_failed"));
    }
    let work = RetryWork {
        inbox_id: inbox.id,
        message_id: about.message_id,
        to: about.to.as_ref().map(ChatAddress::as_str).map(str::to_owned),
    };
    look(&mut tx, &work, about.conversation_id, request_id.as_deref()).await?;
    tx.commit().await?;
    signals.lanes.ring();
    Ok(Acceptance::Forwarded)
}

/// Orders a look at the message, after what its conversation still waits for. Never one for several wishes: one that has
/// looked already and is not done yet would stand for a wish that came after its look.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub(super) async fn look(
    tx: &mut TenantTransaction,
    work: &RetryWork,
    conversation: i64,
    request_id: Option<&str>,
) -> Result<(), DatabaseError> {
    let lane = conversation_lane(work.inbox_id, conversation);
    let task = work.task(lane, Uuid::now_v7(), request_id).map_err(unwritable)?;
    lanes::enqueue(tx, &task).await?;
    Ok(())
}

/// The parts of a message that is there, of which some failed, and of which Chatwoot says so. `None`: there is nothing to be
/// sent again, or nobody can have asked for it.
async fn failed_parts(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    message: i64,
    standing: Option<&Standing>,
) -> Result<Option<Vec<Part>>, DatabaseError> {
    let Some(standing) = standing.filter(|standing| standing.marked_failed && !standing.deleted) else {
        return Ok(None);
    };
    let parts = agent_parts::of(tx, inbox, message, standing).await?;
    let failed = parts.iter().any(|part| has_failed(part.status, part.put_aside));
    Ok(failed.then_some(parts))
}

/// Looks whether the message was asked for again, orders it, and ends the task.
///
/// # Errors
/// [`NotDone`]: nothing about the task was written.
pub async fn retry_reply(
    tools: &Tools,
    lease: &Lease,
    task: &Task,
    work: &RetryWork,
    request_id: Option<String>,
) -> Result<(), NotDone> {
    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "find failed message").await?;
    let standing = agent_messages::find(&mut tx, work.inbox_id, work.message_id).await?;
    let parts = failed_parts(&mut tx, work.inbox_id, work.message_id, standing.as_ref()).await?;
    let inbox = inboxes::find(&mut tx, work.inbox_id).await?;
    let (Some(standing), Some(_), Some(inbox)) = (standing, parts, inbox) else {
        lease.done(&mut tx, task).await?;
        count("nothing_failed");
        return Ok(tx.commit().await?);
    };
    tx.commit().await?;

    let at = tools.address(lease.scope(), &inbox)?;
    let place = tools.chatwoot.place(&at).await?;
    let api = tools.chatwoot.at(&at);
    let found = match api.message(standing.conversation_id, work.message_id).await {
        Ok(found) => found,
        Err(ChatwootError::NotFound) => None,
        Err(error) => return Err(error.into()),
    };
    let Some(found) = found.filter(|found| found.is_unharmed()) else {
        count("not_asked");
        return done(tools, lease, task).await;
    };
    let again = Again {
        tools,
        lease,
        task,
        work,
        inbox: &inbox,
        request_id,
    };
    let Some(reason) = again.order(&Written::read(found.json())).await? else {
        count("ordered");
        return Ok(());
    };
    // Chatwoot shows it as sent since the button was pressed.
    count("refused");
    let text = explanation(DeliveryStatus::Failed, Some(reason));
    let shown = api
        .set_status(
            standing.conversation_id,
            work.message_id,
            ShownStatus::Failed,
            Some(&text),
        )
        .await;
    drop(place);
    match shown {
        Ok(()) => done(tools, lease, task).await,
        // It stands as sent for good, which is no wish.
        Err(ChatwootError::NotFound | ChatwootError::Refused { status: 403 }) => {
            let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "retry cannot be shown").await?;
            lease.guard(&mut tx).await?;
            agent_messages::mark_failed(&mut tx, work.inbox_id, work.message_id, false).await?;
            lease.done(&mut tx, task).await?;
            Ok(tx.commit().await?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn done(tools: &Tools, lease: &Lease, task: &Task) -> Result<(), NotDone> {
    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "retry looked at").await?;
    lease.done(&mut tx, task).await?;
    Ok(tx.commit().await?)
}

struct Again<'a> {
    tools: &'a Tools,
    lease: &'a Lease,
    task: &'a Task,
    work: &'a RetryWork,
    inbox: &'a Inbox,
    request_id: Option<String>,
}

impl Again<'_> {
    /// Orders the parts that failed and ends the task. A reason: it still cannot be sent, and nothing was written.
    async fn order(&self, written: &Written) -> Result<Option<&'static str>, NotDone> {
        let (inbox, message) = (self.work.inbox_id, self.work.message_id);
        let mut tx = TenantTransaction::begin(&self.tools.db, self.lease.scope(), "send again").await?;
        self.lease.guard(&mut tx).await?;
        let standing = agent_messages::lock(&mut tx, inbox, message).await?;
        let parts = failed_parts(&mut tx, inbox, message, standing.as_ref()).await?;
        let (Some(standing), Some(mut parts)) = (standing, parts) else {
            self.lease.done(&mut tx, self.task).await?;
            tx.commit().await?;
            return Ok(None);
        };
        let options = outbound_options::find(&mut tx, inbox).await?.unwrap_or_default();
        let said = match parts_of(written, &options) {
            Ok(said) => said,
            Err(reason) => return Ok(Some(reason)),
        };
        let Some(to) = standing.recipient.as_ref().or(self.work.to.as_ref()) else {
            return Ok(Some(refusals::NO_DESTINATION));
        };
        let ordering = Ordering {
            tools: self.tools,
            inbox: self.inbox,
            message_id: message,
            to,
            quoted: quoted(&mut tx, self.inbox, written).await?,
        };
        if let Some(reason) = said.iter().find_map(|said| ordering.check(said).err()) {
            return Ok(Some(reason));
        }
        let rows = self.rows(&mut tx, &ordering, &standing, &mut parts, said).await?;
        outbox::enqueue(&mut tx, rows).await?;
        if let Some((shown, _)) = outcome(&parts) {
            agent_messages::show(&mut tx, inbox, message, &shown).await?;
        }
        agent_messages::mark_failed(&mut tx, inbox, message, false).await?;
        self.lease.done(&mut tx, self.task).await?;
        tx.commit().await?;
        Ok(None)
    }

    /// An order for every part that failed, or that there was none of when the message was refused as a whole.
    async fn rows(
        &self,
        tx: &mut TenantTransaction,
        ordering: &Ordering<'_>,
        standing: &Standing,
        parts: &mut Vec<Part>,
        said: Vec<Said>,
    ) -> Result<Vec<NewRow>, NotDone> {
        let mut rows = Vec::with_capacity(said.len());
        for (number, said) in (0..).zip(said) {
            let at = parts.iter().position(|part| part.number == number);
            let mut replaces = None;
            let part = match at.and_then(|at| parts.get_mut(at)) {
                Some(part) if !has_failed(part.status, part.put_aside) => continue,
                Some(part) => {
                    replaces = Some(part.request_id);
                    *part = Part {
                        attempt: part.attempt + 1,
                        ..Part::new(number, Uuid::now_v7())
                    };
                    part.clone()
                }
                None => {
                    let part = Part::new(number, Uuid::now_v7());
                    parts.push(part.clone());
                    part
                }
            };
            let order = ordering.order(tx, &part, said, replaces).await?;
            let envelope = Envelope::new(self.lease.scope(), &order).map_err(unwritable)?;
            rows.push(NewRow {
                lane: conversation_lane(self.inbox.id, standing.conversation_id),
                envelope: envelope.caused_by(self.request_id.clone()),
            });
        }
        tracing::info!(
            message = self.work.message_id,
            parts = rows.len(),
            "a reply is sent again"
        );
        Ok(rows)
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("kanal_bridge_retries_pressed_total", "outcome" => outcome).increment(1);
}
