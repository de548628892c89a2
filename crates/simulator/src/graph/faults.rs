//! Troubles by script: which calls they hit, by number, receiver and count, and what they do.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::wa::control::ControlError;

/// Most troubles at a time. Spent ones stay readable until their place is needed.
const LIMIT: usize = 1_000;

/// Which calls a trouble is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphCall {
    /// `POST /{number}/messages`.
    #[default]
    Messages,
    /// `POST /{number}/media`.
    Upload,
    /// `GET /{media}`.
    MediaInfo,
    /// The download address.
    Download,
    /// Everything about numbers, accounts, templates and tokens.
    Management,
    /// Every call.
    Any,
}

/// A trouble to switch on. What is absent matches everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GraphTrouble {
    /// Which calls.
    pub call: GraphCall,
    /// Only this `phone_number_id`; for media the one the file belongs to.
    pub number: Option<String>,
    /// Only messages to this receiver: digits, a group or a user id.
    pub recipient: Option<String>,
    /// Only messages of this type; `read` for read marks.
    pub message_type: Option<String>,
    /// Spent after so many hits; never if absent.
    pub times: Option<u64>,
    /// Spares so many first; counts down as it does.
    pub spare: u64,
    /// What happens.
    #[serde(flatten)]
    pub kind: GraphTroubleKind,
}

/// What a trouble does. Of those that hit one call the first that answers decides; the others add to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GraphTroubleKind {
    /// Meta's error answer with this code.
    Error {
        /// E.g. 130429, 131056, 4, 80007, 131000, 190.
        code: i64,
        /// `error_subcode`.
        #[serde(default)]
        subcode: Option<i64>,
        /// HTTP status; the documented one if absent.
        #[serde(default)]
        status: Option<u16>,
        /// `error_data.details`.
        #[serde(default)]
        details: Option<String>,
        /// `Retry-After`.
        #[serde(default)]
        retry_after: Option<String>,
        /// `is_transient`.
        #[serde(default)]
        transient: Option<bool>,
        /// The work was done all the same.
        #[serde(default)]
        accepted: bool,
    },
    /// An answer that is not JSON, as edges give it.
    Page {
        /// HTTP status.
        status: u16,
        /// The page; a short one of HTML if absent.
        #[serde(default)]
        html: Option<String>,
        /// `Retry-After`.
        #[serde(default)]
        retry_after: Option<String>,
        /// The work was done all the same.
        #[serde(default)]
        accepted: bool,
    },
    /// The connection closes and nothing was done.
    Cut,
    /// The work is done; the connection closes after so long without an answer.
    LostAnswer {
        /// Milliseconds.
        #[serde(default)]
        ms: u64,
    },
    /// The work is done at once and answered after so long.
    SlowAnswer {
        /// Milliseconds.
        ms: u64,
    },
    /// 200 without an id in it.
    NoId,
    /// 200, and later a status `failed` with this code.
    Fails {
        /// E.g. 131026, 131047, 131049, 131053.
        code: i64,
        /// `error_data.details`.
        #[serde(default)]
        details: Option<String>,
        /// How long after the answer; the settings' `status_delay_ms` if absent.
        #[serde(default)]
        after_ms: Option<u64>,
    },
    /// 200, and exactly these statuses: late, out of order, more than once, or none.
    Statuses {
        /// In the order they are sent if they are due at the same time.
        #[serde(default)]
        steps: Vec<GraphStatusStep>,
    },
}

impl Default for GraphTroubleKind {
    fn default() -> Self {
        Self::Error {
            code: 131_000,
            subcode: None,
            status: None,
            details: None,
            retry_after: None,
            transient: None,
            accepted: false,
        }
    }
}

impl GraphTroubleKind {
    /// Meta's error answer with this code and the documented status.
    #[must_use]
    pub fn error(code: i64) -> Self {
        Self::Error {
            code,
            subcode: None,
            status: None,
            details: None,
            retry_after: None,
            transient: None,
            accepted: false,
        }
    }

    /// A page of HTML with this status.
    #[must_use]
    pub fn page(status: u16) -> Self {
        Self::Page {
            status,
            html: None,
            retry_after: None,
            accepted: false,
        }
    }
}

