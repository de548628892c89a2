//! Which tenant a caller works for: `village_id` on GovConnect's wire (channel-service contract 1.1).

use ::web::{ApiError, Fields, Internal, Query, note_tenant};
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use domain::ids::TenantId;
use tenant_isolation::TenantScope;

use crate::flows::tenant::Actor;

/// The tenant's id as the caller gave it: query, then body, then header `x-village-id`. An empty one counts as not
/// given.
pub(crate) fn named_in<'a>(
    request: &'a HttpRequest,
    query: Option<&'a Query>,
    body: Option<&'a Fields>,
) -> Result<Option<&'a str>, ApiError> {
    if let Some(id) = query.and_then(|query| query.get("village_id")) {
        return Ok(Some(id));
    }
    if let Some(id) = body.map(|body| body.filled("village_id")).transpose()?.flatten() {
        return Ok(Some(id));
    }
    let header = request.headers().get("x-village-id");
    Ok(header
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
        .filter(|id| !id.is_empty()))
}

/// The scope of the tenant the caller named, if its key is good for it.
///
/// # Errors
/// 400 for a text that can be no tenant's id, 403 when the key is for other tenants.
pub(crate) fn scope_of(caller: &Internal, id: &str) -> Result<TenantScope, ApiError> {
    let tenant = TenantId::parse(id)
        .map_err(|error| ApiError::bad_request("invalid_village_id", format!("village_id: {error}")))?;
    let scope = caller.0.scope(tenant).map_err(|_| {
        ApiError::new(
            StatusCode::FORBIDDEN,
            "not_your_village",
            "Forbidden: this key is not for that village",
        )
    })?;
    note_tenant(&scope);
    Ok(scope)
}

/// Who acts, for the audit log: the caller's name, and the person it speaks for when it says so.
pub(crate) fn actor(caller: &Internal, request: &HttpRequest, person: Option<&str>) -> Actor {
    let name = match person.map(str::trim).filter(|person| !person.is_empty()) {
        Some(person) => format!(
            "{}: {}",
            caller.0.name(),
            person.chars().take(100).collect::<String>()
        ),
        None => caller.0.name().to_owned(),
    };
    Actor {
        name: name.replace('\0', ""),
        source: request.peer_addr().map(|address| address.ip().to_string()),
    }
}

/// 404: nobody is registered under this id.
pub(crate) fn unknown() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "village_not_found",
        "No village is registered under this village_id",
    )
}

/// The caller's key is limited, so it has to name the tenant it asks about.
pub(crate) fn must_be_named() -> ApiError {
    ApiError::bad_request("village_id_required", "village_id is required")
}
