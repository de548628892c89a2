//! Inboxes and account webhooks (contract 3.6).

use serde_json::{Map, Value, json};

use super::state::{AccountWebhook, ChatwootState, secret};
use super::{Handled, Request, attributes, flag, missing, ok, payload, text, unprocessable};
use crate::http::Answer;

pub(super) fn answer(state: &mut ChatwootState, request: &Request<'_>, path: &[&str]) -> Handled {
    let id = path.first().and_then(|id| id.parse::<u64>().ok());
    match (request.call.method.as_str(), path, id) {
        ("GET", [], _) => {
            let inboxes: Vec<Value> = state
                .inboxes
                .values()
                .filter(|inbox| inbox.account_id == request.account)
                .map(|inbox| payload::inbox(inbox, &state.settings))
                .collect();
            ok(&json!({"payload": inboxes}))
        }
        ("POST", [], _) => {
            let members = request.members()?;
            let channel = attributes(&members, "channel");
            if text(&channel, "type").as_deref() != Some("api") {
                return Err(unprocessable("only API inboxes can be made here"));
            }
            let name = text(&members, "name").unwrap_or_default();
            let url = text(&channel, "webhook_url").unwrap_or_default();
            let inbox = state.add_inbox(request.account, name, url);
            ok(&payload::inbox(&inbox, &state.settings))
        }
        ("GET", [_], Some(id)) => ok(&payload::inbox(
            state.inbox(request.account, id).ok_or_else(missing)?,
            &state.settings,
        )),
        ("PATCH" | "PUT", [_], Some(id)) => patch(state, request, id),
        ("DELETE", [_], Some(id)) => {
            state.inbox(request.account, id).ok_or_else(missing)?;
            state.inboxes.remove(&id);
            Ok(Answer::json(200, &json!({})))
        }
        ("POST", [_, "reset_secret"], Some(id)) => {
            state.inbox(request.account, id).ok_or_else(missing)?;
            let inbox = state.inboxes.get_mut(&id).ok_or_else(missing)?;
            inbox.secret = secret();
            let mut body = payload::inbox(inbox, &state.settings);
            if state.settings.reset_shows_secret {
                body["secret"] = json!(inbox.secret);
            }
            ok(&body)
        }
        _ => Err(missing()),
    }
}

fn patch(state: &mut ChatwootState, request: &Request<'_>, id: u64) -> Handled {
    let members = request.members()?;
    state.inbox(request.account, id).ok_or_else(missing)?;
    let inbox = state.inboxes.get_mut(&id).ok_or_else(missing)?;
    if let Some(name) = text(&members, "name") {
        inbox.name = name;
    }
    let channel = attributes(&members, "channel");
    if channel.contains_key("webhook_url") {
        inbox.webhook_url = text(&channel, "webhook_url").unwrap_or_default();
    }
    if members.contains_key("lock_to_single_conversation") {
        inbox.lock_to_single_conversation = flag(&members, "lock_to_single_conversation");
    }
    ok(&payload::inbox(inbox, &state.settings))
}

pub(super) fn webhooks(state: &mut ChatwootState, request: &Request<'_>, path: &[&str]) -> Handled {
    let id = path.first().and_then(|id| id.parse::<u64>().ok());
    match (request.call.method.as_str(), path, id) {
        ("GET", [], _) => {
            let webhooks: Vec<Value> = state
                .webhooks
                .values()
                .filter(|hook| hook.account_id == request.account)
                .map(webhook)
                .collect();
            ok(&json!({"payload": {"webhooks": webhooks}}))
        }
        ("POST", [], _) => {
            let given = attributes(&request.members()?, "webhook");
            let url = text(&given, "url").ok_or_else(|| unprocessable("Url can't be blank"))?;
            let taken = |hook: &AccountWebhook| hook.account_id == request.account && hook.url == url;
            if state.webhooks.values().any(taken) {
                return Err(super::invalid("Url has already been taken", "url"));
            }
            let hook = AccountWebhook {
                id: state.next_id(),
                account_id: request.account,
                url,
                subscriptions: subscriptions(&given),
                secret: secret(),
            };
            state.webhooks.insert(hook.id, hook.clone());
            ok(&json!({"payload": {"webhook": webhook(&hook)}}))
        }
        ("PATCH" | "PUT", [_], Some(id)) => {
            let given = attributes(&request.members()?, "webhook");
            let hook = own_webhook(state, request, id)?;
            if let Some(url) = text(&given, "url") {
                hook.url = url;
            }
            if given.contains_key("subscriptions") {
                hook.subscriptions = subscriptions(&given);
            }
            ok(&json!({"payload": {"webhook": webhook(hook)}}))
        }
        ("DELETE", [_], Some(id)) => {
            own_webhook(state, request, id)?;
            state.webhooks.remove(&id);
            Ok(Answer::json(200, &json!({})))
        }
        _ => Err(missing()),
    }
}

fn own_webhook<'a>(
    state: &'a mut ChatwootState,
    request: &Request<'_>,
    id: u64,
) -> Result<&'a mut AccountWebhook, Answer> {
    state
        .webhooks
        .get_mut(&id)
        .filter(|hook| hook.account_id == request.account)
        .ok_or_else(missing)
}

fn subscriptions(given: &Map<String, Value>) -> Vec<String> {
    given
        .get("subscriptions")
        .and_then(|names| serde_json::from_value(names.clone()).ok())
        .unwrap_or_default()
}

fn webhook(hook: &AccountWebhook) -> Value {
    json!({
        "id": hook.id, "url": hook.url, "account_id": hook.account_id, "subscriptions": hook.subscriptions,
        "secret": hook.secret,
    })
}
