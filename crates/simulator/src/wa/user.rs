//! The few `/user/*`, `/call/*` and `/group/*` routes our services use (§8). The rest of §8 is not imitated: 404.

use serde_json::{Map, Value, json};

use super::fields::{Fields, missing};
use super::phones::Jid;
use super::state::{Caller, WaState};
use super::{Handled, error, not_found, success};
use crate::http::{Answer, Call};

pub(super) fn knows(method: &str, path: &[&str]) -> bool {
    matches!(
        (method, path),
        ("POST", ["user", "check" | "info" | "avatar" | "presence"])
            | ("GET", ["user", "contacts"] | ["user", "lid", _])
            | ("GET", ["group" | "newsletter", "list"])
            | ("POST", ["call", "reject"])
    )
}

pub(super) fn answer(state: &mut WaState, caller: &Caller, call: &Call, path: &[&str]) -> Handled {
    if !state.clients.contains_key(&caller.id) {
        return Err(error(500, "no session"));
    }
    match path {
        ["user", "check"] => check(state, call),
        ["user", "info"] => info(state, call),
        ["user", "avatar"] => avatar(state, call),
        ["user", "presence"] => {
            Fields::parse(&call.body)?.required("type")?;
            Ok(success(json!({"Details": "Presence set successfuly"})))
        }
        ["user", "contacts"] => Ok(contacts(state)),
        ["user", "lid", jid] => lid(state, jid),
        ["call", "reject"] => {
            let fields = Fields::parse(&call.body)?;
            fields.required("call_from")?;
            let id = fields.required("call_id")?;
            Ok(success(json!({"Details": "Call rejected", "CallID": id})))
        }
        ["group", _] => Ok(success(json!({"Groups": []}))),
        ["newsletter", _] => Ok(success(json!({"Newsletter": []}))),
        _ => Ok(not_found()),
    }
}

/// The picture lies at an address of WhatsApp's, which here is this server.
fn avatar(state: &WaState, call: &Call) -> Handled {
    let phone = Fields::parse(&call.body)?.required("Phone")?;
    let jid = Jid::parse(&phone).ok_or_else(|| error(400, "could not parse jid"))?;
    let key = state.phones.key(&jid);
    let Some(picture) = state.phones.picture(&key) else {
        return Err(error(500, "no avatar found"));
    };
    let here = format!(
        "http://{}/wa/_pictures/{}",
        call.header("host").unwrap_or_default(),
        picture.id
    );
    let url = picture.elsewhere.clone().unwrap_or(here);
    Ok(success(json!({
        "url": url, "id": picture.id, "type": "image", "direct_path": "/v/t61.24694-24/x.jpg", "hash": null,
    })))
}

/// The file of a picture, as WhatsApp's own servers hand it out to whoever has the address.
pub(super) fn picture(state: &WaState, id: &str) -> Answer {
    match state.phones.picture_of_id(id) {
        Some(picture) => Answer {
            content_type: "image/jpeg",
            body: picture.bytes.clone(),
            ..Answer::text(200, "")
        },
        None => Answer::text(404, "Not Found"),
    }
}

fn check(state: &WaState, call: &Call) -> Handled {
    let users: Vec<Value> = phones(call)?
        .into_iter()
        .map(|query| {
            let number = query.trim_start_matches('+').to_owned();
            let there = !state.settings.not_on_whatsapp.contains(&number);
            let jid = format!("{number}@s.whatsapp.net");
            json!({"Query": query, "IsInWhatsapp": there, "JID": jid, "VerifiedName": ""})
        })
        .collect();
    Ok(success(json!({"Users": users})))
}

fn info(state: &WaState, call: &Call) -> Handled {
    let mut users = Map::new();
    for phone in phones(call)? {
        let Some(jid) = Jid::parse(&phone) else {
            // An address that cannot be read gives 200 with an empty body (§2).
            return Ok(Answer::text(200, ""));
        };
        let lid = state.phones.lid_of(&jid.user).map(|lid| format!("{lid}@lid"));
        users.insert(
            jid.to_string(),
            json!({
                "VerifiedName": null, "Status": "", "PictureID": "", "Devices": [jid.to_string()],
                "LID": lid.unwrap_or_default(),
            }),
        );
    }
    Ok(success(json!({"Users": users})))
}

fn contacts(state: &WaState) -> Answer {
    let contacts: Map<String, Value> = state
        .phones
        .contacts()
        .map(|(number, name)| {
            let contact = json!({
                "Found": true, "FirstName": "", "FullName": "", "PushName": name, "BusinessName": "",
                "RedactedPhone": "",
            });
            (format!("{number}@s.whatsapp.net"), contact)
        })
        .collect();
    success(Value::Object(contacts))
}

fn lid(state: &WaState, text: &str) -> Handled {
    let jid = Jid::parse(text).ok_or_else(|| error(400, "could not parse jid"))?;
    match state.phones.lid_of(&jid.user) {
        Some(lid) => Ok(success(
            json!({"jid": jid.to_string(), "lid": format!("{lid}@lid")}),
        )),
        None => Err(error(404, "LID not found for this number")),
    }
}

fn phones(call: &Call) -> Result<Vec<String>, Answer> {
    let phones = Fields::parse(&call.body)?.texts("Phone")?.unwrap_or_default();
    if phones.is_empty() {
        return Err(missing("Phone"));
    }
    Ok(phones)
}
