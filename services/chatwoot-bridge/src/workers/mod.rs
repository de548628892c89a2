//! What runs beside the HTTP server.

pub mod drift;
pub mod events;
pub mod lanes;
pub mod retention;
