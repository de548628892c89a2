//! `/internal/*` (§6), behind the internal keys (§3.1).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::state::{Customer, Subscription, SupportState};
use super::{Handled, integer, not_found, object, refusal, required, text};
use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};

/// Whom a key belongs to; `None` for a global key.
struct Caller {
    source: Option<String>,
}

pub(super) fn answer(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Handled {
    let caller = authenticate(hub, call)?;
    let mut state = lock(&hub.support);
    match (call.method.as_str(), path) {
        ("GET", ["me"]) => Ok(me(&caller)),
        ("GET", ["users"]) => Ok(list(&state, &caller, call)),
        ("POST", ["users"]) => upsert(hub, &mut state, &caller, call),
        ("GET", ["users", id, "apikey"]) => {
            own(&state, &caller, id)?;
            let note = "api key tidak dapat dibaca kembali karena disimpan dalam bentuk hash";
            Ok(Answer::ok(&json!({"user_id": id, "note": note})))
        }
        ("POST", ["users", id, "apikey", "rotate"]) => {
            own(&state, &caller, id)?;
            let now = hub.now();
            let Some(customer) = state.customer_mut(id) else {
                return Err(refusal(404, "user not found"));
            };
            customer.api_key = fresh_key("gwa_");
            customer.rotations += 1;
            customer.updated_at = now;
            Ok(Answer::ok(&json!({"user_id": id, "api_key": customer.api_key})))
        }
        _ => Err(not_found()),
    }
}

/// 32 random bytes in base64url behind a prefix (§3.2, §3.3).
pub(super) fn fresh_key(prefix: &str) -> String {
    let random: [u8; 32] = rand::random();
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random))
}

fn authenticate(hub: &Hub, call: &Call) -> Result<Caller, Answer> {
    let sent = call
        .header("x-internal-api-key")
        .map(str::trim)
        .unwrap_or_default();
    let bearer = call.header("authorization").map(str::trim).unwrap_or_default();
    let key = if sent.is_empty() {
        bearer.strip_prefix("Bearer ").unwrap_or(bearer)
    } else {
        sent
    };
    if key.is_empty() {
        return Err(refusal(401, "internal api key required"));
    }
    hub.config
        .support_internal_keys
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .find_map(|entry| match entry.split_once(':') {
            Some((source, known)) => (known.trim() == key).then(|| Caller {
                source: Some(source.trim().to_owned()),
            }),
            None => (entry == key).then_some(Caller { source: None }),
        })
        .ok_or_else(|| refusal(401, "invalid internal api key"))
}

fn me(caller: &Caller) -> Answer {
    let mode = if caller.source.is_some() {
        "scoped"
    } else {
        "global"
    };
    let source = caller.source.as_deref().unwrap_or_default();
    Answer::ok(&json!({"auth": {"mode": mode, "source_service": source}}))
}

fn list(state: &SupportState, caller: &Caller, call: &Call) -> Answer {
    let source = match &caller.source {
        Some(own) => own.clone(),
        None => call.query("source").unwrap_or_default().trim().to_owned(),
    };
    let page = call.query_number("page").filter(|page| *page > 0).unwrap_or(1);
    let limit = call
        .query_number("limit")
        .filter(|limit| *limit > 0)
        .unwrap_or(20)
        .min(100);
    let matching: Vec<&Customer> = state
        .customers
        .iter()
        .rev()
        .filter(|customer| source.is_empty() || customer.source == source)
        .collect();
    let skipped = usize::try_from((page - 1).saturating_mul(limit)).unwrap_or(usize::MAX);
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let items: Vec<Value> = matching
        .iter()
        .skip(skipped)
        .take(shown)
        .map(|customer| item(state, customer))
        .collect();
    Answer::ok(&json!({
        "items": items,
        "meta": {"page": page, "limit": limit, "total": matching.len(), "provider": "genfity-wa", "source": source},
    }))
}

fn item(state: &SupportState, customer: &Customer) -> Value {
    let subscription = &customer.subscription;
    json!({
        "user_id": customer.user_id, "source_service": customer.source, "status": "active",
        "created_by": customer.created_by, "created_at": customer.created_at.at,
        "updated_at": customer.updated_at.at,
        "subscription": {
            "provider": subscription.provider, "status": "active", "expires_at": subscription.expires_at,
            "max_sessions": subscription.max_sessions, "max_messages": subscription.max_messages,
        },
        "session_count": state.sessions_of(&customer.user_id).count(),
    })
}

/// The key is shown when the customer is new, and never again.
fn upsert(hub: &Hub, state: &mut SupportState, caller: &Caller, call: &Call) -> Handled {
    let fields = object(call)?;
    let (user_id, source) = (required(&fields, "user_id")?, required(&fields, "source")?);
    let expires_at = required(&fields, "expires_at")?;
    if chrono::DateTime::parse_from_rfc3339(expires_at).is_err() {
        return Err(refusal(400, "parsing time: cannot parse"));
    }
    if caller.source.as_deref().is_some_and(|own| own != source) {
        return Err(refusal(403, "key only allowed for its own source"));
    }
    if state
        .customer(user_id)
        .is_some_and(|customer| caller.source.is_some() && customer.source != source)
    {
        return Err(refusal(403, "user does not belong to this source"));
    }
    let subscription = Subscription {
        provider: Some(text(&fields, "provider"))
            .filter(|provider| !provider.is_empty())
            .unwrap_or_else(|| "genfity-wa".to_owned()),
        expires_at: expires_at.to_owned(),
        max_sessions: Some(integer(&fields, "max_sessions"))
            .filter(|most| *most > 0)
            .unwrap_or(1),
        max_messages: integer(&fields, "max_messages"),
    };
    let now = hub.now();
    let api_key = if let Some(customer) = state.customer_mut(user_id) {
        source.clone_into(&mut customer.source);
        customer.subscription = subscription;
        customer.updated_at = now;
        String::new()
    } else {
        let api_key = fresh_key("gwa_");
        state.customers.push(Customer {
            user_id: user_id.to_owned(),
            source: source.to_owned(),
            created_by: text(&fields, "created_by"),
            api_key: api_key.clone(),
            rotations: 0,
            created_at: now.clone(),
            updated_at: now,
            subscription,
        });
        api_key
    };
    let note = "api_key hanya tampil saat user baru dibuat";
    Ok(Answer::ok(
        &json!({"user_id": user_id, "api_key": api_key, "note": note}),
    ))
}

/// A customer that belongs to the caller's source. A scoped key gets 403 also for one that does not exist.
fn own(state: &SupportState, caller: &Caller, id: &str) -> Result<(), Answer> {
    let owner = state.customer(id).map(|customer| customer.source.as_str());
    match (&caller.source, owner) {
        (Some(own), Some(owner)) if own == owner => Ok(()),
        (Some(_), _) => Err(refusal(403, "user does not belong to this source")),
        (None, Some(_)) => Ok(()),
        (None, None) => Err(refusal(404, "user not found")),
    }
}
