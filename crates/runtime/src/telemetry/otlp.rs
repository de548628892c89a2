//! Spans in OTLP's shape (opentelemetry-proto 1.x, `ExportTraceServiceRequest`): of its messages and fields those that we
//! fill. The numbers are the protocol's.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use trace_context::Finished;

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    pub(super) value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

const STATUS_ERROR: i32 = 2;
/// The trace is sampled; the flags of W3C.
const FLAG_SAMPLED: u32 = 1;

/// A request that exports `spans` of the service that `resource` describes.
pub(super) fn encode(resource: &[(String, String)], spans: Vec<Finished>) -> Vec<u8> {
    let attributes = resource
        .iter()
        .map(|(key, value)| text(key, value.clone()))
        .collect();
    let scope = Scope {
        name: "kanal".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: spans.into_iter().map(span).collect(),
            }],
        }],
    };
    request.encode_to_vec()
}

fn span(told: Finished) -> Span {
    let of = told.attributes;
    let attributes = [
        of.method
            .map(|method| text("http.request.method", method.to_owned())),
        of.route.map(|route| text("http.route", route)),
        of.status.map(|status| KeyValue {
            key: "http.response.status_code".to_owned(),
            value: Some(AnyValue {
                value: Some(Value::Number(status.into())),
            }),
        }),
        of.tenant.map(|tenant| text("kanal.tenant", tenant)),
    ];
    Span {
        trace_id: told.context.trace_bytes().to_vec(),
        span_id: told.context.span_bytes().to_vec(),
        parent_span_id: told
            .parent
            .map(|parent| parent.span_bytes().to_vec())
            .unwrap_or_default(),
        name: told.name.into_owned(),
        kind: kind_number(told.kind),
        start_time_unix_nano: nanoseconds(told.began),
        end_time_unix_nano: nanoseconds(told.ended),
        attributes: attributes.into_iter().flatten().collect(),
        status: told.failed.then_some(Status { code: STATUS_ERROR }),
        flags: FLAG_SAMPLED,
    }
}

const fn kind_number(kind: trace_context::Kind) -> i32 {
    kind as i32
}

fn text(key: &str, value: String) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::Text(value)),
        }),
    }
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
