//! What should happen: the use cases. No HTTP and no queue's name in here; whoever calls has taken care of those.

pub mod announce_status;
pub mod channel_account;
pub mod fetch_media;
pub mod fetch_url;
pub mod identifier;
pub mod ingest_message;
pub mod media;
pub mod quarantine;
pub mod queue_message;
pub mod record_event;
pub mod register_account;
pub mod replay_message;
pub mod route_account;
pub mod send_message;
pub mod tenant;
