//! The pages of `/admin`, for people. They are made here and work without a script; forms are posted to `/admin/panel` and
//! answered with the next page. What they do is what the calls beside them do.

mod checks;
mod connect;
mod deliveries;
mod home;
mod import;
mod inboxes;
mod installations;
mod log;
mod plots;
mod replays;
mod route_forms;
mod route_pages;
mod seen;
mod tasks;
pub(crate) mod visit;
mod words;

use ::web::ApiError;
use ::web::openapi::{Api, Doc, text};
use actix_web::http::StatusCode;

use crate::api::group;

/// Rows of one page.
const PAGE: i64 = 50;

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Pages"));
    visit::routes(api);
    home::routes(api);
    // `/panel/routes/new` before `/panel/routes/{id}`.
    route_forms::routes(api);
    checks::routes(api);
    route_pages::routes(api);
    seen::routes(api);
    deliveries::routes(api);
    tasks::routes(api);
    replays::routes(api);
    connect::routes(api);
    installations::routes(api);
    inboxes::routes(api);
    import::routes(api);
    log::routes(api);
}

/// A page that is only looked at.
fn page(summary: &'static str) -> Doc {
    Doc::new(summary).answers_as(200, "The page", "text/html", text())
}

/// A form that is answered with a page.
fn shown(summary: &'static str) -> Doc {
    refusals(page(summary))
}

/// A form that is answered with where to go on.
fn form(summary: &'static str) -> Doc {
    let doc = Doc::new(summary).takes_as(
        "application/x-www-form-urlencoded",
        serde_json::json!({"type": "object"}),
    );
    refusals(doc.answers_without_body(303, "Done; the page that shows it"))
}

/// Refusals are pages, too.
fn refusals(doc: Doc) -> Doc {
    [
        (409, "Taken"),
        (422, "A field is not what it has to be"),
        (502, "Chatwoot did not do it"),
    ]
    .into_iter()
    .fold(doc, |doc, (status, meaning)| {
        doc.answers_as(status, meaning, "text/html", text())
    })
}

/// More than fits one page was asked for: those of the page, and whether there are more.
fn cut<T>(mut rows: Vec<T>) -> (Vec<T>, bool) {
    let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let more = rows.len() > most;
    rows.truncate(most);
    (rows, more)
}

/// What somebody asks for is not there, though such pages are.
fn nothing_here() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no_such_page", "There is no such page")
}

/// A value in the query of an address.
fn in_query(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}
