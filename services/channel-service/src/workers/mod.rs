//! Whatever waits, loops or retries.

pub mod commands;
pub mod committer;
pub mod media;
pub mod retention;
pub mod session_intents;
