//! Which tenant a caller works for: `village_id` on GovConnect's wire (channel-service contract 1.1).

use ::web::{ApiError, Fields, Internal, Query, note_tenant};
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use domain::address::ChatAddress;
use domain::ids::TenantId;
use tenant_isolation::TenantScope;

use crate::app::State;
use crate::error::ServiceError;
use crate::flows::find_tenant;
use crate::flows::tenant::Actor;
use crate::webhooks::source;

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
        source: source_of(request),
    }
}

/// From where a request comes, for the audit log: as the throttle of signing in sees it.
pub(crate) fn source_of(request: &HttpRequest) -> Option<String> {
    let state = request.app_data::<Data<State>>()?;
    source::caller_or_peer(request, &state.webhook).map(|address| address.to_string())
}

/// The tenant of something that is done. It has to be named.
///
/// # Errors
/// 400 when none is named, and as [`scope_of`].
pub(crate) fn of_write(caller: &Internal, named: Option<&str>) -> Result<TenantScope, ApiError> {
    scope_of(caller, named.ok_or_else(must_be_named)?)
}

/// The tenant of something that is read, about a person or about everybody. `None`: there is nothing to be seen,
/// because none is named and more than one may be meant.
///
/// # Errors
/// As [`scope_of`]; a database that cannot be asked.
pub(crate) async fn of_read(
    caller: &Internal,
    state: &State,
    named: Option<&str>,
    person: Option<&ChatAddress>,
) -> Result<Option<TenantScope>, ServiceError> {
    if let Some(named) = named {
        return Ok(Some(scope_of(caller, named)?));
    }
    let only = find_tenant::only_one(&state.db, &caller.0, person).await?;
    if let Some(scope) = &only {
        note_tenant(scope);
    }
    tracing::warn!(
        caller = caller.0.name(),
        answered = only.is_some(),
        "a read named no village"
    );
    Ok(only)
}

/// 404: nobody is registered under this id.
pub(crate) fn unknown() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "village_not_found",
        "No village is registered under this village_id",
    )
}

/// 400: it has to be said for whom.
pub(crate) fn must_be_named() -> ApiError {
    ApiError::bad_request("village_id_required", "village_id is required")
}
