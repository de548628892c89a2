//! Which request is behind the work in hand, across queues and tables, and which trace it belongs to.
//!
//! Whoever takes work off a queue or a lane says so once; every envelope that is made meanwhile then carries the request's
//! id and the place in the trace, and every log line of the work shows both ids.

use std::future::Future;

use serde::{Deserialize, Serialize};
use tenant_isolation::TenantScope;
use trace_context::{Kind, Span, TraceContext};
use tracing::Instrument as _;

tokio::task_local! {
    static REQUEST: Option<String>;
}

/// Where work comes from, as it stands in a task's payload beside the task's own fields.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cause {
    /// The request that caused it, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The place in its trace.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "trace_context::lenient"
    )]
    pub traceparent: Option<TraceContext>,
}

impl Cause {
    /// The work in hand.
    #[must_use]
    pub fn here() -> Self {
        Self {
            request_id: request_id(),
            traceparent: trace_context::current(),
        }
    }

    /// What a payload says. One that says nothing, or cannot be read, has no cause that is known.
    #[must_use]
    pub fn of_payload(payload: &str) -> Self {
        serde_json::from_str(payload).unwrap_or_default()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Payload {
        about: u8,
        #[serde(flatten)]
        cause: Cause,
    }

    #[tokio::test]
    async fn what_is_left_has_the_cause_of_the_work_that_left_it() {
        let scope = TenantScope::of_own_event("desa".parse().unwrap());
        let place = TraceContext::root([7; 16]);
        let leaving = async {
            let payload = Payload {
                about: 1,
                cause: Cause::here(),
            };
            (serde_json::to_string(&payload).unwrap(), trace_context::current())
        };
        let (payload, left_at) = left_by("leave", Some("r-1".to_owned()), Some(place), &scope, leaving).await;
        let read = Cause::of_payload(&payload);
        assert_eq!(read.request_id.as_deref(), Some("r-1"));
        assert_eq!(read.traceparent, left_at);
        assert_eq!(left_at.unwrap().trace_id(), place.trace_id());
    }

    #[test]
    fn a_payload_without_a_cause_has_none() {
        for payload in ["", "7", "{}", r#"{"request_id":null,"traceparent":7}"#] {
            let read = Cause::of_payload(payload);
            assert!(
                read.request_id.is_none() && read.traceparent.is_none(),
                "{payload}"
            );
        }
        let alone = Payload {
            about: 1,
            cause: Cause::default(),
        };
        assert_eq!(serde_json::to_string(&alone).unwrap(), r#"{"about":1}"#);
    }
}
