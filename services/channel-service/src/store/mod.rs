//! The tables of the schema `channel`, a file per noun. Each function asks first for the transaction, and the
//! transaction tells for whom it works. Nothing here calls anything outside.

pub mod account;
pub mod audit;
pub mod channel_account;
pub mod chat;
pub mod media;
pub mod message;
pub mod provider_event;
pub mod quarantine;
pub mod send_attempt;
pub mod send_request;
pub mod takeover;
pub mod tenant;
