//! One trace from a message's webhook to its file and to the subscriber that is told of it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use test_support::eventually;
use trace_context::{Export, Finished, Kind, TraceContext};

use crate::gate_world::{Receiver, subscribe};
use crate::harness::TestApp;
use crate::media::{picture, with_s3};

/// The first caller's trace, and its place in it.
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

static FINISHED: Mutex<Vec<Finished>> = Mutex::new(Vec::new());

/// Keeps the spans of this test's trace; other tests of the process have theirs.
struct Keep(TraceContext);

impl Export for Keep {
    fn export(&self, span: Finished) {
        if span.context.trace_id() == self.0.trace_id() {
            FINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(span);
        }
    }
}

/// The steps from the caller to each span, joined by arrows.
fn ways(caller: TraceContext) -> BTreeSet<String> {
    let spans = FINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    let way = |end: &Finished| {
        let (mut way, mut here) = (end.name.to_string(), end);
        while here.parent != Some(caller) {
            let above = |span: &&Finished| Some(span.context) == here.parent;
            // It is not over yet.
            here = spans.iter().find(above)?;
            way = format!("{} > {way}", here.name);
        }
        Some(way)
    };
    spans.iter().filter_map(way).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_files_fetching_and_what_a_subscriber_is_told_belong_to_the_messages_trace() {
    let caller = TraceContext::parse(CALLER).unwrap();
    trace_context::export_to(Keep(caller));
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let receiver = Receiver::start().await;
    subscribe(&app, "desa-satu", &receiver).await;
    let gone = format!("{}/s3/gone.jpg", app.simulator.base_url());
    let webhook = desa.json(&with_s3(picture("3EB0TRACE", "foto"), &gone, 9));
    let request = app
        .http()
        .post(format!("{}/webhook", app.url))
        .header("content-type", webhook.content_type)
        .header("x-hmac-signature", webhook.signature.unwrap())
        .header("traceparent", CALLER);
    let answer = request.body(webhook.body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    eventually("all steps are over", || async {
        let ways = ways(caller);
        let wanted = [
            "POST /webhook > fetch file",
            "POST /webhook > tell subscribers > tell subscriber > subscriber call",
        ];
        let missing = wanted.iter().find(|way| !ways.contains(**way));
        missing.is_none().then_some(())
    })
    .await;
    let spans = FINISHED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let is = |name: &str, kind| spans.iter().any(|span| span.name == name && span.kind == kind);
    assert!(is("fetch file", Kind::Consumer) && is("subscriber call", Kind::Client));
    for span in spans.iter().filter(|span| span.kind == Kind::Consumer) {
        assert_eq!(span.attributes.tenant.as_deref(), Some("desa-satu"), "{span:?}");
    }
    app.finish().await;
}
