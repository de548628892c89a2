//! Work that must be done in order within one chat.
//!
//! Tables `lanes` and `lane_tasks` in a service's schema. A worker takes a whole lane under a lease, does its tasks
//! from the head, and lets go when the lane is empty or its head has to wait; a lane that waits delays no other. The
//! lease has a fence: a worker that was asleep while somebody else took over finds its number outdated and can
//! write nothing. No transaction is open while a task is being worked on.

mod lease;
mod merge;
mod put_aside;
mod share;
mod table;
mod upkeep;
mod workers;

pub use lease::{LaneChoice, LaneError, Lease, Waits};
pub use merge::{merge, merge_one};
pub use put_aside::{PutAside, put_aside};
pub use table::{NewTask, Task, delete_idle, discard, discard_parked, enqueue, enqueue_group, replay};
pub use upkeep::{ParkedTask, Waiting, expire_parked, forget_idle, parked, waiting};
pub use workers::{HandleTask, Next, WorkerSettings, Workers, claim_and_work};
