//! Whatever waits, loops or retries.

pub mod ai_events;
pub mod ai_handover;
pub mod chat_pictures;
pub mod commands;
pub mod committer;
pub mod endpoint_health;
pub mod endpoint_tenants;
pub mod gate;
pub mod lanes;
pub mod media;
pub mod replay_jobs;
pub mod replicas;
pub mod retention;
pub mod session_intents;
pub mod session_watch;
pub mod sessions_to_unlink;
pub mod templates;
pub mod traffic;
