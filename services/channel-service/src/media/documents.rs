//! The five types that may be uploaded.

use std::io::Cursor;

use domain::message::MediaKind;

use super::file_type::FileType;
use super::inspection::{Announced, inspect};

const TYPES: &[&str] = &[
    "application/pdf",
    "image/jpeg",
    "image/png",
    "application/msword",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
];

/// The type of a whole uploaded file, by its content. `None`: it may not be uploaded.
#[must_use]
pub fn detect_upload(bytes: &[u8]) -> Option<FileType> {
    let announced = Announced {
        kind: MediaKind::Document,
        declared: None,
    };
    let content = inspect(&mut Cursor::new(bytes), &announced).ok()?;
    let fits = content.suspicion.is_none() && TYPES.contains(&content.file_type.mime);
    fits.then_some(content.file_type)
}
