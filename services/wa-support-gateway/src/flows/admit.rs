//! Who may use the proxy: from a presented token to the session it stands for (contract §8.2).
//!
//! The directory leads from the token's hash to the session, and the customer's standing then says whether it may be
//! used. Both are at hand for a second; a change is known to every process within it.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use cache::{CacheKey, NotLoaded, ReadThrough, RedisLink};
use database::{Database, DatabaseError};
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tenant_isolation::resolve::{ExternalId, Resolved, resolve};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::look_guard::LookGuard;
use super::standing::Standings;
use crate::error::Error;
use crate::secrets;
use crate::store::customers::Standing;
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
    pub(crate) token: Arc<SecretString>,
    /// What the customer may have.
    pub(crate) entitlement: Entitlement,
    /// Does the session show that it types before it sends?
    pub(crate) typing: bool,
}

/// Whose token was presented, before anybody has said what it may do.
#[derive(Debug)]
pub(crate) struct Known {
    pass: Pass,
    standing: Standing,
}

impl Known {
    fn admitted(&self, token: Arc<SecretString>) -> Result<Admitted, Error> {
        Ok(Admitted {
            scope: self.scope(),
            session: self.session(),
            token,
            entitlement: self.standing.entitled()?.clone(),
            typing: self.pass.typing,
        })
    }

    /// Whose session it is.
    pub(crate) fn scope(&self) -> TenantScope {
        self.pass.resolved.scope()
    }

    /// Which session.
    pub(crate) fn session(&self) -> Uuid {
        self.pass.resolved.subject()
    }
}

/// What a token stands for, as it is kept at hand.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pass {
    resolved: Resolved,
    #[serde(with = "shared")]
    token: Arc<StoredToken>,
    typing: bool,
}

/// The token of a session's row. Sealed wherever it is kept; a process opens it once for as long as it has it at hand.
#[derive(Debug, Serialize, Deserialize)]
struct StoredToken {
    hash: String,
    sealed: String,
    #[serde(skip)]
    opened: OnceLock<Arc<SecretString>>,
}

/// A value that copies share, written as what it is.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &Arc<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        T::serialize(value, serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(deserializer).map(Arc::new)
    }
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

    /// Whose token it is, if this process has that at hand. Asks nobody outside, so it may be called on any runtime.
    pub(crate) async fn at_hand(&self, presented: &SecretString) -> Option<Known> {
        let external = external(presented).ok()?;
        let pass = self.cache.at_hand(&CacheKey::of_external(&external)).await?;
        let standing = self.standings.at_hand(&pass.resolved.scope()).await?;
        Some(Known { pass, standing })
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// [`Error::InvalidToken`]; [`Error::TooManyWrongKeys`] when the address has shown too many of those; a database that
    /// cannot be asked is an error of its own and never "unknown".
    pub(crate) async fn look_up(
        &self,
        presented: &SecretString,
        address: Option<IpAddr>,
    ) -> Result<Known, Error> {
        let external = external(presented)?;
        let key = CacheKey::of_external(&external);
        let look = || self.looks.look(&key, address, || self.load(&external));
        let pass = self.cache.get(&key, look).await?;
        let pass = pass.ok_or(Error::InvalidToken)?;
        self.looks.met(&key).await;
        let standing = self.standings.of(&pass.resolved.scope()).await?;
        let standing = standing.ok_or(Error::InvalidToken)?;
        Ok(Known { pass, standing })
    }

    /// What the token's owner may do with its session. `None`: the copy at hand is sealed under a key that is gone; see
    /// [`admit_anew`](Self::admit_anew).
    ///
    /// # Errors
    /// [`Error::CustomerNotActive`], [`Error::SubscriptionExpired`].
    pub(crate) fn admit(&self, known: &Known) -> Result<Option<Admitted>, Error> {
        known.standing.entitled()?;
        let StoredToken { sealed, opened, .. } = &*known.pass.token;
        if let Some(token) = opened.get() {
            return known.admitted(Arc::clone(token)).map(Some);
        }
        let binding = secrets::token_binding(&known.scope(), known.session());
        let Ok(token) = self.keys.open(sealed, &binding) else {
            return Ok(None);
        };
        let token = opened.get_or_init(|| Arc::new(token));
        known.admitted(Arc::clone(token)).map(Some)
    }

    /// As [`admit`](Self::admit), with the token as it is sealed now.
    ///
    /// # Errors
    /// Those of `admit`; a token that does not open.
    pub(crate) async fn admit_anew(&self, known: &Known) -> Result<Admitted, Error> {
        let binding = secrets::token_binding(&known.scope(), known.session());
        let sealed = self.sealed_anew(&known.pass).await?;
        known.admitted(Arc::new(self.keys.open(&sealed, &binding)?))
    }

    async fn sealed_anew(&self, pass: &Pass) -> Result<String, Error> {
        let external =
            ExternalId::new(directory::SESSION_TOKEN, &pass.token.hash).ok_or(Error::InvalidToken)?;
        self.cache.forget(&CacheKey::of_external(&external)).await;
        let fresh = self.load(&external).await?.ok_or(Error::InvalidToken)?;
        Ok(fresh.token.sealed.clone())
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
        Ok(pass.map(|(sealed, typing)| Pass {
            resolved,
            token: Arc::new(StoredToken {
                hash: external.id().to_owned(),
                sealed,
                opened: OnceLock::new(),
            }),
            typing,
        }))
    }
}

fn external(presented: &SecretString) -> Result<ExternalId, Error> {
    let hash = secrets::token_hash(presented);
    ExternalId::new(directory::SESSION_TOKEN, &hash).ok_or(Error::InvalidToken)
}

impl From<Arc<NotLoaded<DatabaseError>>> for Error {
    fn from(error: Arc<NotLoaded<DatabaseError>>) -> Self {
        Self::Shared(error)
    }
}
