//! `GET /files/{name}`: the files of agents' messages, for whoever sends them. Nothing is kept here: the bytes come from Chatwoot
//! while they are asked for. Everything that is wrong with a link looks the same from outside: there is no such route.

use std::time::Duration;

use ::web::openapi::{Api, Doc, text};
use ::web::{ApiError, Query, note_tenant};
use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use tenant_isolation::{TenantScope, TenantTransaction};

use crate::chatwoot::{DownloadedFile, NotDownloaded};
use crate::error::answer;
use crate::flows::Tools;
use crate::store::agent_files;

/// When what cannot be fetched now may be asked for again.
const COME_AGAIN: Duration = Duration::from_secs(5);
/// What a file is that nobody says anything about.
const ANY_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Adds the route.
pub fn routes(api: &mut Api) {
    let doc = Doc::new("A file of an agent's message, as Chatwoot has it")
        .query(
            "token",
            text(),
            "Signed and good for a week, as it stands in the link",
        )
        .answers_as(200, "The bytes", "application/octet-stream", text())
        .refuses(&[
            (404, "There is no such file, or the link is not valid"),
            (413, "The file is larger than may be sent"),
            (422, "The file lies where nothing is fetched from"),
            (
                503,
                "The file cannot be fetched now: come again after Retry-After",
            ),
        ]);
    api.get("/files/{name}", doc, show);
}

async fn show(request: HttpRequest, query: Query, tools: Data<Tools>) -> Result<HttpResponse, ApiError> {
    let nothing = || ApiError::no_route(request.path());
    let token = query.get("token").ok_or_else(nothing)?;
    let links = tools.file_links.as_ref().ok_or_else(nothing)?;
    let (tenant, key) = links.check(token, Utc::now()).map_err(|_| nothing())?;
    let scope = TenantScope::of_own_link(tenant);
    note_tenant(&scope);
    let found = async {
        let mut tx = TenantTransaction::begin(&tools.db, &scope, "find agent's file").await?;
        let found = agent_files::find(&mut tx, &key).await?;
        tx.commit().await?;
        Ok(found)
    };
    let place = found.await.map_err(|error| answer(&error))?.ok_or_else(nothing)?;
    match tools.downloads.open(&place.data_url, &place.chatwoot_url).await {
        Ok(file) => {
            count("handed_on");
            Ok(handed_on(file))
        }
        Err(error) => {
            count(error.reason());
            tracing::warn!(
                message = key.message_id,
                part = key.part,
                reason = error.reason(),
                "an agent's file is not handed on"
            );
            Err(refusal(error, nothing))
        }
    }
}

fn refusal(error: NotDownloaded, nothing: impl Fn() -> ApiError) -> ApiError {
    match error {
        NotDownloaded::NotThere => nothing(),
        NotDownloaded::Refused(why) => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            why,
            "Nothing is fetched from where the file lies",
        ),
        NotDownloaded::TooLarge => ApiError::too_large(),
        NotDownloaded::Later => ApiError::unavailable(COME_AGAIN),
    }
}

fn handed_on(file: DownloadedFile) -> HttpResponse {
    let mime_type = file.mime_type.and_then(|text| HeaderValue::from_str(&text).ok());
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, mime_type.unwrap_or(ANY_TYPE)))
        // Whatever it is, no browser is to show it under our name.
        .insert_header((CONTENT_DISPOSITION, "attachment"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "private, no-store"));
    match file.length {
        Some(length) => response.body(SizedStream::new(length, file.bytes)),
        None => response.streaming(file.bytes),
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("kanal_bridge_files_total", "outcome" => outcome).increment(1);
}
