//! `/chat/*`: sending, what goes with it, and media download (§7).

use std::sync::Arc;

use chrono::Utc;
use serde_json::{Map, Value, json};

use super::content;
use super::control::{self, ReceiptState};
use super::fields::{Fields, missing};
use super::media::encode;
use super::phones::Jid;
use super::state::{ApiCall, Caller, PhoneMessage, WaState};
use super::{Handled, error, events, not_found, success, webhook};
use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};

/// Longer strings in journalled bodies are shortened: data URLs would fill the memory.
const JOURNAL_STRING: usize = 600;

pub(super) fn knows(method: &str, path: &[&str]) -> bool {
    match (method, path) {
        ("POST", ["chat", "send", kind]) => SEND_KINDS.contains(kind) || *kind == "edit",
        ("POST", ["chat", name]) => POST_ROUTES.contains(name),
        ("GET", ["chat", "history"]) => true,
        _ => false,
    }
}

const SEND_KINDS: [&str; 11] = [
    "text", "image", "audio", "document", "video", "sticker", "location", "contact", "buttons", "list",
    "poll",
];

const POST_ROUTES: [&str; 11] = [
    "delete",
    "react",
    "markread",
    "presence",
    "archive",
    "request-unavailable-message",
    "downloadimage",
    "downloadvideo",
    "downloadaudio",
    "downloaddocument",
    "downloadsticker",
];

pub(super) fn answer(
    hub: &Arc<Hub>,
    state: &mut WaState,
    caller: &Caller,
    call: &Call,
    path: &[&str],
) -> Handled {
    if call.method == "GET" {
        return history(state, caller, call);
    }
    // The client is asked for before the body is read.
    let Some(client) = state.clients.get(&caller.id) else {
        return Err(error(500, "no session"));
    };
    let usable = client.connected && client.logged_in;
    let fields = Fields::parse(&call.body)?;
    let accepted = match path {
        ["chat", "send", "edit"] => edit(state, caller, &fields)?,
        ["chat", "send", kind] => send(hub, state, caller, &fields, kind, usable)?,
        ["chat", "delete"] => delete(state, caller, &fields)?,
        ["chat", "react"] => react(state, caller, &fields)?,
        ["chat", "markread"] => mark_read(state, &fields)?,
        ["chat", "presence"] => presence(state, &fields)?,
        ["chat", "archive"] => {
            fields.required("jid")?;
            Accepted::plain(json!({"success": true, "message": "Chat archived"}))
        }
        ["chat", "request-unavailable-message"] => unavailable(&fields)?,
        ["chat", download] => return download_media(state, &fields, download),
        _ => return Ok(not_found()),
    };
    let moment = hub.now();
    state.calls.push(|seq| ApiCall {
        seq,
        moment,
        session: caller.id.clone(),
        session_name: caller.name.clone(),
        path: format!("/{}", path.join("/")),
        id: accepted.id,
        phone: accepted.phone,
        text: accepted.text,
        body: serde_json::from_slice(&call.body).map_or(Value::Null, shortened),
    });
    Ok(success(accepted.data))
}

/// What an accepted call leaves in the journal, and its answer.
struct Accepted {
    data: Value,
    id: String,
    phone: String,
    text: Option<String>,
}

impl Accepted {
    fn plain(data: Value) -> Self {
        Self {
            data,
            id: String::new(),
            phone: String::new(),
            text: None,
        }
    }
}

