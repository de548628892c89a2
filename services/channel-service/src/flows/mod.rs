//! What should happen: the use cases. No HTTP and no queue's name in here; whoever calls has taken care of those.

pub mod ai_person;
pub mod ai_progress;
pub mod ai_reply;
pub mod ai_words;
pub mod announce_status;
pub mod channel_account;
pub mod hand_over;
pub mod identifier;
pub mod ingest_message;
pub mod quarantine;
pub mod queue_message;
pub mod record_event;
pub mod register_account;
pub mod replay_message;
pub mod retry_answer;
pub mod route_account;
pub mod send_message;
pub mod spam_ban;
pub mod tenant;
