//! What comes in from Chatwoot.

pub mod chatwoot;
pub mod payload;
pub mod signature;
