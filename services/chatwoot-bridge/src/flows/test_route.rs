//! The test button: who gets the events of a route, and does it work? Whoever has several numbers on one gateway sees
//! here which of them an inbox leads to (contract 6, 21).

use std::time::Duration;

use database::DatabaseError;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::drift;
use super::edit_route::act;
use super::self_test::{self, Tested, Warning};
use super::target_url::TargetUrl;
use super::{NotDone, Tools};
use crate::store::audit_log::{self, Actor};
use crate::store::inboxes;
use crate::store::routes::{OwnedRoute, Route, Target};

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
}

/// Tries a route out.
///
/// # Errors
/// [`NotDone`] for our own side; what others do is in the outcome.
pub async fn test_route(
    tools: &Tools,
    owned: &OwnedRoute,
    actor: &Actor,
    patience: Duration,
) -> Result<RouteTest, NotDone> {
    let route = &owned.route;
    let scope = TenantScope::named_by_operator(owned.tenant.clone());
    note(tools, &scope, route, actor).await?;
    let url = match &route.target {
        Target::Url { url_sealed, .. } => {
            let place = Route::url_place(scope.tenant().as_str(), route.id);
            let whole = tools.keys.open(url_sealed, &place)?;
            TargetUrl::parse(whole.expose_secret()).ok()
        }
        Target::Account { .. } => None,
    };
    let target = target(tools, &scope, route).await?;
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
        works: route.enabled && !drifted && chatwoot.as_ref().is_none_or(Tested::works),
        target,
        chatwoot,
        drift: drift.map(|drift| drift.state.as_str()),
        warnings,
    })
}

async fn target(tools: &Tools, scope: &TenantScope, route: &Route) -> Result<TargetTest, DatabaseError> {
    match &route.target {
        Target::Url { url_shown, .. } => Ok(TargetTest {
            kind: "url",
            who: url_shown.clone(),
        }),
        Target::Account { link } => {
            let mut tx = TenantTransaction::begin(&tools.db, scope, "find inbox of route").await?;
            let inbox = inboxes::find(&mut tx, *link).await?;
            tx.commit().await?;
            Ok(TargetTest {
                kind: "account",
                who: inbox
                    .map(|inbox| inbox.account_id.to_string())
                    .unwrap_or_default(),
            })
        }
    }
}

async fn note(tools: &Tools, scope: &TenantScope, route: &Route, actor: &Actor) -> Result<(), DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "note test of route").await?;
    audit_log::note(&mut tx, actor, &act("route.test", route)).await?;
    tx.commit().await
}
