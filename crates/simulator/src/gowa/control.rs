//! What tests and people may do to the GoWA and its phones from outside, and what they may see.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::devices;
use super::receiver::{GowaChatwoot, GowaNote};
use super::send::new_id;
use super::state::{GowaDelivery, GowaDevice, GowaSettings, GowaState, GowaWebhook, Received, address, bare};
use super::webhook;
use crate::hub::{Hub, lock};
use crate::wa::control::{ControlError, ShownPicture};

pub(crate) use super::send::phone;

/// A device that is made and paired in one step, for tests that are not about pairing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewGowaDevice {
    /// Its id.
    pub id: String,
    /// Own number; made up if absent.
    pub phone: Option<String>,
    /// Where its events go, and how they are signed.
    pub webhook: Option<GowaWebhook>,
}

/// Settings to change; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GowaConfigChange {
    /// See [`GowaSettings`].
    pub basic_auth: Option<String>,
    /// See [`GowaSettings`].
    pub webhook_url: Option<String>,
    /// See [`GowaSettings`].
    pub webhook_secret: Option<String>,
    /// See [`GowaSettings`].
    pub auto_login: Option<bool>,
    /// See [`GowaSettings`].
    pub auto_receipts: Option<bool>,
    /// See [`GowaSettings`].
    pub auto_download: Option<bool>,
    /// See [`GowaSettings`].
    pub retry_pauses_ms: Option<Vec<u64>>,
    /// See [`GowaSettings`].
    pub chatwoot_enabled: Option<bool>,
    /// See [`GowaSettings`].
    pub chatwoot_webhook_secret: Option<String>,
    /// See [`GowaSettings`].
    pub chatwoot_device_id: Option<String>,
    /// See [`GowaSettings`].
    pub chatwoot_message_delete: Option<bool>,
    /// See [`GowaSettings`].
    pub chatwoot_sign_msg: Option<bool>,
    /// See [`GowaSettings`].
    pub chatwoot_sign_delimiter: Option<String>,
    /// See [`GowaSettings`].
    pub chatwoot_needs_config: Option<bool>,
    /// See [`GowaSettings`].
    pub chatwoot_answer_delay_ms: Option<u64>,
}

/// Something that happens at the far end, as `POST /_sim/gowa/inbound` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GowaInbound {
    /// The receiving device.
    pub device: String,
    /// The writer's number, digits only; or the partner's, when the owner wrote.
    pub from: String,
    /// The event; `message` if absent.
    pub event: Option<String>,
    /// Words, or the caption.
    pub text: Option<String>,
    /// An attached file.
    pub media: Option<GowaMedia>,
    /// More members of the payload, e.g. `location`, `reaction`, `replied_to_id`.
    pub payload: Map<String, Value>,
    /// Message id; made up if absent.
    pub id: Option<String>,
    /// The name the writer goes by; `Sari` if absent.
    pub name: Option<String>,
    /// The writer's hidden id, digits only. The chat is then named by it, too.
    pub lid: Option<String>,
    /// Typed by the owner on the owner's own phone.
    pub own: bool,
    /// Written in a group.
    pub group: bool,
    /// The envelope does not name the device, only its address.
    pub without_session_id: bool,
}

/// A file that comes with an inbound message.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GowaMedia {
    /// Key of the payload: `image`, `video`, `video_note`, `document`, `audio` or `sticker`.
    pub kind: String,
    /// The bytes in base64.
    pub data: String,
    /// Of the file under `statics/`.
    pub extension: String,
    /// The server does not get it: the key is missing, and only a later download finds it.
    pub lost: bool,
}

/// A phone confirms messages, as `POST /_sim/gowa/receipt` takes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GowaReceipt {
    /// The device that sent the messages.
    pub device: String,
    /// Message ids.
    pub ids: Vec<String>,
    /// The confirming phone: digits or an address.
    pub from: String,
    /// Its hidden id; the chat is then named by it.
    pub lid: Option<String>,
    /// `delivered`, `read`, `played`, or any other.
    pub receipt_type: String,
}

pub(crate) fn create(hub: &Arc<Hub>, new: NewGowaDevice) -> GowaDevice {
    let mut state = lock(&hub.gowa);
    devices::make(&mut state, &new.id, new.webhook);
    let jid = new.phone.map(|phone| format!("{phone}:1@s.whatsapp.net"));
    devices::pair(&mut state, &new.id, jid);
    state.devices[&new.id].clone()
}

