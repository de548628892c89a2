//! Sessions are looked after: what dropped is brought back, what went deaf is attached anew.
//!
//! | part | where |
//! |---|---|
//! | what is done, given what is known and seen | [`rules`] |
//! | what a session's server says of it, and what that lacks | [`see`] |
//! | connecting and attaching, as the only one | [`act`] |
//! | where events of all of them go, for operators | [`drift`] |
//! | what people are told of it | [`tell`] |
//!
//! Whoever looks has the session's row in `session_watch` for a while, and a fence by which only its findings count. What
//! changes a session outside is done under the tenant's lease, as when it is made or removed, and only where no person
//! wants it off: that is asked before the call, and once more after it, because a person's word may come meanwhile.

mod act;
pub mod drift;
pub mod rules;
mod see;
mod tell;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use cache::{Buckets, CacheKey, Rate, RedisLink};
use database::{Database, DatabaseError};
use domain::endpoint::Provider;
use domain::ids::{AccountId, TenantId};
use tenant_isolation::resolve::ExternalId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use whatsapp::credentials::{SessionToken, WebhookKey};
use whatsapp::session::Upkeep;

use self::rules::{Step, Wishes};
use self::tell::tell;
use super::hearing::Hearing;
use super::{SessionError, Sessions};
use crate::config::WatchSettings;
use crate::endpoints::LiveEndpoint;
use crate::flows::tenant::Actor;
use crate::flows::tenant_config::TenantConfigs;
use crate::store::audit;
use crate::store::session::{self, SessionRow};
use crate::store::session_watch::{self, HearingChange, OutageChange, WatchedRow};

pub(super) use self::tell::count_connect;

/// Longer than a look with all its calls.
const LEASE: Duration = Duration::from_secs(120);

/// Looks after sessions.
pub struct Keeper {
    sessions: Arc<Sessions>,
    configs: TenantConfigs,
    settings: WatchSettings,
    pace: Buckets,
}

/// A session, opened, and the way to it.
struct Way {
    scope: TenantScope,
    session: SessionRow,
    endpoint: Arc<LiveEndpoint>,
    token: SessionToken,
    upkeep: Upkeep,
    /// What its events may be signed with.
    keys: Vec<WebhookKey>,
}

impl Sessions {
    /// The way to a session that can be asked where it stands.
    fn way(&self, scope: &TenantScope, session: SessionRow) -> Option<Way> {
        // By the session itself: the row may be older than a move, and a name may stand for another kind of server now.
        let endpoint = self.endpoints.of_account(&session.provider, &session.endpoint)?;
        // Its numbers are registered and need no connection.
        if endpoint.provider == Provider::Cloud {
            return None;
        }
        let (token, upkeep, mut keys) = match (
            self.token(scope, &session),
            self.upkeep(scope, &session),
            self.webhook_keys(scope, &session),
        ) {
            (Ok(token), Ok(upkeep), Ok(keys)) => (token, upkeep, keys),
            _ => {
                tracing::error!(tenant = %scope.tenant(), "a session's token or key does not open");
                return None;
            }
        };
        keys.extend(endpoint.webhook_keys.iter().cloned());
        Some(Way {
            scope: scope.clone(),
            session,
            endpoint,
            token,
            upkeep,
            keys,
        })
    }
}

impl Keeper {
    /// Puts it together.
    #[must_use]
    pub fn new(
        sessions: Arc<Sessions>,
        configs: TenantConfigs,
        settings: WatchSettings,
        redis: RedisLink,
    ) -> Self {
        let per_second = NonZeroU32::new(settings.rate).unwrap_or(NonZeroU32::MIN);
        let rate = Rate {
            per_second,
            burst: per_second,
        };
        Self {
            sessions,
            configs,
            settings,
            pace: Buckets::new(redis, rate),
        }
    }

    /// How it looks after them.
    #[must_use]
    pub const fn settings(&self) -> WatchSettings {
        self.settings
    }

