//! What the pages show, as text.

use ::web::wire_time;
use askama::Template;

use crate::api::seen::account_of;
use crate::flows::forward::parked::{ForwardCounts, ParkedEvent};
use crate::store::audit_log::ActRow;
use crate::store::drift_reports::DriftReport;
use crate::store::routes::{OwnedRoute, Target};
use crate::store::unrouted_inboxes::UnroutedInbox;

#[derive(Template)]
#[template(path = "home.html")]
pub(super) struct Home {
    pub(super) said: Option<&'static str>,
    pub(super) routes: Vec<RouteView>,
    pub(super) next: Option<i64>,
    pub(super) seen: Vec<SeenView>,
    pub(super) deliveries: Vec<DeliveryView>,
    pub(super) acts: Vec<ActView>,
    pub(super) routes_tenant: String,
}

#[derive(Template)]
#[template(path = "route.html")]
pub(super) struct RoutePage {
    said: Option<&'static str>,
    route: RouteView,
    drift: String,
    is_url: bool,
    inbox: i64,
    account: String,
    installation: String,
    events: String,
    private: bool,
    retry_unknown: bool,
    has_signing_secret: bool,
    enabled: bool,
    auto_restore: bool,
    deliveries: Vec<DeliveryView>,
    counts: Option<String>,
}

#[derive(Template)]
#[template(path = "setup.html")]
pub(super) struct SetupPage {
    pub(super) routes_tenant: String,
}

#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct Message {
    pub(super) heading: String,
    pub(super) lines: Vec<String>,
    pub(super) back: String,
}

pub(super) struct RouteView {
    id: i64,
    name: String,
    place: String,
    target: String,
    tenant: String,
    state: String,
}

pub(super) struct SeenView {
    place: String,
    installation: String,
    account: String,
    inbox: i64,
    seen: i64,
    last: String,
}

pub(super) struct DeliveryView {
    id: String,
    tenant: String,
    at: String,
    route: String,
    event: String,
    reason: String,
    tries: i32,
}

pub(super) struct ActView {
    at: String,
    who: String,
    what: String,
    subject: String,
    detail: String,
}

fn place(installation: &str, account: Option<i64>, inbox: i64) -> String {
    let account = account.map_or_else(|| "any".to_owned(), |id| id.to_string());
    format!("{inbox} (account {account}, {installation})")
}

impl RouteView {
    pub(super) fn new(owned: &OwnedRoute, report: Option<&DriftReport>) -> Self {
        let route = &owned.route;
        let drifted = report
            .and_then(|report| report.state.as_deref())
            .filter(|state| *state != "ok");
        Self {
            id: route.number,
            name: route.name.clone().unwrap_or_default(),
            place: place(&route.installation, route.account_id, route.inbox_id),
            target: match &route.target {
                Target::Account { .. } => "WhatsApp account".to_owned(),
                Target::Url { url_shown, .. } => url_shown.clone(),
            },
            tenant: owned.tenant.to_string(),
            state: match (route.enabled, drifted) {
                (false, _) => "off".to_owned(),
                (true, None) => "on".to_owned(),
                (true, Some(state)) => format!("on, but Chatwoot's webhook: {state}"),
            },
        }
    }
}

impl RoutePage {
    pub(super) fn new(
        (owned, report): (&OwnedRoute, Option<&DriftReport>),
        said: Option<&'static str>,
        (deliveries, counts): (Vec<DeliveryView>, Option<&ForwardCounts>),
    ) -> Self {
        let route = &owned.route;
        let (is_url, signs, retry) = match &route.target {
            Target::Account { .. } => (false, false, false),
            Target::Url {
                signing_secret_sealed,
                retry_unknown,
                ..
            } => (true, signing_secret_sealed.is_some(), *retry_unknown),
        };
        let drift = report.and_then(|report| {
            let (state, checked) = (report.state.as_ref()?, report.checked_at?);
            let found = report.found.as_ref().map(|url| format!(": {url}"));
            Some(format!(
                "{state}{}, looked at {}",
                found.unwrap_or_default(),
                wire_time(checked)
            ))
        });
        Self {
            said,
            route: RouteView::new(owned, report),
            drift: drift.unwrap_or_else(|| "not looked at".to_owned()),
            is_url,
            inbox: route.inbox_id,
            account: route.account_id.map(|id| id.to_string()).unwrap_or_default(),
            installation: route.installation.clone(),
            events: route.wants.events.join(", "),
            private: route.wants.private,
            retry_unknown: retry,
            has_signing_secret: signs,
            enabled: route.enabled,
            auto_restore: report.is_some_and(|report| report.auto_restore),
            deliveries,
            counts: counts.map(|counts| {
                format!(
                    "{} taken from Chatwoot, {} delivered, {} waiting or put aside, {} dropped, {} expired",
                    counts.accepted, counts.delivered, counts.held, counts.dropped, counts.expired
                )
            }),
        }
    }
}

impl From<&ParkedEvent> for DeliveryView {
    fn from(event: &ParkedEvent) -> Self {
        let doubt = if event.unknown {
            " (it may have arrived)"
        } else {
            ""
        };
        Self {
            id: event.event_id.to_string(),
            tenant: event.tenant_id.clone(),
            at: wire_time(event.received_at),
            route: event.route.map(|number| number.to_string()).unwrap_or_default(),
            event: event.event.clone(),
            reason: format!("{}{doubt}", event.reason.as_deref().unwrap_or_default()),
            tries: event.failures,
        }
    }
}

impl From<&UnroutedInbox> for SeenView {
    fn from(seen: &UnroutedInbox) -> Self {
        Self {
            place: place(&seen.installation, account_of(seen), seen.chatwoot_inbox_id),
            installation: seen.installation.clone(),
            account: account_of(seen).map(|id| id.to_string()).unwrap_or_default(),
            inbox: seen.chatwoot_inbox_id,
            seen: seen.seen,
            last: wire_time(seen.last_seen),
        }
    }
}

impl From<&ActRow> for ActView {
    fn from(act: &ActRow) -> Self {
        let source = act.source.as_ref().map(|source| format!(" ({source})"));
        Self {
            at: wire_time(act.at),
            who: format!("{}{}", act.actor, source.unwrap_or_default()),
            what: act.action.clone(),
            subject: act.subject.clone().unwrap_or_default(),
            detail: act.detail.clone().unwrap_or_default(),
        }
    }
}
