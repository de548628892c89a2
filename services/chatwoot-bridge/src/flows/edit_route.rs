//! An operator makes, changes and takes away routes. Each change is noted in the audit log, in the transaction that makes
//! it.

use std::fmt;

use database::DatabaseError;
use domain::ids::AccountId;
use runtime::encryption::EncryptionError;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::Tools;
use super::target_url::{InvalidTarget, TargetUrl};
use crate::outbound_url::OutboundPolicy;
use crate::store::audit_log::{self, Act, Actor};
use crate::store::routes::{self, MOST_SECRETS, OwnedRoute, PLACE_TAKEN, Route, Target, Wants};
use crate::store::{contacts, drift_reports, inboxes, reconcile_marks};

/// What edits.
#[derive(Debug, Clone, Copy)]
pub struct Editor<'a> {
    /// Tables and keys.
    pub tools: &'a Tools,
    /// Which private hosts a URL may name.
    pub outbound: &'a OutboundPolicy,
}

/// What is to be different. What is not given stays as it is or, in a new route, as it usually is.
#[derive(Clone, Default)]
pub struct RouteChange {
    /// Our name for the Chatwoot server.
    pub installation: Option<String>,
    /// Chatwoot's account; the inner `None` for whichever.
    pub account: Option<Option<i64>>,
    /// Chatwoot's inbox.
    pub inbox: Option<i64>,
    /// For people.
    pub name: Option<Option<String>>,
    /// Is anything done with its events?
    pub enabled: Option<bool>,
    /// Where they go.
    pub target: Option<NewTarget>,
    /// Basic auth at the URL, in place of what stands in it.
    pub credentials: Option<(String, SecretString)>,
    /// Events that the URL gets; none for all.
    pub events: Option<Vec<String>>,
    /// Private notes too?
    pub private: Option<bool>,
    /// What signs bodies for the URL.
    pub signing_secret: Option<Option<SecretString>>,
    /// Secrets of the inbox's webhook.
    pub inbox_secrets: Option<Vec<SecretString>>,
    /// Secrets of the account's webhook.
    pub account_secrets: Option<Vec<SecretString>>,
    /// What has to stand behind `?token=` in webhooks' addresses.
    pub path_token: Option<Option<SecretString>>,
    /// Post again what may have arrived?
    pub retry_unknown: Option<bool>,
    /// May an overwritten webhook be put right by itself?
    pub auto_restore: Option<bool>,
    /// Does a single new secret of a webhook leave the newest one that is stored beside it? Else it takes the place of all.
    pub rotates: bool,
}

/// Where events are to go.
#[derive(Clone)]
pub enum NewTarget {
    /// To this URL, or to the one that is there where this is how that one is shown.
    Url(String),
    /// To this account of the tenant.
    Account(AccountId),
}

impl fmt::Debug for RouteChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteChange")
            .field("installation", &self.installation)
            .field("account", &self.account)
            .field("inbox", &self.inbox)
            .finish_non_exhaustive()
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NotEdited {
    /// There is no such route.
    #[error("no such route")]
    NotFound,
    /// The place, or one that takes its events, has a route: this tenant's or another's.
    #[error("the place is taken")]
    Taken,
    /// What is given does not fit. Field and rule, never the value.
    #[error("{0} {1}")]
    Field(&'static str, String),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The cipher.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
}

impl NotEdited {
    fn field(name: &'static str, rule: impl Into<String>) -> Self {
        Self::Field(name, rule.into())
    }

    fn of_put(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Conflict { constraint } if constraint == PLACE_TAKEN => Self::Taken,
            error => Self::Database(error),
        }
    }
}

/// The route of this number, whoever's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tools: &Tools, number: i64) -> Result<Option<OwnedRoute>, DatabaseError> {
    let platform = PlatformScope::for_purpose("show route");
    let mut tx = PlatformTransaction::begin(&tools.db, platform).await?;
    let found = routes::by_number(&mut tx, number).await?;
    tx.commit().await?;
    Ok(found)
}

/// Everybody's routes, newest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(tools: &Tools, after: Option<i64>, most: i64) -> Result<Vec<OwnedRoute>, DatabaseError> {
    let platform = PlatformScope::for_purpose("list routes");
    let mut tx = PlatformTransaction::begin(&tools.db, platform).await?;
    let found = routes::list(&mut tx, after, most).await?;
    tx.commit().await?;
    Ok(found)
}

