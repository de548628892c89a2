//! The test button: who gets the events of a route, and does it work? Whoever has several numbers on one gateway sees
//! here which of them an inbox leads to (contract 6, 21).

use std::time::{Duration, Instant};

use database::DatabaseError;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Value, json};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::drift;
use super::edit_route::act;
use super::self_test::{self, Tested, Warning};
use super::target_url::TargetUrl;
use super::{NotDone, Tools};
use crate::store::audit_log::{self, Actor};
use crate::store::inboxes;
use crate::store::routes::{OwnedRoute, Route, Target};
use crate::targets::{self, Answer, Post, Targets};

/// What a test found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteTest {
    /// Does everything work that could be tried?
    pub works: bool,
    /// Who gets the events.
    pub target: TargetTest,
    /// Chatwoot's side, where a token is known.
    pub chatwoot: Option<Tested>,
    /// Where Chatwoot sends the events, as a stable word, where a token is known.
    pub drift: Option<&'static str>,
    /// What may not work.
    pub warnings: Vec<Warning>,
}

/// Who gets the events.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetTest {
    /// `account` or `url`.
    pub kind: &'static str,
    /// The URL, without what is secret in it; or the tenant's account.
    pub who: String,
    /// The event that was posted to a URL.
    #[serde(skip)]
    pub sent: Option<String>,
    /// What a URL made of an event that asks for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<TargetAnswer>,
}

/// What a URL made of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetAnswer {
    /// Did it take it?
    pub works: bool,
    /// Why not, as a stable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// Tries a route out.
///
/// # Errors
/// [`NotDone`] for our own side; what others do is in the outcome.
pub async fn test_route(
    (tools, targets): (&Tools, &Targets),
    owned: &OwnedRoute,
    actor: &Actor,
    patience: Duration,
) -> Result<RouteTest, NotDone> {
    let route = &owned.route;
    let scope = TenantScope::named_by_operator(owned.tenant.clone());
    note(tools, &scope, route, actor).await?;
    let (target, url) = match &route.target {
        Target::Account { link } => (account(tools, &scope, *link).await?, None),
        Target::Url { url_shown, .. } => {
            let sample = sample(route);
            let (answer, url) = ask(tools, targets, &scope, route, &sample).await?;
            let target = TargetTest {
                kind: "url",
                who: url_shown.clone(),
                sent: serde_json::to_string_pretty(&sample).ok(),
                answer: Some(answer),
            };
            (target, url)
        }
    };
    let at = match route.account_id {
        Some(account) => tools.address_of(&scope, route, account).await?,
        None => None,
    };
    let drift = drift::check(tools, owned).await?;
    let chatwoot = match &at {
        Some(at) => Some(self_test::both_ways(tools, &scope, route.id, at, patience).await?),
        None => None,
    };
    let mut warnings = self_test::warnings(tools.public_url.as_ref(), url.as_ref()).await;
    if !route.enabled {
        warnings.push(Warning {
            code: "route_disabled",
            text: "The route is off: nothing is done with its events".to_owned(),
        });
    }
    if at.is_none() {
        warnings.push(Warning {
            code: "no_api_token",
            text: "No API token of this Chatwoot account is known, so its side was not tried: PUT /admin/installations \
                   stores one"
                .to_owned(),
        });
    }
    let drifted = drift
        .as_ref()
        .is_some_and(|drift| drift.state != drift::DriftState::Right);
    Ok(RouteTest {
        works: route.enabled
            && !drifted
            && target.answer.as_ref().is_none_or(|answer| answer.works)
            && chatwoot.as_ref().is_none_or(Tested::works),
        target,
        chatwoot,
        drift: drift.map(|drift| drift.state.as_str()),
        warnings,
    })
}

async fn account(tools: &Tools, scope: &TenantScope, link: Uuid) -> Result<TargetTest, DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "find inbox of route").await?;
    let inbox = inboxes::find(&mut tx, link).await?;
    tx.commit().await?;
    Ok(TargetTest {
        kind: "account",
        who: inbox
            .map(|inbox| inbox.account_id.to_string())
            .unwrap_or_default(),
        sent: None,
        answer: None,
    })
}

/// An event of a name that nobody has anything to do for.
fn sample(route: &Route) -> Value {
    json!({
        "event": "kanal_test", "account": {"id": route.account_id}, "inbox": {"id": route.inbox_id},
        "content": "A test of this route; nothing has to be done.",
    })
}

/// Posts it as real ones are posted.
async fn ask(
    tools: &Tools,
    targets: &Targets,
    scope: &TenantScope,
    route: &Route,
    sample: &Value,
) -> Result<(TargetAnswer, Option<TargetUrl>), NotDone> {
    let started = Instant::now();
    let Target::Url {
        url_sealed,
        signing_secret_sealed,
        retry_unknown,
        ..
    } = &route.target
    else {
        return Ok((answered(Answer::Taken, started), None));
    };
    let tenant = scope.tenant().as_str();
    let whole = tools.keys.open(url_sealed, &Route::url_place(tenant, route.id))?;
    let place = Route::signing_place(tenant, route.id);
    let secret = signing_secret_sealed
        .as_ref()
        .map(|sealed| tools.keys.open(sealed, &place))
        .transpose()?;
    let url = TargetUrl::parse(whole.expose_secret()).ok();
    let Ok(target) = targets::Target::new(route.id, &whole, secret, *retry_unknown) else {
        let answer = Answer::Never {
            reason: "invalid_url".to_owned(),
        };
        return Ok((answered(answer, started), None));
    };
    let post = Post {
        event: Uuid::now_v7(),
        attempt: 1,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: sample.to_string().into(),
    };
    let answer = targets.post(&target, post).await;
    Ok((answered(answer, started), url))
}

fn answered(answer: Answer, started: Instant) -> TargetAnswer {
    let reason = match answer {
        Answer::Taken => None,
        Answer::NotNow { reason, .. } | Answer::Unsure { reason } | Answer::Never { reason } => Some(reason),
        Answer::Resting(_) => Some("resting".to_owned()),
    };
    TargetAnswer {
        works: reason.is_none(),
        reason,
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

async fn note(tools: &Tools, scope: &TenantScope, route: &Route, actor: &Actor) -> Result<(), DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "note test of route").await?;
    audit_log::note(&mut tx, &act(actor, "route.test", route)).await?;
    tx.commit().await
}
