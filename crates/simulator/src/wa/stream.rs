//! Many inbound messages at once, in order within each chat: the load for loss, order and duplicate tests.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::control::ControlError;
use super::inbound::{self, Inbound};
use crate::delivery::deliver_until_accepted;
use crate::hub::{Hub, lock};
use crate::journal::new_stream;
use crate::pace::Pace;

/// Pause before an event that was not accepted is posted again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A stream to start, as `POST /_sim/wa/inbound/stream` takes it.
///
/// Message `n` (from 1) of chat `c` (from 0) has the text `<prefix> c<c> #<n>` and the id `<PREFIX>C<c>N<n>`, and comes
/// from the phone `from_base + c`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundStream {
    /// User id or name of the receiving session.
    pub session: String,
    /// How many phones write.
    pub chats: u64,
    /// How many messages in all, spread round-robin over the chats.
    pub messages: u64,
    /// Start of every text and id.
    pub prefix: String,
    /// How many chats may have a message in flight at once; all of them if absent.
    #[serde(default)]
    pub concurrency: Option<usize>,
    /// Number of the first phone.
    #[serde(default = "first_phone")]
    pub from_base: u64,
    /// How many messages are written in a second, evenly and over all chats; as fast as they are accepted if absent. What
    /// could not be posted at its time follows as fast as it can, so that the pace is kept on the whole.
    #[serde(default)]
    pub per_second: Option<NonZeroU32>,
}

fn first_phone() -> u64 {
    6_281_300_000_000
}

impl InboundStream {
    /// The phone of chat `chat`.
    #[must_use]
    pub fn phone(&self, chat: u64) -> String {
        (self.from_base + chat).to_string()
    }

    /// The text of message `number` (from 1) of chat `chat` (from 0).
    #[must_use]
    pub fn text(&self, chat: u64, number: u64) -> String {
        format!("{} c{chat} #{number}", self.prefix)
    }

    /// The message id of message `number` of chat `chat`: the same at every run, letters and digits only.
    #[must_use]
    pub fn message_id(&self, chat: u64, number: u64) -> String {
        let prefix: String = self.prefix.chars().filter(char::is_ascii_alphanumeric).collect();
        format!("{}C{chat}N{number}", prefix.to_uppercase())
    }

    /// How many messages chat `chat` gets.
    #[must_use]
    pub fn messages_in(&self, chat: u64) -> u64 {
        let extra = u64::from(chat < self.messages % self.chats.max(1));
        self.messages / self.chats.max(1) + extra
    }
}

/// How far a stream is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamProgress {
    /// Number of the stream.
    pub id: u64,
    /// Messages in all.
    pub messages: u64,
    /// Messages posted at least once.
    pub sent: u64,
    /// Messages whose webhook was answered 2xx.
    pub accepted: u64,
    /// All are accepted, or the stream has given up.
    pub done: bool,
    /// Why it gave up: the session went away or stopped being subscribed.
    pub error: Option<String>,
}

pub(crate) fn start(hub: &Arc<Hub>, stream: InboundStream) -> Result<u64, ControlError> {
    let mut state = lock(&hub.wa);
    let session = state
        .find(&stream.session)
        .ok_or_else(|| ControlError::UnknownSession(stream.session.clone()))?;
    let session = session.id.clone();
    let listens = state
        .entry_of(&session)
        .is_some_and(|entry| !entry.webhook.is_empty() && super::events::passes(&entry.events, "Message"));
    if !listens {
        return Err(ControlError::NobodyListens);
    }
    let id = new_stream(&mut state.streams, |stream| stream.done);
    state.streams.insert(
        id,
        StreamProgress {
            id,
            messages: stream.messages,
            done: stream.messages == 0,
            ..StreamProgress::default()
        },
    );
    drop(state);
    let chats = stream.chats.max(1).min(stream.messages);
    let permits = stream.concurrency.unwrap_or(Semaphore::MAX_PERMITS).max(1);
    let permits = Arc::new(Semaphore::new(permits));
    let stream = Arc::new(InboundStream {
        chats: chats.max(1),
        ..stream
    });
    let pace = Pace::from_now(stream.per_second);
    for chat in 0..chats {
        let (shared, stream, permits) = (Arc::clone(hub), Arc::clone(&stream), Arc::clone(&permits));
        hub.spawn(async move { write_chat(&shared, &stream, id, chat, &permits, pace).await });
    }
    Ok(id)
}

/// One phone's messages, each only after the one before it was accepted.
async fn write_chat(
    hub: &Arc<Hub>,
    stream: &InboundStream,
    id: u64,
    chat: u64,
    permits: &Semaphore,
    pace: Pace,
) {
    for number in 1..=stream.messages_in(chat) {
        pace.until_turn_of((number - 1) * stream.chats + chat).await;
        let Ok(_permit) = permits.acquire().await else {
            return;
        };
        let inbound = Inbound {
            session: stream.session.clone(),
            from: stream.phone(chat),
            text: Some(stream.text(chat, number)),
            id: Some(stream.message_id(chat, number)),
            push_name: Some(format!("Warga {chat}")),
            ..Inbound::default()
        };
        let outgoing = inbound::receive(&mut lock(&hub.wa), &inbound);
        let outgoing = match outgoing {
            Ok((_, Some(outgoing))) => outgoing,
            Ok((_, None)) => return give_up(hub, id, &ControlError::NobodyListens),
            Err(error) => return give_up(hub, id, &error),
        };
        update(hub, id, |progress| progress.sent += 1);
        deliver_until_accepted(hub, &Arc::new(outgoing), AGAIN_AFTER).await;
        update(hub, id, |progress| {
            progress.accepted += 1;
            progress.done |= progress.accepted == progress.messages;
        });
    }
}

fn give_up(hub: &Hub, id: u64, error: &ControlError) {
    update(hub, id, |progress| {
        progress.done = true;
        progress.error = Some(error.to_string());
    });
}

fn update(hub: &Hub, id: u64, change: impl FnOnce(&mut StreamProgress)) {
    if let Some(progress) = lock(&hub.wa).streams.get_mut(&id) {
        change(progress);
    }
}
