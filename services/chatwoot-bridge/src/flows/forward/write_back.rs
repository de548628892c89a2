//! An agent sees what became of a message that was passed on to a URL: a red mark and a private note when it was not, and
//! no mark any more when a replay brought it there.

use std::time::Duration;

use messaging::lanes::{Lease, NewTask, Task};
use serde::{Deserialize, Serialize};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use crate::chatwoot::{ChatwootError, ShownStatus};
use crate::flows::{NotDone, Tools, work};
use crate::store::forward_steps::Step;
use crate::store::{forward_lanes, forward_steps, routes};

/// Between two notes in one conversation (contract 6, 25).
const NOTE_PAUSE: Duration = Duration::from_secs(10 * 60);

/// What an agent is to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteBack {
    /// The event; tasks of before do not tell.
    #[serde(default)]
    pub event: Option<Uuid>,
    /// Our id of the route.
    pub route: Uuid,
    /// Chatwoot's account.
    pub account: i64,
    /// The conversation's display id.
    pub conversation: i64,
    /// The agent's message.
    pub message: i64,
    /// It did not arrive, as far as anybody knows; otherwise it did after all.
    pub failed: bool,
    /// Nobody knows whether it arrived.
    pub unknown: bool,
    /// Why, as a stable code.
    pub reason: Option<String>,
}

impl WriteBack {
    /// As a task, behind all earlier ones of the conversation.
    ///
    /// # Errors
    /// Never, for this shape; the signature is serde's.
    pub fn task(&self, id: Uuid, request_id: Option<&str>) -> Result<NewTask, serde_json::Error> {
        let lane = format!("write_back/{}/{}", self.route, self.conversation);
        work::write_back_task(self, lane, id, request_id)
    }

    /// What the agent reads.
    fn explanation(&self) -> String {
        if self.unknown {
            return "it is not known whether this reached WhatsApp: look at the phone before sending it again"
                .to_owned();
        }
        match &self.reason {
            // Codes of ours are stable words, safe to show.
            Some(code) => format!("not passed on to WhatsApp: {}", code.replace('_', " ")),
            None => "not passed on to WhatsApp".to_owned(),
        }
    }

    /// What all agents of the conversation read.
    fn note(&self) -> String {
        if self.unknown {
            return "It is not known whether a message of this conversation reached WhatsApp: look at the phone before \
                    sending it again"
                .to_owned();
        }
        format!("A message of this conversation was {}", self.explanation())
    }
}

/// Shows it, where an API token is known.
///
/// # Errors
/// [`NotDone`].
pub async fn write_back(tools: &Tools, lease: &Lease, task: &Task, work: &WriteBack) -> Result<(), NotDone> {
    let outcome = show(tools, lease, work).await?;
    metrics::counter!("kanal_bridge_write_backs_total", "outcome" => outcome).increment(1);
    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "wrote back").await?;
    if let Some(event) = work.event {
        forward_steps::note(&mut tx, &[event], Step::Shown, Some(outcome)).await?;
    }
    lease.done(&mut tx, task).await?;
    Ok(tx.commit().await?)
}

async fn show(tools: &Tools, lease: &Lease, work: &WriteBack) -> Result<&'static str, NotDone> {
    let scope = lease.scope();
    let mut tx = TenantTransaction::begin(&tools.db, scope, "find route").await?;
    let route = routes::find(&mut tx, work.route).await?;
    tx.commit().await?;
    let Some(route) = route else {
        return Ok("no_route");
    };
    let Some(address) = tools.address_of(scope, &route, work.account).await? else {
        return Ok("no_token");
    };
    let _place = tools.chatwoot.place(&address).await?;
    let chatwoot = tools.chatwoot.at(&address);
    let (status, text) = if work.failed {
        (ShownStatus::Failed, Some(work.explanation()))
    } else {
        (ShownStatus::Sent, None)
    };
    match chatwoot
        .set_status(work.conversation, work.message, status, text.as_deref())
        .await
    {
        Ok(()) => {}
        Err(ChatwootError::NotFound) => return Ok("message_gone"),
        // Only inboxes of the API have statuses: the note is all there is.
        Err(ChatwootError::Refused { status: 403 }) => {}
        Err(error) => return Err(error.into()),
    }
    if !work.failed {
        return Ok("sent");
    }
    // Noted before it is written: a note that is lost does less harm than one that comes with every try.
    let mut tx = TenantTransaction::begin(&tools.db, scope, "agents are told").await?;
    let is_due = forward_lanes::note_told(&mut tx, work.route, work.conversation, NOTE_PAUSE).await?;
    tx.commit().await?;
    if !is_due {
        return Ok("failed");
    }
    match chatwoot.create_note(work.conversation, &work.note()).await {
        Ok(()) => Ok("failed_with_note"),
        Err(error) => {
            tracing::warn!(reason = error.reason(), "agents could not be told of a message");
            Ok("failed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_read_is_plain() {
        let mut work = WriteBack {
            event: None,
            route: Uuid::nil(),
            account: 3,
            conversation: 317,
            message: 9001,
            failed: true,
            unknown: false,
            reason: Some("http_404".into()),
        };
        assert_eq!(work.explanation(), "not passed on to WhatsApp: http 404");
        assert_eq!(
            work.note(),
            "A message of this conversation was not passed on to WhatsApp: http 404"
        );
        work.unknown = true;
        assert_eq!(
            work.explanation(),
            "it is not known whether this reached WhatsApp: look at the phone before sending it again"
        );
        assert_eq!(
            work.note(),
            "It is not known whether a message of this conversation reached WhatsApp: look at the phone before sending \
             it again"
        );
    }
}
