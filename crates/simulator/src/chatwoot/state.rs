//! What Chatwoot knows. Message, contact and inbox ids are unique per installation, conversation ids per account.

use std::collections::{BTreeMap, HashMap, VecDeque};

use chrono::Utc;
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::control::{ReplySender, ReplyStreamProgress};
use super::files::Files;
use super::settings::{ChatwootSettings, Counts};
use crate::hub::{Moment, rfc3339};
use crate::journal::{JOURNAL_LIMIT, Journal};

/// A new account and the token of its administrator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountCreated {
    /// Account id.
    pub id: u64,
    /// What `api_access_token` must carry.
    pub api_access_token: String,
}

/// A contact as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContactView {
    /// Id, unique per installation.
    pub id: u64,
    /// Account it belongs to.
    pub account_id: u64,
    /// Display name.
    pub name: String,
    /// E.164 with plus.
    pub phone_number: Option<String>,
    /// External identifier, unique per account.
    pub identifier: Option<String>,
    /// E-mail address, unique per account.
    pub email: Option<String>,
    /// Free attributes.
    pub custom_attributes: Map<String, Value>,
    /// Attributes set by integrations.
    pub additional_attributes: Map<String, Value>,
    /// Blocked by an agent.
    pub blocked: bool,
    /// Where the picture is; empty without one.
    #[serde(default)]
    pub thumbnail: String,
    /// Unix seconds.
    pub created_at: i64,
}

/// A conversation as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConversationView {
    /// Display id, unique per account.
    pub id: u64,
    /// Account it belongs to.
    pub account_id: u64,
    /// Inbox it came in by.
    pub inbox_id: u64,
    /// Who it is with.
    pub contact_id: u64,
    /// The link between contact and inbox.
    pub contact_inbox_id: u64,
    /// `source_id` of that link.
    pub source_id: String,
    /// `open`, `resolved`, `pending` or `snoozed`.
    pub status: String,
    /// Labels.
    pub labels: Vec<String>,
    /// Free attributes.
    pub custom_attributes: Map<String, Value>,
    /// Attributes set by integrations.
    pub additional_attributes: Map<String, Value>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub last_activity_at: i64,
    /// Incoming messages since the last outgoing one.
    pub unread_count: u64,
}

/// A message as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessageView {
    /// Id, unique per installation and growing.
    pub id: u64,
    /// Account it belongs to.
    pub account_id: u64,
    /// Inbox of its conversation.
    pub inbox_id: u64,
    /// Display id of its conversation.
    pub conversation_id: u64,
    /// Text, absent for bare attachments.
    pub content: Option<String>,
    /// `incoming`, `outgoing`, `template` or `activity`.
    pub message_type: String,
    /// A note among agents.
    pub private: bool,
    /// Usually `text`.
    pub content_type: String,
    /// Quote, error, deletion and the like.
    pub content_attributes: Map<String, Value>,
    /// What its creator set.
    pub source_id: Option<String>,
    /// What its creator set; only echoed.
    pub echo_id: Option<String>,
    /// `sent`, `delivered`, `read` or `failed`.
    pub status: String,
    /// Files, in the shape of the webhook payload.
    pub attachments: Vec<Value>,
    /// Template and campaign it came of.
    #[serde(default)]
    pub additional_attributes: Map<String, Value>,
    /// Who wrote it, where that is not the account's agent.
    #[serde(default)]
    pub sender: Option<ReplySender>,
    /// RFC 3339 with milliseconds.
    pub created_at: String,
    /// RFC 3339 with milliseconds.
    pub updated_at: String,
}

/// One attempt to deliver one webhook; there are no second attempts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChatwootDelivery {
    /// Number in this journal.
    pub seq: u64,
    /// When the answer came or the attempt failed.
    #[serde(flatten)]
    pub moment: Moment,
    /// `X-Chatwoot-Delivery`.
    pub delivery_id: String,
    /// Account of the event.
    pub account_id: u64,
    /// Inbox of the event.
    pub inbox_id: u64,
    /// `api_inbox` or `account`.
    pub target: String,
    /// Event name.
    pub event: String,
    /// Display id of the conversation.
    pub conversation_id: u64,
    /// The message, for message events.
    pub message_id: Option<u64>,
    /// 0 for the webhook itself, 1 and up for duplicates made by a fault.
    pub copy: u32,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
    /// Start of the answer's body.
    pub response: String,
}

impl ChatwootDelivery {
    /// The receiver answered 2xx in time and the answer arrived.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// One `PATCH …/messages/{id}`, in the order they came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusUpdate {
    /// Number in this journal.
    pub seq: u64,
    /// When it came.
    #[serde(flatten)]
    pub moment: Moment,
    /// Account of the message.
    pub account_id: u64,
    /// Display id of the conversation.
    pub conversation_id: u64,
    /// The message.
    pub message_id: u64,
    /// Status asked for.
    pub status: String,
    /// Error text given along.
    pub external_error: Option<String>,
    /// Status before.
    pub previous: String,
    /// It took effect; unknown values and the step from read back to delivered do not.
    pub applied: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) token: String,
    pub(super) agent_id: u64,
    pub(super) last_conversation: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Inbox {
    pub(super) id: u64,
    pub(super) account_id: u64,
    pub(super) name: String,
    pub(super) channel_type: String,
    pub(super) webhook_url: String,
    pub(super) secret: String,
    pub(super) identifier: String,
    pub(super) hmac_token: String,
    pub(super) lock_to_single_conversation: bool,
}

