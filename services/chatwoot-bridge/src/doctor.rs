//! `doctor`: everything the bridge depends on, looked at side by side, with what helps where something is wrong.
//!
//! Changes nothing but a key of its own in Redis, which is gone afterwards. Nothing a peer says and no value of a setting
//! but the names of hosts gets into a line.

use std::time::Duration;

use database::{Database, DatabaseError, PoolSettings};
use domain::check::Check;
use futures_util::StreamExt as _;
use runtime::config::InvalidSettings;
use secrecy::ExposeSecret as _;
use tenant_isolation::{PlatformScope, PlatformTransaction, policy, sealed_keys};
use web::doctor::{Doctor, Host, Report};

use crate::app;
use crate::channel::{ChannelError, ChannelService};
use crate::config::{Known, SERVICE};
use crate::flows::Tools;
use crate::flows::drift::{self, DriftState};
use crate::store::routes::{self, OwnedRoute};

/// Few connections, and no long wait for one.
const POOL: PoolSettings = PoolSettings {
    size: 4,
    wait: Duration::from_secs(5),
};
/// Routes that are looked at, at most and at once.
const ROUTES: i64 = 200;
const AT_ONCE: usize = 4;
/// Lines about single routes.
const NAMED: usize = 20;

const CHANNEL: &str = "channel-service";
const ROUTES_HERE: &str = "webhooks of routes";

/// Looks at everything. `settings` are what reading them as `serve` does came to.
pub async fn examine(settings: Result<(), &InvalidSettings>, known: &Known) -> Report {
    let mut doctor = Doctor::new(SERVICE, settings);
    doctor.running(known.process.clone());
    doctor.hosts(hosts(known));
    let (admin, names) = (known.admin.clone(), known.names.clone());
    doctor.question_of("postgres", known.database_url.clone(), move |url| async move {
        database::examine(&url, admin.as_ref(), &names, &crate::MIGRATIONS).await
    });
    let db = known
        .database_url
        .as_ref()
        .and_then(|url| Database::new(url, known.names.clone(), POOL).ok());
    doctor.question_of("tenants apart", db.clone(), |db| async move {
        policy::examine(&db).await
    });
    let keys = db.zip(known.keys.clone());
    doctor.question_of("encryption keys", keys, |(db, keys)| async move {
        sealed_keys::examine(&db, &keys.ids()).await
    });
    match known.router.as_ref().map(|router| router.redis.clone()) {
        Some(Some(redis)) => {
            doctor.question(
                "redis",
                async move { cache::examine(&redis.url, &redis.prefix).await },
            );
        }
        Some(None) => doctor.say(Check::skipped(
            "redis",
            "REDIS_URL is not set: each process counts its calls to Chatwoot for itself",
        )),
        None => doctor.say(Check::skipped("redis", "its settings are missing or wrong")),
    }
    let topology = known.topology.clone();
    doctor.question_of("rabbitmq", known.rabbitmq.clone(), move |url| async move {
        messaging::examine(&url, &topology, false).await
    });
    for check in addresses(known) {
        doctor.say(check);
    }
    let tools = known
        .storage
        .as_ref()
        .and_then(|storage| app::tools(storage).ok());
    channel_service(&mut doctor, known, tools.clone());
    doctor.question_of(
        ROUTES_HERE,
        tools,
        |tools| async move { look_at_routes(&tools).await },
    );
    doctor.ask().await
}

fn hosts(known: &Known) -> Vec<(String, Host)> {
    let database = known.database_url.as_ref().map(|url| format!("{url:?}"));
    let redis = known.router.as_ref().and_then(|router| router.redis.as_ref());
    let service = known
        .channel
        .as_ref()
        .and_then(|channel| channel.service.as_ref());
    let urls = [
        ("DATABASE_URL", database.as_deref()),
        ("REDIS_URL", redis.map(|redis| redis.url.expose_secret())),
        (
            "RABBITMQ_URL",
            known.rabbitmq.as_ref().map(|url| url.expose_secret()),
        ),
        ("CHANNEL_SERVICE_URL", service.map(|(url, _)| url.as_str())),
        (
            "CHANNEL_FILES_URL",
            known.inbound.as_ref().map(|inbound| inbound.files_url.as_str()),
        ),
    ];
    urls.into_iter()
        .filter_map(|(setting, url)| Some((setting.to_owned(), Host::of_url(url?)?)))
        .collect()
}

fn addresses(known: &Known) -> Vec<Check> {
    let (Some(router), Some(files)) = (&known.router, &known.files) else {
        return Vec::new();
    };
    let mut checks = vec![if router.public_url.is_some() {
        Check::ok("PUBLIC_BRIDGE_URL", "is set")
    } else {
        Check::warn(
            "PUBLIC_BRIDGE_URL",
            "is not set: inboxes cannot be set up, and nobody sees when Chatwoot's webhooks are changed",
            "set it to where Chatwoot reaches this service",
        )
    }];
    if files.files_url.is_none() && router.public_url.is_none() {
        checks.push(Check::warn(
            "FILES_URL",
            "is not set: agents' files cannot be sent",
            "set it to where channel-service reaches this service",
        ));
    }
    checks
}

