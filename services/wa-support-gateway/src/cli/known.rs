//! What running processes have at hand, for a command that makes it untrue.

use std::time::Duration;

use cache::RedisLink;
use database::Database;
use runtime::encryption::KeyRing;
use tenant_isolation::TenantScope;

use super::CommandError;
use crate::config::RedisSettings;
use crate::flows::admit::Admissions;
use crate::flows::sessions::Sessions;
use crate::flows::standing::Standings;

/// How long a command waits for Redis to hear of everything it has changed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Copies that are taken back through Redis, as the running service does it.
pub(super) struct Known {
    standings: Standings,
    admissions: Admissions,
}

impl Known {
    /// `None`: nobody says where Redis is, which is said, and no reason not to work.
    ///
    /// # Errors
    /// [`CommandError::Redis`] when its address is none.
    pub(super) fn to_processes(
        redis: Option<&RedisSettings>,
        db: &Database,
        keys: &KeyRing,
    ) -> Result<Option<Self>, CommandError> {
        let Some(settings) = redis else {
            tracing::warn!("REDIS_URL is not set: running services see what is changed within a minute");
            return Ok(None);
        };
        let redis = RedisLink::new(&settings.url, &settings.prefix)?;
        let standings = Standings::new(db.clone(), redis.clone());
        let admissions = Admissions::new(db.clone(), keys.clone(), standings.clone(), redis);
        Ok(Some(Self {
            standings,
            admissions,
        }))
    }

    pub(super) fn standings(&self) -> Standings {
        self.standings.clone()
    }

    /// Sessions whose changes are told.
    pub(super) fn tell_of(&self, sessions: Sessions) -> Sessions {
        sessions.with_admissions(self.admissions.clone())
    }

    /// What is known of the customer is out of date.
    pub(super) async fn forget(&self, scope: &TenantScope) {
        self.standings.forget(scope).await;
    }

    /// Waits until everything is taken back.
    pub(super) async fn settled(self) {
        let all = async {
            tokio::join!(self.standings.settled(), self.admissions.settled());
        };
        settled(all).await;
    }
}

/// Waits until everything is taken back, but not for a Redis that is away.
pub(super) async fn settled(all: impl Future<Output = ()>) {
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        tracing::warn!("Redis does not answer: running services see what was changed within a minute");
    }
}
