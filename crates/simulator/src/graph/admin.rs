//! Numbers, business accounts and tokens (contract 6).

use std::sync::Arc;

use serde_json::{Value, json};

use super::errors::Refusal;
use super::faults::{GraphCall, Seen};
use super::state::{GraphCallback, GraphNumber, GraphState};
use super::{access, overlay, templates, webhook};
use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};

/// Members of a number that are told unasked.
const USUAL_FIELDS: &str = "verified_name,display_phone_number,quality_rating,id";

/// A script stands before what the Graph API would do.
pub(super) fn scripted(
    state: &mut GraphState,
    object: &str,
    work: impl FnOnce(&mut GraphState) -> Answer,
) -> Answer {
    let fate = state.troubles.of(&Seen {
        call: GraphCall::Management,
        number: object,
        recipient: "",
        message_type: "",
    });
    if let Some(instead) = overlay::before(state, object, &fate) {
        return instead;
    }
    let answer = work(state);
    overlay::after(state, object, &fate, answer)
}

/// `GET /{number}?fields=`.
pub(super) fn number(state: &mut GraphState, call: &Call, id: &str) -> Answer {
    if let Err(refusal) = access::number(state, call, id) {
        return refusal.answer();
    }
    let Some(number) = state.numbers.get(id) else {
        return Refusal::no_such(id, &call.method).answer();
    };
    let fields = call
        .query("fields")
        .filter(|fields| !fields.is_empty())
        .unwrap_or(USUAL_FIELDS);
    let mut view = json!({"id": id});
    for field in fields.split(',').map(str::trim) {
        let Some(value) = member(state, number, field) else {
            return Refusal {
                message: Some(format!(
                    "(#100) Tried accessing nonexisting field ({field}) on node type (WhatsAppBusinessPhoneNumber)"
                )),
                ..Refusal::new(100)
            }
            .answer();
        };
        view[field] = value;
    }
    Answer::ok(&view)
}

fn member(state: &GraphState, number: &GraphNumber, field: &str) -> Option<Value> {
    let upgraded = number.per_second.is_some_and(|rate| rate >= 1_000.0);
    Some(match field {
        "id" => json!(number.id),
        "verified_name" => json!(number.verified_name),
        "display_phone_number" => json!(number.display_phone_number),
        "quality_rating" => json!(number.quality_rating),
        "code_verification_status" => json!("VERIFIED"),
        "platform_type" => json!(if number.registered {
            "CLOUD_API"
        } else {
            "NOT_APPLICABLE"
        }),
        "status" => json!(if number.registered { "CONNECTED" } else { "PENDING" }),
        "name_status" => json!("APPROVED"),
        "account_mode" => json!("LIVE"),
        "throughput" => json!({"level": if upgraded { "HIGH" } else { "STANDARD" }}),
        "messaging_limit_tier" | "whatsapp_business_manager_messaging_limit" => json!("TIER_100K"),
        "webhook_configuration" => {
            let waba = state.wabas.get(&number.waba);
            let app = waba.and_then(|waba| state.apps.get(&waba.app));
            let mut view = json!({"application": app.map(|app| app.callback.url.clone())});
            if let Some(own) = &number.callback_override {
                view["phone_number"] = json!(own.url);
            }
            if let Some(own) = waba.and_then(|waba| waba.callback_override.as_ref()) {
                view["whatsapp_business_account"] = json!(own.url);
            }
            view
        }
        _ => return None,
    })
}

/// `GET /{waba}/phone_numbers`.
pub(super) fn numbers(state: &GraphState, call: &Call, waba: &str) -> Answer {
    let all: Vec<&GraphNumber> = state
        .numbers
        .values()
        .filter(|number| number.waba == waba)
        .collect();
    templates::page(state, call, &all, |number| {
        let mut view = json!({});
        for field in ["id", "display_phone_number", "verified_name", "quality_rating"] {
            view[field] = member(state, number, field).unwrap_or_default();
        }
        view
    })
}