fn send(
    hub: &Arc<Hub>,
    state: &mut WaState,
    caller: &Caller,
    fields: &Fields,
    kind: &str,
    usable: bool,
) -> Result<Accepted, Answer> {
    let phone_field = if kind == "poll" { "group" } else { "Phone" };
    let phone = fields.required(phone_field)?;
    let content = content::read(fields, kind)?;
    let jid = Jid::parse(&phone).ok_or_else(|| error(400, "could not parse Phone"))?;
    let quoted_id = quoted(fields)?;
    if !usable {
        let word = if matches!(kind, "document" | "audio" | "image" | "sticker") {
            "Error"
        } else {
            "error"
        };
        return Err(error(
            500,
            &format!("{word} sending message: the store doesn't contain a device JID"),
        ));
    }
    let own_id = fields.text("Id")?;
    let id = if own_id.is_empty() { message_id() } else { own_id };
    let key = state.phones.key(&jid);
    let shown = PhoneMessage {
        moment: hub.now(),
        session: caller.id.clone(),
        session_name: caller.name.clone(),
        id: id.clone(),
        kind: kind.to_owned(),
        text: content.text.clone(),
        media: content.media,
        quoted_id,
        arrivals: 1,
        edited: false,
        deleted: false,
        reaction: None,
        receipts: Vec::new(),
    };
    state.phones.show(&key, shown);
    let now = Utc::now();
    let event = events::message_sent_event(&jid.to_string(), &id, kind, now, content.message);
    webhook::emit(hub, state, &caller.id, "MessageSent", event, Map::new());
    if state.settings.auto_receipts {
        confirm_later(hub, state, caller, &jid, &id);
    }
    let data = if kind == "poll" {
        json!({"Details": "Poll sent successfully", "Id": id})
    } else if kind == "list" {
        json!({"Details": "Sent", "Timestamp": events::local_time(now), "Id": id})
    } else {
        json!({"Details": "Sent", "Timestamp": now.timestamp(), "Id": id})
    };
    Ok(Accepted {
        data,
        id,
        phone: key,
        text: content.text,
    })
}

/// The phone confirms delivery after a moment, and reading after another.
fn confirm_later(hub: &Arc<Hub>, state: &WaState, caller: &Caller, jid: &Jid, id: &str) {
    let (shared, session, jid) = (Arc::clone(hub), caller.id.clone(), jid.clone());
    let (ids, delay) = (vec![id.to_owned()], state.receipt_delay);
    hub.spawn(async move {
        for receipt in [ReceiptState::Delivered, ReceiptState::Read] {
            tokio::time::sleep(delay).await;
            control::confirm(&shared, &mut lock(&shared.wa), &session, &jid, &ids, receipt);
        }
    });
}

/// A reply needs both halves of its reference (§7.1).
fn quoted(fields: &Fields) -> Result<Option<String>, Answer> {
    let Some(context) = fields.object("ContextInfo")? else {
        return Ok(None);
    };
    let (stanza, participant) = (context.text("StanzaID")?, context.text("Participant")?);
    match (stanza.is_empty(), participant.is_empty()) {
        (true, true) => Ok(None),
        (false, true) => Err(error(400, "missing Participant in ContextInfo")),
        (true, false) => Err(error(400, "missing StanzaID in ContextInfo")),
        (false, false) => Ok(Some(stanza)),
    }
}

fn edit(state: &mut WaState, caller: &Caller, fields: &Fields) -> Result<Accepted, Answer> {
    let (phone, body) = (fields.required("Phone")?, fields.required("Body")?);
    let id = fields.required("Id")?;
    let key = phone_key(state, &phone)?;
    quoted(fields)?;
    if let Some(message) = state.phones.message(&key, &caller.id, &id) {
        message.text = Some(body.clone());
        message.edited = true;
    }
    Ok(sent(id, key, Some(body), "Sent"))
}

fn delete(state: &mut WaState, caller: &Caller, fields: &Fields) -> Result<Accepted, Answer> {
    let (phone, id) = (fields.required("Phone")?, fields.required("Id")?);
    let key = phone_key(state, &phone)?;
    if let Some(message) = state.phones.message(&key, &caller.id, &id) {
        message.deleted = true;
    }
    Ok(sent(id, key, None, "Deleted"))
}

/// `me:` before the id means a message of the session itself; others are the phone's own and not modelled.
fn react(state: &mut WaState, caller: &Caller, fields: &Fields) -> Result<Accepted, Answer> {
    let (phone, body) = (fields.required("Phone")?, fields.required("Body")?);
    let id = fields.required("Id")?;
    let key = phone_key(state, &phone)?;
    if let Some(own) = id.strip_prefix("me:")
        && let Some(message) = state.phones.message(&key, &caller.id, own)
    {
        message.reaction = (body != "remove").then(|| body.clone());
    }
    Ok(sent(id, key, Some(body), "Sent"))
}

