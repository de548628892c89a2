//! Who looks at a page and how they want it: language, colours, where they can go, what was just done. And refusals in
//! words that say what to do.

use std::future::{Ready, ready};

use ::web::openapi::{Api, Doc};
use ::web::{ApiError, Fields, Query};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse};
use console::{Frame, Language, Look, Message, NavItem, NavSection, Person, Tone};

use super::words;
use crate::api::basic_auth::Operator;
use crate::store::audit_log::Actor;

/// What the console calls itself.
const APP: &str = "Chatwoot bridge";
/// Below it stands all of it.
const BASE: &str = "/admin";

/// The stable word of a refusal that is told in a page.
const CODE: HeaderName = HeaderName::from_static("x-refusal");

/// An entry of the navigation: its word in the code, where it leads, and what it says.
type Entry = (&'static str, &'static str, &'static str, &'static str);

const WORK: &[Entry] = &[
    ("home", "/admin", "Start", "Awal"),
    ("routes", "/admin/panel/routes", "Routes", "Rute"),
    ("seen", "/admin/panel/seen", "Not routed", "Belum dirutekan"),
    (
        "deliveries",
        "/admin/panel/deliveries",
        "Deliveries",
        "Pengiriman",
    ),
    ("replays", "/admin/panel/replays", "Replays", "Kirim ulang"),
];
const SET_UP: &[Entry] = &[
    (
        "connect",
        "/admin/panel/connect",
        "Connect an inbox",
        "Hubungkan inbox",
    ),
    (
        "inboxes",
        "/admin/panel/inboxes",
        "Connected inboxes",
        "Inbox terhubung",
    ),
    ("drift", "/admin/panel/drift", "Webhooks", "Webhook"),
    (
        "installations",
        "/admin/panel/installations",
        "API tokens",
        "Token API",
    ),
    ("import", "/admin/panel/import", "Import routes", "Impor rute"),
    ("log", "/admin/panel/log", "Audit log", "Log audit"),
];

/// What is said after something was done: a code of the address (`?said=`), how it is meant, and the words. Only these can
/// be said, so a link can put no words into our mouth.
const SAID: &[(&str, Tone, &str, &str)] = &[
    ("created", Tone::Ok, "The route is there.", "Rute sudah dibuat."),
    ("saved", Tone::Ok, "Saved.", "Tersimpan."),
    ("deleted", Tone::Ok, "It is gone.", "Sudah dihapus."),
    ("on", Tone::Ok, "The route is on.", "Rute diaktifkan."),
    ("off", Tone::Ok, "The route is off.", "Rute dinonaktifkan."),
    ("replayed", Tone::Ok, "It is sent again.", "Sedang dikirim ulang."),
    (
        "nothing",
        Tone::Warn,
        "There was nothing to send again.",
        "Tidak ada yang perlu dikirim ulang.",
    ),
    (
        "checked",
        Tone::Ok,
        "Chatwoot was asked.",
        "Chatwoot sudah ditanya.",
    ),
    (
        "restored",
        Tone::Ok,
        "Chatwoot sends the events here again.",
        "Chatwoot kembali mengirim peristiwa ke sini.",
    ),
    ("started", Tone::Ok, "It has begun.", "Sudah dimulai."),
    ("stopped", Tone::Ok, "It is stopped.", "Sudah dihentikan."),
    ("resumed", Tone::Ok, "It goes on.", "Dilanjutkan."),
];

pub(super) fn routes(api: &mut Api) {
    let look = Doc::new("Choose language and colours")
        .takes_as(
            "application/x-www-form-urlencoded",
            serde_json::json!({"type": "object"}),
        )
        .answers_without_body(303, "The page before");
    api.post("/look", look, choose_look);
}

async fn choose_look(_operator: Operator, form: Fields) -> Result<HttpResponse, ApiError> {
    Ok(console::switch(
        form.text("language")?,
        form.text("theme")?,
        form.text("back")?,
        BASE,
    ))
}

