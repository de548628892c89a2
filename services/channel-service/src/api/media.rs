//! `/uploads/media/{message}`: files of messages, for whoever has a signed link. Everything that is wrong with a link
//! looks the same from outside: there is no such route.

use std::time::Duration;

use ::web::openapi::{Api, text};
use ::web::{ApiError, Query, note_tenant};
use actix_web::http::Method;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use domain::ids::MessageId;
use tenant_isolation::TenantScope;
use uuid::Uuid;

use super::files::{self, FileHead, Wanted};
use crate::app::State;
use crate::error::ServiceError;

/// Longest time for which a browser keeps its copy.
const FRESH: Duration = Duration::from_secs(604_800);

pub(crate) fn routes(api: &mut Api) {
    api.group(files::GROUP);
    let path = "/uploads/media/{message}";
    let get = files::doc("The file of a message, or a part of it").query("token", text(), TOKEN);
    let head = files::head_doc("What is said of the file of a message").query("token", text(), TOKEN);
    api.get(path, get, show).endpoint(Method::HEAD, path, head, show);
}

const TOKEN: &str = "signed and good for a while, as it stands in the link";

async fn show(
    request: HttpRequest,
    path: web::Path<String>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let nothing = || ApiError::no_route(request.path());
    let message = Uuid::try_parse(&path)
        .map(MessageId::from_uuid)
        .map_err(|_| nothing())?;
    let token = query.get("token").ok_or_else(nothing)?;
    let media = &state.media;
    let (tenant, left) = media
        .links
        .check(message, token, Utc::now())
        .map_err(|_| nothing())?;
    let scope = TenantScope::of_own_link(tenant);
    note_tenant(&scope);
    let file = media.find(&scope, message).await?.ok_or_else(nothing)?;
    let head = FileHead {
        file_type: file.file_type,
        name: file.name,
        size: file.size,
        mark: file.sha256,
        fresh: left.min(FRESH),
        shared: false,
    };
    let range = match head.wanted_by(&request) {
        Wanted::Whole => None,
        Wanted::Part(range) => Some(range),
        without => return Ok(head.answer_without(without)),
    };
    match media.read(&file.key, range).await {
        Ok(Some(open)) => Ok(head.answer_with(&request, open)),
        Ok(None) => {
            tracing::error!(%message, "an object that a row refers to is gone");
            Err(nothing().into())
        }
        Err(error) => Err(ServiceError::Storage(error)),
    }
}
