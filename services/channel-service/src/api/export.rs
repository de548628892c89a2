//! How exports are given out: lines of JSON, as they are read.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::Bytes;
use chores::export::{ExportError, Lines};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::village;
use crate::error::ServiceError;

/// Refuses where an export could not be announced.
pub(crate) fn announced(announced: Result<(), ExportError>) -> Result<(), ServiceError> {
    match announced {
        Ok(()) => Ok(()),
        Err(ExportError::Database(error)) => Err(error.into()),
        Err(ExportError::NoSuchTenant | ExportError::Abandoned) => Err(village::unknown().into()),
    }
}

/// The lines as a file of this name. A failure in the middle cuts the connection, so that half an export is not taken for a whole
/// one.
pub(crate) fn file(lines: Lines, name: &str) -> HttpResponse {
    let lines = ReceiverStream::new(lines).map(|line| line.map(Bytes::from).map_err(std::io::Error::other));
    HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .streaming(lines)
}
