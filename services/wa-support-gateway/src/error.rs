//! Everything that can go wrong in a request, and what the caller reads then. Texts and statuses are the contract's
//! (§3.3, §8.2); causes are logged and never answered (W-22).

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use cache::NotLoaded;
use database::DatabaseError;
use runtime::encryption::EncryptionError;
use web::ApiError;
use whatsapp::genfity::CallError;

use crate::flows::contacts::SyncError;
use crate::flows::limit::{Excess, TooOften};
use crate::flows::proxy_path::Refusal;
use crate::wa_server::{ContactsError, ForwardError};

/// How soon it makes sense to come again while Postgres is away.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The same while a session's queue is full.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(60);

/// A request that was not answered by the WA server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No token was presented.
    #[error("no token")]
    TokenRequired,
    /// A token was presented that stands for no session.
    #[error("unknown token")]
    InvalidToken,
    /// No customer's key was presented.
    #[error("no customer's key")]
    ApiKeyRequired,
    /// A key was presented that is no customer's.
    #[error("unknown customer's key")]
    InvalidApiKey,
    /// No service's key was presented.
    #[error("no service's key")]
    InternalKeyRequired,
    /// A key was presented that is no service's.
    #[error("unknown service's key")]
    InvalidInternalKey,
    /// Too many wrong keys, tokens or hooks came from one address.
    #[error("too many wrong keys")]
    TooManyWrongKeys(Duration),
    /// A service speaks for another one.
    #[error("the key is of another service")]
    NotItsSource,
    /// The customer belongs to another service, or there is none: a service learns nothing of others' customers.
    #[error("the customer is not of this service")]
    NotItsCustomer,
    /// There is no such customer.
    #[error("no such customer")]
    NoCustomer,
    /// Somebody was to be erased who is a session of the customer's: all of its webhooks name them.
    #[error("the number or address is one of the customer's own sessions; remove that session first")]
    OwnNumber,
    /// The customer has no subscription with this provider.
    #[error("no such subscription")]
    NoSubscription,
    /// The session's customer is switched off.
    #[error("customer is not active")]
    CustomerNotActive,
    /// The session's customer has no subscription that is usable now.
    #[error("no usable subscription")]
    SubscriptionExpired,
    /// The caller asks too often.
    #[error(transparent)]
    TooOften(#[from] TooOften),
    /// The customer has no send left in its period.
    #[error("no send is left")]
    QuotaExceeded,
    /// A send could not be charged.
    #[error(transparent)]
    NotCharged(Arc<DatabaseError>),
    /// A session's contacts were not synced.
    #[error(transparent)]
    NotSynced(Arc<SyncError>),
    /// The path is not passed on.
    #[error("{0}")]
    Path(#[from] Refusal),
    /// The path leads to no route of ours.
    #[error("no such route")]
    NoRoute,
    /// The body is over the limit.
    #[error("the body is over the limit")]
    TooLarge,
    /// The caller's body ended early.
    #[error("the body was cut off")]
    BodyCutOff,
    /// The WA server did not answer as it should.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// A webhook is no session's, or not signed by its session's key.
    #[error("a webhook of nobody's")]
    HookRefused,
    /// So many webhooks wait for the session's receiver that no more are taken.
    #[error("too many webhooks wait for the session's receiver")]
    HookFull,
    /// There is no such session, or it is another customer's.
    #[error("no such session")]
    SessionNotFound,
    /// Some session is called that already.
    #[error("the session name is taken")]
    SessionNameTaken,
    /// The customer has as many sessions as it may have.
    #[error("the customer has its {0} session(s) already")]
    SessionLimit(i32),
    /// Somebody else works on the session, for longer than anybody waits.
    #[error("the session is being changed by somebody else")]
    SessionBusy,
    /// The address cannot be a webhook.
    #[error("{0}")]
    WebhookUrl(&'static str),
    /// The WA server did not do what it was asked for.
    #[error(transparent)]
    Upstream(CallError),
    /// The WA server says that it did, and has something else.
    #[error("the WA server does not have what it was told")]
    NotTaken,
    /// The WA server made a session and does not say which.
    #[error("the WA server's answer names no session")]
    BadProvisioning,
    /// The policies of the database were not confirmed yet.
    #[error("not ready to serve")]
    NotReady,
    /// Our own rows cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The same, for everybody who waited for one look.
    #[error(transparent)]
    Shared(Arc<NotLoaded<DatabaseError>>),
    /// Nobody could be asked whose token, key or hook it is.
    #[error(transparent)]
    NotLooked(Arc<DatabaseError>),
    /// A stored secret cannot be used.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// A bug of ours.
    #[error("{0}")]
    Internal(&'static str),
}

impl Error {
    /// One word for the metrics.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::TokenRequired => "token_required",
            Self::InvalidToken => "invalid_token",
            Self::ApiKeyRequired => "api_key_required",
            Self::InvalidApiKey => "invalid_api_key",
            Self::InternalKeyRequired => "internal_key_required",
            Self::InvalidInternalKey => "invalid_internal_key",
            Self::TooManyWrongKeys(_) => "too_many_wrong_keys",
            Self::NotItsSource | Self::NotItsCustomer => "not_its_customer",
            Self::NoCustomer => "no_customer",
            Self::OwnNumber => "own_number",
            Self::NoSubscription => "no_subscription",
            Self::CustomerNotActive => "customer_not_active",
            Self::SubscriptionExpired => "subscription_expired",
            Self::TooOften(_) => "too_often",
            Self::QuotaExceeded => "quota_exceeded",
            Self::NotSynced(_) => "not_synced",
            Self::Path(Refusal::Invalid) => "invalid_path",
            Self::Path(Refusal::Admin) => "admin_refused",
            Self::Path(Refusal::NotExposed) => "not_exposed",
            Self::Path(Refusal::Unknown) | Self::NoRoute => "no_route",
            Self::TooLarge => "too_large",
            Self::BodyCutOff => "body_cut_off",
            Self::Forward(ForwardError::Unreachable) => "upstream_unreachable",
            Self::Forward(ForwardError::Unavailable) => "upstream_unavailable",
            Self::Forward(ForwardError::TimedOut) => "upstream_timed_out",
            Self::Forward(ForwardError::Redirected) => "upstream_redirected",
            Self::SessionNotFound => "session_not_found",
            Self::SessionNameTaken => "session_name_taken",
            Self::SessionLimit(_) => "session_limit",
            Self::SessionBusy => "session_busy",
            Self::WebhookUrl(_) => "invalid_webhook_url",
            Self::Upstream(_) | Self::NotTaken | Self::BadProvisioning => "upstream_failed",
            Self::HookRefused => "hook_refused",
            Self::HookFull => "hook_full",
            Self::NotReady
            | Self::Database(_)
            | Self::Shared(_)
            | Self::NotCharged(_)
            | Self::NotLooked(_) => "database",
            Self::Encryption(_) | Self::Internal(_) => "internal",
        }
    }

    /// What the caller reads. Logs what operators have to know.
    #[must_use]
    pub fn answer(&self, path: &str) -> ApiError {
        let forbidden = |code, text: &str| ApiError::new(StatusCode::FORBIDDEN, code, text);
        let not_found = |code, text: &str| ApiError::new(StatusCode::NOT_FOUND, code, text);
        match self {
            Self::TokenRequired => ApiError::unauthorized("token_required", "token required"),
            Self::InvalidToken => ApiError::unauthorized("invalid_token", "invalid token"),
            Self::ApiKeyRequired => ApiError::unauthorized("api_key_required", "x-api-key is required"),
            Self::InvalidApiKey => ApiError::unauthorized("invalid_api_key", "invalid api key"),
            Self::InternalKeyRequired => {
                ApiError::unauthorized("internal_key_required", "internal api key required")
            }
            Self::InvalidInternalKey => {
                ApiError::unauthorized("invalid_internal_key", "invalid internal api key")
            }
            Self::TooManyWrongKeys(wait) => ApiError::too_many(*wait),
            Self::NotItsSource => forbidden("not_own_source", "key only allowed for its own source"),
            Self::NotItsCustomer => {
                forbidden("customer_not_of_source", "user does not belong to this source")
            }
            Self::NoCustomer => not_found("user_not_found", "user not found"),
            Self::OwnNumber => conflict(
                "number_of_session",
                "the person is one of the user's own sessions; remove that session first",
            ),
            Self::NoSubscription => not_found("subscription_not_found", "subscription not found"),
            Self::CustomerNotActive => forbidden("customer_not_active", "user is not active"),
            Self::SubscriptionExpired => forbidden("subscription_expired", "subscription expired"),
            Self::TooOften(excess) => too_often(excess),
            Self::QuotaExceeded => forbidden("quota_exceeded", "message quota exceeded"),
            Self::NotCharged(error) | Self::NotLooked(error) => of_database(error),
            Self::NotSynced(error) => not_synced(error),
            Self::Path(Refusal::Invalid) => ApiError::bad_request("invalid_path", "invalid path"),
            Self::Path(Refusal::Admin) => forbidden("admin_not_exposed", "admin path is not exposed"),
            Self::Path(Refusal::NotExposed) => forbidden("path_not_exposed", "path is not exposed"),
            Self::Path(Refusal::Unknown) | Self::NoRoute => ApiError::no_route(path),
            Self::TooLarge => ApiError::too_large(),
            Self::BodyCutOff => ApiError::bad_request("body_cut_off", "The request body ended early"),
            Self::Forward(error) => of_forward(*error),
            Self::HookRefused => ApiError::unauthorized("unauthorized", "unauthorized"),
            Self::HookFull => {
                tracing::warn!("too many webhooks wait for a session's receiver");
                ApiError::unavailable(RETRY_WHEN_FULL)
            }
            Self::SessionNotFound => {
                ApiError::new(StatusCode::NOT_FOUND, "session_not_found", "session not found")
            }
            Self::SessionNameTaken => conflict("session_name_taken", "session name taken"),
            Self::SessionLimit(_) => forbidden("session_limit_exceeded", "session limit exceeded"),
            Self::SessionBusy => conflict("session_busy", "session is being changed by another call"),
            Self::WebhookUrl(text) => {
                ApiError::bad_request("invalid_webhook_url", *text).with("field", "webhook_url")
            }
            Self::Upstream(error) => of_upstream(error),
            Self::NotTaken => bad_gateway("upstream_not_taken", "upstream did not take the settings"),
            Self::BadProvisioning => bad_gateway(
                "upstream_unreadable",
                "invalid wa response for session provisioning",
            ),
            Self::NotReady => ApiError::unavailable(RETRY_AFTER),
            Self::Database(error) => of_database(error),
            Self::Shared(error) => match &**error {
                NotLoaded::Failed(error) => of_database(error),
                NotLoaded::Absent => ApiError::internal(),
            },
            Self::Encryption(_) | Self::Internal(_) => {
                tracing::error!(error = %self, "a request failed for our own fault");
                ApiError::internal()
            }
        }
    }
}

/// For handlers of known routes: only a path that is none has to be named in the answer.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        error.answer("")
    }
}

