//! The switch of language and colours.

use ::web::{ApiError, Fields};
use actix_web::HttpResponse;

use super::HOME;

pub(super) async fn switch(form: Fields) -> Result<HttpResponse, ApiError> {
    Ok(console::switch(
        form.text("language")?,
        form.text("theme")?,
        form.text("back")?,
        HOME,
    ))
}
