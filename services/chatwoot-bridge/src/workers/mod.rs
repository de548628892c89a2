//! What runs beside the HTTP server.

mod alone;
pub mod channel;
pub mod events;
pub mod history;
pub mod lanes;
pub mod notices;
pub mod reconcile;
pub mod retention;
