//! wa-support-gateway's customers and sessions, field by field (wa-support-gateway contract 6 and 7).

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The end of a subscription that nobody limits.
const NO_END: &str = "2099-12-31T23:59:59Z";
/// Which of the gateway's providers ours is.
const PROVIDER: &str = "genfity-wa";
const CREATED_BY: &str = "govconnect-channel-service";

/// Body of `POST /internal/users`.
pub(in crate::genfity) fn customer(user_id: &str, source: &str) -> Value {
    json!({
        "user_id": user_id, "source": source, "expires_at": NO_END, "max_sessions": 1, "max_messages": 0,
        "provider": PROVIDER, "created_by": CREATED_BY,
    })
}

/// The same for a customer that is there, with more sessions; what else it may do stays.
pub(in crate::genfity) fn customer_with(
    user_id: &str,
    source: &str,
    subscription: &Subscription,
    max_sessions: i64,
) -> Value {
    let mut body = customer(user_id, source);
    body["max_sessions"] = max_sessions.into();
    body["max_messages"] = subscription.max_messages.into();
    body["expires_at"] = subscription.expires_at.as_str().into();
    if !subscription.provider.is_empty() {
        body["provider"] = subscription.provider.as_str().into();
    }
    body
}

/// Answer of `GET /v1/me`.
#[derive(Deserialize)]
pub(in crate::genfity) struct Me {
    pub(in crate::genfity) subscription: Subscription,
}

/// What a customer may do.
#[derive(Deserialize)]
pub(in crate::genfity) struct Subscription {
    #[serde(default)]
    pub(in crate::genfity) provider: String,
    pub(in crate::genfity) max_sessions: i64,
    pub(in crate::genfity) max_messages: i64,
    pub(in crate::genfity) expires_at: String,
}

/// Answer of `POST /internal/users` and of `…/apikey/rotate`.
#[derive(Deserialize)]
pub(in crate::genfity) struct CustomerAnswer {
    pub(in crate::genfity) api_key: Option<String>,
}

/// Body of `POST /v1/sessions`. It is connected by us afterwards, when its events are signed already; `hmac_key` is for
/// a gateway that keeps the signing of webhooks to itself, others ignore it.
pub(in crate::genfity) fn session(name: &str, webhook_url: &str, hmac_key: &str) -> Value {
    json!({
        "session_name": name, "webhook_url": webhook_url, "events": super::ALL_EVENTS, "auto_connect": false,
        "hmac_key": hmac_key,
    })
}

/// Answer of `POST /v1/sessions`.
#[derive(Deserialize)]
pub(in crate::genfity) struct Created {
    pub(in crate::genfity) session: Session,
}

/// Answer of `GET /v1/sessions`.
#[derive(Deserialize)]
pub(in crate::genfity) struct Sessions {
    pub(in crate::genfity) sessions: Vec<Value>,
}

/// What we need of a session.
#[derive(Deserialize)]
pub(in crate::genfity) struct Session {
    #[serde(default)]
    pub(in crate::genfity) session_id: Option<String>,
    #[serde(default)]
    pub(in crate::genfity) id: Option<Value>,
    #[serde(default)]
    pub(in crate::genfity) session_name: Option<String>,
    #[serde(default)]
    pub(in crate::genfity) session_token: Option<String>,
}

/// A session without what opens it: the field stays, because readers of the original know it, and is empty.
pub(in crate::genfity) fn without_token(session: Value) -> Value {
    let Value::Object(mut fields) = session else {
        return session;
    };
    for secret in ["session_token", "hmac_key"] {
        if let Some(value) = fields.get_mut(secret) {
            *value = Value::String(String::new());
        }
    }
    Value::Object(fields)
}

/// Answer of `GET /internal/users`.
#[derive(Deserialize)]
pub(in crate::genfity) struct Customers {
    #[serde(default)]
    pub(in crate::genfity) items: Vec<Map<String, Value>>,
    #[serde(default)]
    pub(in crate::genfity) meta: Value,
}

/// A customer under both names that readers look for (channel-service contract 9.F1).
pub(in crate::genfity) fn with_both_ids(mut customer: Map<String, Value>) -> Map<String, Value> {
    let id = customer.get("user_id").or_else(|| customer.get("id")).cloned();
    if let Some(id) = id {
        customer.insert("user_id".to_owned(), id.clone());
        customer.insert("id".to_owned(), id);
    }
    customer
}

/// A customer's own id.
pub(in crate::genfity) fn customer_id(customer: &Map<String, Value>) -> Option<&str> {
    customer.get("user_id")?.as_str()
}

/// `total` of a page's `meta`.
pub(in crate::genfity) fn total(meta: &Value) -> Option<u64> {
    meta.get("total")?.as_u64()
}