/// A key may be one tenant's only, so it is shown for a tenant that we work for.
fn channel_service(doctor: &mut Doctor, known: &Known, tools: Option<Tools>) {
    let (Some(channel), Some(router)) = (&known.channel, &known.router) else {
        return doctor.say(Check::skipped(CHANNEL, "its settings are missing or wrong"));
    };
    let Some((base, key)) = channel.service.clone() else {
        return doctor.say(Check::skipped(
            CHANNEL,
            "CHANNEL_SERVICE_URL is not set: nothing of before is imported",
        ));
    };
    let nobody_yet = router.routes_tenant.clone();
    doctor.question(CHANNEL, async move {
        let Ok(client) = ChannelService::new(&base, key) else {
            return vec![Check::skipped(CHANNEL, "the HTTP client cannot be set up")];
        };
        let first = match &tools {
            Some(tools) => first_routes(tools, 1).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let tenant = first.into_iter().next().map_or(nobody_yet, |owned| owned.tenant);
        vec![match client.accounts(&tenant).await {
            Ok(_) => Check::ok(CHANNEL, "answers, and takes our key"),
            Err(ChannelError::KeyRefused) => Check::wrong(
                CHANNEL,
                format!("does not take our key for the tenant {tenant}"),
                "compare CHANNEL_SERVICE_KEY with its INTERNAL_API_KEY, or with the tenants of its INTERNAL_CALLER_KEYS",
            ),
            Err(ChannelError::Refused(_)) => Check::wrong(
                CHANNEL,
                "something else answers there, or an older version",
                "compare CHANNEL_SERVICE_URL with its address: `/health` under it has to be channel-service's",
            ),
            Err(ChannelError::Away(reason)) => Check::wrong(
                CHANNEL,
                format!("does not answer as it should ({reason})"),
                "is it running, and do CHANNEL_SERVICE_URL and the firewall fit? Messages go on through RabbitMQ",
            ),
        }]
    });
}

async fn first_routes(tools: &Tools, most: i64) -> Result<Vec<OwnedRoute>, DatabaseError> {
    let scope = PlatformScope::for_purpose("look for drift");
    let mut tx = PlatformTransaction::begin(&tools.db, scope).await?;
    let page = routes::list(&mut tx, None, most).await?;
    tx.commit().await?;
    Ok(page)
}

/// Does each Chatwoot take our token, and send its events here?
async fn look_at_routes(tools: &Tools) -> Vec<Check> {
    if tools.public_url.is_none() {
        return vec![Check::skipped(ROUTES_HERE, "nobody says where they should lead")];
    }
    let Ok(page) = first_routes(tools, ROUTES).await else {
        return vec![Check::skipped(ROUTES_HERE, "the routes cannot be read")];
    };
    let of = if page.len() == usize::try_from(ROUTES).unwrap_or(0) {
        "of the first"
    } else {
        "of"
    };
    let on = page.into_iter().filter(|owned| owned.route.enabled);
    let looks: Vec<Option<Check>> = futures_util::stream::iter(on)
        .map(|owned| async move { look_at(tools, &owned).await })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let all = looks.len();
    let mut checks: Vec<Check> = looks.into_iter().flatten().collect();
    let found = format!(
        "{} {of} {all} lead here, or cannot be asked about",
        all - checks.len()
    );
    if checks.len() > NAMED {
        let more = format!("{} more are not as they should be", checks.len() - NAMED);
        checks.truncate(NAMED);
        checks.push(Check::wrong(ROUTES_HERE, more, "the same as above"));
    }
    checks.push(Check::ok(ROUTES_HERE, found));
    checks
}

async fn look_at(tools: &Tools, owned: &OwnedRoute) -> Option<Check> {
    let about = format!("webhook of route {} of {}", owned.route.number, owned.tenant);
    let unknown = |about| {
        Check::warn(
            about,
            "cannot be asked about: what is sealed does not open, or our tables do not answer",
            "see encryption keys and postgres above",
        )
    };
    let look = match drift::look(tools, owned).await {
        Ok(look) => look?,
        Err(_) => return Some(unknown(about)),
    };
    let (found, cure) = match look.drift.state {
        DriftState::Right => match drift::signature_is_known(tools, owned, &look.inbox?).await {
            Ok(true) => return None,
            Ok(false) => (
                "Chatwoot signs with a secret that we do not know, and what it sends is refused",
                "store the inbox's secret at the route's page, or set the inbox up again",
            ),
            Err(_) => return Some(unknown(about)),
        },
        DriftState::Changed => (
            "Chatwoot sends its events somewhere else",
            "`restore` at the route's page, or let it be restored by itself; find out who changed it",
        ),
        DriftState::Missing => (
            "Chatwoot sends its events nowhere",
            "`restore` at the route's page sets the inbox's webhook",
        ),
        DriftState::InboxGone => (
            "there is no such inbox, or the token may not see it",
            "switch the route off, or connect the inbox again with an administrator's token",
        ),
        DriftState::TokenRefused => (
            "Chatwoot does not take the token",
            "store a new access token of an administrator; behind nginx, underscores_in_headers has to be on",
        ),
        DriftState::Unreachable => {
            return Some(Check::warn(
                about,
                "Chatwoot does not answer, or not in its way",
                "is it running? Its messages wait meanwhile. A private address has to stand in OUTBOUND_ALLOWED_PRIVATE_HOSTS",
            ));
        }
    };
    Some(Check::wrong(about, found, cure))
}
