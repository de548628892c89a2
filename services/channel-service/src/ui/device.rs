//! A tenant's devices: pairing them by QR, and ending them.

use actix_web::web::ServiceConfig;

pub(crate) fn routes(_config: &mut ServiceConfig) {}
