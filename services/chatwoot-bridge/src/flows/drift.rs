//! Does Chatwoot still send a route's events here? Others overwrite an inbox's webhook, inboxes are deleted and tokens
//! withdrawn, and none of it makes a noise: messages just stop. So it is looked at, told, and put right where that is
//! wanted.

use std::fmt;

use database::DatabaseError;
use futures_util::StreamExt as _;
use rand::distr::{Alphanumeric, SampleString as _};
use runtime::config::BaseUrl;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use url::Url;

use super::edit_route::act;
use super::target_url::shown_of;
use super::{NotDone, Tools};
use crate::chatwoot::inboxes::InboxFound;
use crate::chatwoot::{ChatwootError, InboxAddress};
use crate::store::audit_log::{self, Actor};
use crate::store::routes::{self, OwnedRoute, Route};
use crate::store::{drift_reports, inboxes};
use crate::webhooks::chatwoot::DEFAULT_INSTALLATION;

/// Routes that are read, and looked at side by side.
const PAGE: i64 = 500;
const AT_ONCE: usize = 4;
/// Letters and digits of a new token in an address.
const TOKEN_LENGTH: usize = 40;

/// Where a route's events go, as Chatwoot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftState {
    /// Here.
    Right,
    /// Somewhere else.
    Changed,
    /// Nowhere.
    Missing,
    /// There is no such inbox, or none that the token may see.
    InboxGone,
    /// The token is not accepted.
    TokenRefused,
    /// Chatwoot did not say.
    Unreachable,
}

