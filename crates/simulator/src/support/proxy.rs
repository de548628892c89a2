//! `/wa/*` and `/v1/wa/*` (§8): passed on to the WA server for tokens of sessions that the gateway made.

use std::sync::Arc;

use super::{Handled, refusal};
use crate::http::Call;
use crate::hub::{Hub, lock};
use crate::wa;

pub(super) fn answer(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Handled {
    let bearer = call.header("authorization").unwrap_or_default();
    let token = call
        .header("token")
        .filter(|token| !token.is_empty())
        .unwrap_or_else(|| bearer.strip_prefix("Bearer ").unwrap_or(bearer));
    if token.is_empty() {
        return Err(refusal(401, "token required"));
    }
    let known = lock(&hub.support)
        .sessions
        .iter()
        .any(|session| session.session.session_token == token);
    if !known {
        return Err(refusal(403, "record not found"));
    }
    if path
        .first()
        .is_some_and(|first| first.eq_ignore_ascii_case("admin"))
    {
        return Err(refusal(403, "admin path is not exposed"));
    }
    let passed = Call {
        segments: path.iter().map(|&segment| segment.to_owned()).collect(),
        ..call.clone()
    };
    Ok(wa::answer(hub, &passed))
}
