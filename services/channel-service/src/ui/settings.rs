//! A tenant's own settings.

use actix_web::web::ServiceConfig;

pub(crate) fn routes(_config: &mut ServiceConfig) {}
