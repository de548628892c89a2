//! The receiver of Chatwoot's own webhooks (4.3): what an agent writes goes out, what an agent deletes is taken back,
//! everything else is answered and dropped. It knows no message twice: whoever posts one again sends it again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::refused;
use super::send::{Request, send, take_back, usable};
use super::state::{GowaDevice, GowaState, address};
use crate::http::{Answer, Call};
use crate::hub::{Hub, Moment};
use crate::signature::hmac_sha256_hex;

/// How long the server remembers what it made in Chatwoot itself.
const ECHO_MEMORY: Duration = Duration::from_secs(300);
/// Links, echoes and notes kept of each; when there are more, all are forgotten but notes.
const KEPT: usize = 100_000;

/// A device's own Chatwoot inbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GowaChatwoot {
    /// Where that Chatwoot is.
    pub chatwoot_url: String,
    /// The account.
    pub account_id: i64,
    /// The inbox.
    pub inbox_id: i64,
    /// The token for what the server itself does there.
    pub api_token: String,
    /// It is in use.
    pub enabled: bool,
}

/// A private note the server posted because WhatsApp did not take a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GowaNote {
    /// When.
    #[serde(flatten)]
    pub moment: Moment,
    /// The device that was to send.
    pub device: String,
    /// Account of the conversation.
    pub account_id: i64,
    /// Display id of the conversation.
    pub conversation_id: i64,
    /// The message that was not sent.
    pub message_id: i64,
    /// What it says.
    pub text: String,
}

/// What the server remembers of Chatwoot.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// (account, conversation) → (device, address).
    conversations: HashMap<(i64, i64), (String, String)>,
    /// (account, message) → what was sent of it.
    sent: HashMap<(i64, i64), Vec<Sent>>,
    /// (account, message) the server made itself.
    own: HashMap<(i64, i64), Instant>,
    pub(super) notes: Vec<GowaNote>,
}

/// A message in WhatsApp that a message in Chatwoot became.
#[derive(Debug, Clone)]
struct Sent {
    device: String,
    chat: String,
    id: String,
}

impl Memory {
    /// The server itself has just made this message in Chatwoot.
    pub(super) fn made(&mut self, account: i64, message: i64) {
        if self.own.len() >= KEPT {
            self.own.clear();
        }
        self.own.insert((account, message), Instant::now());
    }

    fn is_own(&self, account: i64, message: i64) -> bool {
        self.own
            .get(&(account, message))
            .is_some_and(|made| made.elapsed() < ECHO_MEMORY)
    }

    fn note(&mut self, note: GowaNote) {
        if self.notes.len() < KEPT {
            self.notes.push(note);
        }
    }
}

