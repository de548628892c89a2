//! `/send/*` and `/message/*`: what devices send, and what they do about messages (4.4).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::control::{self, GowaReceipt};
use super::state::{GowaDevice, GowaFile, GowaMessage, GowaSend, GowaState, address};
use super::{done, refused};
use crate::http::{Answer, Call, object};
use crate::hub::{Hub, lock};
use crate::multipart;
use crate::signature::sha256_hex;

const MIB: usize = 1024 * 1024;

/// What a call brings.
pub(super) struct Request {
    pub(super) fields: Map<String, Value>,
    pub(super) file: Option<multipart::File>,
}

impl Request {
    fn read(call: &Call) -> Option<Self> {
        let content_type = call.header("content-type").unwrap_or_default();
        if content_type.starts_with("multipart/form-data") {
            let (fields, files) = multipart::parse(content_type, &call.body)?;
            return Some(Self {
                fields,
                file: files.into_iter().next(),
            });
        }
        let fields = if content_type.starts_with("application/x-www-form-urlencoded") {
            form_urlencoded::parse(&call.body)
                .map(|(key, value)| (key.into_owned(), Value::String(value.into_owned())))
                .collect()
        } else {
            object(call.json().ok()?)
        };
        Some(Self { fields, file: None })
    }

    fn text(&self, key: &str) -> &str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

pub(super) fn answer(
    hub: &Arc<Hub>,
    state: &mut GowaState,
    call: &Call,
    device: &str,
    path: &[&str],
) -> Answer {
    if let ("GET", ["message", id, "download"]) = (call.method.as_str(), path) {
        return download(state, id);
    }
    let Some(request) = Request::read(call) else {
        // A body that does not parse is an inner error of the server's.
        return refused(500, "INTERNAL_SERVER_ERROR", "invalid character in body");
    };
    let Some(device) = state.devices.get(device).cloned() else {
        return refused(404, "DEVICE_NOT_FOUND", "device not found");
    };
    if path == ["send", "presence"] {
        return usable(&device).unwrap_or_else(|| done("Presence sent", Value::Null));
    }
    let phone = request.text("phone").to_owned();
    if phone.is_empty() || phone.starts_with('0') || phone.starts_with('+') {
        return refused(400, "VALIDATION_ERROR", "phone: cannot be blank.");
    }
    match path {
        ["send", kind] => {
            if let Some(refusal) = invalid(kind, &request).or_else(|| usable(&device)) {
                return refusal;
            }
            send(hub, state, &device, kind, &phone, request).0
        }
        ["message", id, act] => match usable(&device) {
            Some(refusal) => refusal,
            None => about(hub, state, &device, id, act, &phone, request),
        },
        _ => refused(404, "NOT_FOUND", "no such route in this imitation"),
    }
}

/// Paired and on the network, or the refusal.
pub(super) fn usable(device: &GowaDevice) -> Option<Answer> {
    (!device.logged_in || !device.connected)
        .then(|| refused(401, "AUTHENTICATION_ERROR", "you are not logged in"))
}

/// What the server's validation says.
fn invalid(kind: &str, request: &Request) -> Option<Answer> {
    let blank = |key: &str| {
        request
            .text(key)
            .is_empty()
            .then(|| refused(400, "VALIDATION_ERROR", &format!("{key}: cannot be blank.")))
    };
    let file = |field: &str, most: usize, types: &[&str]| {
        let url = !request.text(&format!("{field}_url")).is_empty();
        let file = request.file.as_ref().filter(|file| file.field == field);
        let text = match (file, url) {
            (Some(_), true) | (None, false) => format!("either {field} or {field}_url must be provided"),
            (Some(file), false) if file.bytes > most => format!("max {field} upload is {most} bytes"),
            (Some(file), false)
                if !types.is_empty() && !types.iter().any(|kind| file.content_type.starts_with(kind)) =>
            {
                format!("your {field} type is not allowed")
            }
            _ => return None,
        };
        Some(refused(400, "VALIDATION_ERROR", &text))
    };
    match kind {
        "message" => blank("message"),
        "image" => file("image", 20 * MIB, &["image/jpeg", "image/jpg", "image/png"]),
        "file" => file("file", 50 * MIB, &[]),
        "video" => file("video", 100 * MIB, &["video/"]),
        "audio" => file("audio", 100 * MIB, &["audio/"]),
        "sticker" => file("sticker", 20 * MIB, &["image/"]),
        "contact" => blank("contact_name").or_else(|| blank("contact_phone")),
        "location" => blank("latitude").or_else(|| blank("longitude")),
        "link" => blank("link"),
        "poll" => blank("question"),
        "chat-presence" => match request.text("action") {
            "start" | "stop" => None,
            _ => Some(refused(400, "VALIDATION_ERROR", "action: must be a valid value.")),
        },
        _ => Some(refused(404, "NOT_FOUND", "no such route in this imitation")),
    }
}

/// Sends it: the answer, and WhatsApp's id.
pub(super) fn send(
    hub: &Arc<Hub>,
    state: &mut GowaState,
    device: &GowaDevice,
    kind: &str,
    phone: &str,
    request: Request,
) -> (Answer, String) {
    let to = address(phone);
    let text = match kind {
        "message" => request.text("message"),
        _ => request.text("caption"),
    };
    let text = text.to_owned();
    let is_message = kind != "chat-presence";
    let message_id = if is_message { new_id() } else { String::new() };
    let file = request.file.as_ref().map(|file| GowaFile {
        content_type: file.content_type.clone(),
        name: file.name.clone(),
        bytes: file.bytes as u64,
        sha256: sha256_hex(&file.content),
    });
    let body = Value::Object(request.fields);
    if is_message {
        let quoted_id = body["reply_message_id"].as_str().map(str::to_owned);
        let message = GowaMessage {
            id: message_id.clone(),
            device: device.id.clone(),
            kind: kind.to_owned(),
            text: text.clone(),
            body: body.clone(),
            file: file.clone(),
            quoted_id,
            edited: false,
            deleted: false,
            reaction: None,
        };
        state.show(&to, message);
    }
    let moment = hub.now();
    let status = format!("Message sent to {to} (server timestamp: {})", moment.at);
    state.sends.push(|seq| GowaSend {
        seq,
        moment,
        device: device.id.clone(),
        path: format!("/send/{kind}"),
        message_id: message_id.clone(),
        phone: phone.to_owned(),
        message: text,
        body,
        file,
    });
    if !is_message {
        let body = json!({"message_id": "", "status": "Chat presence sent"});
        return (done("Success", body), message_id);
    }
    if state.settings.auto_receipts {
        confirm_by_itself(hub, device.id.clone(), message_id.clone(), to);
    }
    let body = json!({"message_id": message_id, "status": status});
    (done(&status, body), message_id)
}

fn confirm_by_itself(hub: &Arc<Hub>, device: String, id: String, chat: String) {
    let shared = Arc::clone(hub);
    hub.spawn(async move {
        for kind in ["delivered", "read"] {
            tokio::time::sleep(shared.config.receipt_delay).await;
            let receipt = GowaReceipt {
                device: device.clone(),
                ids: vec![id.clone()],
                from: chat.clone(),
                receipt_type: kind.to_owned(),
                ..GowaReceipt::default()
            };
            // The device may be gone, or post nowhere.
            drop(control::receipt(&shared, &receipt));
        }
    });
}

/// What is done about a message that is there already.
fn about(
    hub: &Arc<Hub>,
    state: &mut GowaState,
    device: &GowaDevice,
    id: &str,
    act: &str,
    phone: &str,
    request: Request,
) -> Answer {
    let to = address(phone);
    match act {
        "reaction" => {
            let emoji = request.text("emoji").to_owned();
            if let Some(message) = state.message(&to, id) {
                message.reaction = Some(emoji).filter(|emoji| !emoji.is_empty());
            }
        }
        "update" => {
            let text = request.text("message").to_owned();
            if text.is_empty() {
                return refused(400, "VALIDATION_ERROR", "message: cannot be blank.");
            }
            if let Some(message) = state.message(&to, id) {
                message.text = text;
                message.edited = true;
            }
        }
        "revoke" => {
            if let Some(message) = state.message(&to, id) {
                message.deleted = true;
            }
        }
        "read" => state.read.push(id.to_owned()),
        "delete" | "star" | "unstar" | "forward" => {}
        _ => return refused(404, "NOT_FOUND", "no such route in this imitation"),
    }
    let moment = hub.now();
    let text = request.text("message").to_owned();
    state.sends.push(|seq| GowaSend {
        seq,
        moment,
        device: device.id.clone(),
        path: format!("/message/{id}/{act}"),
        message_id: id.to_owned(),
        phone: phone.to_owned(),
        message: text,
        body: Value::Object(request.fields),
        file: None,
    });
    done(
        "Success",
        json!({"message_id": id, "status": format!("{act} done")}),
    )
}

/// Takes a message back for everyone.
pub(super) fn take_back(hub: &Arc<Hub>, state: &mut GowaState, device: &str, chat: &str, id: &str) {
    let Some(device) = state.devices.get(device).cloned() else {
        return;
    };
    let request = Request {
        fields: Map::new(),
        file: None,
    };
    if usable(&device).is_none() {
        about(hub, state, &device, id, "revoke", chat, request);
    }
}

/// Gets a file from WhatsApp once more and puts it under `statics/`.
fn download(state: &mut GowaState, id: &str) -> Answer {
    let Some(received) = state.received.get(id).cloned() else {
        return refused(500, "INTERNAL_SERVER_ERROR", "message not found");
    };
    let path = format!("media/{id}.{}", received.extension);
    let size = received.bytes.len();
    state.statics.put(&path, received.bytes);
    done(
        "Media downloaded successfully",
        json!({"message_id": id, "status": "downloaded", "media_type": received.kind, "filename": path.rsplit('/').next(),
               "file_path": format!("statics/{path}"), "file_size": size}),
    )
}

pub(super) fn new_id() -> String {
    format!("3EB0{:016X}", rand::random::<u64>())
}

/// What a phone shows, in order of arrival.
pub(crate) fn phone(hub: &Hub, phone: &str) -> Vec<GowaMessage> {
    lock(&hub.gowa)
        .phones
        .get(&address(phone))
        .cloned()
        .unwrap_or_default()
}