impl DriftState {
    /// The stable word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Right => "ok",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::InboxGone => "inbox_gone",
            Self::TokenRefused => "token_refused",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What a look at one route found.
#[derive(Clone, PartialEq, Eq)]
pub struct Drift {
    /// Where the events go.
    pub state: DriftState,
    /// The other address, without what is secret in it.
    pub found: Option<String>,
}

impl fmt::Debug for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drift")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Where Chatwoot has to send the events of an installation's inboxes.
#[must_use]
pub fn webhook_url(public_url: &BaseUrl, installation: &str) -> String {
    if installation == DEFAULT_INSTALLATION {
        format!("{}/webhook", public_url.as_str())
    } else {
        format!("{}/webhook/{installation}", public_url.as_str())
    }
}

/// Does this address lead here and, where the route asks for a token, with the right one?
#[must_use]
pub fn leads_here(found: &str, ours: &str, route: &Route) -> bool {
    let bare = |text: &str| {
        let bare = text.trim().split(['?', '#']).next().unwrap_or_default();
        bare.trim_end_matches('/').to_owned()
    };
    let Some(expected) = &route.path_token_sha256 else {
        return bare(found) == bare(ours);
    };
    let url = Url::parse(found.trim());
    let has_token = url.is_ok_and(|url| {
        url.query_pairs().any(|(name, value)| {
            name == "token" && Sha256::digest(value.as_bytes()).as_slice() == expected.as_slice()
        })
    });
    has_token && bare(found) == bare(ours)
}

/// What a look at one route found, and the inbox as Chatwoot showed it.
#[derive(Debug)]
pub struct Look {
    /// Where the events go.
    pub drift: Drift,
    /// `None`: it was not shown.
    pub inbox: Option<InboxFound>,
}

/// Looks at one route and changes nothing. `None`: it cannot be looked at, because no token is known or nobody knows our
/// own address.
///
/// # Errors
/// [`NotDone`] for our own side.
pub async fn look(tools: &Tools, owned: &OwnedRoute) -> Result<Option<Look>, NotDone> {
    let Some((_, at, ours)) = place_of(tools, owned).await? else {
        return Ok(None);
    };
    Ok(Some(match tools.chatwoot.at(&at).inbox().await {
        Ok(inbox) => Look {
            drift: judge(&inbox, &ours, &owned.route),
            inbox: Some(inbox),
        },
        Err(error) => Look {
            drift: Drift {
                state: match error {
                    ChatwootError::NotFound => DriftState::InboxGone,
                    ChatwootError::TokenRefused => DriftState::TokenRefused,
                    _ => DriftState::Unreachable,
                },
                found: None,
            },
            inbox: None,
        },
    }))
}

/// Would we believe what an inbox signs with the secret that Chatwoot shows? Also where it shows none, as most releases
/// do, or where nothing has to be signed.
///
/// # Errors
/// [`NotDone`] for our own side.
pub async fn signature_is_known(
    tools: &Tools,
    owned: &OwnedRoute,
    inbox: &InboxFound,
) -> Result<bool, NotDone> {
    let Some(shown) = inbox.secret() else {
        return Ok(true);
    };
    let scope = TenantScope::named_by_operator(owned.tenant.clone());
    let link = match owned.route.link() {
        Some(link) => {
            let mut tx = TenantTransaction::begin(&tools.db, &scope, "find webhook secrets").await?;
            let found = inboxes::find(&mut tx, link).await?;
            tx.commit().await?;
            found
        }
        None => None,
    };
    let known = tools.webhook_secrets(&scope, &owned.route, link.as_ref())?;
    Ok(known.is_empty() || known.iter().any(|secret| secret.expose_secret() == shown))
}

/// As [`look`], and writes down what is found.
///
/// # Errors
/// As [`look`].
pub async fn check(tools: &Tools, owned: &OwnedRoute) -> Result<Option<Drift>, NotDone> {
    let Some(Look { drift, .. }) = look(tools, owned).await? else {
        return Ok(None);
    };
    let scope = TenantScope::named_by_operator(owned.tenant.clone());
    let mut tx = TenantTransaction::begin(&tools.db, &scope, "note drift").await?;
    // Gone meanwhile: nothing to be told of.
    if routes::find(&mut tx, owned.route.id).await?.is_none() {
        return Ok(None);
    }
    let state = drift.state.as_str();
    let before = drift_reports::note(&mut tx, owned.route.id, state, drift.found.as_deref()).await?;
    tx.commit().await?;
    if before.as_deref() != Some(state) && drift.state != DriftState::Right {
        tracing::error!(
            route = owned.route.number, tenant = %owned.tenant, state,
            "Chatwoot does not send a route's events here"
        );
        metrics::counter!("kanal_bridge_drifts_total", "state" => state).increment(1);
    }
    Ok(Some(drift))
}

/// Makes Chatwoot send a route's events here again, and looks whether it does.
///
/// # Errors
/// [`NotDone`]: also when Chatwoot refuses.
pub async fn restore(tools: &Tools, owned: &OwnedRoute, actor: &Actor) -> Result<Option<Drift>, NotDone> {
    let Some((scope, at, ours)) = place_of(tools, owned).await? else {
        return Ok(None);
    };
    let known = tools.chatwoot.at(&at).inbox().await?;
    if judge(&known, &ours, &owned.route).state != DriftState::Right {
        point_here(tools, &scope, &owned.route, &at, &ours, actor).await?;
    }
    // The route may have another token now.
    let now = super::edit_route::find(tools, owned.route.number).await?;
    match now {
        Some(now) => check(tools, &now).await,
        None => Ok(None),
    }
}

/// Tells Chatwoot our address. Where the route asks for a token, it gets a new one: the old one is not kept in a form
/// that could be told. It is the old one again where Chatwoot does not take the new one: the account's webhooks may still
/// come with that.
///
/// # Errors
/// [`NotDone`].
pub(super) async fn point_here(
    tools: &Tools,
    scope: &TenantScope,
    route: &Route,
    at: &InboxAddress,
    ours: &str,
    actor: &Actor,
) -> Result<(), NotDone> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "restore webhook").await?;
    let Some(known) = locked(&mut tx, route).await? else {
        return Ok(());
    };
    let old = known.path_token_sha256.clone();
    let token = old
        .is_some()
        .then(|| SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), TOKEN_LENGTH)));
    let digest = |token: &SecretString| Sha256::digest(token.expose_secret().as_bytes()).to_vec();
    let changed = Route {
        path_token_sha256: token.as_ref().map(digest),
        ..known
    };
    if token.is_some() {
        routes::put(&mut tx, &changed).await?;
    }
    audit_log::note(&mut tx, &act(actor, "route.restore", route)).await?;
    tx.commit().await?;
    let address = match &token {
        Some(token) => format!("{ours}?token={}", token.expose_secret()),
        None => ours.to_owned(),
    };
    let api = tools.chatwoot.at(at);
    let Err(error) = api.set_webhook(at.inbox_id, &address).await else {
        return Ok(());
    };
    // An answer that was lost may have been a yes.
    let found = api.inbox().await;
    if found.is_ok_and(|inbox| judge(&inbox, ours, &changed).state == DriftState::Right) {
        return Ok(());
    }
    if token.is_some() {
        take_back_token(tools, scope, &changed, old).await?;
    }
    Err(error.into())
}