/// The fields the server reads, each of one type: another type makes the whole body unreadable.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    id: Option<i64>,
    event: Option<String>,
    message_type: Option<String>,
    content: Option<String>,
    private: Option<bool>,
    source_id: Option<String>,
    content_attributes: Option<Map<String, Value>>,
    account: Option<Numbered>,
    conversation: Option<Conversation>,
    sender: Option<Named>,
    attachments: Option<Vec<Attachment>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Numbered {
    id: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Conversation {
    id: Option<i64>,
    inbox_id: Option<i64>,
    meta: Option<Meta>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    sender: Option<Contact>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Contact {
    id: Option<i64>,
    name: Option<String>,
    email: Option<String>,
    phone_number: Option<String>,
    identifier: Option<String>,
    custom_attributes: Option<Map<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Attachment {
    id: Option<i64>,
    file_type: Option<String>,
    data_url: Option<String>,
    thumb_url: Option<String>,
    extension: Option<String>,
}

impl Payload {
    fn account(&self) -> i64 {
        self.account.as_ref().and_then(|it| it.id).unwrap_or_default()
    }

    fn conversation(&self) -> i64 {
        self.conversation
            .as_ref()
            .and_then(|it| it.id)
            .unwrap_or_default()
    }

    fn inbox(&self) -> i64 {
        self.conversation
            .as_ref()
            .and_then(|it| it.inbox_id)
            .unwrap_or_default()
    }

    fn contact(&self) -> Option<&Contact> {
        self.conversation.as_ref()?.meta.as_ref()?.sender.as_ref()
    }

    fn contact_attribute(&self, key: &str) -> Option<&str> {
        self.contact()?
            .custom_attributes
            .as_ref()?
            .get(key)?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    fn is_about_a_message(&self) -> bool {
        matches!(self.event.as_deref(), Some("message_created" | "message_updated"))
    }

    /// Deleted, as a flag or as a word.
    fn is_deleted(&self) -> bool {
        let deleted = self
            .content_attributes
            .as_ref()
            .and_then(|attributes| attributes.get("deleted"));
        matches!(deleted, Some(Value::Bool(true))) || deleted.and_then(Value::as_str) == Some("true")
    }

    fn is_an_agents(&self) -> bool {
        self.message_type.as_deref() == Some("outgoing")
            && self.private != Some(true)
            && !self.source_id.as_deref().unwrap_or_default().starts_with("WAID:")
    }
}

pub(super) fn answer(hub: &Arc<Hub>, state: &mut GowaState, call: &Call, device: Option<&str>) -> Answer {
    if !is_proven(state, call) {
        return Answer::text(401, "Unauthorized");
    }
    let Ok(payload) = serde_json::from_slice::<Payload>(&call.body) else {
        return refused(400, "INVALID_REQUEST", "Invalid payload");
    };
    let hold = Duration::from_millis(state.settings.chatwoot_answer_delay_ms);
    let done = Answer {
        hold,
        ..Answer::text(200, "OK")
    };
    let named = match device.map(|id| of_path(state, id, &payload)) {
        Some(Ok(device)) => Some(device),
        Some(Err(Some(refusal))) => return refusal,
        Some(Err(None)) => return done,
        None => None,
    };
    match payload.event.as_deref() {
        Some("message_updated") if payload.is_deleted() && state.settings.chatwoot_message_delete => {
            revoke(hub, state, &payload);
        }
        Some("message_created") if payload.is_an_agents() => {
            let own = state
                .memory
                .is_own(payload.account(), payload.id.unwrap_or_default());
            if let (false, Some(device)) = (own, named.or_else(|| resolve(state, &payload))) {
                forward(hub, state, &payload, &device);
            }
        }
        _ => {}
    }
    done
}

/// The secret, shown in one of four ways. Chatwoot's own signature is none of them.
fn is_proven(state: &GowaState, call: &Call) -> bool {
    let secret = &state.settings.chatwoot_webhook_secret;
    let signature = format!("sha256={}", hmac_sha256_hex(secret, &[&call.body]));
    secret.is_empty()
        || [
            call.header("x-chatwoot-webhook-secret"),
            call.header("x-gowa-chatwoot-secret"),
            call.query("secret"),
        ]
        .into_iter()
        .flatten()
        .any(|shown| shown == secret)
        || call.header("x-hub-signature-256") == Some(signature.as_str())
}

/// The device the path names. One that is unknown, or has no inbox of its own, takes nothing; one of another inbox refuses.
fn of_path(state: &GowaState, id: &str, payload: &Payload) -> Result<GowaDevice, Option<Answer>> {
    let Some(device) = state.devices.get(id) else {
        return Err(None);
    };
    match device.chatwoot.as_ref().filter(|config| config.enabled) {
        Some(config) => {
            let its_own = payload.account() == config.account_id && payload.inbox() == config.inbox_id;
            if payload.is_about_a_message() && !its_own {
                return Err(Some(Answer::text(401, "Unauthorized")));
            }
            Ok(device.clone())
        }
        None if state.settings.chatwoot_needs_config => Err(None),
        None => Ok(device.clone()),
    }
}

/// Which device speaks for a conversation, in the server's order.
fn resolve(state: &GowaState, payload: &Payload) -> Option<GowaDevice> {
    let configured = |device: &&GowaDevice| device.chatwoot.as_ref().is_some_and(|config| config.enabled);
    let fits = |device: &&GowaDevice| {
        device.chatwoot.as_ref().is_some_and(|config| {
            config.enabled && config.account_id == payload.account() && config.inbox_id == payload.inbox()
        })
    };
    let per_device = state.devices.values().any(|device| configured(&device));
    let linked = state
        .memory
        .conversations
        .get(&(payload.account(), payload.conversation()))
        .and_then(|(device, _)| state.devices.get(device));
    let named = || {
        payload
            .contact_attribute("gowa_device_id")
            .and_then(|id| state.devices.get(id))
            .filter(|device| !per_device || fits(device))
    };
    let of_inbox = || state.devices.values().find(fits);
    let of_all = || {
        (!per_device)
            .then(|| state.devices.get(&state.settings.chatwoot_device_id))
            .flatten()
    };
    linked.or_else(named).or_else(of_inbox).or_else(of_all).cloned()
}

/// Where it goes: groups and hidden people stay whole.
fn destination(state: &GowaState, payload: &Payload) -> Option<String> {
    let linked = state
        .memory
        .conversations
        .get(&(payload.account(), payload.conversation()))
        .map(|(_, chat)| chat.clone());
    let contact = payload.contact();
    let text = |value: Option<&String>| {
        value
            .filter(|text| !text.is_empty())
            .map(|text| text.trim_start_matches('+').to_owned())
    };
    linked
        .or_else(|| payload.contact_attribute("gowa_whatsapp_jid").map(str::to_owned))
        .or_else(|| text(contact?.phone_number.as_ref()))
        .or_else(|| text(contact?.identifier.as_ref()))
}

/// Files one by one, the words with the first; without files the words alone. What fails ends it, and the agents are told.
fn forward(hub: &Arc<Hub>, state: &mut GowaState, payload: &Payload, device: &GowaDevice) {
    let Some(to) = destination(state, payload) else {
        return;
    };
    let (account, message) = (payload.account(), payload.id.unwrap_or_default());
    let words = words(state, payload);
    let mut caption = Some(words).filter(|words| !words.is_empty());
    let mut pieces = Vec::new();
    for attachment in payload.attachments.iter().flatten() {
        let Some(url) = attachment.data_url.as_deref().filter(|url| !url.is_empty()) else {
            continue;
        };
        let kind = match attachment.file_type.as_deref() {
            Some("image") => "image",
            Some("audio") => "audio",
            Some("video") => "video",
            _ => "file",
        };
        let mut fields = json!({"phone": to, format!("{kind}_url"): url});
        if kind == "audio" {
            fields["ptt"] = json!(true);
        } else if let Some(words) = caption.take() {
            fields["caption"] = json!(words);
        }
        pieces.push((kind, fields));
    }
    if let Some(words) = caption {
        pieces.insert(0, ("message", json!({"phone": to, "message": words})));
    }
    for (kind, fields) in pieces {
        if let Some(refusal) = usable(device) {
            note_failure(hub, state, payload, device, &refusal);
            return;
        }
        let request = Request {
            fields: crate::http::object(fields),
            file: None,
        };
        let id = send(hub, state, device, kind, &to, request).1;
        if state.memory.sent.len() >= KEPT {
            state.memory.sent.clear();
            state.memory.conversations.clear();
        }
        let sent = state.memory.sent.entry((account, message)).or_default();
        sent.push(Sent {
            device: device.id.clone(),
            chat: address(&to),
            id,
        });
        state.memory.conversations.insert(
            (account, payload.conversation()),
            (device.id.clone(), address(&to)),
        );
    }
}

/// The text as WhatsApp shows it, under the agent's name where that is wanted.
fn words(state: &GowaState, payload: &Payload) -> String {
    let words = marked(payload.content.as_deref().unwrap_or_default());
    let name = payload
        .sender
        .as_ref()
        .and_then(|sender| sender.name.as_deref())
        .filter(|name| state.settings.chatwoot_sign_msg && !name.is_empty());
    match name {
        Some(name) => format!("*{name}*{}{words}", state.settings.chatwoot_sign_delimiter),
        None => words,
    }
}

/// Chatwoot's marks as WhatsApp's: bold first, or its stars would read as two italics.
fn marked(text: &str) -> String {
    const BOLD: &str = "\u{1}";
    let bold = between(text, "**", BOLD, BOLD);
    let italic = between(&bold, "*", "_", "_");
    between(&italic, "~~", "~", "~").replace(BOLD, "*")
}

/// Replaces pairs of a mark around something on one line.
fn between(text: &str, mark: &str, open: &str, close: &str) -> String {
    let mut marked = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(mark) {
        match after.split_once(mark) {
            Some((inner, left)) if is_marked(inner) => {
                marked.push_str(&format!("{before}{open}{inner}{close}"));
                rest = left;
            }
            _ => {
                marked.push_str(before);
                marked.push_str(mark);
                rest = after;
            }
        }
    }
    marked + rest
}

/// Words that touch their marks, on one line.
fn is_marked(inner: &str) -> bool {
    !inner.is_empty() && inner.trim() == inner && !inner.contains('\n')
}

fn note_failure(hub: &Hub, state: &mut GowaState, payload: &Payload, device: &GowaDevice, refusal: &Answer) {
    let said: Value = serde_json::from_slice(&refusal.body).unwrap_or_default();
    state.memory.note(GowaNote {
        moment: hub.now(),
        device: device.id.clone(),
        account_id: payload.account(),
        conversation_id: payload.conversation(),
        message_id: payload.id.unwrap_or_default(),
        text: format!(
            "Failed to send message to WhatsApp: {}",
            said["message"].as_str().unwrap_or_default()
        ),
    });
}

fn revoke(hub: &Arc<Hub>, state: &mut GowaState, payload: &Payload) {
    let message = (payload.account(), payload.id.unwrap_or_default());
    for Sent { device, chat, id } in state.memory.sent.get(&message).cloned().unwrap_or_default() {
        take_back(hub, state, &device, &chat, &id);
    }
}

#[cfg(test)]
mod tests {
    use super::marked;

    #[test]
    fn marks_become_whatsapps() {
        for (chatwoot, whatsapp) in [
            ("**tebal** dan *miring*", "*tebal* dan _miring_"),
            ("~~salah~~ 2 * 3", "~salah~ 2 * 3"),
            ("5 * 4 * 3", "5 * 4 * 3"),
            ("**a", "**a"),
            ("* satu\n* dua", "* satu\n* dua"),
        ] {
            assert_eq!(marked(chatwoot), whatsapp, "{chatwoot}");
        }
    }
}