pub(crate) fn all(hub: &Hub) -> Vec<GowaDevice> {
    lock(&hub.gowa).devices.values().cloned().collect()
}

/// The phone scans or types the code of a device that waits for it.
pub(crate) fn scan(hub: &Hub, device: &str, jid: Option<String>) -> Result<(), ControlError> {
    let mut state = lock(&hub.gowa);
    let waits = state
        .devices
        .get(device)
        .ok_or_else(|| ControlError::UnknownSession(device.to_owned()))?;
    if waits.qr_path.is_none() && waits.pair_code.is_none() {
        return Err(ControlError::NotConnected);
    }
    devices::pair(&mut state, device, jid);
    Ok(())
}

/// The device is unlinked on the phone.
pub(crate) fn unlink(hub: &Hub, device: &str) {
    devices::unlink(&mut lock(&hub.gowa), device);
}

/// The device's socket breaks; its pairing holds.
pub(crate) fn lose_connection(hub: &Hub, device: &str) {
    if let Some(device) = lock(&hub.gowa).devices.get_mut(device) {
        device.connected = false;
        device.logged_in = false;
    }
}

pub(crate) fn settings(hub: &Hub) -> GowaSettings {
    lock(&hub.gowa).settings.clone()
}

pub(crate) fn configure(hub: &Hub, change: GowaConfigChange) -> GowaSettings {
    let settings = &mut lock(&hub.gowa).settings;
    fn set<T>(place: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *place = value;
        }
    }
    set(&mut settings.basic_auth, change.basic_auth);
    set(&mut settings.webhook_url, change.webhook_url);
    set(&mut settings.webhook_secret, change.webhook_secret);
    set(&mut settings.auto_login, change.auto_login);
    set(&mut settings.auto_receipts, change.auto_receipts);
    set(&mut settings.auto_download, change.auto_download);
    set(&mut settings.retry_pauses_ms, change.retry_pauses_ms);
    set(&mut settings.chatwoot_enabled, change.chatwoot_enabled);
    set(
        &mut settings.chatwoot_webhook_secret,
        change.chatwoot_webhook_secret,
    );
    set(&mut settings.chatwoot_device_id, change.chatwoot_device_id);
    set(
        &mut settings.chatwoot_message_delete,
        change.chatwoot_message_delete,
    );
    set(&mut settings.chatwoot_sign_msg, change.chatwoot_sign_msg);
    set(
        &mut settings.chatwoot_sign_delimiter,
        change.chatwoot_sign_delimiter,
    );
    set(&mut settings.chatwoot_needs_config, change.chatwoot_needs_config);
    set(
        &mut settings.chatwoot_answer_delay_ms,
        change.chatwoot_answer_delay_ms,
    );
    settings.clone()
}

pub(crate) fn deliveries(hub: &Hub, after: Option<u64>, limit: Option<usize>) -> Vec<GowaDelivery> {
    lock(&hub.gowa).deliveries.page(after, limit, |_| true)
}

/// Gives a device an inbox of its own, or takes it away.
pub(crate) fn set_chatwoot(hub: &Hub, device: &str, config: Option<GowaChatwoot>) {
    if let Some(device) = lock(&hub.gowa).devices.get_mut(device) {
        device.chatwoot = config;
    }
}

/// The notes the server posted because WhatsApp did not take a message.
pub(crate) fn notes(hub: &Hub) -> Vec<GowaNote> {
    lock(&hub.gowa).memory.notes.clone()
}

/// The server has just made this message in Chatwoot itself, and knows its echo for a while.
pub(crate) fn made_in_chatwoot(hub: &Hub, account: i64, message: i64) {
    lock(&hub.gowa).memory.made(account, message);
}

/// Messages that devices have marked as read, in order.
pub(crate) fn read(hub: &Hub) -> Vec<String> {
    lock(&hub.gowa).read.clone()
}

