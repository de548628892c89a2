//! What a caller is told when our own side fails.

use std::time::Duration;

use database::DatabaseError;
use web::ApiError;

/// When Postgres is away, nothing was accepted and the caller should come again soon.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// The answer to a failed piece of database work.
pub fn answer(error: &DatabaseError) -> ApiError {
    if error.is_transient() {
        tracing::warn!(%error, "a request was not accepted");
        return ApiError::unavailable(COME_AGAIN);
    }
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, cause, "a request failed");
    ApiError::internal()
}