impl Inbox {
    pub(super) fn is_api(&self) -> bool {
        self.channel_type == "Channel::Api"
    }
}

#[derive(Debug, Clone)]
pub(super) struct ContactInbox {
    pub(super) id: u64,
    pub(super) contact_id: u64,
    pub(super) inbox_id: u64,
    pub(super) source_id: String,
    pub(super) pubsub_token: String,
    pub(super) created_at: String,
}

/// A webhook of a whole account.
#[derive(Debug, Clone)]
pub(super) struct AccountWebhook {
    pub(super) id: u64,
    pub(super) account_id: u64,
    pub(super) url: String,
    pub(super) subscriptions: Vec<String>,
    pub(super) secret: String,
}

#[derive(Debug, Default)]
pub(crate) struct ChatwootState {
    next_id: u64,
    /// Where this Chatwoot is, mount included.
    pub(crate) base_url: String,
    pub(super) settings: ChatwootSettings,
    pub(super) counts: Counts,
    pub(super) files: Files,
    pub(super) accounts: BTreeMap<u64, Account>,
    pub(super) inboxes: BTreeMap<u64, Inbox>,
    pub(super) webhooks: BTreeMap<u64, AccountWebhook>,
    pub(super) contacts: BTreeMap<u64, ContactView>,
    /// (account, attribute, value in lower case) of what must be unique: phone_number, identifier, email.
    pub(super) taken: HashMap<(u64, &'static str, String), u64>,
    pub(super) contact_inboxes: BTreeMap<u64, ContactInbox>,
    pub(super) links: HashMap<(u64, String), u64>,
    pub(super) links_of_contact: HashMap<u64, Vec<u64>>,
    pub(super) conversations: BTreeMap<(u64, u64), ConversationView>,
    pub(super) conversations_of_contact: HashMap<u64, Vec<u64>>,
    pub(super) messages: BTreeMap<u64, MessageView>,
    pub(super) messages_of: HashMap<(u64, u64), VecDeque<u64>>,
    pub(super) deliveries: Journal<ChatwootDelivery>,
    pub(super) status_updates: Journal<StatusUpdate>,
    pub(super) streams: BTreeMap<u64, ReplyStreamProgress>,
}

impl ChatwootState {
    pub(crate) fn new(first_id: u64) -> Self {
        Self {
            next_id: first_id,
            ..Self::default()
        }
    }

    /// One counter for everything with an installation-wide id: the ids grow, and none means two things.
    pub(super) fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(super) fn add_account(&mut self, name: Option<String>) -> AccountCreated {
        let id = self.accounts.len() as u64 + 1;
        let account = Account {
            id,
            name: name.unwrap_or_else(|| format!("Desa Contoh {id}")),
            token: secret(),
            agent_id: self.next_id(),
            last_conversation: 0,
        };
        let created = AccountCreated {
            id,
            api_access_token: account.token.clone(),
        };
        self.accounts.insert(id, account);
        created
    }

    pub(super) fn add_inbox(&mut self, account_id: u64, name: String, webhook_url: String) -> Inbox {
        let inbox = Inbox {
            id: self.next_id(),
            account_id,
            name,
            channel_type: "Channel::Api".to_owned(),
            webhook_url,
            secret: secret(),
            identifier: secret(),
            hmac_token: secret(),
            lock_to_single_conversation: false,
        };
        self.inboxes.insert(inbox.id, inbox.clone());
        inbox
    }

    pub(super) fn inbox(&self, account_id: u64, id: u64) -> Option<&Inbox> {
        self.inboxes
            .get(&id)
            .filter(|inbox| inbox.account_id == account_id)
    }

    pub(super) fn contact(&self, account_id: u64, id: u64) -> Option<&ContactView> {
        self.contacts
            .get(&id)
            .filter(|contact| contact.account_id == account_id)
    }

    pub(super) fn links(&self, contact_id: u64) -> impl Iterator<Item = &ContactInbox> {
        self.links_of_contact
            .get(&contact_id)
            .into_iter()
            .flatten()
            .filter_map(|id| self.contact_inboxes.get(id))
    }

    /// Finds the link of this source id in this inbox, or makes it. `None` if another contact has it.
    pub(super) fn link(
        &mut self,
        contact_id: u64,
        inbox_id: u64,
        source_id: Option<String>,
    ) -> Option<ContactInbox> {
        let source_id = source_id.unwrap_or_else(|| Uuid::now_v7().to_string());
        if let Some(id) = self.links.get(&(inbox_id, source_id.clone())) {
            return self
                .contact_inboxes
                .get(id)
                .filter(|link| link.contact_id == contact_id)
                .cloned();
        }
        let link = ContactInbox {
            id: self.next_id(),
            contact_id,
            inbox_id,
            source_id: source_id.clone(),
            pubsub_token: secret(),
            created_at: rfc3339(Utc::now()),
        };
        self.links.insert((inbox_id, source_id), link.id);
        self.links_of_contact.entry(contact_id).or_default().push(link.id);
        self.contact_inboxes.insert(link.id, link.clone());
        Some(link)
    }

