//! The HTTP edge for other services: a file per noun, under `/internal`, behind the internal key.

pub(crate) mod channel_accounts;
pub(crate) mod sessions;
pub(crate) mod village;
pub(crate) mod wa_support;
