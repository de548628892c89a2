//! Which account a webhook claims to come from (contract channel-service 2.4, with rulings 2 and 9.B).
//!
//! The name must be registered. A session id that comes with it must be the account's: names are free text at the
//! WhatsApp server, ids are not. What does not fit belongs to nobody, and nothing is guessed.

use std::sync::Arc;

use cache::{CacheKey, NotLoaded, ReadThrough, RedisLink};
use database::{Database, DatabaseError};
use domain::ids::{AccountId, PhoneNumberId};
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use tenant_isolation::resolve::{ExternalId, Resolved, resolve};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use whatsapp::credentials::WebhookKey;
use whatsapp::event::Keep;

use super::device_number;
use crate::endpoints::Endpoints;
use crate::store::cloud_number::{HolderRow, NumberRow};
use crate::store::{account, cloud_number, tenant};

/// An account as webhooks need to know it, shared by all who look it up: thousands do in a second.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Route", into = "Route")]
pub struct AccountRoute(Arc<Route>);

/// What is known of it. In the cache its keys stay sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Route {
    resolved: Resolved,
    session_id: Option<String>,
    webhook_keys_sealed: Vec<String>,
    /// Provider and name of the endpoint; a copy of before there were several has none.
    #[serde(default)]
    endpoint: Option<(String, String)>,
    #[serde(default)]
    kept: KeptPlaces,
    /// Its number at Meta, where it was found by that.
    #[serde(default)]
    number: Option<NumberRow>,
}

/// Messages from which places the tenant keeps, besides those of conversations with one person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPlaces {
    /// Groups.
    pub groups: bool,
    /// Broadcast lists.
    pub broadcasts: bool,
    /// Status posts.
    pub status: bool,
}

impl From<Route> for AccountRoute {
    fn from(route: Route) -> Self {
        Self(Arc::new(route))
    }
}

impl From<AccountRoute> for Route {
    fn from(route: AccountRoute) -> Self {
        Arc::unwrap_or_clone(route.0)
    }
}

impl AccountRoute {
    /// For whom the webhook is.
    #[must_use]
    pub fn scope(&self) -> TenantScope {
        self.0.resolved.scope()
    }

    /// On which account.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId::from_uuid(self.0.resolved.subject())
    }

    /// Messages from which places the tenant keeps.
    #[must_use]
    pub fn keep(&self) -> Keep {
        Keep {
            groups: self.0.kept.groups,
            broadcasts: self.0.kept.broadcasts,
            status: self.0.kept.status,
        }
    }

    /// The provider and the name of the endpoint that it is bound to.
    #[must_use]
    pub fn endpoint(&self) -> Option<(&str, &str)> {
        let (provider, name) = self.0.endpoint.as_ref()?;
        Some((provider, name))
    }

    /// Its number at Meta, where it was found by that.
    #[must_use]
    pub fn number(&self) -> Option<&NumberRow> {
        self.0.number.as_ref()
    }

    /// May a webhook with this session id be the account's? Older servers send none.
    fn has_session(&self, session_id: Option<&str>) -> bool {
        match (&self.0.session_id, session_id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        }
    }

    /// These keys of the account's own, opened, and those of its endpoint.
    fn webhook_keys(
        &self,
        sealed: &[String],
        keys: &KeyRing,
        endpoints: &Endpoints,
    ) -> Result<Vec<WebhookKey>, WebhookKeysError> {
        let binding = account::webhook_key_binding(self.scope().tenant(), self.account());
        let own: Result<Vec<_>, _> = sealed
            .iter()
            .map(|sealed| {
                let key = keys.open(sealed, &binding)?;
                WebhookKey::new(key.expose_secret()).map_err(|_| EncryptionError::DoesNotOpen)
            })
            .collect();
        let mut all = own?;
        if let Some((provider, name)) = &self.0.endpoint {
            match endpoints.of_account(provider, name) {
                Some(endpoint) => all.extend(endpoint.webhook_keys.iter().cloned()),
                // Its endpoint's key may be the only one, and is not known now. No key at all would mean that nobody signs.
                None if all.is_empty() => return Err(WebhookKeysError::EndpointMissing),
                None => {}
            }
        }
        Ok(all)
    }
}

/// Why it cannot be said what an account's webhooks are signed with.
#[derive(Debug, thiserror::Error)]
pub enum WebhookKeysError {
    /// A key was sealed under a key that is not configured.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// The account has no key of its own, and its endpoint is not configured.
    #[error("the account's endpoint is not configured, and its key with it")]
    EndpointMissing,
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Finds accounts. Cheap to clone.
#[derive(Clone)]
pub struct AccountRoutes {
    db: Database,
    cache: ReadThrough<AccountRoute>,
    /// By number: who has or had it.
    holders: ReadThrough<Vec<HolderRow>>,
}

/// Under which name it is remembered who had a number. No kind of the directory.
const HOLDERS: &str = "cloud_number_holders";

/// Accounts that one process keeps at hand.
const CACHED_ROUTES: u64 = 100_000;

impl AccountRoutes {
    /// Accounts in `db`, cached in `redis`.
    #[must_use]
    pub fn new(db: Database, redis: RedisLink) -> Self {
        Self {
            db,
            cache: ReadThrough::new(redis.clone(), CACHED_ROUTES),
            holders: ReadThrough::new(redis, CACHED_ROUTES),
        }
    }

