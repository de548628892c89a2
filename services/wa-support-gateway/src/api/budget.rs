//! Where a caller stands with the limits, as headers (contract §12).

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};

use crate::flows::limit::Budget;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Tells it. `X-RateLimit-Reset` is in seconds from now.
pub(crate) fn announce<B>(response: &mut HttpResponse<B>, budget: &Budget) {
    let headers = response.headers_mut();
    headers.insert(LIMIT, HeaderValue::from(budget.limit));
    headers.insert(REMAINING, HeaderValue::from(budget.left));
    headers.insert(RESET, HeaderValue::from(budget.reset.as_secs() + 1));
}
