//! What should happen: the use cases. No HTTP and no queue's name in here; whoever calls has taken care of those.

pub mod ai_cache;
pub mod announce_status;
pub mod channel_account;
pub mod chat;
pub mod courtesy;
pub mod find_tenant;
pub mod identifier;
pub mod ingest_message;
pub mod keep_message;
pub mod outcomes;
pub mod quarantine;
pub mod queue_message;
pub mod record_event;
pub mod register_account;
pub mod replay_message;
pub mod route_account;
pub mod send_message;
pub mod send_text;
pub mod takeover;
pub mod tenant;