/// Who looks at a page.
pub(crate) struct Visit {
    look: Look,
    /// Who it is.
    pub(super) actor: Actor,
    /// The page's own path.
    here: String,
    said: Option<String>,
}

impl FromRequest for Visit {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let operator = Operator::from_request(request, payload).into_inner();
        ready(operator.map(|operator| {
            Self {
                look: Look::of(request),
                actor: operator.0,
                here: here(request),
                said: Query::parse(request.query_string())
                    .get("said")
                    .map(str::to_owned),
            }
        }))
    }
}

impl Visit {
    /// Their language.
    pub(super) const fn l(&self) -> Language {
        self.look.l
    }

    /// What stands around a page that belongs to the entry `active` of the navigation.
    pub(super) fn frame(&self, active: &str) -> Frame {
        let mut frame = frame(self.look, active, &self.here);
        frame.who = Some(Person {
            name: self.actor.name.clone(),
            role: self.l().t("Operator", "Operator"),
            account: None,
            log_out: None,
        });
        let code = self.said.as_deref().unwrap_or_default();
        match SAID.iter().find(|(known, ..)| *known == code) {
            Some((_, tone, en, id)) => frame.saying(*tone, self.l().t(en, id)),
            None => frame,
        }
    }
}

/// Where the switch leads back to. Pages that answer a form cannot be asked for: their list can.
fn here(request: &HttpRequest) -> String {
    if request.method() == actix_web::http::Method::GET {
        request.path().to_owned()
    } else {
        BASE.to_owned()
    }
}

fn frame(look: Look, active: &str, here: &str) -> Frame {
    let mut frame = Frame::plain(look, APP, BASE, BASE);
    let section = |heading: Option<&str>, entries: &[Entry]| NavSection {
        heading: heading.map(str::to_owned),
        items: entries
            .iter()
            .map(|(word, href, en, id)| NavItem {
                href: (*href).to_owned(),
                label: look.l.t(en, id).to_owned(),
                active: *word == active,
            })
            .collect(),
    };
    frame.nav = vec![
        section(None, WORK),
        section(Some(look.l.t("Set-up", "Pengaturan")), SET_UP),
    ];
    frame.find = "/admin/panel/find";
    here.clone_into(&mut frame.here);
    frame
}

/// Says refusals of pages in words, as pages; those of calls stay as they are.
///
/// # Errors
/// None of its own.
pub(crate) async fn in_words(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let path = request.path();
    let is_page = path == BASE || path.starts_with("/admin/panel");
    let look = Look::of(request.request());
    let answer = next.call(request).await?.map_into_boxed_body();
    if !is_page {
        return Ok(answer);
    }
    let is_told = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let status = answer.status();
    if !is_told || !(status.is_client_error() || status.is_server_error()) {
        return Ok(answer);
    }
    let (request, response) = answer.into_parts();
    let retry_after = response.headers().get(RETRY_AFTER).cloned();
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    let refusal = words::Refusal::read(&body);
    let known = request.extensions().get::<Actor>().is_some();
    let mut around = frame(look, "", BASE);
    if !known {
        around.nav.clear();
        around.find = "";
    }
    let l = look.l;
    let page = Message {
        frame: around,
        heading: refusal.heading(l, status),
        lines: refusal.lines(l),
        back: (BASE.to_owned(), l.t("To the start", "Ke awal").to_owned()),
        request_id: refusal.request_id.clone(),
    };
    let mut shown = console::page(status, &page);
    // Scripts read no pages.
    if let Ok(code) = HeaderValue::from_str(&refusal.code) {
        shown.headers_mut().insert(CODE, code);
    }
    if let Some(wait) = retry_after {
        shown.headers_mut().insert(RETRY_AFTER, wait);
    }
    Ok(ServiceResponse::new(request, shown))
}
