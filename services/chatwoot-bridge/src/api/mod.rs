//! What is asked of us over HTTP besides webhooks, a file per noun: all but [`files`] below `/admin`, behind [`basic_auth`].

pub mod basic_auth;
pub(crate) mod checks;
pub(crate) mod deliveries;
pub(crate) mod fields;
pub mod files;
pub(crate) mod history;
pub(crate) mod inboxes;
pub(crate) mod installations;
pub(crate) mod journeys;
pub(crate) mod log;
pub(crate) mod routes;
pub(crate) mod seen;
pub(crate) mod setup;
pub(crate) mod tenants;

use std::time::Duration;

use ::web::ApiError;
use ::web::openapi::Group;
use actix_web::http::StatusCode;
use domain::ids::TenantId;
use messaging::lanes::LaneError;
use tenant_isolation::TenantScope;

use crate::channel::ChannelService;
use crate::flows::edit_route::{Editor, NotEdited};
use crate::flows::{NotDone, Tools};
use crate::outbound_url::OutboundPolicy;
use crate::targets::Targets;

/// What the pages and calls of `/admin` work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Tables, keys, the way to Chatwoot.
    pub tools: Tools,
    /// Which private hosts a URL may name.
    pub outbound: OutboundPolicy,
    /// Whose a route is that names nobody.
    pub routes_tenant: TenantId,
    /// How long the webhook of a test is waited for.
    pub patience: Duration,
    /// The way to URLs that are tried out.
    pub targets: Targets,
    /// The way to channel-service, where it is known.
    pub channel: Option<ChannelService>,
    /// Is it written down where events went that are over?
    pub log_is_kept: bool,
}

impl Admin {
    pub(crate) const fn editor(&self) -> Editor<'_> {
        Editor {
            tools: &self.tools,
            outbound: &self.outbound,
        }
    }

    /// The tenant that is named, or the one of routes that name none.
    pub(crate) fn scope(&self, named: Option<TenantId>) -> TenantScope {
        TenantScope::named_by_operator(named.unwrap_or_else(|| self.routes_tenant.clone()))
    }
}

/// What every call of `/admin` has in common.
pub(crate) const fn group(tag: &'static str) -> Group {
    Group {
        tag,
        security: Some("operator"),
        refusals: &[
            (400, "The request is not what the endpoint takes"),
            (401, "Not the operator; the answer has no body"),
            (403, "Sent by a page of another site"),
            (404, "No such route"),
            (413, "The body is too large"),
            (
                429,
                "Too many wrong passwords from this address; Retry-After says when to come again",
            ),
            (500, "Our fault"),
            (
                503,
                "Something we depend on is away; Retry-After says when to come again",
            ),
        ],
    }
}

/// What operators read when nothing was changed, in the predecessor's words where it had some (contract 1.3).
pub(crate) fn not_edited(error: &NotEdited) -> ApiError {
    match error {
        NotEdited::NotFound => route_not_found(),
        NotEdited::Taken => ApiError::new(
            StatusCode::CONFLICT,
            "route_taken",
            "Route with this inboxId already exists",
        ),
        NotEdited::Field(field, rule) => fields::invalid([(*field, rule.clone())]),
        NotEdited::Database(error) => crate::error::answer(error),
        NotEdited::Encryption(error) => {
            tracing::error!(%error, "a secret cannot be sealed or opened");
            ApiError::internal()
        }
    }
}

pub(crate) fn route_not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no_such_route", "Route not found")
}

/// Something that an operator wants and that a flow could not do.
pub(crate) fn not_done(error: &NotDone) -> ApiError {
    match error {
        NotDone::Lane(LaneError::Database(error)) => crate::error::answer(error),
        NotDone::Chatwoot(error) => ApiError::new(
            StatusCode::BAD_GATEWAY,
            "chatwoot",
            format!("Chatwoot did not do it: {error}"),
        )
        .with("reason", error.reason()),
        error => {
            tracing::error!(%error, "an operator's wish could not be done");
            ApiError::internal()
        }
    }
}