/// The route as it is now, and for nobody else to write until the transaction ends.
async fn locked(tx: &mut TenantTransaction, route: &Route) -> Result<Option<Route>, DatabaseError> {
    routes::lock_place(tx, &route.installation, route.inbox_id).await?;
    routes::find(tx, route.id).await
}

/// Gives the route its `old` token back, unless somebody chose another one meanwhile.
async fn take_back_token(
    tools: &Tools,
    scope: &TenantScope,
    changed: &Route,
    old: Option<Vec<u8>>,
) -> Result<(), DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "keep webhook token").await?;
    let known = locked(&mut tx, changed).await?;
    if let Some(known) = known.filter(|known| known.path_token_sha256 == changed.path_token_sha256) {
        let back = Route {
            path_token_sha256: old,
            ..known
        };
        routes::put(&mut tx, &back).await?;
    }
    tx.commit().await
}

/// Looks at every route that is on, and puts right what may be.
///
/// # Errors
/// [`DatabaseError`] when the routes cannot be read; what one of them meets is logged.
pub async fn round(tools: &Tools) -> Result<(), DatabaseError> {
    if tools.public_url.is_none() {
        return Ok(());
    }
    let mut after = None;
    loop {
        let platform = PlatformScope::for_purpose("look for drift");
        let mut tx = PlatformTransaction::begin(&tools.db, platform).await?;
        let page = routes::list(&mut tx, after, PAGE).await?;
        tx.commit().await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.route.number);
        let on = page.into_iter().filter(|owned| owned.route.enabled);
        futures_util::stream::iter(on)
            .for_each_concurrent(AT_ONCE, |owned| async move {
                if let Err(error) = look_after(tools, &owned).await {
                    tracing::warn!(
                        route = owned.route.number,
                        reason = error.reason(),
                        "a route could not be looked at"
                    );
                }
            })
            .await;
    }
}

async fn look_after(tools: &Tools, owned: &OwnedRoute) -> Result<(), NotDone> {
    let Some(drift) = check(tools, owned).await? else {
        return Ok(());
    };
    if !matches!(drift.state, DriftState::Changed | DriftState::Missing) {
        return Ok(());
    }
    let scope = TenantScope::named_by_operator(owned.tenant.clone());
    let mut tx = TenantTransaction::begin(&tools.db, &scope, "may drift be restored").await?;
    let report = drift_reports::find(&mut tx, owned.route.id).await?;
    tx.commit().await?;
    if report.is_some_and(|report| report.auto_restore) {
        restore(tools, owned, &Actor::service(crate::config::SERVICE)).await?;
        tracing::warn!(
            route = owned.route.number,
            "a webhook that was overwritten is ours again"
        );
    }
    Ok(())
}

/// Where the route's inbox is, what opens it, and where its events have to go.
async fn place_of(
    tools: &Tools,
    owned: &OwnedRoute,
) -> Result<Option<(TenantScope, InboxAddress, String)>, NotDone> {
    let (Some(public_url), Some(account)) = (&tools.public_url, owned.route.account_id) else {
        return Ok(None);
    };
    let scope = TenantScope::named_by_operator(owned.tenant.clone());
    let at = tools.address_of(&scope, &owned.route, account).await?;
    let ours = webhook_url(public_url, &owned.route.installation);
    Ok(at.map(|at| (scope, at, ours)))
}

fn judge(inbox: &InboxFound, ours: &str, route: &Route) -> Drift {
    match inbox.webhook_url() {
        None => Drift {
            state: DriftState::Missing,
            found: None,
        },
        Some(found) if leads_here(found, ours, route) => Drift {
            state: DriftState::Right,
            found: None,
        },
        Some(found) => Drift {
            state: DriftState::Changed,
            found: Some(shown_of(found)),
        },
    }
}
