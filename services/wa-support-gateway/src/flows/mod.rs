//! Use cases. Nothing here knows actix, SQL or the WA server's field names.

pub(crate) mod admit;
pub mod contacts;
pub(crate) mod customer_key;
pub(crate) mod customers;
pub(crate) mod import;
pub(crate) mod key_guard;
pub mod limit;
pub mod provision_session;
pub mod proxy_path;
pub(crate) mod proxy_query;
pub(crate) mod quota;
pub(crate) mod send_kind;
pub(crate) mod sending;
pub(crate) mod standing;
pub(crate) mod typing;
pub(crate) mod usage;
