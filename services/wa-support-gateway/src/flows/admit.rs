//! Who may use the proxy: from a presented token to the session it stands for (contract §8.2).
//!
//! The directory leads from the token's hash to the session, and the customer's standing then says whether it may be
//! used. Both are at hand for a second; a change is known to every process within it.

use std::net::IpAddr;
use std::sync::Arc;

use cache::{CacheKey, NotLoaded, ReadThrough, RedisLink};
use database::{Database, DatabaseError};
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tenant_isolation::resolve::{ExternalId, Resolved, resolve};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::limit::{Budget, Limits, OF_SESSION};
use super::look_guard::LookGuard;
use super::standing::Standings;
use crate::error::Error;
use crate::secrets;
use crate::store::subscriptions::Entitlement;
use crate::store::{directory, sessions};

/// Tokens that one process keeps at hand.
const CACHED: u64 = 100_000;

/// A caller that may use its session on the WA server.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Whose session it is.
    pub(crate) scope: TenantScope,
    /// Which session.
    pub(crate) session: Uuid,
    /// The token of the session's row: the only one that ever goes upstream (W-02).
    pub(crate) token: SecretString,
    /// What the customer may have.
    pub(crate) entitlement: Entitlement,
    /// Does the session show that it types before it sends?
    pub(crate) typing: bool,
}

/// A caller that has come in, or was turned away, and where it stands with the limits.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) admitted: Result<Admitted, Error>,
    pub(crate) budget: Option<Budget>,
}

impl Entered {
    const fn turned_away(error: Error, budget: Option<Budget>) -> Self {
        Self {
            admitted: Err(error),
            budget,
        }
    }
}

/// What a token stands for, as it is kept at hand: the token itself stays sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pass {
    resolved: Resolved,
    token_hash: String,
    token_sealed: String,
    typing: bool,
}

/// Judges tokens. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Admissions {
    db: Database,
    keys: KeyRing,
    standings: Standings,
    cache: ReadThrough<Pass>,
    looks: LookGuard,
}

impl std::fmt::Debug for Admissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admissions").finish_non_exhaustive()
    }
}

impl Admissions {
    pub(crate) fn new(db: Database, keys: KeyRing, standings: Standings, redis: RedisLink) -> Self {
        Self {
            db,
            keys,
            standings,
            cache: ReadThrough::new(redis, CACHED),
            looks: LookGuard::default(),
        }
    }

    /// Judges a presented token, after its session was counted; whoever shows none that is known is counted by its
    /// address (contract §8.2, §12).
    ///
    /// Errors of [`Entered::admitted`]: [`Error::TooOften`], [`Error::TokenRequired`], [`Error::InvalidToken`],
    /// [`Error::TooManyWrongKeys`], [`Error::CustomerNotActive`], [`Error::SubscriptionExpired`]; a database that cannot be asked is an error of its
    /// own and never "unknown".
    pub(crate) async fn enter(
        &self,
        presented: Result<SecretString, Error>,
        address: Option<IpAddr>,
        limits: &Limits,
    ) -> Entered {
        let pass = match presented {
            Ok(token) => self.pass(&token, address).await,
            Err(error) => Err(error),
        };
        let pass = match pass {
            Ok(pass) => pass,
            Err(stranger @ (Error::TokenRequired | Error::InvalidToken | Error::TooManyWrongKeys(_))) => {
                return match limits.stranger(address).await {
                    Ok(budget) => Entered::turned_away(stranger, Some(budget)),
                    Err(excess) => Entered::turned_away(excess.into(), Some(excess.budget)),
                };
            }
            // Our own trouble is nobody's request.
            Err(error) => return Entered::turned_away(error, None),
        };
        let session = pass.resolved.subject().simple().to_string();
        match limits.known(&pass.resolved.scope(), OF_SESSION, &session).await {
            Ok(budget) => Entered {
                admitted: self.admit(pass).await,
                budget: Some(budget),
            },
            Err(excess) => Entered::turned_away(excess.into(), Some(excess.budget)),
        }
    }

    async fn sealed_anew(&self, pass: &Pass) -> Result<String, Error> {
        let external =
            ExternalId::new(directory::SESSION_TOKEN, &pass.token_hash).ok_or(Error::InvalidToken)?;
        self.cache.forget(&CacheKey::of_external(&external)).await;
        let fresh = self.load(&external).await?.ok_or(Error::InvalidToken)?;
        Ok(fresh.token_sealed)
    }

    async fn pass(&self, presented: &SecretString, address: Option<IpAddr>) -> Result<Pass, Error> {
        let hash = secrets::token_hash(presented);
        let external = ExternalId::new(directory::SESSION_TOKEN, &hash).ok_or(Error::InvalidToken)?;
        let key = CacheKey::of_external(&external);
        let look = || self.looks.look(&key, address, || self.load(&external));
        let pass = self.cache.get(&key, look).await?;
        pass.ok_or(Error::InvalidToken)
    }

    async fn admit(&self, pass: Pass) -> Result<Admitted, Error> {
        let scope = pass.resolved.scope();
        let standing = self.standings.of(&scope).await?.ok_or(Error::InvalidToken)?;
        let entitlement = standing.entitled()?.clone();
        let session = pass.resolved.subject();
        let binding = secrets::token_binding(&scope, session);
        let token = match self.keys.open(&pass.token_sealed, &binding) {
            Ok(token) => token,
            // Sealed anew since, and the copy at hand is the old one.
            Err(_) => self.keys.open(&self.sealed_anew(&pass).await?, &binding)?,
        };
        Ok(Admitted {
            scope,
            session,
            token,
            entitlement,
            typing: pass.typing,
        })
    }

    /// Makes a change of the session known to every process within a second. Called after the commit of whoever
    /// changed or removed it.
    pub(crate) async fn forget(&self, token_hash: &str) {
        if let Some(external) = ExternalId::new(directory::SESSION_TOKEN, token_hash) {
            let key = CacheKey::of_external(&external);
            self.looks.forget(&key).await;
            self.cache.forget(&key).await;
        }
    }

    /// Waits until every change is known everywhere, for a process that ends soon after it made one.
    pub(crate) async fn settled(&self) {
        self.cache.settled().await;
    }

    async fn load(&self, external: &ExternalId) -> Result<Option<Pass>, DatabaseError> {
        let Some(resolved) = resolve(&self.db, external).await? else {
            return Ok(None);
        };
        let mut tx = TenantTransaction::begin(&self.db, &resolved.scope(), "admit to proxy").await?;
        let pass = sessions::pass(&mut tx, resolved.subject(), external.id()).await?;
        tx.commit().await?;
        Ok(pass.map(|(token_sealed, typing)| Pass {
            resolved,
            token_hash: external.id().to_owned(),
            token_sealed,
            typing,
        }))
    }
}

impl From<Arc<NotLoaded<DatabaseError>>> for Error {
    fn from(error: Arc<NotLoaded<DatabaseError>>) -> Self {
        Self::Shared(error)
    }
}
