//! What keeps customers' traffic within its bounds and counts it: limits, quota, statistics, contacts.

use cache::RedisLink;
use chrono::{FixedOffset, Offset as _, Utc};
use database::Database;
use runtime::encryption::KeyRing;

use crate::config::TrafficSettings;
use crate::flows::contacts::Contacts;
use crate::flows::limit::Limits;
use crate::flows::quota::{Quota, QuotaWork};
use crate::flows::typing::Typing;
use crate::flows::usage::Usage;
use crate::wa_server::WaServer;

/// How far the business's clocks are ahead. West Indonesian time has no summer.
const AHEAD_SECONDS: i32 = 7 * 60 * 60;

/// Shared by all requests of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    pub(crate) limits: Limits,
    pub(crate) quota: Quota,
    pub(crate) usage: Usage,
    pub(crate) typing: Typing,
    pub(crate) contacts: Contacts,
}

impl Traffic {
    /// Puts it together, with the work that has to run beside it.
    pub(crate) fn new(
        settings: &TrafficSettings,
        db: &Database,
        redis: &RedisLink,
        keys: &KeyRing,
        wa_server: &WaServer,
    ) -> (Self, QuotaWork) {
        let (quota, work) = Quota::new(db.clone());
        let zone = FixedOffset::east_opt(AHEAD_SECONDS).unwrap_or(Utc.fix());
        let traffic = Self {
            limits: Limits::new(redis.clone(), settings),
            quota,
            usage: Usage::new(db.clone(), zone),
            typing: Typing::new(wa_server.clone(), settings.typing),
            contacts: Contacts::new(db.clone(), keys.clone(), wa_server.clone()),
        };
        (traffic, work)
    }
}
