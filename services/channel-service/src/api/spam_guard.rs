//! `/internal/spam-guard`: who the spam guard keeps from the AI (channel-service contract 1.7).

use std::time::Duration;

use ::web::openapi::{Api, Group, flag, list, object, one_of, text, whole};
use ::web::{ApiError, Internal, Query};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use cache::{Ban, GuardState};
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use super::{internal_group, of_village, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::identifier::read_identifier;
use crate::flows::spam_ban::{self, SpamBanError};

/// Redis is asked again after this time.
const COME_BACK: Duration = Duration::from_secs(2);

const GROUP: Group = internal_group("Spam guard");

pub(crate) fn routes(api: &mut Api) {
    api.group(GROUP);
    let ban = object([
        ("village_id", text()),
        ("wa_user_id", text()),
        ("reason", text()),
        ("bannedAt", whole()),
        ("expiresAt", whole()),
        ("identicalText", text()),
        ("messageCount", whole()),
        ("banType", one_of(&["identical", "rate"])),
    ]);
    let numbers = object([
        ("enabled", flag()),
        ("maxIdentical", whole()),
        ("banDurationMs", whole()),
        ("rateMaxMessages", whole()),
        ("rateWindowMs", whole()),
        ("activeTrackers", whole()),
        ("activeBans", whole()),
        ("supersededMessages", whole()),
        ("bans", list(ban.clone())),
    ]);
    let all = object([("total", whole()), ("bans", list(ban))]);
    let lifted = object([("success", flag()), ("message", text())]);
    api.get(
        "/spam-guard/stats",
        of_village(
            "The spam guard's rules and what it knows; of every village for a key that is good for all",
        )
        .answers(200, "Rules, counts and bans", numbers),
        stats,
    )
    .get(
        "/spam-guard/bans",
        of_village("Who is kept from the AI; of every village for a key that is good for all").answers(
            200,
            "The bans; times in milliseconds since 1970",
            all,
        ),
        bans,
    )
    .delete(
        "/spam-guard/bans/{wa_user_id}",
        of_village("Let a person of a village reach the AI again")
            .answers(200, "The ban is lifted", lifted)
            .refuses(&[(404, "No ban, or nobody of this name")]),
        lift,
    );
}

async fn stats(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let states = states(&caller, &request, &query, &state).await?;
    let rules = state.spam_guard.rules();
    let bans = wire(&states);
    let sum = |count: fn(&GuardState) -> usize| states.iter().map(|(_, state)| count(state)).sum::<usize>();
    Ok(HttpResponse::Ok().json(json!({
        "enabled": rules.enabled, "maxIdentical": rules.max_identical, "banDurationMs": milliseconds(rules.ban),
        "rateMaxMessages": rules.rate_max, "rateWindowMs": milliseconds(rules.rate_window),
        "activeTrackers": sum(|state| state.trackers), "activeBans": bans.len(),
        "supersededMessages": sum(|state| state.waiting), "bans": bans,
    })))
}

async fn bans(
    caller: Internal,
    request: HttpRequest,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let bans = wire(&states(&caller, &request, &query, &state).await?);
    Ok(HttpResponse::Ok().json(json!({"total": bans.len(), "bans": bans})))
}

async fn lift(
    caller: Internal,
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = village::of_write(&caller, village::named_in(&request, Some(&query), None)?)?;
    let no_ban = || {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "spam_ban_not_found",
            "No active spam ban found",
        )
        .with("success", false)
    };
    let person = read_identifier(&path).map_err(|_| no_ban())?;
    let actor = village::actor(&caller, &request, None);
    let lifted = spam_ban::lift(&state.db, &state.spam_guard, &scope, &person, &actor).await;
    if !lifted.map_err(trouble)? {
        return Err(no_ban().into());
    }
    Ok(HttpResponse::Ok().json(json!({
        "success": true, "message": format!("Spam ban removed for {}", path.as_str())
    })))
}

/// The named tenant's, or those of all for a caller that may see all.
async fn states(
    caller: &Internal,
    request: &HttpRequest,
    query: &Query,
    state: &State,
) -> Result<Vec<(TenantScope, GuardState)>, ServiceError> {
    let found = match village::named_in(request, Some(query), None)? {
        Some(village) => {
            let scope = village::scope_of(caller, village)?;
            let found = spam_ban::of_tenant(&state.spam_guard, &scope).await;
            found.map(|found| vec![(scope, found)])
        }
        None if caller.0.is_for_all() => spam_ban::of_all(&state.db, &state.spam_guard).await,
        None => return Err(village::must_be_named().into()),
    };
    found.map_err(trouble)
}

fn trouble(error: SpamBanError) -> ServiceError {
    match error {
        SpamBanError::Away(_) => ApiError::unavailable(COME_BACK).into(),
        SpamBanError::Database(error) => error.into(),
    }
}

fn wire(states: &[(TenantScope, GuardState)]) -> Vec<Value> {
    states
        .iter()
        .flat_map(|(scope, state)| state.bans.iter().map(|ban| wire_ban(scope, ban)))
        .collect()
}

fn wire_ban(scope: &TenantScope, ban: &Ban) -> Value {
    json!({
        "village_id": scope.tenant().as_str(), "wa_user_id": ban.user, "reason": ban.reason,
        "bannedAt": ban.banned_at, "expiresAt": ban.expires_at, "identicalText": ban.text,
        "messageCount": ban.messages, "banType": if ban.is_of_text { "identical" } else { "rate" },
    })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
