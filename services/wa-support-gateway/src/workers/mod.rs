//! What runs beside the HTTP server.

pub(crate) mod expire_subscriptions;
pub(crate) mod hook_retention;
pub(crate) mod hooks;
pub(crate) mod sessions;
pub(crate) mod traffic;
pub(crate) mod watch;
