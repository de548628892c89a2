//! Which request is behind the work in hand, across queues and tables.
//!
//! Whoever takes work off a queue or a lane says so once; every envelope that is made meanwhile then carries the request's
//! id, and every log line of the work shows it.

use std::future::Future;

use tenant_isolation::TenantScope;
use tracing::Instrument as _;

tokio::task_local! {
    static REQUEST: Option<String>;
}

/// Does work that a request caused, elsewhere or earlier.
pub async fn caused_by<T>(
    request_id: Option<String>,
    scope: &TenantScope,
    work: impl Future<Output = T> + Send,
) -> T {
    let shown = request_id.as_deref().unwrap_or_default();
    // Of the level of the gravest line: a filter that keeps only errors must not lose whose they are.
    let span = tracing::error_span!("work", request_id = shown, tenant = %scope.tenant());
    REQUEST.scope(request_id, work.instrument(span)).await
}

/// The id of the request behind the work in hand, where it is known.
#[must_use]
pub fn request_id() -> Option<String> {
    REQUEST.try_with(Clone::clone).ok().flatten()
}
