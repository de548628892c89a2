//! What stands in our lanes.

use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, ProviderMessageId};
use messaging::events::chat_merged::ChatMerged;
use messaging::events::chat_profile::ChatProfile;
use messaging::events::message_received::{ChatMessage, ChatPartner};
use messaging::events::send_requested::SendRequested;
use messaging::lanes::{NewTask, Task};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use trace_context::TraceContext;
use uuid::Uuid;

use super::forward::write_back::WriteBack;
use super::late_file::LateFile;
use super::reference::Reference;

const INCOMING_MESSAGE: &str = "incoming_message";
const PHONE_MESSAGE: &str = "phone_message";
const HISTORY_MESSAGE: &str = "history_message";
const LATE_FILE: &str = "late_file";
const STATUS: &str = "status";
const CHAT_MERGED: &str = "chat_merged";
const PROFILE: &str = "profile";
const WRITE_BACK: &str = "write_back";
const RETRY: &str = "retry_reply";
/// The kind of agents' replies that wait for their neighbours.
pub const REPLY: &str = "reply";

/// A task of ours, and the request that caused it.
#[derive(Debug)]
pub struct Errand {
    /// The request's id, as it stands in the logs of all services.
    pub request_id: Option<String>,
    /// The place in a trace that it was left at.
    pub traceparent: Option<TraceContext>,
    /// What is to be done.
    pub work: Work,
}

/// What there is to do.
#[derive(Debug)]
pub enum Work {
    /// A person's message goes to Chatwoot.
    IncomingMessage(Box<ChatMessage>),
    /// What the tenant typed on the phone goes to Chatwoot, as the tenant's.
    PhoneMessage(Box<ChatMessage>),
    /// A message of before the inbox was connected goes to Chatwoot.
    History(Box<HistoryWork>),
    /// A file follows its message's words.
    LateFile(Box<LateFile>),
    /// An agent's message gets its tick, or its red mark.
    Status(StatusWork),
    /// An agent's reply is sent when its neighbours had time to come.
    Reply(ReplyWork),
    /// A person's conversation is found under another address from now on.
    Merged(ChatMerged),
    /// A contact gets the picture that the person shows. Not worth anybody's attention when it fails.
    Profile(Box<ChatProfile>),
    /// An agent sees that a message was not passed on to a URL, or was after all.
    WriteBack(WriteBack),
    /// An agent may have asked for a reply that failed to be sent again.
    Retry(RetryWork),
}

impl Work {
    /// By which addresses and numbers it names the person whom it is about, all of them the same one's. What only tells of
    /// ids names nobody.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::IncomingMessage(message) | Self::PhoneMessage(message) => names_of(&message.partner),
            Self::History(work) => names_of(&work.message.partner),
            Self::LateFile(late) => names_of(&late.message.partner),
            Self::Profile(profile) => names_of(&profile.partner),
            Self::Merged(merged) => vec![merged.address.as_str(), merged.merged_address.as_str()],
            Self::Reply(reply) => reply.orders.iter().map(|order| order.to.as_str()).collect(),
            Self::Retry(retry) => retry.to.iter().map(String::as_str).collect(),
            Self::Status(_) | Self::WriteBack(_) => Vec::new(),
        }
    }
}

fn names_of(partner: &ChatPartner) -> Vec<&str> {
    let address = Some(partner.address.as_str());
    address.into_iter().chain(partner.phone.as_deref()).collect()
}

/// A message that was written long ago.
#[derive(Debug, Serialize, Deserialize)]
pub struct HistoryWork {
    /// The tenant wrote it, not the person.
    pub is_own: bool,
    /// The message.
    pub message: ChatMessage,
}

impl HistoryWork {
    /// As a task, on the lane of the chat like what is written now.
    ///
    /// # Errors
    /// Never, for this shape; the signature is serde's.
    pub fn task(&self, id: Uuid) -> Result<NewTask, serde_json::Error> {
        let lane = chat_lane(self.message.account_id, self.message.chat_id);
        task(HISTORY_MESSAGE, lane, id, None, self)
    }
}

/// A reply that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "StoredReply")]
pub struct ReplyWork {
    /// The agent's message in Chatwoot: replies of one conversation are sent in the order of these ids.
    pub message_id: i64,
    /// The orders to send its parts, in order. Never empty.
    pub orders: Vec<SendRequested>,
}

/// Before a reply could be several messages it was one.
#[derive(Deserialize)]
struct StoredReply {
    message_id: i64,
    #[serde(default)]
    order: Option<SendRequested>,
    #[serde(default)]
    orders: Vec<SendRequested>,
}

impl From<StoredReply> for ReplyWork {
    fn from(stored: StoredReply) -> Self {
        Self {
            message_id: stored.message_id,
            orders: stored.order.into_iter().chain(stored.orders).collect(),
        }
    }
}

