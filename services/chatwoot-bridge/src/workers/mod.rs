//! What runs beside the HTTP server.

pub mod drift;
pub mod events;
pub mod forward;
pub mod forward_committer;
pub mod forward_retention;
pub mod lanes;
pub mod retention;