    /// Writes down what was heard.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn write_down_hearing(&self) -> Result<(), DatabaseError> {
        self.sessions.hearing().write_down(&self.sessions.db).await
    }

    /// Takes sessions that are due, at most `most`, none of the endpoints in `full`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn due(&self, full: &[&str], most: usize) -> Result<Vec<WatchedRow>, DatabaseError> {
        let platform = PlatformScope::for_purpose("claim sessions to look at");
        let mut tx = PlatformTransaction::begin(&self.sessions.db, platform).await?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let due = session_watch::claim(&mut tx, full, most, LEASE).await?;
        tx.commit().await?;
        Ok(due)
    }

    /// Looks at a session and does what has to be done.
    ///
    /// # Errors
    /// [`SessionError`] about our own side: the session is looked at again when the lease is over.
    pub async fn look(&self, row: &WatchedRow) -> Result<(), SessionError> {
        let Ok(tenant) = TenantId::parse(row.tenant_id.as_str()) else {
            return Ok(());
        };
        let platform = PlatformScope::for_purpose("look after sessions");
        let scope = TenantScope::of_swept_row(&platform, tenant);
        let step = match self.settings.before_asking(row) {
            Some(step) => step,
            None => self.ask_and_act(&scope, row).await?,
        };
        let Step::Note {
            outage,
            hearing,
            next,
        } = step
        else {
            // Everything that is done ends in a note.
            return Ok(());
        };
        let mut tx = TenantTransaction::begin(&self.sessions.db, &scope, "end look at session").await?;
        let counts = session_watch::finish(&mut tx, row, &outage, hearing, next).await?;
        if counts && let OutageChange::GivenUp(reason) = outage {
            let actor = Actor {
                name: "session watch".to_owned(),
                source: None,
            };
            let mut act = actor.act("session.give_up", Some(row.account_id.to_string()));
            act.detail = Some(reason.to_owned());
            audit::note(&mut tx, &act).await?;
        }
        tx.commit().await?;
        if counts {
            tell(&scope, row, &outage, hearing);
        }
        Ok(())
    }

    async fn ask_and_act(&self, scope: &TenantScope, row: &WatchedRow) -> Result<Step, SessionError> {
        let Some(way) = self.way(scope, row).await? else {
            return Ok(self.later());
        };
        let seen = self.see(&way).await?;
        let wishes = self.wishes(&way).await?;
        match self.settings.after_asking(row, wishes, seen) {
            Step::Reconnect => self.reconnect(row, &way, wishes).await,
            Step::Reattach(reason) => self.reattach(row, &way, wishes, reason).await,
            note @ Step::Note { .. } => Ok(note),
        }
    }

    /// The way to the session. `None`: there is none at present.
    async fn way(&self, scope: &TenantScope, row: &WatchedRow) -> Result<Option<Way>, SessionError> {
        let mut tx = TenantTransaction::begin(&self.sessions.db, scope, "load watched session").await?;
        let session = session::find_of(&mut tx, AccountId::from_uuid(row.account_id)).await?;
        tx.commit().await?;
        let Some(session) = session else {
            return Ok(None);
        };
        Ok(self.sessions.way(scope, session))
    }

    async fn wishes(&self, way: &Way) -> Result<Wishes, SessionError> {
        let config = self.configs.of(&way.scope).await.map_err(|error| {
            tracing::debug!(error = %crate::error::chain(error.as_ref()), "a tenant's configuration was not found");
            DatabaseError::NotFound
        })?;
        Ok(Wishes {
            auto_reconnect: config.settings.auto_reconnect,
            first_wait: config.settings.reconnect_interval(),
            was_paired: way.session.phone.is_some(),
        })
    }

    /// One endpoint that is back does not get all of its sessions at once.
    async fn ask_pace(&self, way: &Way) -> Result<(), Duration> {
        match ExternalId::new("endpoint_reconnects", way.endpoint.name.as_str()) {
            Some(endpoint) => self.pace.take(&CacheKey::of_external(&endpoint)).await,
            None => Ok(()),
        }
    }

    fn later(&self) -> Step {
        self.at(self.settings.usual())
    }

    const fn at(&self, next: Duration) -> Step {
        Step::Note {
            outage: OutageChange::Same,
            hearing: HearingChange::Same,
            next,
        }
    }
}

impl Sessions {
    /// Gathers signs of life.
    #[must_use]
    pub const fn hearing(&self) -> &Hearing {
        &self.hearing
    }

    /// Notes what a person wants: the session off the network, or on it. Returns whether it was wanted off before.
    pub(super) async fn keep_off(
        &self,
        scope: &TenantScope,
        account: AccountId,
        off: bool,
    ) -> Result<bool, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "note wish for session").await?;
        let was_off = session_watch::is_kept_off(&mut tx, account).await?;
        session_watch::keep_off(&mut tx, account, off).await?;
        tx.commit().await?;
        Ok(was_off)
    }
}

/// The tables, for whoever works beside.
impl Keeper {
    /// The tables.
    #[must_use]
    pub fn db(&self) -> &Database {
        &self.sessions.db
    }
}
