//! What is on its way, what was put aside, and a message's journey.

use actix_web::web::ServiceConfig;

pub(crate) fn routes(_config: &mut ServiceConfig) {}
