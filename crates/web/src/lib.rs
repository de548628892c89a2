//! Kanal's conventions over actix-web: one shape of error, a request id on everything, bounded bodies, health and
//! metrics, and a server that ends in order.

mod body;
mod context;
pub mod doctor;
mod error;
mod fields;
pub mod health;
pub mod healthcheck;
mod internal;
mod meters;
mod metrics_page;
pub mod openapi;
mod server;
pub mod source;
mod validation;
mod viewer;

pub use body::{BodyBudget, BodyPlace, read_body};
pub use context::{note_delivery, note_tenant, request_id, wire_time};
pub use error::{ApiError, ErrorField};
pub use fields::{FIELDS_LIMIT, Fields, Query};
pub use internal::{Internal, require_internal_key};
pub use metrics_page::MetricsToken;
pub use server::{ServerSettings, bind, serve};
pub use validation::{Location, Validation};
pub use viewer::viewer;
