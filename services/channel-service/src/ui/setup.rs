//! Which WhatsApp endpoint a tenant has.

use actix_web::web::ServiceConfig;

pub(crate) fn routes(_config: &mut ServiceConfig) {}