/// A message of an agent's that failed, and that nothing is wrong with any more in Chatwoot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RetryWork {
    /// Our inbox row.
    pub inbox_id: Uuid,
    /// The agent's message in Chatwoot.
    pub message_id: i64,
    /// To whom, as the conversation tells; for messages whose recipient was not noted.
    #[serde(default)]
    pub to: Option<String>,
}

/// What became of an agent's message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusWork {
    /// Our inbox row.
    pub inbox_id: Uuid,
    /// The agent's message in Chatwoot.
    pub message_id: i64,
    /// Which part of it.
    #[serde(default)]
    pub part: i32,
    /// Which attempt at it.
    #[serde(default)]
    pub attempt: i32,
    /// Where it stands now.
    pub status: DeliveryStatus,
    /// Why, as a stable code.
    pub reason: Option<String>,
    /// Nothing more is tried by itself.
    #[serde(default)]
    pub put_aside: bool,
    /// What it is in WhatsApp, once it is there.
    pub sent_as: Option<(AccountId, ProviderMessageId)>,
}

/// A task that nobody here can read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// No such kind.
    #[error("a task of an unknown kind")]
    Kind,
    /// Not the payload of its kind.
    #[error("a task with an unreadable payload")]
    Payload(#[from] serde_json::Error),
}

/// The order within one chat, both ways.
#[must_use]
pub fn chat_lane(account: AccountId, chat: ChatId) -> String {
    format!("{account}/{chat}")
}

/// The order within one conversation of agents.
#[must_use]
pub fn conversation_lane(inbox: Uuid, conversation: i64) -> String {
    format!("conversation/{inbox}/{conversation}")
}

impl StatusWork {
    /// About the message that `reference` names.
    #[must_use]
    pub const fn new(reference: Reference, status: DeliveryStatus, reason: Option<String>) -> Self {
        let Reference {
            inbox_id,
            message_id,
            part,
            attempt,
        } = reference;
        Self {
            inbox_id,
            message_id,
            part,
            attempt,
            status,
            reason,
            put_aside: false,
            sent_as: None,
        }
    }

    /// As a task.
    ///
    /// # Errors
    /// Never, for this shape; the signature is serde's.
    pub fn task(
        &self,
        lane: String,
        id: Uuid,
        request_id: Option<&str>,
    ) -> Result<NewTask, serde_json::Error> {
        task(STATUS, lane, id, request_id, self)
    }
}

impl ReplyWork {
    /// As a task, `id` being the one by which the same reply is recognised.
    ///
    /// # Errors
    /// Never, for this shape; the signature is serde's.
    pub fn task(
        &self,
        lane: String,
        id: Uuid,
        request_id: Option<&str>,
    ) -> Result<NewTask, serde_json::Error> {
        task(REPLY, lane, id, request_id, self)
    }
}

impl RetryWork {
    /// As a task, `id` being the one by which the same wish is recognised.
    ///
    /// # Errors
    /// Never, for this shape; the signature is serde's.
    pub fn task(
        &self,
        lane: String,
        id: Uuid,
        request_id: Option<&str>,
    ) -> Result<NewTask, serde_json::Error> {
        task(RETRY, lane, id, request_id, self)
    }
}

/// A person's message as a task.
///
/// # Errors
/// Never, for this shape; the signature is serde's.
pub fn incoming_task(
    message: &ChatMessage,
    id: Uuid,
    request_id: Option<&str>,
) -> Result<NewTask, serde_json::Error> {
    let lane = chat_lane(message.account_id, message.chat_id);
    task(INCOMING_MESSAGE, lane, id, request_id, message)
}

/// What the tenant typed on the phone as a task, on the lane of the chat like what the person wrote.
///
/// # Errors
/// Never, for this shape; the signature is serde's.
pub fn phone_task(
    message: &ChatMessage,
    id: Uuid,
    request_id: Option<&str>,
) -> Result<NewTask, serde_json::Error> {
    let lane = chat_lane(message.account_id, message.chat_id);
    task(PHONE_MESSAGE, lane, id, request_id, message)
}

/// A file that follows as a task.
///
/// # Errors
/// Never, for this shape; the signature is serde's.
pub(super) fn late_file_task(late: &LateFile, lane: String, id: Uuid) -> Result<NewTask, serde_json::Error> {
    task(LATE_FILE, lane, id, None, late)
}

/// The end of a chat as a task, on the lane of the surviving one.
///
/// # Errors
/// Never, for this shape; the signature is serde's.
pub fn merged_task(
    merged: &ChatMerged,
    id: Uuid,
    request_id: Option<&str>,
) -> Result<NewTask, serde_json::Error> {
    let lane = chat_lane(merged.account_id, merged.chat_id);
    task(CHAT_MERGED, lane, id, request_id, merged)
}

/// How a person shows themselves as a task, on a lane beside the chat's: no message waits for it.
///
/// # Errors
/// Never, for this shape; the signature is serde's.
pub fn profile_task(
    profile: &ChatProfile,
    id: Uuid,
    request_id: Option<&str>,
) -> Result<NewTask, serde_json::Error> {
    let lane = format!("profile/{}", chat_lane(profile.account_id, profile.chat_id));
    task(PROFILE, lane, id, request_id, profile)
}

