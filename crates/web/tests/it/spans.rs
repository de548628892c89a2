//! What the log is told about a request.

use std::fmt::Debug;
use std::sync::{LazyLock, Mutex};

use domain::ids::TenantId;
use tenant_isolation::TenantScope;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use super::world::{Server, get, settings};

/// Everything written to spans and events by any thread of this test binary.
static WRITTEN: LazyLock<Mutex<Vec<String>>> = LazyLock::new(|| {
    tracing::subscriber::set_global_default(Registry::default().with(Recorder)).unwrap();
    Mutex::default()
});

struct Recorder;

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl Recorder {
    fn note(mut fields: Fields, name: &str) {
        fields.0.insert_str(0, name);
        WRITTEN.lock().unwrap().push(fields.0);
    }
}

impl<S: tracing::Subscriber> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields(String::new());
        attributes.record(&mut fields);
        Self::note(fields, attributes.metadata().name());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        Self::note(fields, "record");
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        Self::note(fields, "event");
    }
}

#[tokio::test]
async fn a_query_is_not_written_down() {
    drop(WRITTEN.lock().unwrap());
    let server = Server::start(settings());
    let answer = server.get("/number/4711?token=hush-hush").await;
    server.get("/nowhere/4711?token=hush-hush").await;
    server.end().await;
    let written = WRITTEN.lock().unwrap();
    let span = written
        .iter()
        .find(|span| span.starts_with("request") && span.contains("path=\"/number/4711\""))
        .expect("a span for the request");
    assert!(span.contains("method=\"GET\""), "{span}");
    assert!(span.contains(answer.header("x-request-id").unwrap()), "{span}");
    let leak = written.iter().find(|line| line.contains("hush"));
    assert_eq!(leak, None);
}

/// The id of the trace in the span of the request to `path`.
fn trace_of(path: &str) -> String {
    let written = WRITTEN.lock().unwrap();
    let path = format!("path=\"{path}\"");
    let span = written
        .iter()
        .find(|span| span.starts_with("request") && span.contains(&path))
        .expect("a span for the request");
    let (_, id) = span.split_once("trace_id=").expect("a trace");
    id.split(' ').next().unwrap().trim_matches('"').to_owned()
}

#[tokio::test]
async fn a_request_belongs_to_its_callers_trace_or_begins_one() {
    drop(WRITTEN.lock().unwrap());
    let server = Server::start(settings());
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ask = async |path: &str, headers: &str| {
        server
            .ask(&get(path, &format!("{headers}Connection: close\r\n")))
            .await
    };
    ask("/number/1", &format!("traceparent: {good}\r\n")).await;
    assert_eq!(trace_of("/number/1"), &good[3..35]);
    for (path, headers) in [
        ("/number/2", String::new()),
        ("/number/3", "traceparent: 00-zz\r\n".to_owned()),
        (
            "/number/4",
            format!("traceparent: {good}\r\ntraceparent: {good}\r\n"),
        ),
        (
            "/number/5",
            format!("traceparent: {good}{}\r\n", "0".repeat(4000)),
        ),
    ] {
        let answer = ask(path, &headers).await;
        assert_eq!(answer.status, 200, "{path}");
        let id = answer.header("x-request-id").unwrap().replace('-', "");
        assert_eq!(trace_of(path), id, "{path}");
    }
    server.end().await;
}

#[tokio::test]
async fn outside_a_request_there_is_no_id_and_nothing_breaks() {
    assert_eq!(web::request_id(), None);
    web::note_tenant(&TenantScope::named_by_operator(TenantId::parse("desa").unwrap()));
}
