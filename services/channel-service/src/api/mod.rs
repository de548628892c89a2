//! The HTTP edge for other services: a file per noun, under `/internal`, behind the internal key.

pub(crate) mod channel_accounts;
mod files;
pub(crate) mod media;
pub(crate) mod upload;
pub(crate) mod village;
