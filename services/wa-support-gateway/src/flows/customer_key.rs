//! Whose key is presented: from an `x-api-key` to the customer (contract §3.2).
//!
//! The directory leads from the key's hash to its row. Both are at hand for a second; a key that was replaced is known
//! with the moment at which it ends, so no copy of it outlives that moment.

use std::net::IpAddr;

use cache::{CacheKey, ReadThrough, RedisLink};
use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tenant_isolation::resolve::{ExternalId, Resolved, resolve};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::limit::{Budget, Limits, OF_KEY};
use super::look_guard::LookGuard;
use super::standing::Standings;
use crate::error::Error;
use crate::secrets;
use crate::store::customers::Standing;
use crate::store::{api_keys, directory};

/// Keys that one process keeps at hand.
const CACHED: u64 = 100_000;

/// What a key stands for, as it is kept at hand.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Holder {
    resolved: Resolved,
    valid_until: Option<DateTime<Utc>>,
}

/// A customer that was let in.
#[derive(Debug)]
pub(crate) struct KeyHolder {
    pub(crate) scope: TenantScope,
    pub(crate) standing: Standing,
    /// The key's row.
    pub(crate) key: Uuid,
}

/// Judges customers' keys. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CustomerKeys {
    db: Database,
    standings: Standings,
    cache: ReadThrough<Holder>,
    looks: LookGuard,
}

impl std::fmt::Debug for CustomerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CustomerKeys").finish_non_exhaustive()
    }
}

impl CustomerKeys {
    pub(crate) fn new(db: Database, standings: Standings, redis: RedisLink) -> Self {
        Self {
            db,
            standings,
            cache: ReadThrough::new(redis, CACHED),
            looks: LookGuard::default(),
        }
    }

    /// The active customer whose key this is, after the key was counted; whoever shows none that is known is counted by
    /// its address (contract §12).
    ///
    /// Errors of the second: [`Error::TooOften`], [`Error::ApiKeyRequired`], [`Error::InvalidApiKey`],
    /// [`Error::TooManyWrongKeys`], [`Error::CustomerNotActive`]; a database that cannot be asked is an error of its own and never "unknown".
    pub(crate) async fn enter(
        &self,
        presented: Result<SecretString, Error>,
        address: Option<IpAddr>,
        limits: &Limits,
    ) -> (Option<Budget>, Result<KeyHolder, Error>) {
        let holder = match presented {
            Ok(key) => self.holder(&key, address).await,
            Err(error) => Err(error),
        };
        let holder = match holder {
            Ok(holder) => holder,
            Err(stranger @ (Error::ApiKeyRequired | Error::InvalidApiKey)) => {
                return match limits.stranger(address).await {
                    Ok(budget) => (Some(budget), Err(stranger)),
                    Err(excess) => (Some(excess.budget), Err(excess.into())),
                };
            }
            // Refused by its own budget, and counted there. Our own trouble is nobody's request.
            Err(error) => return (None, Err(error)),
        };
        let scope = holder.resolved.scope();
        let key = holder.resolved.subject();
        match limits.known(&scope, OF_KEY, &key.simple().to_string()).await {
            Ok(budget) => (Some(budget), self.customer(scope, key).await),
            Err(excess) => (Some(excess.budget), Err(excess.into())),
        }
    }

    async fn holder(&self, presented: &SecretString, address: Option<IpAddr>) -> Result<Holder, Error> {
        let external = Self::external(&secrets::token_hash(presented)).ok_or(Error::InvalidApiKey)?;
        let key = CacheKey::of_external(&external);
        let look = || self.looks.look(&key, address, || self.load(&external));
        let holder = self.cache.get(&key, look).await?;
        if holder.is_some() {
            self.looks.met(&key).await;
        }
        holder
            .filter(|holder| holder.valid_until.is_none_or(|end| Utc::now() < end))
            .ok_or(Error::InvalidApiKey)
    }

    async fn customer(&self, scope: TenantScope, key: Uuid) -> Result<KeyHolder, Error> {
        let standing = self.standings.of(&scope).await?.ok_or(Error::InvalidApiKey)?;
        standing.active()?;
        Ok(KeyHolder { scope, standing, key })
    }

    /// Makes a change of the key known to every process within a second. Called after the commit of whoever made,
    /// ended or removed it.
    pub(crate) async fn forget(&self, key_hash: &str) {
        if let Some(external) = Self::external(key_hash) {
            let key = CacheKey::of_external(&external);
            self.looks.forget(&key).await;
            self.cache.forget(&key).await;
        }
    }

    /// Waits until every change is known everywhere, for a process that ends soon after it made one.
    pub(crate) async fn settled(&self) {
        self.cache.settled().await;
    }

    fn external(key_hash: &str) -> Option<ExternalId> {
        ExternalId::new(directory::API_KEY, key_hash)
    }

    async fn load(&self, external: &ExternalId) -> Result<Option<Holder>, DatabaseError> {
        let Some(resolved) = resolve(&self.db, external).await? else {
            return Ok(None);
        };
        let mut tx = TenantTransaction::begin(&self.db, &resolved.scope(), "customer of key").await?;
        let valid_until = api_keys::valid_until(&mut tx, resolved.subject(), external.id()).await?;
        tx.commit().await?;
        Ok(valid_until.map(|valid_until| Holder {
            resolved,
            valid_until,
        }))
    }
}
