//! Faults on demand: which ones are switched on, and what they do to one request or one outgoing webhook.

use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};

/// A fault to switch on. Exactly one of `path_prefix` (requests coming in) and `target` (webhooks going out) is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FaultSpec {
    /// Requests whose whole path, mount included, starts like this, e.g. `/wa/chat/send/text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// Only this method; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Webhooks of this sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<FaultTarget>,
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// After this many hits the fault is spent; unlimited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Chance from 0 to 1 that a matching request is hit; always if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Spares so many first; counts down as it does.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spare: u64,
}

impl FaultSpec {
    /// A fault on incoming requests whose path starts with `path_prefix`.
    pub fn on_path(path_prefix: impl Into<String>, kind: FaultKind) -> Self {
        Self {
            path_prefix: Some(path_prefix.into()),
            method: None,
            target: None,
            kind,
            times: None,
            probability: None,
            spare: 0,
        }
    }

    /// A fault on webhooks sent by `target`.
    #[must_use]
    pub fn on_webhook(target: FaultTarget, kind: FaultKind) -> Self {
        Self {
            path_prefix: None,
            method: None,
            target: Some(target),
            kind,
            times: None,
            probability: None,
            spare: 0,
        }
    }

    /// The same fault, spent after `times` hits.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// The same fault, which spares the first ones.
    #[must_use]
    pub fn sparing(mut self, spare: u64) -> Self {
        self.spare = spare;
        self
    }
}

/// Which sender's webhooks are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultTarget {
    /// Events of the WA server.
    WaWebhook,
    /// Webhooks of Chatwoot.
    ChatwootWebhook,
    /// Webhooks of the GoWA.
    GowaWebhook,
    /// Webhooks of the Graph API.
    GraphWebhook,
}

/// What a fault does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// Answer with this status and do nothing.
    Status {
        /// HTTP status.
        status: u16,
        /// Body; JSON values as JSON, a string as plain text.
        #[serde(default)]
        body: Option<serde_json::Value>,
        /// `Retry-After` header.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// Wait before working (requests) or before each attempt (webhooks).
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Close the connection without doing anything. On webhooks: nothing is sent and the attempt counts as failed.
    Cut,
    /// Do the work, then close the connection without an answer. On webhooks: the answer is thrown away and the attempt counts as failed.
    LostAnswer,
    /// As `lost_answer`, but the client is left waiting for this long before the connection closes.
    LostAnswerDelay {
        /// Milliseconds.
        ms: u64,
    },
    /// Requests only: do the work, then answer with this status all the same.
    LateStatus {
        /// HTTP status.
        status: u16,
        /// Body; JSON values as JSON, a string as plain text.
        #[serde(default)]
        body: Option<serde_json::Value>,
    },
    /// Requests only: do the work, and answer only after this long.
    SlowAnswer {
        /// Milliseconds.
        ms: u64,
    },
    /// Webhooks only: send each event more than once.
    Duplicate {
        /// How many times more.
        #[serde(default = "one")]
        copies: u32,
        /// All at the same time rather than one after another.
        #[serde(default)]
        concurrent: bool,
    },
    /// Webhooks only: hold each event for a random part of this window, so that they overtake each other.
    Reorder {
        /// Milliseconds.
        window_ms: u64,
    },
}

fn one() -> u32 {
    1
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A fault that is switched on, with the number of times it has hit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FaultView {
    /// Number to remove it by.
    pub id: u64,
    /// How many requests or webhooks it has hit.
    pub hits: u64,
    /// The fault itself.
    #[serde(flatten)]
    pub spec: FaultSpec,
}

/// Why a fault was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FaultError {
    /// Neither or both of the selectors.
    #[error("give exactly one of path_prefix and target")]
    Selector,
    /// The control plane must stay usable.
    #[error("faults under /_sim are not possible")]
    ControlPlane,
    /// A kind that makes no sense for that selector.
    #[error(
        "this kind does not fit: duplicate and reorder need target, status, late_status and slow_answer need path_prefix"
    )]
    Kind,
    /// As many as there may be are switched on already.
    #[error("too many faults are switched on; remove some")]
    TooMany,
}

