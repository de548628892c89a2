//! `POST /internal/media/upload` and the files it takes, which are public under a name that cannot be guessed
//! (channel-service contract 1.8, with 9.A6: the content decides what a file is).

use std::time::Duration;

use ::web::openapi::{Api, Doc, Schema, object, text, text_up_to, whole};
use ::web::{ApiError, BodyBudget, BodyPlace, Internal, Query};
use actix_multipart::{Multipart, MultipartError};
use actix_web::http::Method;
use actix_web::web::{self, Bytes, BytesMut, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use uuid::Uuid;

use super::files::{self, FileHead, Wanted};
use super::{data, internal_group};
use crate::app::State;
use crate::error::ServiceError;
use crate::media::file_type::{self, FileType};
use crate::media::{ObjectKey, detect_upload};

/// Largest file, in bytes.
const LIMIT: usize = 5 * 1024 * 1024;
/// What the form around it may take.
const FORM: usize = 64 * 1024;
/// A body that is too large is read up to here, so that its sender reads our answer and not a broken connection.
const DRAINED: usize = 64 * 1024 * 1024;
/// A caller that has not sent its body by then is holding a place for nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a copy is good (contract 1.2).
const FRESH: Duration = Duration::from_secs(604_800);
/// Longest scope, in characters.
const MAX_SCOPE: usize = 60;

const TOO_LARGE: &str = "Ukuran file maksimal 5MB";
const WRONG_TYPE: &str = "Tipe file tidak didukung. Gunakan PDF/JPG/PNG/DOC/DOCX.";
const NO_FILE: &str = "File tidak ditemukan";

/// Under `/internal`.
pub(crate) fn internal_routes(api: &mut Api) {
    api.group(internal_group("Files"));
    let kept = object([
        ("filename", text()),
        ("mime_type", text()),
        ("size", whole()),
        ("path", text()),
        ("url", text()),
        ("internal_url", text()),
    ]);
    let take = Doc::new("Keep a file of at most 5 MiB that everybody may read who knows its address")
        .query(
            "scope",
            text_up_to(MAX_SCOPE),
            "the folder it goes to; `public` without",
        )
        .takes_as("multipart/form-data", object([("file", binary())]))
        .answers(200, "Kept; the content decided what it is", data(kept));
    api.post("/media/upload", take, upload);
}

fn binary() -> Schema {
    json!({"type": "string", "format": "binary"})
}

/// For everybody.
pub(crate) fn public_routes(api: &mut Api) {
    let path = "/uploads/public/{scope}/{file}";
    api.get(path, files::doc("An uploaded file, or a part of it"), show)
        .endpoint(
            Method::HEAD,
            path,
            files::head_doc("What is said of an uploaded file"),
            show,
        );
}

async fn upload(
    _caller: Internal,
    request: HttpRequest,
    query: Query,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let body = tokio::time::timeout(PATIENCE, read(payload, BodyBudget::of_app(&request)))
        .await
        .map_err(|_| refusal("upload_too_slow", "Upload error: the body took too long"))??;
    let file = file_of(&request, body).await?;
    let file_type = detect_upload(&file).ok_or_else(|| refusal("unsupported_file_type", WRONG_TYPE))?;
    let scope = scope_of(query.get("scope"));
    let name = format!("{}.{}", random_uuid(), file_type.extension);
    let (size, path) = (file.len(), format!("public/{scope}/{name}"));
    state
        .media
        .storage
        .put(&ObjectKey::upload(&scope, &name), file)
        .await
        .map_err(ServiceError::Storage)?;
    let urls = state.media.links.of_upload(&path);
    Ok(HttpResponse::Ok().json(json!({"success": true, "data": {
        "filename": name, "mime_type": file_type.mime, "size": size, "path": path,
        "url": urls.public, "internal_url": urls.internal,
    }})))
}

async fn show(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let nothing = || ApiError::no_route(request.path());
    let (scope, file) = path.into_inner();
    let file_type = uploaded(&scope, &file).ok_or_else(nothing)?;
    let key = ObjectKey::upload(&scope, &file);
    let open = |range| state.media.read(&key, range);
    let whole = open(None)
        .await
        .map_err(ServiceError::Storage)?
        .ok_or_else(nothing)?;
    let head = FileHead {
        file_type,
        // The name is random and never used again, so it also tells one content from another.
        mark: file.clone(),
        name: file,
        size: whole.size,
        fresh: FRESH,
        shared: true,
    };
    match head.wanted_by(&request) {
        Wanted::Whole => Ok(head.answer_with(&request, whole)),
        Wanted::Part(range) => {
            let part = open(Some(range))
                .await
                .map_err(ServiceError::Storage)?
                .ok_or_else(nothing)?;
            Ok(head.answer_with(&request, part))
        }
        without => Ok(head.answer_without(without)),
    }
}

fn refusal(code: &'static str, text: impl Into<String>) -> ApiError {
    ApiError::bad_request(code, text).with("success", false)
}

async fn read(mut payload: Payload, budget: &BodyBudget) -> Result<Bytes, ApiError> {
    let (mut body, mut length) = (BytesMut::new(), 0_usize);
    let mut room = BodyPlace::default();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| refusal("upload_broken", "Upload error: Unexpected end of form"))?;
        length += chunk.len();
        if length > DRAINED {
            break;
        }
        if length <= LIMIT + FORM {
            room.grow(budget, chunk.len())?;
            body.extend_from_slice(&chunk);
        }
    }
    if length > LIMIT + FORM {
        return Err(refusal("file_too_large", TOO_LARGE));
    }
    Ok(room.hold(body))
}

