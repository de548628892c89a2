//! The HTTP edge for other services: a file per noun, under `/internal`, behind the internal key.

pub(crate) mod channel_accounts;
pub(crate) mod retry;
pub(crate) mod spam_guard;
pub(crate) mod village;
