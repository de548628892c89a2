//! `/session/connect`, `disconnect`, `logout`, `status`, `qr`, `pairphone` (§4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, json};

use super::fields::Fields;
use super::state::{Caller, Client, WaState};
use super::{Handled, error, events, not_found, success, webhook};
use crate::http::Call;
use crate::hub::{Hub, lock};
use crate::qr;

/// How long the first code lives, and how long each of the others (§4).
const FIRST_CODE: Duration = Duration::from_secs(60);
const NEXT_CODE: Duration = Duration::from_secs(20);

pub(super) fn knows(method: &str, path: &[&str]) -> bool {
    matches!(
        (method, path),
        (
            "POST",
            ["session", "connect" | "disconnect" | "logout" | "pairphone"]
        ) | ("GET", ["session", "status" | "qr"])
    )
}

pub(super) fn answer(
    hub: &Arc<Hub>,
    state: &mut WaState,
    caller: &Caller,
    call: &Call,
    path: &[&str],
) -> Handled {
    match path[1] {
        "connect" => connect(hub, state, caller, call),
        "disconnect" => disconnect(state, caller),
        "logout" => logout(state, caller),
        "status" => Ok(status(state, caller)),
        "qr" => qr(state, caller),
        "pairphone" => pair_phone(state, caller, call),
        _ => Ok(not_found()),
    }
}

/// Overwrites the event list with `Subscribe`; left out, nothing is delivered at all. The socket to WhatsApp is up at
/// once here, so `Immediate` makes no difference.
fn connect(hub: &Arc<Hub>, state: &mut WaState, caller: &Caller, call: &Call) -> Handled {
    let fields = Fields::parse(&call.body)?;
    let subscribe = fields.texts("Subscribe")?.unwrap_or_default();
    fields.flag("Immediate")?;
    if state.clients.get(&caller.id).is_some_and(|c| c.connected) {
        return Err(error(500, "already connected"));
    }
    let events = events::keep_known(&subscribe);
    set_events(state, caller, &events);
    let (webhook, jid) = state
        .cache
        .get(&caller.token)
        .map(|entry| (entry.webhook.clone(), entry.jid.clone()))
        .unwrap_or_default();
    let paired = !jid.is_empty();
    let client = Client {
        token: caller.token.clone(),
        connected: true,
        ..Client::default()
    };
    state.clients.insert(caller.id.clone(), client);
    if paired || state.settings.auto_login {
        let (shared, id, delay) = (Arc::clone(hub), caller.id.clone(), state.login_delay);
        hub.spawn(async move {
            tokio::time::sleep(delay).await;
            log_in(&shared, &mut lock(&shared.wa), &id, None);
        });
    } else {
        let code = show_code(state, &caller.id, &caller.token, FIRST_CODE);
        let mut extra = Map::new();
        extra.insert("qrCodeBase64".to_owned(), json!(code));
        webhook::emit(hub, state, &caller.id, "QR", json!("code"), extra);
    }
    Ok(success(json!({
        "webhook": webhook, "jid": jid, "events": events, "details": "Connected!",
    })))
}

/// The phone has scanned the code, or a paired session is back: the session becomes usable. False without a client.
pub(super) fn log_in(hub: &Arc<Hub>, state: &mut WaState, id: &str, jid: Option<String>) -> bool {
    let Some(client) = state.clients.get_mut(id) else {
        return false;
    };
    client.logged_in = true;
    let token = client.token.clone();
    let known = state.cache.get(&token).map(|entry| entry.jid.clone());
    let known = known.unwrap_or_default();
    if known.is_empty() {
        state.paired += 1;
        let jid = jid.unwrap_or_else(|| format!("62811{:08}:12@s.whatsapp.net", state.paired));
        if let Some(entry) = state.cache.get_mut(&token) {
            entry.jid.clone_from(&jid);
            entry.qrcode.clear();
        }
        if let Some(row) = state.row_mut(id) {
            row.jid.clone_from(&jid);
            row.qrcode.clear();
        }
        let pairing = json!({
            "ID": jid, "LID": format!("19{:013}:12@lid", state.paired), "BusinessName": "", "Platform": "android",
        });
        webhook::emit(hub, state, id, "PairSuccess", pairing, Map::new());
    }
    webhook::emit(hub, state, id, "Connected", json!({}), Map::new());
    true
}

