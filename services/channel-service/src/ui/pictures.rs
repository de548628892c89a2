//! Plots of throughput, latency, failures and health.

use actix_web::web::ServiceConfig;

pub(crate) fn routes(_config: &mut ServiceConfig) {}
