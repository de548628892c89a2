//! An OpenTelemetry collector that keeps what it is sent: OTLP over HTTP. Its messages are written out here once more, so
//! that a mistake in ours does not meet itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use prost::Message;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What has to come along.
const AUTHORIZATION: &str = "authorization: bearer collectors-key";

#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<OfResource>,
}

#[derive(Clone, PartialEq, Message)]
struct OfResource {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<OfScope>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct OfScope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Wire>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    began: u64,
    #[prost(fixed64, tag = "8")]
    ended: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

/// A span as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: i32,
    /// 16 bytes.
    pub(crate) trace: Vec<u8>,
    pub(crate) id: Vec<u8>,
    /// Empty for the first one of a trace.
    pub(crate) parent: Vec<u8>,
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<Span>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Collector {
    url: String,
    kept: Arc<Mutex<Kept>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            kept: Arc::default(),
        };
        let kept = collector.kept.clone();
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(serve(caller, kept.clone()));
            }
        });
        collector
    }

    /// What the services have to be told.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.url.clone()),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20collectors-key".to_owned(),
            ),
        ]
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.kept.lock().unwrap().spans.clone()
    }

    /// Was this text anywhere in what came?
    pub(crate) fn was_told(&self, text: &str) -> bool {
        let kept = self.kept.lock().unwrap();
        kept.bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }
}

async fn serve(caller: TcpStream, kept: Arc<Mutex<Kept>>) {
    let mut caller = BufReader::new(caller);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(caller.read_line(&mut head).await, Ok(1..)) {
                return;
            }
        }
        let head = head.to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        if caller.read_exact(&mut body).await.is_err() {
            return;
        }
        let fits = head.starts_with("post /v1/traces ")
            && head.contains("content-type: application/x-protobuf")
            && head.contains(AUTHORIZATION);
        let status = match Export::decode(&body[..]) {
            Ok(export) if fits => {
                let mut kept = kept.lock().unwrap();
                kept.spans.extend(export.resources.into_iter().flat_map(spans));
                kept.bytes.extend(body);
                "200 OK"
            }
            _ => "400 Bad Request",
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        if caller.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn spans(of: OfResource) -> Vec<Span> {
    let about = texts(of.resource.unwrap_or_default().attributes);
    let service = about.get("service.name").cloned().unwrap_or_default();
    let wire = of.scopes.into_iter().flat_map(|scope| scope.spans);
    wire.map(|span| {
        assert!(span.began <= span.ended && span.began > 1_500_000_000_000_000_000);
        Span {
            service: service.clone(),
            name: span.name,
            kind: span.kind,
            trace: span.trace,
            id: span.id,
            parent: span.parent,
            attributes: texts(span.attributes),
        }
    })
    .collect()
}

fn texts(attributes: Vec<Attribute>) -> BTreeMap<String, String> {
    let read = attributes.into_iter().map(|Attribute { key, value }| {
        let value = value.unwrap_or_default();
        let number = value.number.map(|number| number.to_string());
        (key, value.text.or(number).unwrap_or_default())
    });
    read.collect()
}