/// Clears the event list, too.
fn disconnect(state: &mut WaState, caller: &Caller) -> Handled {
    let Some(client) = state.clients.get(&caller.id) else {
        return Err(error(500, "no session"));
    };
    if !client.connected {
        return Err(error(500, "cannot disconnect because it is not logged in"));
    }
    state.clients.remove(&caller.id);
    set_events(state, caller, "");
    Ok(success(json!({"Details": "Disconnected"})))
}

fn logout(state: &mut WaState, caller: &Caller) -> Handled {
    let Some(client) = state.clients.get(&caller.id) else {
        return Err(error(500, "no session"));
    };
    if !client.connected {
        return Err(error(500, "could not disconnect as it was not connected"));
    }
    if !client.logged_in {
        return Err(error(500, "could not logout as it was not logged in"));
    }
    state.clients.remove(&caller.id);
    if let Some(row) = state.row_mut(&caller.id) {
        row.jid.clear();
    }
    if let Some(entry) = state.cache.get_mut(&caller.token) {
        entry.jid.clear();
    }
    Ok(success(json!({"Details": "Logged out"})))
}

/// Works without a running client. Name, jid, webhook, events and QR code come from the cache.
fn status(state: &WaState, caller: &Caller) -> crate::http::Answer {
    let client = state.clients.get(&caller.id).cloned().unwrap_or_default();
    let entry = state.cache.get(&caller.token).cloned().unwrap_or_default();
    let row = state.row(&caller.id).cloned().unwrap_or_default();
    success(json!({
        "id": caller.id, "name": entry.name, "connected": client.connected, "loggedIn": client.logged_in,
        "token": caller.token, "jid": entry.jid, "webhook": entry.webhook, "events": entry.events,
        "proxy_url": row.proxy.url, "qrcode": entry.qrcode, "history": row.history.to_string(),
        "proxy_config": row.proxy.view(), "s3_config": row.s3.view(), "hmac_configured": row.hmac_key.is_some(),
    }))
}

fn qr(state: &mut WaState, caller: &Caller) -> Handled {
    let Some(client) = state.clients.get(&caller.id) else {
        return Err(error(500, "no session"));
    };
    if !client.connected {
        return Err(error(500, "not connected"));
    }
    if client.logged_in {
        return Err(error(500, "already logged in"));
    }
    if client.code_until.is_some_and(|until| until <= Instant::now()) {
        show_code(state, &caller.id, &caller.token, NEXT_CODE);
    }
    let code = state
        .cache
        .get(&caller.token)
        .map(|entry| entry.qrcode.clone())
        .unwrap_or_default();
    Ok(success(json!({"QRCode": code})))
}

fn pair_phone(state: &WaState, caller: &Caller, call: &Call) -> Handled {
    let Some(client) = state.clients.get(&caller.id) else {
        return Err(error(500, "no session"));
    };
    Fields::parse(&call.body)?.required("Phone")?;
    if client.logged_in {
        return Err(error(400, "already paired"));
    }
    Ok(success(json!({"LinkingCode": "ABCD-EFGH"})))
}

fn set_events(state: &mut WaState, caller: &Caller, events: &str) {
    if let Some(row) = state.row_mut(&caller.id) {
        events.clone_into(&mut row.events);
    }
    if let Some(entry) = state.cache.get_mut(&caller.token) {
        events.clone_into(&mut entry.events);
    }
}

/// Another code waits to be scanned, as a data URL.
fn show_code(state: &mut WaState, id: &str, token: &str, life: Duration) -> String {
    let picture = qr::picture(&qr::new_text());
    let code = format!("data:image/png;base64,{}", STANDARD.encode(picture));
    if let Some(client) = state.clients.get_mut(id) {
        client.code_until = Some(Instant::now() + life);
    }
    if let Some(row) = state.row_mut(id) {
        row.qrcode.clone_from(&code);
    }
    if let Some(entry) = state.cache.get_mut(token) {
        entry.qrcode.clone_from(&code);
    }
    code
}

/// The code that waits runs out, and another one is shown. False for a session that waits for none.
pub(super) fn renew_code(state: &mut WaState, id: &str) -> bool {
    let waiting = state
        .clients
        .get(id)
        .filter(|client| client.code_until.is_some() && !client.logged_in);
    let Some(token) = waiting.map(|client| client.token.clone()) else {
        return false;
    };
    show_code(state, id, &token, NEXT_CODE);
    true
}
