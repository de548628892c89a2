//! The WhatsApp API servers, and where they send events.

use std::time::Duration;

use cache::RedisLink;
use database::Database;
use domain::check::Check;
use whatsapp::probe::ProbeReason;

use crate::config::{Known, OutageSettings};
use crate::endpoints::{CallSettings, Endpoints, LiveEndpoint};
use crate::flows::route_account::AccountRoutes;
use crate::flows::session::keep::drift::{Look, Told};
use crate::flows::session::{Sessions, Tools};
use crate::flows::tenant_config::TenantConfigs;
use web::doctor::Doctor;

/// Sessions that are asked about at most.
const SESSIONS: i64 = 200;
/// Lines about single sessions.
const NAMED: usize = 20;
/// Longest wait for an answer about a session.
const PATIENCE: Duration = Duration::from_secs(5);

const WEBHOOKS: &str = "webhooks of sessions";

pub(super) fn add(doctor: &mut Doctor, known: &Known, stores: Option<(Database, RedisLink)>) {
    let calls = CallSettings {
        timeout: PATIENCE,
        dry_run: known.sessions.as_ref().is_some_and(|sessions| sessions.dry_run),
        outage: OutageSettings::default(),
    };
    let endpoints = match known
        .endpoints
        .as_ref()
        .map(|settings| Endpoints::build(settings, calls))
    {
        Some(Ok(endpoints)) => endpoints,
        Some(Err(error)) => {
            return doctor.say(Check::wrong(
                format!("endpoint {}", error.name),
                "cannot be used as it is configured",
                "look at its api_url and credentials; the service does not start like this",
            ));
        }
        None => return doctor.say(Check::skipped("endpoints", "their settings are missing or wrong")),
    };
    for endpoint in endpoints.all() {
        doctor.question(format!("endpoint {}", endpoint.name), async move {
            probe(&endpoint).await
        });
    }
    let webhook_url = known
        .internal
        .as_ref()
        .and_then(|internal| internal.webhook_url());
    if calls.dry_run || webhook_url.is_none() {
        return doctor.say(Check::skipped(
            WEBHOOKS,
            "nothing is told to servers while WA_DRY_RUN is on or PUBLIC_CHANNEL_BASE_URL is not set",
        ));
    }
    let tools = stores.zip(known.keys.clone()).map(|((db, redis), keys)| Tools {
        db: db.clone(),
        keys,
        routes: AccountRoutes::new(db.clone(), redis.clone()),
        redis: redis.clone(),
        endpoints,
        configs: TenantConfigs::new(db, redis),
        webhook_url,
    });
    doctor.question_of(WEBHOOKS, tools, move |tools| async move {
        webhooks(&Sessions::new(tools)).await
    });
}

async fn probe(endpoint: &LiveEndpoint) -> Vec<Check> {
    let about = format!("endpoint {}", endpoint.name);
    let report = match endpoint.probe.probe().await {
        Ok(report) => report,
        Err(failure) => {
            let found = failure.reason.to_string();
            return vec![match failure.reason {
                ProbeReason::RateLimited => Check::warn(about, found, cure(failure.reason)),
                reason => Check::wrong(about, found, cure(reason)),
            }];
        }
    };
    let took = report.took.as_millis();
    let found = if report.key_taken {
        format!("answers in {took} ms, and takes our key")
    } else {
        format!("answers in {took} ms; no key was to be shown")
    };
    let mut checks = vec![Check::ok(about, found)];
    if let Some(ahead) = report.clock_ahead {
        let ahead = i32::try_from(ahead).map_or(f64::MAX, f64::from);
        checks.push(Check::clock(&format!("endpoint {}", endpoint.name), ahead));
    }
    checks
}

const fn cure(reason: ProbeReason) -> &'static str {
    match reason {
        ProbeReason::Unreachable => {
            "is it running, and do its address, its port, its certificate and the firewall fit?"
        }
        ProbeReason::NoAnswer => "look into its log: it takes connections and does not answer in time",
        ProbeReason::KeyRefused => {
            "compare our key with the one it knows; one that was changed there has to be changed here (SIGHUP reads it anew)"
        }
        ProbeReason::RateLimited => {
            "ask again later; if it stays so, another installation may use the same key"
        }
        ProbeReason::Unwell => "look at it: it says itself that it does not work",
        ProbeReason::Unexpected => {
            "its URL leads to something else: compare host and path with the documentation"
        }
    }
}

async fn webhooks(sessions: &Sessions) -> Vec<Check> {
    let Ok(looks) = sessions.look_for_drift(SESSIONS).await else {
        return vec![Check::skipped(WEBHOOKS, "the sessions cannot be read")];
    };
    let right = looks.iter().filter(|look| look.told == Told::Right).count();
    let mut checks: Vec<Check> = looks.iter().filter_map(line).take(NAMED).collect();
    let wrong = looks.len() - right;
    if wrong > NAMED {
        checks.push(Check::wrong(
            WEBHOOKS,
            format!("{} more are not as they should be", wrong - NAMED),
            "the same as above",
        ));
    }
    let all = if looks.len() == usize::try_from(SESSIONS).unwrap_or(0) {
        "of the first "
    } else {
        "of "
    };
    checks.push(Check::ok(
        WEBHOOKS,
        format!("{right} {all}{} come here", looks.len()),
    ));
    checks
}

fn line(look: &Look) -> Option<Check> {
    let about = format!("webhook of a session of {} at {}", look.tenant, look.endpoint);
    match look.told {
        Told::Right => None,
        Told::Lost(reason) => Some(Check::wrong(
            about,
            format!("does not come here as it should ({reason})"),
            "connect the session once more, which tells its server anew; with SESSION_WATCH on the service does it by itself. \
             Does another installation use the same session?",
        )),
        Told::NotTold(reason) => Some(Check::warn(
            about,
            format!("its server does not tell ({})", reason.as_str()),
            "look at the session in the dashboard; its token may have been replaced on the server",
        )),
        Told::NotAsked => Some(Check::warn(
            about,
            "cannot be asked: its endpoint is not configured, or its token does not open",
            "configure the endpoint again or move the tenant; see encryption keys above",
        )),
    }
}
