//! Where the events of a Chatwoot inbox go. A route has a place (installation, account, inbox), and no two routes of
//! whatever tenants have places that take each other's events; the schema sees to that.

use std::fmt;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::TenantId;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::inboxes::{DIRECTORY_KIND, InboxKey, directory_name};
use super::unrouted_inboxes;

/// The constraint that holds when a place has a route already, somebody's.
pub const PLACE_TAKEN: &str = "route_places_place";
/// Most secrets of one kind.
pub const MOST_SECRETS: usize = 2;

/// A route.
#[derive(Clone)]
pub struct Route {
    /// Ours; the connected inbox's own where the target is an account.
    pub id: Uuid,
    /// What operators call it. 0 in a route that has none yet: it gets the next one.
    pub number: i64,
    /// Our name for the Chatwoot server.
    pub installation: String,
    /// Chatwoot's account id; `None` for whichever account.
    pub account_id: Option<i64>,
    /// Chatwoot's inbox id.
    pub inbox_id: i64,
    /// For people.
    pub name: Option<String>,
    /// Nothing is done with events of a route that is off.
    pub enabled: bool,
    /// Where the events go.
    pub target: Target,
    /// Which events go there.
    pub wants: Wants,
    /// Secrets of the inbox's own webhook, newest first. Sealed.
    pub inbox_secrets_sealed: Vec<String>,
    /// Secrets of the account's webhook, newest first. Sealed.
    pub account_secrets_sealed: Vec<String>,
    /// SHA-256 of what has to stand behind `?token=`.
    pub path_token_sha256: Option<Vec<u8>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// Where a route's events go.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// To a tenant's account on WhatsApp, and from there to Chatwoot.
    Account {
        /// The row of `inboxes`.
        link: Uuid,
    },
    /// To a URL, as they come.
    Url {
        /// The whole URL, with user info and query. Sealed.
        url_sealed: String,
        /// The same as it may be shown.
        url_shown: String,
        /// What signs the body for the target. Sealed.
        signing_secret_sealed: Option<String>,
        /// Post an agent's message again although nobody knows whether it arrived.
        retry_unknown: bool,
    },
}

/// Which events a URL gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants {
    /// Their names; empty for all.
    pub events: Vec<String>,
    /// Private notes too.
    pub private: bool,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("id", &self.id)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account { link } => f.debug_struct("Account").field("link", link).finish(),
            Self::Url { .. } => f.debug_struct("Url").finish_non_exhaustive(),
        }
    }
}

impl Route {
    /// What the sealed URL is bound to.
    #[must_use]
    pub fn url_place(tenant: &str, id: Uuid) -> String {
        format!("routes/{tenant}/{id}/url")
    }

    /// What the sealed secret that signs bodies for the target is bound to.
    #[must_use]
    pub fn signing_place(tenant: &str, id: Uuid) -> String {
        format!("routes/{tenant}/{id}/signing_secret")
    }

    /// What a sealed secret of the inbox's webhook is bound to.
    #[must_use]
    pub fn inbox_secret_place(tenant: &str, id: Uuid) -> String {
        format!("routes/{tenant}/{id}/inbox_secret")
    }

    /// What a sealed secret of the account's webhook is bound to.
    #[must_use]
    pub fn account_secret_place(tenant: &str, id: Uuid) -> String {
        format!("routes/{tenant}/{id}/account_secret")
    }

    /// The connected inbox behind it.
    #[must_use]
    pub const fn link(&self) -> Option<Uuid> {
        match self.target {
            Target::Account { link } => Some(link),
            Target::Url { .. } => None,
        }
    }

    fn directory_name(&self) -> String {
        directory_name(&self.installation, self.account_id, self.inbox_id)
    }
}

/// A route and whose it is, as the platform sees it.
#[derive(Debug, Clone)]
pub struct OwnedRoute {
    /// Whose.
    pub tenant: TenantId,
    /// The route.
    pub route: Route,
}

#[derive(diesel::QueryableByName)]
pub(super) struct Row {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = Text)]
    installation: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    chatwoot_account_id: Option<i64>,
    #[diesel(sql_type = BigInt)]
    chatwoot_inbox_id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Bool)]
    enabled: bool,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    link_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    url_sealed: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    url_shown: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    signing_secret_sealed: Option<String>,
    #[diesel(sql_type = Bool)]
    retry_unknown: bool,
    #[diesel(sql_type = Array<Text>)]
    wanted_events: Vec<String>,
    #[diesel(sql_type = Bool)]
    wants_private: bool,
    #[diesel(sql_type = Array<Text>)]
    inbox_secrets_sealed: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    account_secrets_sealed: Vec<String>,
    #[diesel(sql_type = Nullable<Binary>)]
    path_token_sha256: Option<Vec<u8>>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
}