/// Makes a route. The target, an inbox and an installation have to be given.
///
/// # Errors
/// [`NotEdited`].
pub async fn create(
    editor: Editor<'_>,
    scope: &TenantScope,
    change: &RouteChange,
    actor: &Actor,
) -> Result<OwnedRoute, NotEdited> {
    let now = chrono::Utc::now();
    let mut route = Route {
        id: Uuid::now_v7(),
        number: 0,
        installation: crate::webhooks::chatwoot::DEFAULT_INSTALLATION.to_owned(),
        account_id: None,
        inbox_id: 0,
        name: None,
        enabled: true,
        target: Target::Url {
            url_sealed: String::new(),
            url_shown: String::new(),
            signing_secret_sealed: None,
            retry_unknown: false,
        },
        wants: Wants::default(),
        inbox_secrets_sealed: Vec::new(),
        account_secrets_sealed: Vec::new(),
        path_token_sha256: None,
        created_at: now,
        updated_at: now,
    };
    let prepared = prepare(editor, change, None).await?;
    let mut tx = TenantTransaction::begin(&editor.tools.db, scope, "create route").await?;
    inboxes::lock_connecting(&mut tx).await?;
    change.move_to_place(&mut route);
    if let Some(NewTarget::Account(account)) = &change.target {
        let link = link_of(&mut tx, &route, *account).await?;
        if routes::find(&mut tx, link).await?.is_some() {
            return Err(NotEdited::Taken);
        }
        // Before anything is sealed: secrets are bound to the route's id.
        (route.id, route.target) = (link, Target::Account { link });
    }
    let route = change.applied(editor.tools, scope, route, prepared)?;
    let stored = routes::put(&mut tx, &route).await.map_err(NotEdited::of_put)?;
    if stored.link().is_none() {
        disconnect(&mut tx, &stored).await?;
    }
    begin(&mut tx, None, &stored).await?;
    if let Some(allowed) = change.auto_restore {
        drift_reports::allow_restore(&mut tx, stored.id, allowed).await?;
    }
    audit_log::note(&mut tx, &act(actor, "route.create", &stored)).await?;
    tx.commit().await?;
    Ok(OwnedRoute {
        tenant: scope.tenant().clone(),
        route: stored,
    })
}

/// Changes a route. Where nothing is given, nothing is written, and it keeps its times. A route that leads to a URL now
/// takes the connection of its inbox with it, as [`delete`] does.
///
/// # Errors
/// [`NotEdited`].
pub async fn update(
    editor: Editor<'_>,
    number: i64,
    change: &RouteChange,
    actor: &Actor,
) -> Result<OwnedRoute, NotEdited> {
    let known = find(editor.tools, number).await?.ok_or(NotEdited::NotFound)?;
    let scope = TenantScope::named_by_operator(known.tenant.clone());
    let prepared = prepare(editor, change, Some(&known)).await?;
    let mut tx = TenantTransaction::begin(&editor.tools.db, &scope, "update route").await?;
    inboxes::lock_connecting(&mut tx).await?;
    routes::lock_place(&mut tx, &known.route.installation, known.route.inbox_id).await?;
    let before = routes::find(&mut tx, known.route.id)
        .await?
        .ok_or(NotEdited::NotFound)?;
    if !change.is_something() {
        return Ok(OwnedRoute {
            tenant: known.tenant,
            route: before,
        });
    }
    let mut route = change.applied(editor.tools, &scope, before.clone(), prepared)?;
    if let Some(NewTarget::Account(account)) = &change.target {
        let link = link_of(&mut tx, &route, *account).await?;
        route.target = Target::Account { link };
    }
    let place = |route: &Route| (route.installation.clone(), route.account_id, route.inbox_id);
    if before.link().is_some() && place(&before) != place(&route) {
        return Err(NotEdited::field(
            "inboxId",
            "of a route to an account is changed by connecting the other inbox",
        ));
    }
    let stored = routes::put(&mut tx, &route).await.map_err(NotEdited::of_put)?;
    if stored.link().is_none() {
        disconnect(&mut tx, &before).await?;
        disconnect(&mut tx, &stored).await?;
    }
    begin(&mut tx, Some(&before), &stored).await?;
    if let Some(allowed) = change.auto_restore {
        drift_reports::allow_restore(&mut tx, stored.id, allowed).await?;
    }
    audit_log::note(&mut tx, &act(actor, "route.update", &stored)).await?;
    tx.commit().await?;
    Ok(OwnedRoute {
        tenant: known.tenant,
        route: stored,
    })
}

