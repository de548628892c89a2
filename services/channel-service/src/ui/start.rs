//! The first page after the log-in, by role.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use askama::Template;
use console::{Frame, page};

use super::errors::PageError;
use super::visit::Visit;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.route("", web::get().to(start));
}

#[derive(Template)]
#[template(path = "start/start.html")]
struct Start {
    frame: Frame,
    superadmin: bool,
    name: String,
    /// The tenant admin's own tenant.
    tenant: String,
}

async fn start(visit: Visit) -> Result<HttpResponse, PageError> {
    let tenant = visit.who.own_tenant().map(|own| own.tenant().to_string());
    Ok(page(
        StatusCode::OK,
        &Start {
            frame: visit.frame("start"),
            superadmin: visit.is_superadmin(),
            name: visit.who.name.clone().unwrap_or_else(|| visit.who.email.clone()),
            tenant: tenant.unwrap_or_default(),
        },
    ))
}