/// What is to be done to one incoming request.
#[derive(Debug, Default)]
pub(crate) struct RequestFate {
    pub(crate) delay: Duration,
    pub(crate) instead: Option<Instead>,
    /// The work is done, the answer withheld, and the connection closed after this long.
    pub(crate) lose_answer_after: Option<Duration>,
    /// The work is done and the answer replaced.
    pub(crate) answer_with: Option<(u16, Option<serde_json::Value>)>,
    /// The work is done and its answer held back for so long.
    pub(crate) answer_after: Duration,
}

#[derive(Debug)]
pub(crate) enum Instead {
    Cut,
    Status {
        status: u16,
        body: Option<serde_json::Value>,
        retry_after: Option<String>,
    },
}

/// What is to be done to one event as a whole.
#[derive(Debug, Default)]
pub(crate) struct EventFate {
    pub(crate) hold: Duration,
    pub(crate) copies: u32,
    pub(crate) concurrent: bool,
}

/// What is to be done to one attempt to deliver a webhook.
#[derive(Debug, Default)]
pub(crate) struct AttemptFate {
    pub(crate) delay: Duration,
    pub(crate) cut: bool,
    pub(crate) lose_answer: bool,
}

/// Most faults at a time. Spent ones stay readable until their place is needed.
const FAULT_LIMIT: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Faults {
    next_id: u64,
    active: Vec<FaultView>,
}

impl Faults {
    pub(crate) fn add(&mut self, spec: FaultSpec) -> Result<u64, FaultError> {
        let webhook_only = matches!(spec.kind, FaultKind::Duplicate { .. } | FaultKind::Reorder { .. });
        match (&spec.path_prefix, spec.target) {
            (Some(path), None) if path.starts_with("/_sim") => {
                return Err(FaultError::ControlPlane);
            }
            (Some(_), None) if webhook_only => return Err(FaultError::Kind),
            (None, Some(_))
                if matches!(
                    spec.kind,
                    FaultKind::Status { .. } | FaultKind::LateStatus { .. } | FaultKind::SlowAnswer { .. }
                ) =>
            {
                return Err(FaultError::Kind);
            }
            (Some(_), None) | (None, Some(_)) => {}
            _ => return Err(FaultError::Selector),
        }
        if self.active.len() >= FAULT_LIMIT {
            self.active.retain(|fault| !spent(fault));
        }
        if self.active.len() >= FAULT_LIMIT {
            return Err(FaultError::TooMany);
        }
        self.next_id += 1;
        self.active.push(FaultView {
            id: self.next_id,
            hits: 0,
            spec,
        });
        Ok(self.next_id)
    }

    pub(crate) fn list(&self) -> Vec<FaultView> {
        self.active.clone()
    }

    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.active.len();
        self.active.retain(|fault| fault.id != id);
        self.active.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    /// Delays add up; of everything else the fault that was switched on first wins and the later ones are not counted as hit.
    pub(crate) fn for_request(&mut self, method: &str, path: &str) -> RequestFate {
        let mut fate = RequestFate::default();
        for fault in &mut self.active {
            let Some(prefix) = &fault.spec.path_prefix else {
                continue;
            };
            let other_method = fault
                .spec
                .method
                .as_ref()
                .is_some_and(|wanted| !wanted.eq_ignore_ascii_case(method));
            let decided =
                fate.instead.is_some() || fate.lose_answer_after.is_some() || fate.answer_with.is_some();
            let only_delays = matches!(
                fault.spec.kind,
                FaultKind::Delay { .. } | FaultKind::SlowAnswer { .. }
            );
            if !path.starts_with(prefix.as_str()) || other_method || (decided && !only_delays) {
                continue;
            }
            if !hit(fault) {
                continue;
            }
            match &fault.spec.kind {
                FaultKind::Delay { ms } => fate.delay += Duration::from_millis(*ms),
                FaultKind::Cut => fate.instead = Some(Instead::Cut),
                FaultKind::Status {
                    status,
                    body,
                    retry_after,
                } => {
                    fate.instead = Some(Instead::Status {
                        status: *status,
                        body: body.clone(),
                        retry_after: retry_after.clone(),
                    });
                }
                FaultKind::LostAnswer => fate.lose_answer_after = Some(Duration::ZERO),
                FaultKind::LostAnswerDelay { ms } => {
                    fate.lose_answer_after = Some(Duration::from_millis(*ms));
                }
                FaultKind::LateStatus { status, body } => {
                    fate.answer_with = Some((*status, body.clone()));
                }
                FaultKind::SlowAnswer { ms } => fate.answer_after += Duration::from_millis(*ms),
                FaultKind::Duplicate { .. } | FaultKind::Reorder { .. } => {}
            }
        }
        fate
    }