/// Takes a route away and, where an inbox is connected at its place, the connection with it: what people write would still
/// come to an inbox whose answers go nowhere.
///
/// # Errors
/// [`NotEdited`].
pub async fn delete(tools: &Tools, number: i64, actor: &Actor) -> Result<(), NotEdited> {
    let known = find(tools, number).await?.ok_or(NotEdited::NotFound)?;
    let scope = TenantScope::named_by_operator(known.tenant);
    let mut tx = TenantTransaction::begin(&tools.db, &scope, "delete route").await?;
    inboxes::lock_connecting(&mut tx).await?;
    let place = (&known.route.installation, known.route.inbox_id);
    routes::lock_place(&mut tx, place.0, place.1).await?;
    // As it is now: somebody may have connected its inbox meanwhile.
    let route = routes::find(&mut tx, known.route.id)
        .await?
        .ok_or(NotEdited::NotFound)?;
    routes::remove(&mut tx, route.id).await?;
    disconnect(&mut tx, &route).await?;
    audit_log::note(&mut tx, &act(actor, "route.delete", &route)).await?;
    tx.commit().await?;
    Ok(())
}

/// Where a route leads to an account from now on, what agents wrote before is none of its.
async fn begin(tx: &mut TenantTransaction, before: Option<&Route>, now: &Route) -> Result<(), DatabaseError> {
    let live = |route: &Route| route.link().filter(|_| route.enabled);
    match live(now) {
        Some(link) if before.and_then(live) != Some(link) => reconcile_marks::begin(tx, link).await,
        _ => Ok(()),
    }
}

/// Takes the connection at a route's place away. A place has one route, so where that leads elsewhere, or is gone, nothing
/// else answers for what people write into the inbox.
async fn disconnect(tx: &mut TenantTransaction, route: &Route) -> Result<(), DatabaseError> {
    for inbox in inboxes::ids_at(tx, &route.installation, route.account_id, route.inbox_id).await? {
        contacts::forget_all(tx, inbox).await?;
        inboxes::remove(tx, inbox).await?;
    }
    Ok(())
}

/// What an act on a route says in the audit log.
#[must_use]
pub fn act<'a>(actor: &'a Actor, action: &'static str, route: &Route) -> Act<'a> {
    let account = route.account_id.map_or("*".to_owned(), |id| id.to_string());
    let target = match &route.target {
        Target::Account { link } => format!("account, inbox {link}"),
        Target::Url { url_shown, .. } => url_shown.clone(),
    };
    let off = if route.enabled { "" } else { ", off" };
    actor.act(action, Some(route.number.to_string())).saying(format!(
        "{}/{account}/{} to {target}{off}",
        route.installation, route.inbox_id
    ))
}

/// What has to be known of a URL before a transaction is open.
async fn prepare(
    editor: Editor<'_>,
    change: &RouteChange,
    before: Option<&OwnedRoute>,
) -> Result<Option<TargetUrl>, NotEdited> {
    let invalid = |error: InvalidTarget| NotEdited::field("webhookUrl", error.to_string());
    let stored = before.and_then(|known| match &known.route.target {
        Target::Url {
            url_sealed,
            url_shown,
            ..
        } => Some((known, url_sealed, url_shown)),
        Target::Account { .. } => None,
    });
    let url = match &change.target {
        Some(NewTarget::Account(_)) => return Ok(None),
        // Somebody sent back what was shown: it is meant to stay.
        Some(NewTarget::Url(text)) if stored.is_some_and(|(_, _, shown)| shown == text.trim()) => None,
        Some(NewTarget::Url(text)) => Some(TargetUrl::parse(text).map_err(invalid)?),
        None => None,
    };
    let url = match (url, &change.credentials, stored) {
        (Some(url), Some((user, password)), _) => {
            Some(url.with_credentials(user, password).map_err(invalid)?)
        }
        (None, Some((user, password)), Some((known, sealed, _))) => {
            let place = Route::url_place(known.tenant.as_str(), known.route.id);
            let whole = editor.tools.keys.open(sealed, &place)?;
            let url = TargetUrl::parse(whole.expose_secret()).map_err(invalid)?;
            Some(url.with_credentials(user, password).map_err(invalid)?)
        }
        (url, _, _) => url,
    };
    if let Some(url) = &url {
        url.check_name(editor.outbound).await.map_err(invalid)?;
    }
    Ok(url)
}

/// The connected inbox of this account, which has to be the one at the route's place.
async fn link_of(tx: &mut TenantTransaction, route: &Route, account: AccountId) -> Result<Uuid, NotEdited> {
    let inbox = inboxes::find_by_account(tx, account).await?;
    let fits = inbox.filter(|inbox| {
        inbox.installation == route.installation
            && Some(inbox.chatwoot_account_id) == route.account_id
            && inbox.chatwoot_inbox_id == route.inbox_id
    });
    fits.map(|inbox| inbox.id).ok_or_else(|| {
        NotEdited::field(
            "whatsappAccountId",
            "is not connected to this inbox; POST /admin/setup connects it",
        )
    })
}