/// The one file of the form. What its sender calls it and says about its type is of no interest.
async fn file_of(request: &HttpRequest, body: Bytes) -> Result<Bytes, ApiError> {
    let form = request
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    if !form.is_some_and(|form| {
        form.trim_start()
            .to_ascii_lowercase()
            .starts_with("multipart/form-data")
    }) {
        return Err(refusal("file_missing", NO_FILE));
    }
    let body = stream::once(std::future::ready(Ok::<_, actix_web::error::PayloadError>(body)));
    let mut form = Multipart::new(request.headers(), body);
    let mut found = None;
    while let Some(field) = form.next().await {
        let mut field = field.map_err(|error| broken(&error))?;
        let is_file = field
            .content_disposition()
            .is_some_and(|disposition| disposition.get_filename().is_some());
        if is_file && (field.name() != Some("file") || found.is_some()) {
            return Err(refusal("unexpected_file", "Upload error: Unexpected field"));
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = field.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| broken(&error))?);
        }
        if is_file {
            found = Some(bytes.freeze());
        }
    }
    let file = found.ok_or_else(|| refusal("file_missing", NO_FILE))?;
    if file.len() > LIMIT {
        return Err(refusal("file_too_large", TOO_LARGE));
    }
    Ok(file)
}

fn broken(error: &MultipartError) -> ApiError {
    let text = match error {
        MultipartError::BoundaryMissing => "Multipart: Boundary not found",
        MultipartError::Incomplete => "Unexpected end of form",
        _ => "Malformed part header",
    };
    refusal("upload_broken", format!("Upload error: {text}"))
}

/// Contract 1.8: trimmed, lower case, anything else a dash, no two dashes, at most 60 characters.
fn scope_of(text: Option<&str>) -> String {
    let mut scope = String::new();
    for c in text.unwrap_or_default().trim().to_lowercase().chars() {
        let c = if is_scope_character(c) { c } else { '-' };
        if !(c == '-' && scope.ends_with('-')) {
            scope.push(c);
        }
        if scope.len() == MAX_SCOPE {
            break;
        }
    }
    if scope.is_empty() {
        "public".to_owned()
    } else {
        scope
    }
}

const fn is_scope_character(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_')
}

/// The type of an uploaded file, if scope and name are such as we make them.
fn uploaded(scope: &str, file: &str) -> Option<FileType> {
    if !(1..=MAX_SCOPE).contains(&scope.len()) || !scope.chars().all(is_scope_character) {
        return None;
    }
    let (name, extension) = file.split_once('.')?;
    let id = Uuid::try_parse(name).ok()?;
    (id.hyphenated().to_string() == name).then_some(())?;
    file_type::with_extension(extension)
}

/// 122 random bits: the name is all that protects the file.
fn random_uuid() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_made_plain() {
        for (text, scope) in [
            (None, "public"),
            (Some("  "), "public"),
            (Some(" Service Requests "), "service-requests"),
            (Some("../../etc"), "-etc"),
            (Some("a//b--c_d"), "a-b-c_d"),
            (Some("é"), "-"),
        ] {
            assert_eq!(scope_of(text), scope, "{text:?}");
        }
        assert_eq!(scope_of(Some(&"x".repeat(200))).len(), 60);
    }

    #[test]
    fn only_names_that_we_made_are_looked_for() {
        let id = random_uuid();
        assert!(uploaded("public", &format!("{id}.pdf")).is_some());
        for (scope, file) in [
            ("..", format!("{id}.pdf")),
            ("Public", format!("{id}.pdf")),
            ("public", format!("{id}.html")),
            ("public", format!("{}.pdf", id.simple())),
            ("public", format!("../{id}.pdf")),
            ("public", "..".to_owned()),
            ("public", id.to_string()),
        ] {
            assert!(uploaded(scope, &file).is_none(), "{scope}/{file}");
        }
    }
}
