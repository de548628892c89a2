//! Owns Redis: a read-through cache, token buckets, windows of requests and the spam guard's memory. Losing Redis costs speed, never truth.
//!
//! Every answer of this crate also exists without Redis: the cache asks the loader, buckets and windows count in this
//! process alone, the spam guard lets everything pass. A Redis that does not answer is left alone for a moment, so that its absence is paid once and not
//! by every request.

mod bucket;
mod examine;
mod hearing;
mod keys;
mod read_through;
mod redis_link;
mod spam_guard;
mod throttle;
mod windows;

pub use bucket::{Buckets, Rate};
pub use examine::examine;
pub use keys::CacheKey;
pub use read_through::{COPIES_LIVE, NotLoaded, ReadThrough};
pub use redis_link::{InvalidRedisUrl, RedisLink};
pub use spam_guard::{Ban, GuardAway, GuardState, Incoming, SpamGuard, SpamRules, Verdict};
pub use throttle::{Gate, GateRate, Passed, Shut, Throttle};
pub use windows::{Hit, HitOutcome, WindowRules, Windows};
