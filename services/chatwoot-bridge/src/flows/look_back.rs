//! Is the message there already? Asked before it is ever posted a second time.

use chrono::{DateTime, TimeDelta, Utc};
use messaging::lanes::Task;

use super::NotDone;
use crate::chatwoot::{ChatwootApi, ChatwootError, Message};
use crate::store::message_links::MessageLink;

/// How far Chatwoot's clock may be behind ours.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(10);
/// Pages of a conversation that are looked through for one message; about 20 messages each.
const MOST_PAGES: usize = 50;

/// Which conversation was asked to take a message, and when first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) conversation: i64,
    pub(super) at: DateTime<Utc>,
}

/// Makes sure that nobody is at it any more. Whoever lost the lane in the middle, because it became another one or was away
/// for too long, may still be asking: what is not there now may be there in a moment.
///
/// # Errors
/// [`NotDone::Unsettled`].
pub(super) fn is_settled(link: &MessageLink, task: Option<&Task>) -> Result<(), NotDone> {
    let is_answered = task.is_some_and(|task| task.begun <= task.failures);
    if is_answered || link.chatwoot_message_id.is_some() {
        return Ok(());
    }
    match (link.settled_at - Utc::now()).to_std() {
        Ok(wait) if !wait.is_zero() => Err(NotDone::Unsettled { wait }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Looks for the message with our mark among those that are as new as the question. A conversation that is gone has none.
///
/// # Errors
/// [`NotDone`].
pub(super) async fn look_back(
    api: ChatwootApi<'_>,
    asked: Asked,
    source_id: &str,
) -> Result<Option<Message>, NotDone> {
    let mut before = None;
    for _ in 0..MOST_PAGES {
        let page = match api.messages(asked.conversation, before).await {
            Err(ChatwootError::NotFound) => return Ok(None),
            page => page?,
        };
        let ours = page
            .iter()
            .find(|message| message.source_id.as_deref() == Some(source_id));
        if let Some(message) = ours {
            return Ok(Some(message.clone()));
        }
        let Some(oldest) = page.iter().min_by_key(|message| message.id) else {
            return Ok(None);
        };
        if oldest.created_at().is_some_and(|at| at < asked.at - CLOCK_SLACK) {
            return Ok(None);
        }
        before = Some(oldest.id);
    }
    Err(NotDone::TooBusy)
}
