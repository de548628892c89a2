//! What comes in from Chatwoot.

pub mod book;
pub mod chatwoot;
mod dedup;
pub mod event;
pub mod forward;
pub mod signature;
pub mod strangers;
pub mod unrouted;
