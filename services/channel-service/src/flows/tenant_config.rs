//! Which endpoint a tenant was given and how it is used for it, at hand wherever a provider is called.

use std::sync::Arc;
use std::time::Duration;

use cache::{CacheKey, NotLoaded, ReadThrough, RedisLink};
use database::{Database, DatabaseError};
use domain::endpoint::Provider;
use domain::ids::AccountId;
use domain::tenant_config::TenantSettings;
use serde::{Deserialize, Serialize};
use tenant_isolation::{TenantScope, TenantTransaction};

use crate::config::PRIMARY;
use crate::endpoints::{Endpoints, LiveEndpoint};
use crate::store::account::{self, Home};
use crate::store::endpoint_health::{self, EndpointHealth};
use crate::store::session_to_unlink::{self, LeftRow};
use crate::store::tenant;
use crate::store::tenant_config::{self, TenantConfigRow};

/// What calls of a provider need to know of the tenant they are made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantConfig {
    /// The endpoint it was given. `None`: it was given none, and what is configured for everybody holds.
    pub endpoint: Option<String>,
    /// How the endpoint is used; for a tenant that was given none, what is usual.
    pub settings: TenantSettings,
}

impl TenantConfig {
    /// How long one call of the provider may take, where the tenant has a limit of its own.
    #[must_use]
    pub fn message_timeout(&self) -> Option<Duration> {
        self.endpoint.is_some().then(|| self.settings.message_timeout())
    }

    /// How often a delivery that failed is tried again at most, where the tenant has a limit of its own.
    #[must_use]
    pub fn webhook_retries(&self) -> Option<u32> {
        self.endpoint.is_some().then(|| self.settings.webhook_retries())
    }

    /// Is the delivery given up after this many failures, whatever the schedule for everybody says?
    #[must_use]
    pub fn gives_up_after(&self, failures: u32) -> bool {
        self.webhook_retries().is_some_and(|retries| failures > retries)
    }
}

/// Finds tenants' configurations. Cheap to clone.
#[derive(Clone)]
pub struct TenantConfigs {
    db: Database,
    cache: ReadThrough<TenantConfig>,
}

/// Why a configuration could not be had.
pub type NoConfig = Arc<NotLoaded<DatabaseError>>;

/// Tenants whose configuration one process keeps at hand.
const CACHED: u64 = 20_000;

impl TenantConfigs {
    /// Configurations in `db`, cached in `redis`.
    #[must_use]
    pub fn new(db: Database, redis: RedisLink) -> Self {
        Self {
            db,
            cache: ReadThrough::new(redis, CACHED),
        }
    }

    /// The tenant's, no older than a second.
    ///
    /// # Errors
    /// [`NoConfig`] when neither a cache nor Postgres has it.
    pub async fn of(&self, scope: &TenantScope) -> Result<Arc<TenantConfig>, NoConfig> {
        // There always is one: what nobody chose is what is usual.
        let found = self.cache.get(&key(scope), || self.load(scope)).await?;
        Ok(Arc::new(found.unwrap_or_default()))
    }

    /// Makes a change of the tenant's configuration known everywhere within a second.
    pub async fn forget(&self, scope: &TenantScope) {
        self.cache.forget(&key(scope)).await;
    }

    async fn load(&self, scope: &TenantScope) -> Result<Option<TenantConfig>, DatabaseError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "load tenant config").await?;
        let row = tenant_config::find(&mut tx).await?;
        tx.commit().await?;
        Ok(Some(row.map_or_else(TenantConfig::default, |row| TenantConfig {
            settings: row.settings(),
            endpoint: Some(row.endpoint_name),
        })))
    }
}

/// Where a tenant's next device is made.
#[derive(Debug, Clone)]
pub struct Place {
    /// What the endpoint is called. `None`: the tenant was given none, and there is no telling which of several.
    pub name: Option<String>,
    /// The endpoint. `None`: it is not configured.
    pub endpoint: Option<Arc<LiveEndpoint>>,
}