fn of_forward(error: ForwardError) -> ApiError {
    let unavailable = |code| ApiError::new(StatusCode::BAD_GATEWAY, code, "upstream unavailable");
    match error {
        // The same text as below, but a code of its own: whoever sends may safely send again.
        ForwardError::Unreachable => unavailable("upstream_unreachable"),
        // A redirect of the WA server says as little to a caller as its absence.
        ForwardError::Unavailable | ForwardError::Redirected => unavailable("upstream_unavailable"),
        ForwardError::TimedOut => ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "upstream did not answer in time",
        ),
    }
}

fn too_often(TooOften { excess, budget }: &TooOften) -> ApiError {
    let code = match excess {
        Excess::Blocked => "blocked",
        Excess::Spam => "spam_detected",
        Excess::OverLimit => "rate_limit_exceeded",
    };
    // Whole seconds, and never too early.
    let wait = Duration::from_secs(budget.reset.as_secs() + 1);
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, code, excess.to_string()).retry_after(wait)
}

fn not_synced(error: &SyncError) -> ApiError {
    match error {
        SyncError::WaServer(ContactsError::Forward(error)) => of_forward(*error),
        // Its own words are passed on where they can be read.
        SyncError::WaServer(ContactsError::Refused { .. }) => of_forward(ForwardError::Unavailable),
        SyncError::WaServer(ContactsError::Unreadable) => ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "invalid_contacts_response",
            "invalid contacts response",
        ),
        SyncError::Database(error) => of_database(error),
        SyncError::Busy => ApiError::unavailable(RETRY_AFTER),
        SyncError::Encryption(_) | SyncError::Died => {
            tracing::error!(error = %error, "a sync failed for our own fault");
            ApiError::internal()
        }
    }
}

fn conflict(code: &'static str, text: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, code, text)
}

fn bad_gateway(code: &'static str, text: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, code, text)
}

/// What the WA server said is for the log: its words may tell of its administration, which is no customer's business.
fn of_upstream(error: &CallError) -> ApiError {
    tracing::warn!(error = %error, "the WA server did not do what it was asked for");
    match error {
        CallError::Unreachable { .. } => bad_gateway("upstream_unreachable", "upstream unavailable"),
        CallError::Refused { .. } => bad_gateway("upstream_refused", "upstream refused"),
        CallError::NoAnswer { .. } => bad_gateway("upstream_unavailable", "upstream unavailable"),
        CallError::Unreadable { .. } => bad_gateway(
            "upstream_unreadable",
            "invalid wa response for session provisioning",
        ),
        CallError::Credential { .. } => ApiError::internal(),
    }
}

fn of_database(error: &DatabaseError) -> ApiError {
    tracing::warn!(error = ?error, "the database did not do its part");
    if error.is_transient() {
        ApiError::unavailable(RETRY_AFTER)
    } else {
        ApiError::internal()
    }
}