    /// The account that goes by this name and session id. `None`: nobody's.
    ///
    /// # Errors
    /// A [`DatabaseError`], which is not "nobody's".
    pub async fn find(
        &self,
        instance_name: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<Option<AccountRoute>, Arc<NotLoaded<DatabaseError>>> {
        let named = instance_name.and_then(|name| ExternalId::new(account::INSTANCE, name));
        let external = match (named, session_id) {
            (Some(named), _) => named,
            (None, Some(id)) => match ExternalId::new(account::SESSION, id) {
                Some(external) => external,
                None => return Ok(None),
            },
            (None, None) => return Ok(None),
        };
        let key = CacheKey::of_external(&external);
        let known = self.cache.get(&key, || self.load(&external)).await?;
        let Some(route) = known else { return Ok(None) };
        if route.has_session(session_id) {
            return Ok(Some(route));
        }
        // The copy may be a second old, and a session that was made anew must not be taken for a stranger: its
        // messages would be quarantined and not be brought again. So the table has the last word.
        let fresh = self
            .load(&external)
            .await
            .map_err(|error| Arc::new(NotLoaded::Failed(error)))?;
        let found = fresh.filter(|route| route.has_session(session_id));
        if found.is_some() {
            self.cache.forget(&key).await;
        }
        Ok(found)
    }

    /// The account that has this number of the Cloud API. `None`: nobody's.
    ///
    /// # Errors
    /// A [`DatabaseError`], which is not "nobody's".
    pub async fn find_number(
        &self,
        number: &PhoneNumberId,
    ) -> Result<Option<AccountRoute>, Arc<NotLoaded<DatabaseError>>> {
        match ExternalId::new(account::CLOUD_NUMBER, number.as_str()) {
            Some(external) => self.find_external(&external).await,
            None => Ok(None),
        }
    }

    /// The account that an outside id of any kind leads to. `None`: nobody's.
    pub(super) async fn find_external(
        &self,
        external: &ExternalId,
    ) -> Result<Option<AccountRoute>, Arc<NotLoaded<DatabaseError>>> {
        let key = CacheKey::of_external(external);
        self.cache.get(&key, || self.load(external)).await
    }

    /// The accounts that have or had a number, the last ones of them; also that there are none is remembered.
    pub(super) async fn holders(
        &self,
        number: &PhoneNumberId,
    ) -> Result<Vec<HolderRow>, Arc<NotLoaded<DatabaseError>>> {
        let Some(external) = ExternalId::new(HOLDERS, number.as_str()) else {
            return Ok(Vec::new());
        };
        let load = || async {
            let platform = PlatformScope::for_purpose("find holders of number");
            let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
            let holders = cloud_number::holders(&mut tx, number.as_str()).await?;
            tx.commit().await?;
            Ok(Some(holders))
        };
        let known = self.holders.get(&CacheKey::of_external(&external), load).await?;
        Ok(known.unwrap_or_default())
    }

    /// The keys one of which must have signed the account's webhook: its own, and those of its endpoint. None when neither has
    /// any. Where the copy at hand was sealed under a key that is gone since, the table has the last word.
    ///
    /// # Errors
    /// [`WebhookKeysError`]: then nothing may pass.
    pub async fn webhook_keys(
        &self,
        route: &AccountRoute,
        keys: &KeyRing,
        endpoints: &Endpoints,
    ) -> Result<Vec<WebhookKey>, WebhookKeysError> {
        let known = route.webhook_keys(&route.0.webhook_keys_sealed, keys, endpoints);
        let Err(WebhookKeysError::Encryption(_)) = known else {
            return known;
        };
        let mut tx = TenantTransaction::begin(&self.db, &route.scope(), "read webhook keys anew").await?;
        let row = account::find(&mut tx, route.account()).await?;
        tx.commit().await?;
        route.webhook_keys(&row.webhook_keys_sealed, keys, endpoints)
    }

    /// Makes a change of the account known everywhere within a second. Where it is that an account does not hold a device's
    /// number any more, the number leads to whoever else holds it.
    pub async fn forget(&self, kind: &'static str, external_id: &str) {
        self.forget_copy(kind, external_id).await;
        if kind == account::GOWA_HOLDER
            && let Err(error) = device_number::settle(&self.db, self, external_id).await
        {
            tracing::warn!(error = %crate::error::chain(&error), "a device's number could not be settled");
        }
    }

    pub(super) async fn forget_copy(&self, kind: &'static str, external_id: &str) {
        if let Some(external) = ExternalId::new(kind, external_id) {
            self.cache.forget(&CacheKey::of_external(&external)).await;
        }
        if kind == account::CLOUD_NUMBER
            && let Some(external) = ExternalId::new(HOLDERS, external_id)
        {
            self.holders.forget(&CacheKey::of_external(&external)).await;
        }
    }

    /// Waits until every change is known everywhere, for a process that ends soon after it made one.
    pub async fn settled(&self) {
        self.cache.settled().await;
        self.holders.settled().await;
    }

    async fn load(&self, external: &ExternalId) -> Result<Option<AccountRoute>, DatabaseError> {
        let Some(resolved) = resolve(&self.db, external).await? else {
            return Ok(None);
        };
        let scope = resolved.scope();
        let mut tx = TenantTransaction::begin(&self.db, &scope, "load account route").await?;
        let id = AccountId::from_uuid(resolved.subject());
        let row = account::find(&mut tx, id).await?;
        let number = if external.kind() == account::CLOUD_NUMBER {
            cloud_number::of_account(&mut tx, id).await?
        } else {
            None
        };
        let tenant = tenant::find(&mut tx).await?;
        tx.commit().await?;
        let route = Route {
            resolved,
            session_id: row.session_id,
            webhook_keys_sealed: row.webhook_keys_sealed,
            endpoint: Some((row.provider, row.endpoint)),
            kept: tenant.map_or_else(KeptPlaces::default, |tenant| KeptPlaces {
                groups: tenant.keep_groups,
                broadcasts: tenant.keep_broadcasts,
                status: tenant.keep_status,
            }),
            number,
        };
        Ok(Some(route.into()))
    }
}