/// What is stored, newest first, without the `new` one: that may have been given twice.
fn older_than(
    tools: &Tools,
    new: &SecretString,
    stored: &[String],
    place: &str,
) -> Result<Vec<String>, EncryptionError> {
    let mut older = Vec::new();
    for sealed in stored {
        if tools.keys.open(sealed, place)?.expose_secret() != new.expose_secret() {
            older.push(sealed.clone());
        }
    }
    Ok(older)
}

impl RouteChange {
    /// Is anything given?
    fn is_something(&self) -> bool {
        self.installation.is_some()
            || self.account.is_some()
            || self.inbox.is_some()
            || self.name.is_some()
            || self.enabled.is_some()
            || self.target.is_some()
            || self.credentials.is_some()
            || self.events.is_some()
            || self.private.is_some()
            || self.signing_secret.is_some()
            || self.inbox_secrets.is_some()
            || self.account_secrets.is_some()
            || self.path_token.is_some()
            || self.retry_unknown.is_some()
            || self.auto_restore.is_some()
    }

    fn move_to_place(&self, route: &mut Route) {
        if let Some(installation) = &self.installation {
            route.installation.clone_from(installation);
        }
        if let Some(account) = self.account {
            route.account_id = account;
        }
        if let Some(inbox) = self.inbox {
            route.inbox_id = inbox;
        }
    }

    fn applied(
        &self,
        tools: &Tools,
        scope: &TenantScope,
        mut route: Route,
        url: Option<TargetUrl>,
    ) -> Result<Route, NotEdited> {
        let (tenant, id) = (scope.tenant().as_str(), route.id);
        self.move_to_place(&mut route);
        if let Some(name) = &self.name {
            route.name.clone_from(name);
        }
        if let Some(enabled) = self.enabled {
            route.enabled = enabled;
        }
        if let Some(events) = &self.events {
            route.wants.events.clone_from(events);
        }
        if let Some(private) = self.private {
            route.wants.private = private;
        }
        let seal_all = |secrets: &[SecretString], stored: &[String], place: &str, field| {
            if secrets.len() > MOST_SECRETS {
                return Err(NotEdited::field(field, "must be at most two"));
            }
            let sealed = secrets.iter().map(|secret| tools.keys.seal(secret, place));
            let mut sealed = sealed.collect::<Result<Vec<_>, _>>()?;
            if let ([new], true) = (secrets, self.rotates) {
                sealed.extend(older_than(tools, new, stored, place)?);
                sealed.truncate(MOST_SECRETS);
            }
            Ok(sealed)
        };
        if let Some(secrets) = &self.inbox_secrets {
            let place = Route::inbox_secret_place(tenant, id);
            let stored = &route.inbox_secrets_sealed;
            route.inbox_secrets_sealed = seal_all(secrets, stored, &place, "webhookSecrets")?;
        }
        if let Some(secrets) = &self.account_secrets {
            let place = Route::account_secret_place(tenant, id);
            let stored = &route.account_secrets_sealed;
            route.account_secrets_sealed = seal_all(secrets, stored, &place, "webhookSecrets")?;
        }
        if let Some(token) = &self.path_token {
            let digest = |token: &SecretString| Sha256::digest(token.expose_secret().as_bytes()).to_vec();
            route.path_token_sha256 = token.as_ref().map(digest);
        }
        if let Some(url) = &url {
            let (signing, retry) = match route.target {
                Target::Url {
                    signing_secret_sealed,
                    retry_unknown,
                    ..
                } => (signing_secret_sealed, retry_unknown),
                Target::Account { .. } => (None, false),
            };
            route.target = Target::Url {
                url_sealed: tools.keys.seal(&url.whole(), &Route::url_place(tenant, id))?,
                url_shown: url.shown(),
                signing_secret_sealed: signing,
                retry_unknown: retry,
            };
        }
        self.apply_to_url(tools, tenant, id, &mut route.target)?;
        Ok(route)
    }

    /// What only targets that are URLs have. A change to an account drops it.
    fn apply_to_url(
        &self,
        tools: &Tools,
        tenant: &str,
        id: Uuid,
        target: &mut Target,
    ) -> Result<(), NotEdited> {
        let Target::Url {
            signing_secret_sealed,
            retry_unknown,
            ..
        } = target
        else {
            return Ok(());
        };
        if let Some(secret) = &self.signing_secret {
            let place = Route::signing_place(tenant, id);
            let sealed = secret.as_ref().map(|secret| tools.keys.seal(secret, &place));
            *signing_secret_sealed = sealed.transpose()?;
        }
        if let Some(retry) = self.retry_unknown {
            *retry_unknown = retry;
        }
        Ok(())
    }
}
