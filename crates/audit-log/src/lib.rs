//! Who did what: noted in the transaction that does it, never changed, and chained so that a change shows.
//!
//! Each service has two tables of one shape in its schema: `audit_log` for acts about tenants and `platform_acts` for acts
//! about none. The acts of a tenant are a chain, those of the platform are one more: each entry has the number behind the
//! one before, its hash, and a SHA-256 of its own over all of that and its fields. A trigger writes the three, whoever
//! inserts and whatever they send; the service's roles may insert and read, nothing else. [`verify`] computes every hash
//! anew, apart from Postgres.
//!
//! The trigger queues the writers of a chain until their commits (an advisory lock, so no row and no right to change one is
//! needed). Whoever notes acts of several tenants in one transaction does so in the order of their ids; whoever locks rows
//! does that before it notes.

mod act;
mod anchors;
mod chain;
mod chore;
mod encoding;
mod prune;
mod read;
mod verify;

pub use act::{Act, Actor, note, note_platform};
pub use anchors::{Anchor, Anchors, InvalidAnchors};
pub use chain::Chain;
pub use chore::{AuditCommand, ChoreError, Finding, run};
pub use encoding::{Fields, GENESIS, Hash, hash_of};
pub use prune::{PRUNED, PruneError, Pruned, prune};
pub use read::{ActRow, AnyActRow, Wanted, kinds, newest, page};
pub use verify::{Broken, Fault, LastCheck, Report, VERIFIED, last_check, note_check, verify};
