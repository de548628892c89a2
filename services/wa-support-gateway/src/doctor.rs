//! `doctor`: everything the gateway depends on, looked at side by side, with what helps where something is wrong.
//!
//! Changes nothing but a key of its own in Redis, which is gone afterwards. Nothing a peer says and no value of a setting
//! but the names of hosts gets into a line.

use std::time::Duration;

use database::{Database, PoolSettings, SchemaNames};
use domain::check::Check;
use runtime::config::InvalidSettings;
use secrecy::ExposeSecret as _;
use tenant_isolation::{policy, sealed_keys};
use web::doctor::{Doctor, Host, Report};
use whatsapp::probe::{HttpProbe, ProbeEndpoint as _, ProbeReason};

use crate::SERVICE;
use crate::config::Known;
use crate::flows::session_reconcile::{Found, Repair, Report as Comparison};
use crate::flows::sessions::Sessions;
use crate::wa_server::WaCalls;

/// Few connections, and no long wait for one.
const POOL: PoolSettings = PoolSettings {
    size: 4,
    wait: Duration::from_secs(5),
};
/// Lines about single sessions.
const NAMED: usize = 20;

const WA_SERVER: &str = "WA server";
const WEBHOOKS: &str = "webhooks of sessions";

/// Looks at everything. `settings` are what reading them as `serve` does came to.
pub async fn examine(settings: Result<(), &InvalidSettings>, known: &Known, names: SchemaNames) -> Report {
    let mut doctor = Doctor::new(SERVICE, settings);
    doctor.running(known.process.clone());
    doctor.hosts(hosts(known));
    let (admin, for_server) = (known.admin.clone(), names.clone());
    let url = known.database.as_ref().map(|database| database.url.clone());
    let db = url.as_ref().and_then(|url| Database::new(url, names, POOL).ok());
    doctor.question_of("postgres", url, move |url| async move {
        database::examine(&url, admin.as_ref(), &for_server, &crate::MIGRATIONS).await
    });
    doctor.question_of("tenants apart", db.clone(), |db| async move {
        policy::examine(&db).await
    });
    let keys = db.clone().zip(known.keys.clone());
    doctor.question_of("encryption keys", keys, |(db, keys)| async move {
        sealed_keys::examine(&db, &keys.ids()).await
    });
    doctor.question_of("redis", known.redis.clone(), |redis| async move {
        cache::examine(&redis.url, &redis.prefix).await
    });
    match known.broker.clone() {
        Some(broker) => doctor.question("rabbitmq", async move {
            messaging::examine(&broker.url, &broker.topology, false).await
        }),
        None => doctor.say(Check::skipped(
            "rabbitmq",
            "RABBITMQ_URL is not set: parked webhooks are announced nowhere",
        )),
    }
    for check in addresses(known) {
        doctor.say(check);
    }
    wa_server(&mut doctor, known);
    sessions(&mut doctor, known, db);
    doctor.ask().await
}

fn hosts(known: &Known) -> Vec<(String, Host)> {
    let database = known
        .database
        .as_ref()
        .map(|database| format!("{:?}", database.url));
    let urls = [
        ("DATABASE_URL", database.as_deref()),
        (
            "REDIS_URL",
            known.redis.as_ref().map(|redis| redis.url.expose_secret()),
        ),
        (
            "RABBITMQ_URL",
            known.broker.as_ref().map(|broker| broker.url.expose_secret()),
        ),
        (
            "WA_SERVER_URL",
            known.wa_server.as_ref().map(|server| server.url.as_str()),
        ),
    ];
    urls.into_iter()
        .filter_map(|(setting, url)| Some((setting.to_owned(), Host::of_url(url?)?)))
        .collect()
}

fn addresses(known: &Known) -> Vec<Check> {
    const BASE: &str = "PUBLIC_GATEWAY_BASE_URL";
    let Some(relay) = &known.relay else {
        return Vec::new();
    };
    vec![match (&relay.public_base, relay.missing_base) {
        (Some(_), _) => Check::ok(BASE, "is set: webhooks come here and are passed on"),
        (None, true) => Check::warn(
            BASE,
            "is not set: webhooks go from the WA server to the customers directly, unchecked and without retries",
            "set it to where the WA server reaches this service, or WEBHOOK_RELAY=off if that is meant",
        ),
        (None, false) => Check::ok(BASE, "is not needed: WEBHOOK_RELAY is off"),
    }]
}

