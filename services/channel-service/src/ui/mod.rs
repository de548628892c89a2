//! The dashboard: pages for people, made here and sent as HTML. Forms are posted and answered with the next page (303),
//! so everything works without scripts; htmx only makes some of it smoother.
//!
//! A noun has a file here and a directory of templates. Its `routes` are mounted below `/dashboard`, so its paths begin
//! behind that. Handlers take a [`visit::Visit`], [`visit::TenantVisit`], [`visit::Posted`] or [`visit::TenantPosted`],
//! call the flows that the API calls, and answer with [`console::page`] or [`console::see_other`].

mod account;
mod audit;
pub(crate) mod chats;
mod deliveries;
mod device;
mod endpoints;
mod erase;
pub(crate) mod errors;
mod frame;
pub(crate) mod live;
mod log_in;
mod look;
mod messages;
mod pictures;
mod reasons;
mod replays;
mod settings;
mod setup;
mod start;
mod system;
mod tenants;
mod users;
pub(crate) mod visit;
mod wording;
mod words;

use actix_web::http::header::ACCEPT;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use self::errors::{PageError, in_pages};

/// What the dashboard calls itself.
pub(crate) const APP: &str = "Kanal";
/// Where it begins.
pub(crate) const HOME: &str = "/dashboard";

/// Mounts every page.
pub(crate) fn routes(config: &mut ServiceConfig) {
    console::assets::routes(config);
    config
        .service(web::resource("/look").route(web::post().to(look::switch)))
        .service(
            web::resource("/login")
                .wrap(from_fn(in_pages))
                .route(web::get().to(log_in::form))
                .route(web::post().to(log_in::log_in)),
        )
        .service(
            web::resource("/logout")
                .wrap(from_fn(in_pages))
                .route(web::post().to(log_in::log_out)),
        )
        .service(
            web::scope(HOME)
                .configure(start::routes)
                .configure(account::routes)
                .configure(tenants::routes)
                .configure(erase::routes)
                .configure(setup::routes)
                .configure(endpoints::routes)
                .configure(device::routes)
                .configure(settings::routes)
                .configure(chats::routes)
                .configure(deliveries::routes)
                .configure(messages::routes)
                .configure(replays::routes)
                .configure(pictures::routes)
                .configure(users::routes)
                .configure(audit::routes)
                .configure(system::routes)
                .default_service(web::to(nowhere))
                .wrap(from_fn(in_pages)),
        );
}

/// Somebody with a browser, who wants a page rather than JSON.
pub(crate) fn wants_page(request: &HttpRequest) -> bool {
    let accepted = request.headers().get(ACCEPT);
    accepted
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accepted| accepted.contains("text/html"))
}

async fn nowhere() -> Result<HttpResponse, PageError> {
    Err(PageError::NotFound)
}
