//! Kanal's vocabulary: what a tenant, an account, a chat and a message are, and the rules they obey.
//!
//! Pure by intent: no I/O, no async, no SQL and no provider's field names. Everything else may lean on this crate;
//! it leans on nothing of ours.

pub mod account;
pub mod address;
pub mod chat;
pub mod check;
pub mod delivery;
pub mod device;
pub mod endpoint;
pub mod ids;
pub mod message;
pub mod retry;
pub mod subscription;
pub mod tenant;
pub mod tenant_config;
pub mod text;
pub mod user;
pub mod words;