pub(super) const COLUMNS: &str = "r.tenant_id, r.id, r.number, r.installation, r.chatwoot_account_id, r.chatwoot_inbox_id, r.name, \
                       r.enabled, r.link_id, r.url_sealed, r.url_shown, r.signing_secret_sealed, r.retry_unknown, \
                       r.wanted_events, r.wants_private, r.inbox_secrets_sealed, r.account_secrets_sealed, \
                       r.path_token_sha256, r.created_at, r.updated_at";

impl From<Row> for Route {
    fn from(row: Row) -> Self {
        let target = match row.link_id {
            Some(link) => Target::Account { link },
            // The schema has one of the two.
            None => Target::Url {
                url_sealed: row.url_sealed.unwrap_or_default(),
                url_shown: row.url_shown.unwrap_or_default(),
                signing_secret_sealed: row.signing_secret_sealed,
                retry_unknown: row.retry_unknown,
            },
        };
        Self {
            id: row.id,
            number: row.number,
            installation: row.installation,
            account_id: row.chatwoot_account_id,
            inbox_id: row.chatwoot_inbox_id,
            name: row.name,
            enabled: row.enabled,
            target,
            wants: Wants {
                events: row.wanted_events,
                private: row.wants_private,
            },
            inbox_secrets_sealed: row.inbox_secrets_sealed,
            account_secrets_sealed: row.account_secrets_sealed,
            path_token_sha256: row.path_token_sha256,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl TryFrom<Row> for OwnedRoute {
    type Error = DatabaseError;

    fn try_from(row: Row) -> Result<Self, DatabaseError> {
        let tenant = TenantId::parse(row.tenant_id.as_str())
            .map_err(|error| DatabaseError::Refused(Box::new(error)))?;
        Ok(Self {
            tenant,
            route: row.into(),
        })
    }
}

/// The route with this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, id: Uuid) -> Result<Option<Route>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let query = format!("SELECT {COLUMNS} FROM routes r WHERE tenant_id = $1 AND id = $2");
    let rows: Vec<Row> = database::sql(query)
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().next().map(Route::from))
}

/// The tenant's route of exactly this place.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_at(
    tx: &mut TenantTransaction,
    installation: &str,
    account: Option<i64>,
    inbox: i64,
) -> Result<Option<Route>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let query = format!(
        "SELECT {COLUMNS} FROM routes r WHERE tenant_id = $1 AND installation = $2 AND chatwoot_inbox_id = $3 \
         AND chatwoot_account_id IS NOT DISTINCT FROM $4"
    );
    let rows: Vec<Row> = database::sql(query)
        .bind::<Text, _>(tenant)
        .bind::<Text, _>(installation)
        .bind::<BigInt, _>(inbox)
        .bind::<Nullable<BigInt>, _>(account)
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().next().map(Route::from))
}

/// The route to a connected inbox.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_by_link(tx: &mut TenantTransaction, link: Uuid) -> Result<Option<Route>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let query = format!("SELECT {COLUMNS} FROM routes r WHERE tenant_id = $1 AND link_id = $2");
    let rows: Vec<Row> = database::sql(query)
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(link)
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().next().map(Route::from))
}

/// The route that operators call by this number, and whose it is.
///
/// # Errors
/// [`DatabaseError`].
pub async fn by_number(
    tx: &mut PlatformTransaction,
    number: i64,
) -> Result<Option<OwnedRoute>, DatabaseError> {
    let rows: Vec<Row> = database::sql(format!("SELECT {COLUMNS} FROM routes r WHERE number = $1"))
        .bind::<BigInt, _>(number)
        .load(tx.connection())
        .await?;
    rows.into_iter().next().map(OwnedRoute::try_from).transpose()
}

/// Everybody's routes, newest first: at most `most`, those behind the one called `after`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    tx: &mut PlatformTransaction,
    after: Option<i64>,
    most: i64,
) -> Result<Vec<OwnedRoute>, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS} FROM routes r \
         WHERE $1::bigint IS NULL OR (created_at, number) < (SELECT l.created_at, l.number FROM routes l WHERE l.number = $1) \
         ORDER BY created_at DESC, number DESC LIMIT $2"
    );
    let rows: Vec<Row> = database::sql(query)
        .bind::<Nullable<BigInt>, _>(after)
        .bind::<BigInt, _>(most)
        .load(tx.connection())
        .await?;
    rows.into_iter().map(OwnedRoute::try_from).collect()
}

