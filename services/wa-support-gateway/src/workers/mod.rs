//! What runs beside the HTTP server.

pub(crate) mod hook_retention;
pub(crate) mod hooks;
