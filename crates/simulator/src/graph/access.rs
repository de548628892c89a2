//! Who may do what: tokens, the objects they reach, and the allowance of calls.

use std::time::Duration;

use super::errors::{Refusal, Throttle, app_usage, waba_usage};
use super::state::GraphState;
use crate::http::{Answer, Call};

/// The token of a call, whether or not it is known.
pub(super) fn shown(call: &Call) -> Option<&str> {
    call.header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "))
        .or_else(|| call.query("access_token"))
        .filter(|token| !token.is_empty())
}

/// A token that is known and whole. `None`: nothing is set up and any will do.
fn token<'a>(state: &'a GraphState, call: &Call) -> Result<Option<&'a [String]>, Refusal> {
    let Some(shown) = shown(call) else {
        return Err(Refusal {
            message: Some("Invalid OAuth access token - Cannot parse access token".to_owned()),
            ..Refusal::new(190)
        });
    };
    if state.open_to_all() {
        return Ok(None);
    }
    let Some(token) = state.tokens.get(shown) else {
        return Err(Refusal {
            message: Some("Invalid OAuth access token - Cannot parse access token".to_owned()),
            ..Refusal::new(190)
        });
    };
    match token.broken {
        Some(subcode) => Err(Refusal {
            message: Some("Error validating access token: Session is no longer valid".to_owned()),
            subcode: Some(subcode),
            ..Refusal::new(190)
        }),
        None => Ok(Some(&token.wabas)),
    }
}

/// Any good token.
pub(super) fn anybody(state: &GraphState, call: &Call) -> Result<(), Refusal> {
    token(state, call).map(|_| ())
}

/// A token that reaches the number, and an app that may still call.
pub(super) fn number(state: &mut GraphState, call: &Call, number: &str) -> Result<(), Refusal> {
    let reached = match token(state, call)? {
        None => true,
        Some(wabas) => state
            .numbers
            .get(number)
            .is_some_and(|number| wabas.contains(&number.waba)),
    };
    if !reached {
        return Err(Refusal::no_such(number, &call.method));
    }
    app(state, call)
}

/// A token that reaches the account, and an app and an account that may still be called.
pub(super) fn waba(state: &mut GraphState, call: &Call, waba: &str) -> Result<(), Refusal> {
    let reached = match token(state, call)? {
        None => true,
        Some(wabas) => state.wabas.contains_key(waba) && wabas.iter().any(|one| one == waba),
    };
    if !reached {
        return Err(Refusal::no_such(waba, &call.method));
    }
    app(state, call)?;
    let Some(most) = state.settings.waba_calls else {
        return Ok(());
    };
    let usage = state.limits.waba(waba, most, window(state));
    if usage.over {
        return Err(Refusal {
            status: state.settings.throttle_status,
            throttle: Box::new(Throttle {
                retry_after: state.settings.throttle_retry_after.clone(),
                waba: Some(waba.to_owned()),
                wait: Some(usage.wait),
            }),
            ..Refusal::because(80007, "The account has reached its rate limit")
        });
    }
    Ok(())
}

fn app(state: &mut GraphState, call: &Call) -> Result<(), Refusal> {
    let Some(most) = state.settings.app_calls else {
        return Ok(());
    };
    let id = app_of(state, call);
    if state.limits.app(&id, most, window(state)).over {
        return Err(Refusal {
            status: state.settings.throttle_status,
            throttle: Box::new(Throttle {
                retry_after: state.settings.throttle_retry_after.clone(),
                ..Throttle::default()
            }),
            ..Refusal::new(4)
        });
    }
    Ok(())
}

fn app_of(state: &GraphState, call: &Call) -> String {
    shown(call)
        .and_then(|shown| state.tokens.get(shown))
        .map_or_else(|| super::state::DEFAULT_APP.to_owned(), |token| token.app.clone())
}

fn window(state: &GraphState) -> Duration {
    Duration::from_millis(state.settings.call_window_ms)
}

/// Tells the caller how much of its allowances is gone, as Meta does with every answer.
pub(super) fn tell_usage(state: &GraphState, call: &Call, answer: &mut Answer) {
    let told = |answer: &Answer, name: &str| answer.headers.iter().any(|(header, _)| *header == name);
    if state.settings.app_calls.is_some() && !told(answer, "x-app-usage") {
        let percent = state
            .limits
            .app_percent(&app_of(state, call), state.settings.app_calls);
        answer
            .headers
            .push(("x-app-usage", app_usage(percent).to_string()));
    }
    let waba = call
        .segments
        .iter()
        .find(|segment| state.wabas.contains_key(segment.as_str()));
    if let (Some(waba), Some(most)) = (waba, state.settings.waba_calls)
        && !told(answer, "x-business-use-case-usage")
    {
        let percent = state.limits.waba_percent(waba, most);
        answer.headers.push((
            "x-business-use-case-usage",
            waba_usage(waba, percent, 0).to_string(),
        ));
    }
}
