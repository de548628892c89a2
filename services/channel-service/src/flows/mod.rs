//! What should happen: the use cases. No HTTP and no queue's name in here; whoever calls has taken care of those.

pub mod announce_status;
pub mod channel_account;
pub mod dead_letter;
pub mod identifier;
pub mod ingest_message;
pub mod learn_lid;
pub mod load_media;
mod outbound_message;
pub mod quarantine;
pub mod queue_message;
pub mod record_event;
pub mod register_account;
pub mod route_account;
pub mod send_message;
pub mod tenant;
