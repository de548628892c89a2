//! The HTTP edge for other services: a file per noun, under `/internal`, behind the internal key.

pub(crate) mod channel_accounts;
pub(crate) mod dead_letters;
pub(crate) mod village;
