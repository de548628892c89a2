//! Which request is behind the work in hand, across queues and tables, and which trace it belongs to.
//!
//! Whoever takes work off a queue or a lane says so once; every envelope that is made meanwhile then carries the request's
//! id and the place in the trace, and every log line of the work shows both ids.

use std::future::Future;

use tenant_isolation::TenantScope;
use trace_context::{Kind, Span, TraceContext};
use tracing::Instrument as _;

tokio::task_local! {
    static REQUEST: Option<String>;
}

/// Does work for the request that is being answered.
pub async fn caused_by<T>(
    request_id: Option<String>,
    scope: &TenantScope,
    work: impl Future<Output = T> + Send,
) -> T {
    let shown = request_id.as_deref().unwrap_or_default();
    let trace_id = trace_context::current()
        .map(TraceContext::trace_id)
        .map(tracing::field::display);
    // Of the level of the gravest line: a filter that keeps only errors must not lose whose they are.
    let span = tracing::error_span!("work", request_id = shown, trace_id, tenant = %scope.tenant());
    REQUEST.scope(request_id, work.instrument(span)).await
}

/// Goes on with what a request or event left in a queue or on a lane. `parent` is the place in the trace that it was left
/// at; without one a trace begins here.
pub async fn left_by<T>(
    name: &'static str,
    request_id: Option<String>,
    parent: Option<TraceContext>,
    scope: &TenantScope,
    work: impl Future<Output = T> + Send,
) -> T {
    let span = Span::new(Kind::Consumer, name, parent);
    // Work on a lane is deep, and each layer around it would carry all of it on the stack.
    let work = Box::pin(work);
    trace_context::within(span, async {
        trace_context::note_tenant(scope.tenant().as_str());
        caused_by(request_id, scope, work).await
    })
    .await
}

/// The id of the request behind the work in hand, where it is known.
#[must_use]
pub fn request_id() -> Option<String> {
    REQUEST.try_with(Clone::clone).ok().flatten()
}
