//! The HTTP edge, a file per noun.

pub(crate) mod hooks;
pub(crate) mod proxy;
pub(crate) mod root;
mod session_token;
mod upload;
