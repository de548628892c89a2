//! The tables of the schema `channel`, a file per noun. Each function asks first for the transaction, and the
//! transaction tells for whom it works. Nothing here calls anything outside.

pub mod account;
pub mod ai_chat;
pub mod ai_message;
pub mod ai_reply;
pub mod audit;
pub mod channel_account;
pub mod chat;
pub mod chat_merge;
pub mod contact_lid;
pub mod dead_letter;
pub mod endpoint_alert;
pub mod endpoint_health;
pub mod lease;
pub mod media;
pub mod message;
pub mod message_change;
pub mod message_chat;
pub mod pending_message;
pub mod provider_event;
pub mod quarantine;
pub mod send_attempt;
pub mod send_request;
pub mod session;
pub mod session_intent;
pub mod session_lease;
pub mod session_watch;
pub mod support_customer;
pub mod takeover;
pub mod tenant;
pub mod tenant_config;
pub mod tenant_data;
pub mod user;
pub mod user_session;
