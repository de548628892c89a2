//! Do sessions' servers still send their events here, in a form that we believe? Asked for operators; changes nothing.

use domain::ids::TenantId;
use futures_util::StreamExt as _;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};
use whatsapp::session::FailureReason;

use super::Way;
use super::see::lost;
use crate::flows::session::{SessionError, Sessions};
use crate::store::session;

/// Sessions that are asked about at once.
const AT_ONCE: usize = 8;

/// Where the events of a session go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Whose session.
    pub tenant: String,
    /// On which endpoint.
    pub endpoint: String,
    /// What its server says.
    pub told: Told,
}

/// What a session's server says of where its events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Here.
    Right,
    /// Not here, or not signed with a key of ours; the word is that of [`rules`](super::rules).
    Lost(&'static str),
    /// It did not say.
    NotTold(FailureReason),
    /// Nobody can ask: its endpoint is not configured, or its token does not open.
    NotAsked,
}

impl Sessions {
    /// Asks about the first `most` sessions.
    ///
    /// # Errors
    /// [`SessionError::Database`].
    pub async fn look_for_drift(&self, most: i64) -> Result<Vec<Look>, SessionError> {
        let scope = PlatformScope::for_purpose("look for drift");
        let mut tx = PlatformTransaction::begin(&self.db, scope).await?;
        let rows = session::first(&mut tx, most).await?;
        tx.commit().await?;
        let looks = futures_util::stream::iter(rows).map(|row| async move {
            let (tenant, endpoint) = (row.tenant_id.clone(), row.endpoint.clone());
            let way = TenantId::parse(tenant.as_str())
                .ok()
                .and_then(|id| self.way(&TenantScope::named_by_operator(id), row));
            let told = match way {
                Some(way) => ask(&way).await,
                None => Told::NotAsked,
            };
            Look {
                tenant,
                endpoint,
                told,
            }
        });
        Ok(looks.buffered(AT_ONCE).collect().await)
    }
}

async fn ask(way: &Way) -> Told {
    match way.endpoint.sessions.status(&way.token).await {
        Ok(state) => lost(way, &state).map_or(Told::Right, Told::Lost),
        Err(failure) => match failure.reason {
            // It is off; where its events go is told again when it is connected.
            FailureReason::NoSession | FailureReason::NotConnected | FailureReason::NotLoggedIn => {
                Told::Right
            }
            reason => Told::NotTold(reason),
        },
    }
}
