//! What agents do in a connected inbox.

use database::DatabaseError;

use super::Tools;
use super::accept_reply::{Acceptance, Signals, accept_reply};
use crate::webhooks::book::KnownRoute;
use crate::webhooks::event::Incoming;
use crate::webhooks::payload::{self, Notice};

/// Takes one event of a route whose target is an account; a second time is as good as once.
///
/// # Errors
/// [`DatabaseError`]: nothing was accepted.
pub async fn take(
    tools: &Tools,
    to: &KnownRoute,
    event: &Incoming,
    signals: &Signals,
) -> Result<Acceptance, DatabaseError> {
    let Some(inbox) = &to.link else {
        return Ok(Acceptance::Ignored("no_inbox"));
    };
    match payload::read(&event.body) {
        Ok(Notice::Reply(written)) => {
            let request_id = event.request_id.clone();
            accept_reply(&tools.db, &to.scope, inbox, &written.reply, request_id, signals).await
        }
        Ok(Notice::Ignored(why)) => Ok(Acceptance::Ignored(why)),
        Err(error) => Ok(Acceptance::Ignored(error.code())),
    }
}
