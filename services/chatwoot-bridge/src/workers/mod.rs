//! What runs beside the HTTP server.

pub mod events;
pub mod lanes;
pub mod retention;
