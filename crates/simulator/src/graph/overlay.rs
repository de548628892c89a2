//! What scripted troubles make of an answer.

use std::time::Duration;

use super::errors::{Refusal, Throttle};
use super::faults::{Fate, GraphTroubleKind};
use super::state::GraphState;
use crate::http::Answer;

/// The answer that replaces the work; nothing if the work is to be done.
pub(super) fn before(state: &GraphState, number: &str, fate: &Fate) -> Option<Answer> {
    let answer = match fate.answer.as_ref()? {
        GraphTroubleKind::Error { accepted: false, .. } | GraphTroubleKind::Page { accepted: false, .. } => {
            replaced(state, number, fate)?
        }
        GraphTroubleKind::Cut => Answer::cut(),
        _ => return None,
    };
    Some(held(fate, answer))
}

/// What becomes of the answer of work that was done.
pub(super) fn after(state: &GraphState, number: &str, fate: &Fate, answer: Answer) -> Answer {
    // A refusal of ours is one: nothing was accepted that could be lost.
    if answer.status != 200 {
        return held(fate, answer);
    }
    let answer = match &fate.answer {
        Some(GraphTroubleKind::LostAnswer { ms }) => Answer {
            hold: Duration::from_millis(*ms),
            ..Answer::cut()
        },
        Some(_) => replaced(state, number, fate).unwrap_or(answer),
        None => answer,
    };
    held(fate, answer)
}

fn held(fate: &Fate, mut answer: Answer) -> Answer {
    answer.hold += Duration::from_millis(fate.hold_ms);
    answer
}

fn replaced(state: &GraphState, number: &str, fate: &Fate) -> Option<Answer> {
    match fate.answer.as_ref()? {
        GraphTroubleKind::Error {
            code,
            subcode,
            status,
            details,
            retry_after,
            transient,
            ..
        } => Some(
            Refusal {
                code: *code,
                subcode: *subcode,
                status: *status,
                details: details.clone(),
                transient: *transient,
                throttle: Box::new(Throttle {
                    retry_after: retry_after.clone(),
                    waba: Some(state.waba_of(number)),
                    wait: None,
                }),
                ..Refusal::default()
            }
            .answer(),
        ),
        GraphTroubleKind::Page {
            status,
            html,
            retry_after,
            ..
        } => {
            let page = html.clone().unwrap_or_else(|| {
                "<html><body><h1>Sorry, something went wrong.</h1></body></html>".to_owned()
            });
            Some(Answer {
                content_type: "text/html; charset=utf-8",
                retry_after: retry_after.clone(),
                ..Answer::text(*status, page)
            })
        }
        _ => None,
    }
}