    pub(crate) fn for_event(&mut self, target: FaultTarget) -> EventFate {
        let mut fate = EventFate::default();
        for fault in &mut self.active {
            let whole_event = matches!(
                fault.spec.kind,
                FaultKind::Duplicate { .. } | FaultKind::Reorder { .. }
            );
            if fault.spec.target != Some(target) || !whole_event || !hit(fault) {
                continue;
            }
            match fault.spec.kind {
                FaultKind::Duplicate { copies, concurrent } => {
                    fate.copies += copies;
                    fate.concurrent |= concurrent;
                }
                FaultKind::Reorder { window_ms } => {
                    let held = rand::rng().random_range(0..=window_ms);
                    fate.hold += Duration::from_millis(held);
                }
                _ => {}
            }
        }
        fate
    }

    pub(crate) fn for_attempt(&mut self, target: FaultTarget) -> AttemptFate {
        let mut fate = AttemptFate::default();
        for fault in &mut self.active {
            let whole_event = matches!(
                fault.spec.kind,
                FaultKind::Duplicate { .. } | FaultKind::Reorder { .. }
            );
            if fault.spec.target != Some(target) || whole_event || !hit(fault) {
                continue;
            }
            match fault.spec.kind {
                FaultKind::Delay { ms } => fate.delay += Duration::from_millis(ms),
                FaultKind::Cut => fate.cut = true,
                FaultKind::LostAnswer => fate.lose_answer = true,
                FaultKind::LostAnswerDelay { ms } => {
                    fate.lose_answer = true;
                    fate.delay += Duration::from_millis(ms);
                }
                _ => {}
            }
        }
        fate
    }
}

fn spent(fault: &FaultView) -> bool {
    fault.spec.times.is_some_and(|times| fault.hits >= times)
}

/// Counts the hit unless the fault is spent or chance spares this one.
fn hit(fault: &mut FaultView) -> bool {
    let spared = fault
        .spec
        .probability
        .is_some_and(|chance| !rand::rng().random_bool(chance.clamp(0.0, 1.0)));
    if spared || spent(fault) {
        return false;
    }
    if fault.spec.spare > 0 {
        fault.spec.spare -= 1;
        return false;
    }
    fault.hits += 1;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spent_faults_make_room_and_living_ones_do_not() {
        let mut faults = Faults::default();
        for _ in 0..FAULT_LIMIT {
            faults
                .add(FaultSpec::on_path("/wa", FaultKind::Cut).times(1))
                .unwrap();
        }
        let living = || FaultSpec::on_path("/wa", FaultKind::Cut);
        assert_eq!(faults.add(living()), Err(FaultError::TooMany));
        faults.for_request("GET", "/wa/x");
        assert_eq!(faults.list()[0].hits, 1);
        faults.add(living()).unwrap();
        assert_eq!(faults.list().len(), FAULT_LIMIT);
    }
}
