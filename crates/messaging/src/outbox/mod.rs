//! What must reach the broker: rows in the transaction that caused them, published by a relay.
//!
//! Table `outbox (tenant_id, seq, lane, event_id, event_type, envelope, created_at, parked)` in each service's schema. Rows
//! of one lane are published in the order of `seq`. A writer must hold a lock that all writers of that lane take
//! (the chat's row) before it enqueues; then the order of `seq` within a lane is the order of commits.
//!
//! A row that is too large to be published (8 MiB) is marked in `parked`, counted and logged, and stays for people; the
//! rest of its lane goes on in order. A row that is no envelope holds its lane until somebody removes it.

mod lease;
pub mod look;
mod refused;
mod relay;
mod table;

pub use relay::{Relay, RelayPass};
pub use table::{NewRow, Signal, enqueue, enqueue_group};