/// Every route that the tenant directory knows as its tenant's: what webhooks are looked up in.
///
/// # Errors
/// [`DatabaseError`].
pub async fn registered(tx: &mut PlatformTransaction) -> Result<Vec<OwnedRoute>, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS} FROM routes r JOIN tenant_directory d \
             ON d.kind = $1 AND d.tenant_id = r.tenant_id AND d.external_id = r.installation || '/' || \
                coalesce(r.chatwoot_account_id::text, '*') || '/' || r.chatwoot_inbox_id"
    );
    let rows: Vec<Row> = database::sql(query)
        .bind::<Text, _>(DIRECTORY_KIND)
        .load(tx.connection())
        .await?;
    rows.into_iter().map(OwnedRoute::try_from).collect()
}

/// Moves with every change of a route or of a connected inbox.
///
/// # Errors
/// [`DatabaseError`].
pub async fn version(tx: &mut PlatformTransaction) -> Result<i64, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Version {
        #[diesel(sql_type = BigInt)]
        version: i64,
    }
    let rows: Vec<Version> = database::sql("SELECT version FROM route_version")
        .load(tx.connection())
        .await?;
    rows.into_iter()
        .next()
        .map(|row| row.version)
        .ok_or(DatabaseError::NotFound)
}

/// Writes the whole route, new or changed, and its entry in the tenant directory. Returns it as it is stored, with its
/// number and its times.
///
/// # Errors
/// [`DatabaseError::Conflict`] with [`PLACE_TAKEN`] when the place, or one that takes its events, is somebody's; nothing
/// more can be done in this transaction then.
pub async fn put(tx: &mut TenantTransaction, route: &Route) -> Result<Route, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    if let Some(before) = find(tx, route.id).await? {
        leave_directory(tx, &before).await?;
    }
    let (url_sealed, url_shown, signing, retry_unknown) = match &route.target {
        Target::Account { .. } => (None, None, None, false),
        Target::Url {
            url_sealed,
            url_shown,
            signing_secret_sealed,
            retry_unknown,
        } => (
            Some(url_sealed),
            Some(url_shown),
            signing_secret_sealed.as_ref(),
            *retry_unknown,
        ),
    };
    let query = format!(
        "INSERT INTO routes AS r (tenant_id, id, number, installation, chatwoot_account_id, chatwoot_inbox_id, name, \
             enabled, link_id, url_sealed, url_shown, signing_secret_sealed, retry_unknown, wanted_events, wants_private, \
             inbox_secrets_sealed, account_secrets_sealed, path_token_sha256) \
         VALUES ($1, $2, coalesce($3, nextval(pg_get_serial_sequence('routes', 'number'))), $4, $5, $6, $7, $8, $9, $10, \
             $11, $12, $13, $14, $15, $16, $17, $18) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET installation = excluded.installation, \
             chatwoot_account_id = excluded.chatwoot_account_id, chatwoot_inbox_id = excluded.chatwoot_inbox_id, \
             name = excluded.name, enabled = excluded.enabled, link_id = excluded.link_id, \
             url_sealed = excluded.url_sealed, url_shown = excluded.url_shown, \
             signing_secret_sealed = excluded.signing_secret_sealed, retry_unknown = excluded.retry_unknown, \
             wanted_events = excluded.wanted_events, wants_private = excluded.wants_private, \
             inbox_secrets_sealed = excluded.inbox_secrets_sealed, \
             account_secrets_sealed = excluded.account_secrets_sealed, \
             path_token_sha256 = excluded.path_token_sha256, updated_at = now() \
         RETURNING {COLUMNS}"
    );
    let rows: Vec<Row> = database::sql(query)
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(route.id)
        .bind::<Nullable<BigInt>, _>(Some(route.number).filter(|number| *number > 0))
        .bind::<Text, _>(&route.installation)
        .bind::<Nullable<BigInt>, _>(route.account_id)
        .bind::<BigInt, _>(route.inbox_id)
        .bind::<Nullable<Text>, _>(route.name.as_ref())
        .bind::<Bool, _>(route.enabled)
        .bind::<Nullable<SqlUuid>, _>(route.link())
        .bind::<Nullable<Text>, _>(url_sealed)
        .bind::<Nullable<Text>, _>(url_shown)
        .bind::<Nullable<Text>, _>(signing)
        .bind::<Bool, _>(retry_unknown)
        .bind::<Array<Text>, _>(&route.wants.events)
        .bind::<Bool, _>(route.wants.private)
        .bind::<Array<Text>, _>(&route.inbox_secrets_sealed)
        .bind::<Array<Text>, _>(&route.account_secrets_sealed)
        .bind::<Nullable<Binary>, _>(route.path_token_sha256.as_ref())
        .load(tx.connection())
        .await?;
    let stored: Route = rows
        .into_iter()
        .next()
        .map(Route::from)
        .ok_or(DatabaseError::NotFound)?;
    enter_directory(tx, &stored).await?;
    unrouted_inboxes::routed(tx, &stored.installation, stored.account_id, stored.inbox_id).await?;
    Ok(stored)
}