fn mark_read(state: &mut WaState, fields: &Fields) -> Result<Accepted, Answer> {
    let ids = fields.texts("Id")?.unwrap_or_default();
    if ids.is_empty() {
        return Err(missing("Id"));
    }
    let current = fields.text("ChatPhone")?;
    let chat = if current.is_empty() {
        fields.text("Chat")?
    } else {
        current
    };
    if chat.is_empty() {
        return Err(missing("ChatPhone"));
    }
    let key = phone_key(state, &chat)?;
    state.phones.mark_read(&key, &ids);
    Ok(Accepted {
        id: ids.join(","),
        phone: key,
        ..Accepted::plain(json!({"Details": "Message(s) marked as read"}))
    })
}

fn presence(state: &WaState, fields: &Fields) -> Result<Accepted, Answer> {
    let (phone, shown) = (fields.required("Phone")?, fields.required("State")?);
    let key = phone_key(state, &phone)?;
    Ok(Accepted {
        phone: key,
        text: Some(shown),
        // The spelling is the original's.
        ..Accepted::plain(json!({"Details": "Chat presence set successfuly"}))
    })
}

fn unavailable(fields: &Fields) -> Result<Accepted, Answer> {
    let (chat, sender) = (fields.required("chat")?, fields.required("sender")?);
    let id = fields.required("id")?;
    Ok(Accepted {
        id: id.clone(),
        ..Accepted::plain(json!({
            "success": true, "message": "Unavailable message request sent", "request_id": message_id(),
            "chat": chat, "sender": sender, "message_id": id, "timestamp": Utc::now().timestamp(),
        }))
    })
}

fn history(state: &mut WaState, caller: &Caller, call: &Call) -> Handled {
    if call.query("chat_jid").unwrap_or_default().is_empty() {
        return Err(error(400, "missing chat_jid parameter"));
    }
    if state.row(&caller.id).is_none_or(|row| row.history == 0) {
        // Asking evicts the cache entry, and with it the signing key (§9).
        state.cache.remove(&caller.token);
        return Err(error(501, "message history is disabled for this user"));
    }
    Ok(success(Value::Null))
}

fn download_media(state: &WaState, fields: &Fields, route: &str) -> Handled {
    let mimetype = fields.text("Mimetype")?;
    if mimetype.matches('/').count() != 1 {
        return Err(Answer::cut());
    }
    let kind = route.trim_start_matches("download");
    let path = fields.text("DirectPath")?;
    let key = fields.text("MediaKey")?;
    match state.media.get(&path).filter(|_| !key.is_empty()) {
        Some(bytes) => Ok(success(json!({
            "Mimetype": mimetype, "Data": format!("data:{mimetype};base64,{}", encode(bytes)),
        }))),
        None => Err(error(500, &format!("failed to download {kind} no such media"))),
    }
}

fn phone_key(state: &WaState, phone: &str) -> Result<String, Answer> {
    let jid = Jid::parse(phone).ok_or_else(|| error(400, "could not parse Phone"))?;
    Ok(state.phones.key(&jid))
}

fn sent(id: String, phone: String, text: Option<String>, details: &str) -> Accepted {
    Accepted {
        data: json!({"Details": details, "Timestamp": Utc::now().timestamp(), "Id": id}),
        id,
        phone,
        text,
    }
}

/// `3EB0` and sixteen hex digits, as the library makes them.
pub(super) fn message_id() -> String {
    format!("3EB0{:016X}", rand::random::<u64>())
}

fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > JOURNAL_STRING => {
            let start: String = text.chars().take(JOURNAL_STRING).collect();
            Value::String(format!("{start}… ({} bytes)", text.len()))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(shortened).collect()),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| (key, shortened(value)))
                .collect(),
        ),
        other => other,
    }
}