/// One status of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphStatusStep {
    /// `sent`, `delivered`, `read`, `played`, `failed` or any other.
    pub status: String,
    /// Milliseconds after the message was accepted.
    pub after_ms: u64,
    /// Code of a `failed`.
    pub code: Option<i64>,
    /// The time it claims, in unix seconds; now if absent.
    pub timestamp: Option<i64>,
    /// How many times more it is sent.
    pub copies: u32,
}

/// A trouble that is switched on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GraphTroubleView {
    /// Number to remove it by.
    pub id: u64,
    /// How many calls it has hit.
    pub hits: u64,
    /// The trouble.
    #[serde(flatten)]
    pub trouble: GraphTrouble,
}

/// One call as troubles see it.
pub(super) struct Seen<'a> {
    pub(super) call: GraphCall,
    pub(super) number: &'a str,
    pub(super) recipient: &'a str,
    pub(super) message_type: &'a str,
}

/// What is to happen to one call.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Replaces the answer: an error or a page, or a closed connection.
    pub(super) answer: Option<GraphTroubleKind>,
    pub(super) hold_ms: u64,
    pub(super) no_id: bool,
    pub(super) steps: Option<Vec<GraphStatusStep>>,
    pub(super) fails: Option<(i64, Option<String>, Option<u64>)>,
}

#[derive(Debug, Default)]
pub(crate) struct Troubles {
    next_id: u64,
    active: Vec<GraphTroubleView>,
}

impl Troubles {
    pub(crate) fn add(&mut self, trouble: GraphTrouble) -> Result<u64, ControlError> {
        if self.active.len() >= LIMIT {
            self.active.retain(|view| !spent(view));
        }
        if self.active.len() >= LIMIT {
            return Err(ControlError::TooManyTroubles);
        }
        self.next_id += 1;
        self.active.push(GraphTroubleView {
            id: self.next_id,
            hits: 0,
            trouble,
        });
        Ok(self.next_id)
    }

    pub(crate) fn list(&self) -> Vec<GraphTroubleView> {
        self.active.clone()
    }

    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.active.len();
        self.active.retain(|view| view.id != id);
        self.active.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    pub(super) fn of(&mut self, seen: &Seen<'_>) -> Fate {
        let mut fate = Fate::default();
        for view in &mut self.active {
            let answers = matches!(
                view.trouble.kind,
                GraphTroubleKind::Error { .. }
                    | GraphTroubleKind::Page { .. }
                    | GraphTroubleKind::Cut
                    | GraphTroubleKind::LostAnswer { .. }
            );
            if !matches(&view.trouble, seen) || (answers && fate.answer.is_some()) || !hit(view) {
                continue;
            }
            match &view.trouble.kind {
                GraphTroubleKind::SlowAnswer { ms } => fate.hold_ms += ms,
                GraphTroubleKind::NoId => fate.no_id = true,
                GraphTroubleKind::Fails {
                    code,
                    details,
                    after_ms,
                } => {
                    fate.fails.get_or_insert((*code, details.clone(), *after_ms));
                }
                GraphTroubleKind::Statuses { steps } => {
                    fate.steps.get_or_insert_with(|| steps.clone());
                }
                kind => fate.answer = Some(kind.clone()),
            }
        }
        fate
    }
}

fn matches(trouble: &GraphTrouble, seen: &Seen<'_>) -> bool {
    let is = |wanted: &Option<String>, it: &str| wanted.as_ref().is_none_or(|wanted| wanted == it);
    (trouble.call == seen.call || trouble.call == GraphCall::Any)
        && is(&trouble.number, seen.number)
        && trouble
            .recipient
            .as_ref()
            .is_none_or(|wanted| wanted.trim_start_matches('+') == seen.recipient)
        && is(&trouble.message_type, seen.message_type)
}

fn spent(view: &GraphTroubleView) -> bool {
    view.trouble.times.is_some_and(|times| view.hits >= times)
}

fn hit(view: &mut GraphTroubleView) -> bool {
    if spent(view) {
        return false;
    }
    if view.trouble.spare > 0 {
        view.trouble.spare -= 1;
        return false;
    }
    view.hits += 1;
    true
}

/// The type of a message's body; `read` for read marks.
pub(super) fn message_type(body: &Value) -> &str {
    if body["status"].is_string() {
        return "read";
    }
    body["type"].as_str().unwrap_or("text")
}
