//! Kanal's conventions over actix-web: one shape of error, a request id on everything, bounded bodies, health and
//! metrics, and a server that ends in order.

mod body;
mod context;
mod error;
pub mod health;
pub mod healthcheck;
mod metrics_page;
mod server;

pub use body::read_body;
pub use context::{note_tenant, request_id};
pub use error::{ApiError, ErrorField};
pub use metrics_page::MetricsToken;
pub use server::{ServerSettings, bind, serve};
