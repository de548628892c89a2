//! The HTTP edge for other services: a file per noun, under `/internal`, behind the internal key.

pub(crate) mod channel_accounts;
pub(crate) mod conversations;
pub(crate) mod messages;
pub(crate) mod person;
pub(crate) mod sending;
pub(crate) mod takeovers;
pub(crate) mod village;