fn wa_server(doctor: &mut Doctor, known: &Known) {
    let server = known.wa_server.clone().zip(known.admin_token.clone());
    doctor.question_of(WA_SERVER, server, |(server, token)| async move {
        let Ok(probe) = HttpProbe::wa_server(server.url.url(), Some(&token)) else {
            return vec![Check::wrong(
                WA_SERVER,
                "cannot be called as it is configured",
                "look at WA_SERVER_URL and WA_ADMIN_TOKEN: the token has to fit into a header",
            )];
        };
        match probe.probe().await {
            Ok(report) => {
                let found = format!("answers in {} ms, and takes our token", report.took.as_millis());
                let mut checks = vec![Check::ok(WA_SERVER, found)];
                if let Some(ahead) = report.clock_ahead {
                    let ahead = i32::try_from(ahead).map_or(f64::MAX, f64::from);
                    checks.push(Check::clock(WA_SERVER, ahead));
                }
                checks
            }
            Err(failure) => {
                let found = failure.reason.to_string();
                vec![match failure.reason {
                    ProbeReason::RateLimited => Check::warn(WA_SERVER, found, "ask again later"),
                    reason => Check::wrong(WA_SERVER, found, cure(reason)),
                }]
            }
        }
    });
}

const fn cure(reason: ProbeReason) -> &'static str {
    match reason {
        ProbeReason::Unreachable => "is it running, and do WA_SERVER_URL and the firewall fit?",
        ProbeReason::NoAnswer | ProbeReason::Unwell => "look into its log",
        ProbeReason::KeyRefused => {
            "compare WA_ADMIN_TOKEN with the server's own; sessions cannot be made or removed"
        }
        ProbeReason::RateLimited | ProbeReason::Unexpected => {
            "WA_SERVER_URL leads to something else: compare host and path"
        }
    }
}

/// What the sweep of a running service compares, without mending any of it.
fn sessions(doctor: &mut Doctor, known: &Known, db: Option<Database>) {
    let parts = (|| {
        let (server, settings) = (known.wa_server.as_ref()?, known.sessions.as_ref()?);
        let calls = WaCalls::new(server, settings, known.admin_token.clone()?).ok()?;
        let sessions = Sessions::new(db?, known.keys.clone()?, calls, known.relay.clone()?, settings);
        Some((sessions, settings.unfinished_after))
    })();
    doctor.question_of(WEBHOOKS, parts, |(sessions, ready_for)| async move {
        match sessions.reconcile(ready_for, Repair::default()).await {
            Ok(report) => compared(&report),
            Err(_) => vec![Check::skipped(
                WEBHOOKS,
                "our sessions or the server's users cannot be listed",
            )],
        }
    });
}

fn compared(report: &Comparison) -> Vec<Check> {
    const CURE: &str = "`session reconcile` tells the server anew; a running service does it every SESSION_RECONCILE_MINUTES";
    let line = |found: &Found, what: &str| {
        let whose = found.customer.as_deref().unwrap_or("nobody");
        Check::wrong(format!("session {} of {whose}", found.session_name), what, CURE)
    };
    let missing = report
        .missing
        .iter()
        .map(|found| line(found, "the WA server does not have it"));
    let drifted = report.drifted.iter().map(|found| {
        line(
            found,
            "the WA server has it under another name, or sends its events elsewhere",
        )
    });
    let mut checks: Vec<Check> = missing.chain(drifted).take(NAMED).collect();
    let wrong = report.missing.len() + report.drifted.len();
    if wrong > NAMED {
        checks.push(Check::wrong(
            WEBHOOKS,
            format!("{} more are not as they should be", wrong - NAMED),
            CURE,
        ));
    }
    if !report.orphans.is_empty() {
        checks.push(Check::warn(
            WEBHOOKS,
            format!(
                "the WA server has {} users of our making that no session has",
                report.orphans.len()
            ),
            "if no other gateway uses the server: `session reconcile --remove-orphans`",
        ));
    }
    checks.push(Check::ok(
        WEBHOOKS,
        format!(
            "{} of {} are as they should be",
            report.sessions.saturating_sub(wrong),
            report.sessions
        ),
    ));
    checks
}
