//! What keeps customers' traffic within its bounds and counts it: limits, quota, statistics, contacts.

use cache::RedisLink;
use database::Database;
use runtime::encryption::KeyRing;

use crate::config::{BusinessZone, TrafficSettings};
use crate::flows::contacts::Contacts;
use crate::flows::limit::Limits;
use crate::flows::quota::{Quota, QuotaWork};
use crate::flows::typing::Typing;
use crate::flows::usage::Usage;
use crate::wa_server::WaServer;

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
        zone: BusinessZone,
        db: &Database,
        redis: &RedisLink,
        keys: &KeyRing,
        wa_server: &WaServer,
    ) -> (Self, QuotaWork) {
        let (quota, work) = Quota::new(db.clone());
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
