//! Conversations and their messages.

use actix_web::web::ServiceConfig;

pub(crate) fn routes(_config: &mut ServiceConfig) {}
