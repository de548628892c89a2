//! The first page after the log-in, by role: how things stand, and where to go on.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use console::{Frame, page};

use super::errors::PageError;
use super::visit::Visit;
use crate::app::State;
use crate::flows::at_a_glance;
use crate::store::at_a_glance::{ENOUGH, Platform, Tenant};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.route("", web::get().to(start));
}

#[derive(Template)]
#[template(path = "start/superadmin.html")]
struct ForSuperadmin {
    frame: Frame,
    name: String,
    counts: Platform,
    /// What needs somebody; empty for nothing.
    aside: String,
}

#[derive(Template)]
#[template(path = "start/tenant.html")]
struct ForTenant {
    frame: Frame,
    name: String,
    /// Where the tenant's pages begin.
    base: String,
    device_page: String,
    counts: Tenant,
    /// How many devices are connected, where not all are.
    connected: String,
    /// What needs somebody; empty for nothing.
    aside: String,
}

async fn start(visit: Visit, state: Data<State>) -> Result<HttpResponse, PageError> {
    let frame = visit.frame("start");
    let name = visit.who.name.clone().unwrap_or_else(|| visit.who.email.clone());
    let l = visit.l();
    let aside = |count: i64| match count {
        0 => String::new(),
        ENOUGH.. => l
            .t("1,000 or more put aside", "1.000 atau lebih disisihkan")
            .to_owned(),
        count => l.count(count, "put aside", "put aside", "disisihkan"),
    };
    if let Some(own) = visit.who.own_tenant() {
        let counts = at_a_glance::tenant(&state.db, own).await?;
        return Ok(page(
            StatusCode::OK,
            &ForTenant {
                frame,
                name,
                base: format!("/dashboard/t/{}", own.tenant()),
                device_page: format!("/dashboard/t/{}/device", own.tenant()),
                connected: format!(
                    "{}/{} {}",
                    counts.connected,
                    counts.devices,
                    l.t("connected", "terhubung")
                ),
                aside: aside(counts.aside),
                counts,
            },
        ));
    }
    let counts = at_a_glance::platform(&state.db, &state.endpoints).await?;
    Ok(page(
        StatusCode::OK,
        &ForSuperadmin {
            frame,
            name,
            aside: aside(counts.aside),
            counts,
        },
    ))
}
