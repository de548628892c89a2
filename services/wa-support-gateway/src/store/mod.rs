//! Rows and queries, a file per noun. Everything works inside a transaction that was opened for one customer, and the
//! policies in Postgres check each row again.

pub(crate) mod api_keys;
pub(crate) mod contacts;
pub(crate) mod customer_list;
pub(crate) mod customers;
pub(crate) mod directory;
pub(crate) mod expired_sessions;
pub(crate) mod hook_events;
pub(crate) mod hooked_sessions;
pub(crate) mod import;
pub(crate) mod original;
pub(crate) mod ownership;
pub(crate) mod person;
pub(crate) mod quota;
mod schema;
pub mod sealed;
pub(crate) mod session_connects;
pub(crate) mod session_sweep;
pub(crate) mod session_switches;
pub(crate) mod session_work;
pub(crate) mod sessions;
pub(crate) mod subscriptions;
pub(crate) mod tenant_rows;
pub(crate) mod terms;
pub(crate) mod usage;

/// Acts are noted in the same way by every service.
pub(crate) use ::audit_log as audit;

/// The one provider there is. The column exists because subscriptions are sold per provider.
pub(crate) const PROVIDER: &str = "genfity-wa";