impl Place {
    /// Where an account without a session belongs meanwhile. What cannot be told is found out when it gets one.
    #[must_use]
    pub fn home(&self) -> Home<'_> {
        Home {
            endpoint: self.name.as_deref().unwrap_or(PRIMARY),
            provider: self
                .endpoint
                .as_ref()
                .map_or(Provider::Genfity, |endpoint| endpoint.provider),
        }
    }
}

/// The tenant's first account, made without a session where its next device is made, when there is none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn ensure_primary(
    tx: &mut TenantTransaction,
    endpoints: &Endpoints,
) -> Result<AccountId, DatabaseError> {
    if let Some(row) = account::find_primary(tx).await? {
        return Ok(AccountId::from_uuid(row.id));
    }
    let place = place_of(tx, endpoints).await?;
    account::add_primary(tx, place.home()).await
}

/// Where the tenant's next device is made.
///
/// # Errors
/// [`DatabaseError`].
pub async fn place_of(tx: &mut TenantTransaction, endpoints: &Endpoints) -> Result<Place, DatabaseError> {
    Ok(place(tenant_config::find(tx).await?.as_ref(), endpoints))
}

fn place(row: Option<&TenantConfigRow>, endpoints: &Endpoints) -> Place {
    match row {
        Some(row) => Place {
            name: Some(row.endpoint_name.clone()),
            endpoint: endpoints.find(&row.endpoint_name),
        },
        None => {
            let endpoint = endpoints.fallback();
            Place {
                name: endpoint.as_ref().map(|endpoint| endpoint.name.to_string()),
                endpoint,
            }
        }
    }
}

/// A tenant's configuration as it is shown.
#[derive(Debug, Clone)]
pub struct ConfigView {
    /// What was chosen. `None`: nothing, what is usual holds.
    pub row: Option<TenantConfigRow>,
    /// Where its devices are made.
    pub endpoint: Option<String>,
    /// The endpoint is configured.
    pub is_available: bool,
    /// What was found when the endpoint was last looked at.
    pub health: Option<EndpointHealth>,
    /// Sessions that it left elsewhere and that are still to be unlinked there, at most [`MOST_LEFT`].
    pub left: Vec<LeftRow>,
}

/// Most sessions still to be unlinked that are shown.
pub const MOST_LEFT: i64 = 100;

/// The tenant's configuration. `None`: nobody is registered under this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show(
    db: &Database,
    endpoints: &Endpoints,
    scope: &TenantScope,
) -> Result<Option<ConfigView>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "show tenant config").await?;
    if tenant::find(&mut tx).await?.is_none() {
        return Ok(None);
    }
    let row = tenant_config::find(&mut tx).await?;
    let Place { name, endpoint } = place(row.as_ref(), endpoints);
    // What was found of an endpoint before it went says nothing any more.
    let health = match &endpoint {
        Some(endpoint) => endpoint_health::of(&mut tx, endpoint.name.as_str()).await?,
        None => None,
    };
    let left = session_to_unlink::list(&mut tx, MOST_LEFT).await?;
    tx.commit().await?;
    Ok(Some(ConfigView {
        row,
        endpoint: name,
        is_available: endpoint.is_some(),
        health,
        left,
    }))
}

fn key(scope: &TenantScope) -> CacheKey {
    CacheKey::of_tenant(scope, "whatsapp_config", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tenant_that_was_given_an_endpoint_has_limits_of_its_own() {
        let mut config = TenantConfig::default();
        assert_eq!((config.message_timeout(), config.webhook_retries()), (None, None));
        assert!(!config.gives_up_after(1000));
        config.endpoint = Some("Primary".to_owned());
        config.settings.webhook_retries = 2;
        assert!(!config.gives_up_after(2));
        assert!(config.gives_up_after(3));
        config.settings.webhook_retries = 0;
        assert!(
            config.gives_up_after(1),
            "no retry: the first failure is the last"
        );
    }
}