/// Something happens at the far end. Returns the message id.
pub(crate) fn receive(hub: &Arc<Hub>, inbound: &GowaInbound) -> Result<String, ControlError> {
    let mut state = lock(&hub.gowa);
    let device = state
        .devices
        .get(&inbound.device)
        .cloned()
        .ok_or_else(|| ControlError::UnknownSession(inbound.device.clone()))?;
    let id = inbound.id.clone().unwrap_or_else(new_id);
    let payload = payload(&mut state, inbound, &device, &id)?;
    let event = inbound.event.as_deref().unwrap_or("message");
    let event = webhook::Event {
        name: event,
        // The time of messages stands in their payload.
        timestamp: !event.starts_with("message"),
        session_id: !inbound.without_session_id,
        payload,
    };
    webhook::emit(hub, &mut state, &device, &event);
    Ok(id)
}

fn payload(
    state: &mut GowaState,
    inbound: &GowaInbound,
    device: &GowaDevice,
    id: &str,
) -> Result<Value, ControlError> {
    let person = format!("{}@s.whatsapp.net", inbound.from);
    let own = bare(&device.jid);
    let chat = if inbound.group {
        "120363000000000001@g.us"
    } else {
        person.as_str()
    };
    let mut payload = json!({
        "id": id, "chat_id": chat, "from": if inbound.own { &own } else { &person },
        "timestamp": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true), "is_from_me": inbound.own,
    });
    if !inbound.own {
        payload["from_name"] = json!(inbound.name.as_deref().unwrap_or("Sari"));
    }
    if let Some(lid) = &inbound.lid {
        payload["chat_lid"] = json!(format!("{lid}@lid"));
        if !inbound.own {
            payload["from_lid"] = json!(format!("{lid}@lid"));
        }
    }
    if let Some(text) = &inbound.text {
        payload["body"] = json!(text);
    }
    if let Some(media) = &inbound.media {
        let bytes = STANDARD
            .decode(&media.data)
            .map_err(|_| ControlError::MediaData)?;
        let path = format!("media/{id}.{}", media.extension);
        let path_told = format!("statics/{path}");
        let told = match (state.settings.auto_download, &inbound.text) {
            (false, text) => json!({"url": "https://mmg.whatsapp.net/v/t62/x.enc", "caption": text}),
            (true, Some(caption)) => json!({"path": path_told, "caption": caption}),
            (true, None) => json!(path_told),
        };
        if !media.lost {
            payload[media.kind.as_str()] = told;
            if state.settings.auto_download {
                state.statics.put(&path, bytes.clone());
            }
        }
        let received = Received {
            kind: media.kind.clone(),
            extension: media.extension.clone(),
            bytes,
        };
        state.received.insert(id.to_owned(), received);
    }
    for (key, value) in &inbound.payload {
        payload[key.as_str()] = value.clone();
    }
    Ok(payload)
}

/// Somebody shows another picture of themselves, or none any more. It lies under `statics/`, where anybody may read.
pub(crate) fn show_picture(hub: &Hub, picture: &ShownPicture) -> Result<(), ControlError> {
    let bytes = picture.decoded()?;
    let mut state = lock(&hub.gowa);
    let whose = address(&picture.phone);
    let Some(bytes) = bytes else {
        state.pictures.remove(&whose);
        return Ok(());
    };
    let id = picture.id();
    let path = format!("pictures/{id}.jpg");
    state.statics.put(&path, bytes);
    let told = picture
        .elsewhere
        .clone()
        .unwrap_or_else(|| format!("/gowa/statics/{path}"));
    state.pictures.insert(whose, (id, told));
    Ok(())
}

/// A phone confirms messages.
pub(crate) fn receipt(hub: &Arc<Hub>, receipt: &GowaReceipt) -> Result<(), ControlError> {
    let mut state = lock(&hub.gowa);
    let device = state
        .devices
        .get(&receipt.device)
        .cloned()
        .ok_or_else(|| ControlError::UnknownSession(receipt.device.clone()))?;
    let from = address(&receipt.from);
    let mut payload = json!({
        "ids": receipt.ids, "chat_id": from, "from": from, "receipt_type": receipt.receipt_type,
        "receipt_type_description": "told by the phone",
    });
    if let Some(lid) = &receipt.lid {
        payload["chat_id"] = json!(format!("{lid}@lid"));
        payload["from_lid"] = json!(format!("{lid}@lid"));
    }
    let event = webhook::Event {
        name: "message.ack",
        timestamp: true,
        session_id: true,
        payload,
    };
    webhook::emit(hub, &mut state, &device, &event);
    Ok(())
}
