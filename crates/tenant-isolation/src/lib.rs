//! The proof that work is done for somebody.
//!
//! A [`TenantScope`] cannot be made outside this crate: it comes out of [`resolve`] (an outside id that the tenant
//! registered), out of a credential that was checked, or out of an event of our own. Every finder, every cache key
//! and every event asks for one, and the transactions here carry it into Postgres, where forced row-level security
//! checks each row again. What code forgets, the database still knows.

pub mod caller;
pub mod policy;
pub mod resolve;
pub mod rows;
mod scope;
pub mod sealed_keys;
pub mod sealed_rows;
pub mod source_keys;
mod transaction;

pub use scope::{PlatformScope, ScopeSet, TenantScope};
pub use transaction::{GroupTransaction, PlatformTransaction, TenantTransaction, Transaction};