    /// Drops all links of a contact, so that their source ids are free again.
    pub(super) fn unlink(&mut self, contact_id: u64) {
        for id in self.links_of_contact.remove(&contact_id).unwrap_or_default() {
            if let Some(link) = self.contact_inboxes.remove(&id) {
                self.links.remove(&(link.inbox_id, link.source_id));
            }
        }
    }

    pub(super) fn add_conversation(&mut self, account_id: u64, link: &ContactInbox) -> ConversationView {
        let id = match self.accounts.get_mut(&account_id) {
            Some(account) => {
                account.last_conversation += 1;
                account.last_conversation
            }
            None => 0,
        };
        let now = Utc::now().timestamp();
        let conversation = ConversationView {
            id,
            account_id,
            inbox_id: link.inbox_id,
            contact_id: link.contact_id,
            contact_inbox_id: link.id,
            source_id: link.source_id.clone(),
            status: "open".to_owned(),
            labels: Vec::new(),
            custom_attributes: Map::new(),
            additional_attributes: Map::new(),
            created_at: now,
            last_activity_at: now,
            unread_count: 0,
        };
        self.conversations_of_contact
            .entry(link.contact_id)
            .or_default()
            .push(id);
        self.conversations.insert((account_id, id), conversation.clone());
        if self.conversations.len() > JOURNAL_LIMIT
            && let Some((&(account_id, id), _)) = self.conversations.first_key_value()
        {
            self.forget_conversation(account_id, id);
        }
        conversation
    }

    /// What hangs off a contact that fell out because there were too many.
    pub(super) fn forget_contact(&mut self, account_id: u64, contact_id: u64) {
        self.unlink(contact_id);
        for id in self
            .conversations_of_contact
            .remove(&contact_id)
            .unwrap_or_default()
        {
            self.forget_conversation(account_id, id);
        }
    }

    pub(super) fn forget_conversation(&mut self, account_id: u64, id: u64) {
        if let Some(conversation) = self.conversations.remove(&(account_id, id))
            && let Some(ids) = self.conversations_of_contact.get_mut(&conversation.contact_id)
        {
            ids.retain(|kept| *kept != id);
        }
        for message in self.messages_of.remove(&(account_id, id)).unwrap_or_default() {
            self.messages.remove(&message);
        }
    }

    /// Stores a message and moves its conversation on. The oldest message of all falls out when there are too many.
    pub(super) fn add_message(&mut self, message: MessageView) {
        let place = (message.account_id, message.conversation_id);
        if let Some(conversation) = self.conversations.get_mut(&place) {
            conversation.last_activity_at = Utc::now().timestamp();
            match message.message_type.as_str() {
                "incoming" => conversation.unread_count += 1,
                _ if !message.private => conversation.unread_count = 0,
                _ => {}
            }
        }
        self.messages_of.entry(place).or_default().push_back(message.id);
        self.messages.insert(message.id, message);
        if self.messages.len() > JOURNAL_LIMIT
            && let Some((id, oldest)) = self.messages.pop_first()
            && let Some(ids) = self
                .messages_of
                .get_mut(&(oldest.account_id, oldest.conversation_id))
        {
            ids.retain(|kept| *kept != id);
        }
    }

    /// The newest message an event about this conversation shows: no notes, no activity.
    pub(super) fn newest_public(&self, account_id: u64, conversation_id: u64) -> Option<&MessageView> {
        self.messages_of
            .get(&(account_id, conversation_id))?
            .iter()
            .rev()
            .filter_map(|id| self.messages.get(id))
            .find(|message| !message.private && message.message_type != "activity")
    }
}

/// A random text of 24 characters, the length of Chatwoot's secrets and tokens.
pub(super) fn secret() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_that_falls_out_takes_everything_along() {
        let mut state = ChatwootState::new(1);
        let account = state.add_account(None).id;
        let inbox = state.add_inbox(account, "WA".to_owned(), String::new()).id;
        let link = |state: &mut ChatwootState, contact, source: &str| {
            state.link(contact, inbox, Some(source.to_owned())).unwrap()
        };
        let (gone, stays) = (link(&mut state, 77, "a"), link(&mut state, 78, "b"));
        state.add_conversation(account, &gone);
        let kept = state.add_conversation(account, &stays);
        state.forget_contact(account, 77);
        assert_eq!((state.links.len(), state.contact_inboxes.len()), (1, 1));
        assert_eq!(state.conversations_of_contact.len(), 1);
        let left: Vec<u64> = state.conversations.values().map(|it| it.id).collect();
        assert_eq!(left, [kept.id]);
    }
}
