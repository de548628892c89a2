//! Why a page was not shown, and the page that says so in the reader's language.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION, RETRY_AFTER};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use console::{Frame, Language, Look, Message, page, see_other};
use database::DatabaseError;
use web::ApiError;

use super::{APP, HOME};
use crate::error::ServiceError;

/// A page that was not shown, or a form that was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// Nobody is signed in.
    #[error("nobody is signed in")]
    SignIn,
    /// There is no such thing, or it is somebody else's.
    #[error("there is no such page")]
    NotFound,
    /// It is not for this role.
    #[error("only a superadmin may do this")]
    Forbidden,
    /// The form did not bring its session's token.
    #[error("the form does not belong to the session")]
    Expired,
    /// Decided where it happened, and said in both languages.
    #[error("{en}")]
    Said {
        /// Its status.
        status: StatusCode,
        /// What to do, in English.
        en: String,
        /// What to do, in Indonesian.
        id: String,
    },
    /// As the API would answer.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl PageError {
    /// A refusal in both languages, with what to do.
    pub(crate) fn said(status: StatusCode, en: impl Into<String>, id: impl Into<String>) -> Self {
        Self::Said {
            status,
            en: en.into(),
            id: id.into(),
        }
    }
}

impl From<DatabaseError> for PageError {
    fn from(error: DatabaseError) -> Self {
        Self::Service(error.into())
    }
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self::Service(error.into())
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SignIn => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::Expired => StatusCode::FORBIDDEN,
            Self::Said { status, .. } => *status,
            Self::Service(error) => error.status_code(),
        }
    }

    /// [`in_pages`] makes a page of it; what it needs for that besides the error are the headers.
    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Service(error) => error.error_response(),
            _ => HttpResponse::new(self.status_code()),
        }
    }
}

/// The middleware of all pages: makes pages of errors, whoever raised them.
pub(crate) async fn in_pages(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, actix_web::Error> {
    let response = next.call(request).await?;
    let status = response.status();
    let error = response.response().error();
    let shown = match error {
        Some(error) => answer(response.request(), status, error.as_error::<PageError>()),
        None if status == StatusCode::METHOD_NOT_ALLOWED => {
            answer(response.request(), StatusCode::NOT_FOUND, None)
        }
        None => return Ok(response.map_into_left_body()),
    };
    let wait = response.headers().get(RETRY_AFTER).cloned();
    let mut shown = shown;
    if let Some(wait) = wait {
        shown.headers_mut().insert(RETRY_AFTER, wait);
    }
    Ok(response.into_response(shown).map_into_right_body())
}

fn answer(request: &HttpRequest, status: StatusCode, error: Option<&PageError>) -> HttpResponse {
    if matches!(error, Some(PageError::SignIn)) {
        return to_log_in(request);
    }
    let look = Look::of(request);
    let (heading, line) = words(look.l, status, error);
    let mut frame = Frame::plain(look, APP, "", HOME);
    frame.here = HOME.to_owned();
    let l = look.l;
    page(
        status,
        &Message {
            frame,
            heading,
            lines: vec![line],
            back: (
                HOME.to_owned(),
                l.t("To the start page", "Ke halaman awal").to_owned(),
            ),
            request_id: status.is_server_error().then(web::request_id).flatten(),
        },
    )
}

/// To the form, and from there back to the page that was wanted. A part of a page asks the browser to go as a whole.
fn to_log_in(request: &HttpRequest) -> HttpResponse {
    let in_part = request.headers().contains_key("hx-request");
    let wanted = match request.method().is_safe() && !in_part {
        true => request.path(),
        false => HOME,
    };
    // A path of ours holds nothing that has to be escaped but what ids may hold.
    let wanted: String = wanted
        .bytes()
        .filter(|b| b.is_ascii_alphanumeric() || b"/._-:@".contains(b))
        .map(char::from)
        .collect();
    let address = match wanted.as_str() {
        HOME => "/login".to_owned(),
        _ => format!("/login?next={wanted}"),
    };
    let mut answer = see_other(address);
    if in_part && let Some(to) = answer.headers().get(LOCATION).cloned() {
        let mut whole = HttpResponse::new(StatusCode::UNAUTHORIZED);
        whole.headers_mut().insert(
            actix_web::http::header::HeaderName::from_static("hx-redirect"),
            to,
        );
        whole.headers_mut().insert(
            actix_web::http::header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        );
        answer = whole;
    }
    answer
}

fn words(l: Language, status: StatusCode, error: Option<&PageError>) -> (String, String) {
    let (heading, line) = match error {
        Some(PageError::Said { en, id, .. }) => (
            l.t("That did not work", "Itu tidak berhasil"),
            l.t(en, id).to_owned(),
        ),
        Some(PageError::Expired) => (
            l.t("This form is out of date", "Formulir ini sudah kedaluwarsa"),
            l.t(
                "You have signed in anew since it was opened. Open the page again and send the form once more.",
                "Anda masuk kembali setelah formulir dibuka. Buka lagi halamannya, lalu kirim sekali lagi.",
            )
            .to_owned(),
        ),
        Some(PageError::Forbidden) => (
            l.t("This is not for you", "Ini bukan untuk Anda"),
            l.t(
                "Only a superadmin may see this page. Ask one, or log in as another user.",
                "Hanya superadmin yang boleh melihat halaman ini. Mintalah bantuannya, atau masuk sebagai pengguna lain.",
            )
            .to_owned(),
        ),
        _ => {
            let (heading, line) = of_status(l, status);
            (heading, line.to_owned())
        }
    };
    (heading.to_owned(), line)
}

fn of_status(l: Language, status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::NOT_FOUND => (
            l.t("There is nothing here", "Tidak ada apa-apa di sini"),
            l.t(
                "The address may be mistyped, or what was here is gone. Begin at the start page.",
                "Alamatnya mungkin salah ketik, atau isinya sudah tidak ada. Mulailah dari halaman awal.",
            ),
        ),
        StatusCode::FORBIDDEN => (
            l.t("That was refused", "Itu ditolak"),
            l.t(
                "What was sent did not come from a page of this dashboard. Open the page here and try again.",
                "Yang dikirim tidak berasal dari halaman dasbor ini. Buka halamannya di sini, lalu coba lagi.",
            ),
        ),
        StatusCode::TOO_MANY_REQUESTS => (
            l.t("Too often", "Terlalu sering"),
            l.t("Wait a little and try again.", "Tunggu sebentar, lalu coba lagi."),
        ),
        StatusCode::SERVICE_UNAVAILABLE => (
            l.t("We are busy just now", "Kami sedang sibuk"),
            l.t(
                "Something we depend on is away for a moment. Nothing was changed; try again in a few seconds.",
                "Ada bagian yang sedang tidak tersedia. Tidak ada yang berubah; coba lagi beberapa detik lagi.",
            ),
        ),
        status if status.as_u16() < 500 => (
            l.t("That did not work", "Itu tidak berhasil"),
            l.t(
                "What was sent cannot be read. Go back, look at what you filled in, and send it again.",
                "Yang dikirim tidak dapat dibaca. Kembali, periksa isian Anda, lalu kirim lagi.",
            ),
        ),
        _ => (
            l.t("Something went wrong here", "Ada yang salah di sini"),
            l.t(
                "It is our fault and has been noted. Try again; if it stays like this, tell support the number below.",
                "Ini kesalahan kami dan sudah dicatat. Coba lagi; bila tetap begini, sampaikan nomor di bawah ke dukungan.",
            ),
        ),
    }
}