/// `POST /{number}/register` and `/deregister`.
pub(super) fn register(state: &mut GraphState, call: &Call, id: &str, on: bool) -> Answer {
    if let Err(refusal) = access::number(state, call, id) {
        return refusal.answer();
    }
    let body = call.json::<Value>().unwrap_or_default();
    let pin = body["pin"].as_str().unwrap_or_default().to_owned();
    let allowed = state.limits.registration(id);
    let Some(number) = state.numbers.get_mut(id) else {
        return Refusal::no_such(id, &call.method).answer();
    };
    if !on {
        number.registered = false;
        return Answer::ok(&json!({"success": true}));
    }
    if body["messaging_product"] != "whatsapp" {
        return Refusal {
            message: Some("(#100) The parameter messaging_product is required.".to_owned()),
            ..Refusal::new(100)
        }
        .answer();
    }
    if pin.len() != 6 || !pin.bytes().all(|byte| byte.is_ascii_digit()) {
        return Refusal::because(100, "Param pin must be a 6 digit string").answer();
    }
    if !allowed {
        return Refusal::new(133_016).answer();
    }
    if number.pin.as_ref().is_some_and(|set| *set != pin) {
        return Refusal::new(133_005).answer();
    }
    number.pin = Some(pin);
    number.registered = true;
    Answer::ok(&json!({"success": true}))
}

/// `GET`, `POST` and `DELETE /{waba}/subscribed_apps`, and `POST /{number}` with a callback of its own.
pub(super) async fn callbacks(hub: &Arc<Hub>, call: &Call, object: &str, of_number: bool) -> Answer {
    let wish = {
        let mut state = lock(&hub.graph);
        let reached = if of_number {
            access::number(&mut state, call, object)
        } else {
            access::waba(&mut state, call, object)
        };
        if let Err(refusal) = reached {
            return refusal.answer();
        }
        match call.method.as_str() {
            "GET" => return subscribed(&state, object),
            "DELETE" => {
                if let Some(waba) = state.wabas.get_mut(object) {
                    waba.subscribed = false;
                }
                return Answer::ok(&json!({"success": true}));
            }
            _ => wish(call, of_number),
        }
    };
    // Asked before anything changes, and nobody waits for the state meanwhile.
    if let Some(callback) = &wish
        && !webhook::verify(hub, callback).await.verified
    {
        return Refusal {
            message: Some("(#2200) Callback verification failed".to_owned()),
            ..Refusal::new(2200)
        }
        .answer();
    }
    let mut state = lock(&hub.graph);
    if of_number {
        if let Some(number) = state.numbers.get_mut(object) {
            number.callback_override = wish;
        }
    } else if let Some(waba) = state.wabas.get_mut(object) {
        waba.subscribed = true;
        waba.callback_override = wish;
    }
    Answer::ok(&json!({"success": true}))
}

fn wish(call: &Call, of_number: bool) -> Option<GraphCallback> {
    let body = call.json::<Value>().unwrap_or_default();
    let wish = if of_number {
        &body["webhook_configuration"]
    } else {
        &body
    };
    let text = |key: &str| wish[key].as_str().unwrap_or_default().to_owned();
    let url = text("override_callback_uri");
    (!url.is_empty()).then(|| GraphCallback {
        url,
        verify_token: text("verify_token"),
    })
}

fn subscribed(state: &GraphState, waba: &str) -> Answer {
    let Some(waba) = state.wabas.get(waba).filter(|waba| waba.subscribed) else {
        return Answer::ok(&json!({"data": []}));
    };
    let mut view = json!({"whatsapp_business_api_data": {"id": waba.app, "name": "Kanal", "link": ""}});
    if let Some(own) = &waba.callback_override {
        view["override_callback_uri"] = json!(own.url);
    }
    Answer::ok(&json!({"data": [view]}))
}

/// `GET /debug_token?input_token=`: for whoever shows a good token or `app|secret`.
pub(super) fn debug_token(state: &GraphState, call: &Call) -> Answer {
    let shown = access::shown(call).unwrap_or_default();
    let app = shown
        .split_once('|')
        .is_some_and(|(id, secret)| state.apps.get(id).is_some_and(|app| app.secret == secret));
    if !app && let Err(refusal) = access::anybody(state, call) {
        return refusal.answer();
    }
    let asked = call.query("input_token").unwrap_or_default();
    let Some(token) = state.tokens.get(asked) else {
        return Answer::ok(&json!({"data": {
            "is_valid": false, "scopes": [], "error": {"code": 190, "message": "Invalid OAuth access token."},
        }}));
    };
    let scopes = ["whatsapp_business_management", "whatsapp_business_messaging"];
    let granular = scopes.map(|scope| json!({"scope": scope, "target_ids": token.wabas}));
    let mut data = json!({
        "app_id": token.app, "type": "SYSTEM_USER", "application": "Kanal", "expires_at": 0,
        "data_access_expires_at": 0, "is_valid": token.broken.is_none(), "scopes": scopes,
        "granular_scopes": granular,
    });
    if let Some(subcode) = token.broken {
        data["error"] = json!({"code": 190, "subcode": subcode, "message": "Session is no longer valid"});
    }
    Answer::ok(&json!({"data": data}))
}