/// Takes a route and its entry in the tenant directory away. False when it is not there. What hangs off it is the
/// caller's business.
///
/// # Errors
/// [`DatabaseError`].
pub async fn remove(tx: &mut TenantTransaction, id: Uuid) -> Result<bool, DatabaseError> {
    let Some(route) = find(tx, id).await? else {
        return Ok(false);
    };
    leave_directory(tx, &route).await?;
    let tenant = tx.scope().tenant().as_str().to_owned();
    let removed = database::sql("DELETE FROM routes WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .execute(tx.connection())
        .await?;
    Ok(removed == 1)
}

/// Makes everybody who is about to give a route to an inbox take turns, until the transaction ends. [`put`] does so by
/// itself; who decides by what is there has to ask before it looks.
///
/// # Errors
/// [`DatabaseError`].
pub async fn lock_place(
    tx: &mut TenantTransaction,
    installation: &str,
    inbox: i64,
) -> Result<(), DatabaseError> {
    database::sql("SELECT pg_advisory_xact_lock(hashtextextended('route ' || $1 || '/' || $2::text, 0))")
        .bind::<Text, _>(installation)
        .bind::<BigInt, _>(inbox)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// New routes get numbers above this one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn move_numbers_past(tx: &mut PlatformTransaction, number: i64) -> Result<(), DatabaseError> {
    database::sql(
        "SELECT setval(s, greatest(nextval(s), $1)) FROM (SELECT pg_get_serial_sequence('routes', 'number')::regclass AS s) q",
    )
    .bind::<BigInt, _>(number)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Has this inbox a route, whoever's, be it one for every account of the installation?
///
/// # Errors
/// [`DatabaseError`].
pub async fn is_taken(tx: &mut PlatformTransaction, key: &InboxKey) -> Result<bool, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS} FROM routes r WHERE installation = $1 AND chatwoot_inbox_id = $2 \
         AND (chatwoot_account_id IS NULL OR chatwoot_account_id = $3) LIMIT 1"
    );
    let rows: Vec<Row> = database::sql(query)
        .bind::<Text, _>(&key.installation)
        .bind::<BigInt, _>(key.inbox_id)
        .bind::<BigInt, _>(key.account_id)
        .load(tx.connection())
        .await?;
    Ok(!rows.is_empty())
}

/// Says when a route was made: elsewhere, before it came here.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_created_at(
    tx: &mut TenantTransaction,
    id: Uuid,
    created_at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql("UPDATE routes SET created_at = $3 WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(id)
        .bind::<Timestamptz, _>(created_at)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The subject is what hangs off the route: the connected inbox, or the route itself.
async fn enter_directory(tx: &mut TenantTransaction, route: &Route) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let subject = route.link().unwrap_or(route.id);
    let mut entered = 0;
    for statement in [
        "INSERT INTO tenant_directory (kind, external_id, tenant_id, subject_id) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (kind, external_id) DO NOTHING",
        "UPDATE tenant_directory SET subject_id = $4 WHERE kind = $1 AND external_id = $2 AND tenant_id = $3",
    ] {
        entered = database::sql(statement)
            .bind::<Text, _>(DIRECTORY_KIND)
            .bind::<Text, _>(route.directory_name())
            .bind::<Text, _>(&tenant)
            .bind::<SqlUuid, _>(subject)
            .execute(tx.connection())
            .await?;
    }
    if entered == 0 {
        // Another tenant's entry is there for the key and not for our eyes.
        return Err(DatabaseError::Conflict {
            constraint: PLACE_TAKEN.to_owned(),
        });
    }
    Ok(())
}

async fn leave_directory(tx: &mut TenantTransaction, route: &Route) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql("DELETE FROM tenant_directory WHERE kind = $1 AND external_id = $2 AND tenant_id = $3")
        .bind::<Text, _>(DIRECTORY_KIND)
        .bind::<Text, _>(route.directory_name())
        .bind::<Text, _>(tenant)
        .execute(tx.connection())
        .await?;
    Ok(())
}
