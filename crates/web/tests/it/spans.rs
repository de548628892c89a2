//! What the log is told about a request.

use std::fmt::Debug;
use std::sync::{LazyLock, Mutex};

use domain::ids::TenantId;
use tenant_isolation::TenantScope;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use super::world::{Server, settings};

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
    assert!(span.contains("method=GET"), "{span}");
    assert!(span.contains(answer.header("x-request-id").unwrap()), "{span}");
    let leak = written.iter().find(|line| line.contains("hush"));
    assert_eq!(leak, None);
}

#[tokio::test]
async fn outside_a_request_there_is_no_id_and_nothing_breaks() {
    assert_eq!(web::request_id(), None);
    web::note_tenant(&TenantScope::named_by_operator(TenantId::parse("desa").unwrap()));
}