/// What an agent is to see as a task.
///
/// # Errors
/// Never, for this shape; the signature is serde's.
pub fn write_back_task(
    work: &WriteBack,
    lane: String,
    id: Uuid,
    request_id: Option<&str>,
) -> Result<NewTask, serde_json::Error> {
    task(WRITE_BACK, lane, id, request_id, work)
}

#[derive(Serialize)]
struct Written<'a, T> {
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<TraceContext>,
    work: &'a T,
}

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default, deserialize_with = "trace_context::lenient")]
    traceparent: Option<TraceContext>,
    #[serde(borrow, default)]
    work: Option<&'a RawValue>,
}

fn task<T: Serialize>(
    kind: &'static str,
    lane: String,
    id: Uuid,
    request_id: Option<&str>,
    work: &T,
) -> Result<NewTask, serde_json::Error> {
    Ok(NewTask {
        lane,
        id,
        kind,
        payload: serde_json::to_string(&Written {
            request_id,
            traceparent: trace_context::current(),
            work,
        })?,
    })
}

/// What a task asks for.
///
/// # Errors
/// [`Unreadable`]; such a task is for people.
pub fn read(task: &Task) -> Result<Errand, Unreadable> {
    read_stored(&task.kind, &task.payload)
}

/// The same, of a task that nobody has in hand.
///
/// # Errors
/// [`Unreadable`].
pub fn read_stored(kind: &str, payload: &str) -> Result<Errand, Unreadable> {
    let stored: Stored<'_> = serde_json::from_str(payload)?;
    // Tasks of earlier releases are the bare work.
    let work = stored.work.map_or(payload, RawValue::get);
    let work = match kind {
        INCOMING_MESSAGE => Work::IncomingMessage(Box::new(serde_json::from_str(work)?)),
        PHONE_MESSAGE => Work::PhoneMessage(Box::new(serde_json::from_str(work)?)),
        HISTORY_MESSAGE => Work::History(Box::new(serde_json::from_str(work)?)),
        LATE_FILE => Work::LateFile(Box::new(serde_json::from_str(work)?)),
        STATUS => Work::Status(serde_json::from_str(work)?),
        REPLY => Work::Reply(serde_json::from_str(work)?),
        PROFILE => Work::Profile(Box::new(serde_json::from_str(work)?)),
        CHAT_MERGED => Work::Merged(serde_json::from_str(work)?),
        WRITE_BACK => Work::WriteBack(serde_json::from_str(work)?),
        RETRY => Work::Retry(serde_json::from_str(work)?),
        _ => return Err(Unreadable::Kind),
    };
    Ok(Errand {
        request_id: stored.request_id,
        traceparent: stored.traceparent,
        work,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(new: NewTask) -> Task {
        Task {
            id: new.id,
            kind: new.kind.to_owned(),
            payload: new.payload,
            failures: 0,
            begun: 0,
            is_begun: true,
            created_at: chrono::Utc::now(),
        }
    }

    #[test]
    fn a_task_carries_its_request_and_the_ones_of_before_are_read_too() {
        let reference = Reference::of(Uuid::now_v7(), 7);
        let work = StatusWork::new(reference, DeliveryStatus::Sent, None);
        let new = work.task("lane".into(), Uuid::now_v7(), Some("req-1")).unwrap();
        let mut task = stored(new);
        let errand = read(&task).unwrap();
        assert_eq!(errand.request_id.as_deref(), Some("req-1"));
        assert!(matches!(errand.work, Work::Status(status) if status.message_id == 7));

        task.payload = serde_json::to_string(&work).unwrap();
        let errand = read(&task).unwrap();
        assert_eq!(errand.request_id, None);
        assert!(matches!(errand.work, Work::Status(status) if status.message_id == 7));

        task.kind = "dance".into();
        assert!(matches!(read(&task), Err(Unreadable::Kind)));
        task.payload = "{".into();
        assert!(matches!(read(&task), Err(Unreadable::Payload(_))));
    }
    #[test]
    fn a_reply_of_before_is_one_order() {
        let order = r#"{"request_id":"01a1fc04-ca24-7478-bdff-1753d7ca7de5",
            "account_id":"01a1fc04-ca24-7478-bdff-1753d7ca7de6","to":"6281290000011@s.whatsapp.net","text":"Baik"}"#;
        let before: ReplyWork =
            serde_json::from_str(&format!(r#"{{"message_id":7,"order":{order}}}"#)).unwrap();
        assert_eq!((before.message_id, before.orders.len()), (7, 1));
        let now = serde_json::to_string(&before).unwrap();
        let read: ReplyWork = serde_json::from_str(&now).unwrap();
        assert_eq!((read.message_id, read.orders[0].text.as_str()), (7, "Baik"));
    }
}
