//! Meta's error answers (contract 3.5) and what it says about each code (3.6).

use serde_json::{Value, json};

use crate::http::Answer;

/// Code, HTTP status and title.
const KNOWN: &[(i64, u16, &str)] = &[
    (0, 401, "AuthException"),
    (1, 400, "API Unknown"),
    (2, 503, "API Service"),
    (3, 500, "API Method"),
    (4, 400, "Application request limit reached"),
    (10, 403, "Permission Denied"),
    (33, 400, "Parameter value is not valid"),
    (100, 400, "Invalid parameter"),
    (190, 401, "Access token has expired"),
    (200, 403, "API Permission"),
    (368, 403, "Temporarily blocked for policies violations"),
    (80007, 400, "Rate limit issues"),
    (80008, 400, "There have been too many calls to this account"),
    (130_403, 400, "User is blocked by the business"),
    (130_429, 400, "Rate limit hit"),
    (130_472, 400, "User's number is part of an experiment"),
    (
        130_497,
        403,
        "Business account is restricted from messaging users in this country",
    ),
    (131_000, 500, "Something went wrong"),
    (131_005, 403, "Access denied"),
    (131_008, 400, "Required parameter is missing"),
    (131_009, 400, "Parameter value is not valid"),
    (131_016, 500, "Service unavailable"),
    (131_021, 400, "Recipient cannot be sender"),
    (131_026, 400, "Message undeliverable"),
    (131_030, 400, "Recipient phone number not in allowed list"),
    (131_031, 403, "Account has been locked"),
    (131_037, 400, "Display name approval needed"),
    (131_042, 400, "Business eligibility payment issue"),
    (131_045, 500, "Incorrect certificate"),
    (131_047, 400, "Re-engagement message"),
    (131_048, 400, "Spam rate limit hit"),
    (131_049, 400, "Meta chose not to deliver"),
    (131_050, 400, "User has stopped marketing messages"),
    (131_051, 400, "Unsupported message type"),
    (131_052, 400, "Media download error"),
    (131_053, 400, "Media upload error"),
    (
        131_056,
        400,
        "(Business Account, Consumer Account) pair rate limit hit",
    ),
    (131_057, 500, "Account in maintenance mode"),
    (131_059, 400, "Bad cursor"),
    (
        131_062,
        400,
        "Business-scoped user ids are not allowed for this message",
    ),
    (
        132_000,
        400,
        "Number of parameters does not match the expected number of params",
    ),
    (132_001, 404, "Template name does not exist in the translation"),
    (132_005, 400, "Translated text too long"),
    (132_007, 400, "Template format character policy violated"),
    (
        132_012,
        400,
        "Parameter format does not match format in the created template",
    ),
    (132_015, 400, "Template is paused"),
    (132_016, 400, "Template is disabled"),
    (132_068, 400, "Flow is in blocked state"),
    (132_069, 400, "Flow is in throttled state"),
    (133_000, 500, "Incomplete deregistration"),
    (133_004, 503, "Server temporarily unavailable"),
    (133_005, 400, "Two step verification PIN mismatch"),
    (133_010, 400, "Phone number not registered"),
    (133_016, 400, "Account register/deregister rate limit exceeded"),
    (134_101, 400, "Template is syncing"),
    (135_000, 400, "Generic user error"),
    (2_494_100, 503, "Account in maintenance mode"),
];

/// HTTP status and title of a code.
pub(super) fn known(code: i64) -> (u16, &'static str) {
    KNOWN
        .iter()
        .find(|(known, ..)| *known == code)
        .map_or((400, "Unknown error"), |(_, status, title)| (*status, title))
}

/// A refusal on its way to becoming an answer.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) subcode: Option<i64>,
    pub(super) status: Option<u16>,
    pub(super) message: Option<String>,
    pub(super) details: Option<String>,
    pub(super) kind: Option<&'static str>,
    pub(super) transient: Option<bool>,
    /// What the headers say besides; apart, because few have it.
    pub(super) throttle: Box<Throttle>,
}

/// What the headers of a throttled call say.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    pub(super) retry_after: Option<String>,
    /// The business account that usage headers speak of.
    pub(super) waba: Option<String>,
    /// Minutes until it may be called again.
    pub(super) wait: Option<u64>,
}

impl Refusal {
    pub(super) fn new(code: i64) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }

    /// A refusal with the reason.
    pub(super) fn because(code: i64, details: impl Into<String>) -> Self {
        Self {
            code,
            details: Some(details.into()),
            ..Self::default()
        }
    }

    /// 100 with subcode 33: it is not there, or not for this token.
    pub(super) fn no_such(id: &str, method: &str) -> Self {
        Self {
            code: 100,
            subcode: Some(33),
            kind: Some("GraphMethodException"),
            message: Some(format!(
                "Unsupported {} request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
                 permissions, or does not support this operation",
                method.to_lowercase()
            )),
            ..Self::default()
        }
    }

    pub(super) fn answer(self) -> Answer {
        let (status, title) = known(self.code);
        let trace = format!("A{:021}", rand::random::<u64>());
        let message = self
            .message
            .unwrap_or_else(|| format!("(#{}) {title}", self.code));
        let mut error = json!({
            "message": message, "type": self.kind.unwrap_or("OAuthException"), "code": self.code, "fbtrace_id": trace,
        });
        if let Some(details) = self.details {
            error["error_data"] = json!({"messaging_product": "whatsapp", "details": details});
        }
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = json!(subcode);
        }
        if let Some(transient) = self.transient {
            error["is_transient"] = json!(transient);
        }
        let mut answer = Answer::json(self.status.unwrap_or(status), &json!({"error": error}));
        answer.retry_after = self.throttle.retry_after;
        answer.headers.push(("x-fb-trace-id", trace));
        match self.code {
            4 => answer.headers.push(("x-app-usage", app_usage(100).to_string())),
            80007 | 80008 | 130_429 => {
                let waba = self.throttle.waba.unwrap_or_else(|| "0".to_owned());
                let usage = waba_usage(&waba, 100, self.throttle.wait.unwrap_or(5)).to_string();
                answer.headers.push(("x-business-use-case-usage", usage));
            }
            _ => {}
        }
        answer
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        refusal.answer()
    }
}

/// `X-App-Usage`.
pub(super) fn app_usage(percent: u64) -> Value {
    json!({"call_count": percent, "total_cputime": percent / 4, "total_time": percent / 4})
}

/// `X-Business-Use-Case-Usage`; the wait is in minutes.
pub(super) fn waba_usage(waba: &str, percent: u64, wait: u64) -> Value {
    json!({waba: [{
        "type": "whatsapp", "call_count": percent, "total_cputime": percent / 4, "total_time": percent / 4,
        "estimated_time_to_regain_access": wait,
    }]})
}

/// One element of `errors[]` in webhooks.
pub(super) fn webhook_error(code: i64, details: Option<&str>) -> Value {
    let (_, title) = known(code);
    json!({
        "code": code, "title": title, "message": title,
        "error_data": {"details": details.unwrap_or(title)},
        "href": "/documentation/business-messaging/whatsapp/support/error-codes",
    })
}
