//! A page with the headers that every page has.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION, VARY};
use askama::Template;

use crate::Frame;

/// Scripts and styles of our own files only, nothing of anybody else's, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// Renders a template.
#[must_use]
pub fn page(status: StatusCode, template: &impl Template) -> HttpResponse {
    match template.render() {
        Ok(html) => html_answer(status, html),
        Err(error) => {
            tracing::error!(%error, "a page cannot be made");
            html_answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                "<!doctype html><title>500</title><p>Internal server error".to_owned(),
            )
        }
    }
}

fn html_answer(status: StatusCode, html: String) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((VARY, "cookie, accept-language"))
        .insert_header(("content-security-policy", POLICY))
        .insert_header(("x-content-type-options", "nosniff"))
        // A form must be known as sent by our own page, and nobody else has to know where it stood.
        .insert_header(("referrer-policy", "same-origin"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .body(html)
}

/// Sends the browser to the page that shows what was done.
#[must_use]
pub fn see_other(to: impl Into<String>) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, to.into()))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish()
}

/// The address of a page with a query; what is empty is left out.
#[must_use]
pub fn address(path: &str, query: &[(&str, &str)]) -> String {
    let mut written = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        written.append_pair(name, value);
    }
    let query = written.finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

/// A page that only says something: an error, or what became of a form.
#[derive(Debug, Template)]
#[template(path = "message.html")]
pub struct Message {
    /// The skeleton.
    pub frame: Frame,
    /// What happened.
    pub heading: String,
    /// What to do about it, a paragraph each.
    pub lines: Vec<String>,
    /// Where to go on, and the words for it.
    pub back: (String, String),
    /// What support asks for.
    pub request_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_what_was_given_and_nothing_else() {
        assert_eq!(address("/a", &[("q", ""), ("after", "")]), "/a");
        assert_eq!(
            address("/a", &[("q", "a b&c=\"d"), ("after", ""), ("x", "1")]),
            "/a?q=a+b%26c%3D%22d&x=1"
        );
    }
}
