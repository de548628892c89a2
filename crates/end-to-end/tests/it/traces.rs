//! One trace for a person's message and one for the answer, over all three services.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::collector::{Collector, Span};
use crate::logs::secrets;
use crate::round_trip::{ANSWER, PHONE, PUSH_NAME, QUESTION, round_trip};
use crate::world::{Setup, World, address};

/// All that a span may tell, with the numbers of its kinds.
const ATTRIBUTES: [&str; 4] = [
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "kanal.tenant",
];
/// Long after the services' own batches.
const ARRIVES: Duration = Duration::from_secs(30);

const CALLERS: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;

/// A step of a way: service, name, kind.
type Step = (&'static str, &'static str, i32);

const WAY_OF_QUESTION: [Step; 7] = [
    ("wa-support-gateway", "POST /hooks/{session}", SERVER),
    ("wa-support-gateway", "deliver webhook", CONSUMER),
    ("wa-support-gateway", "webhook", CLIENT),
    ("channel-service", "POST /webhook", SERVER),
    ("chatwoot-bridge", "take event", CONSUMER),
    ("chatwoot-bridge", "do task", CONSUMER),
    ("chatwoot-bridge", "chatwoot call", CLIENT),
];

const WAY_OF_ANSWER: [Step; 6] = [
    ("chatwoot-bridge", "POST /webhook", SERVER),
    ("channel-service", "take order", CONSUMER),
    ("channel-service", "send message", CONSUMER),
    ("channel-service", "gateway send", CLIENT),
    ("wa-support-gateway", "POST /v1/wa", SERVER),
    ("wa-support-gateway", "wa-server call", CLIENT),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_one_trace_and_its_answer_another() {
    let collector = Collector::start().await;
    let world = World::start(Setup {
        traces: collector.settings(),
        ..Setup::named("traces")
    })
    .await;
    let tenant = world.add_tenant("desa-contoh").await;
    round_trip(&world, &tenant).await;

    let question = followed(&collector, &WAY_OF_QUESTION).await;
    let answer = followed(&collector, &WAY_OF_ANSWER).await;
    assert_ne!(question, answer);
    for (service, path, trace) in [
        (&world.channel, "/webhook", &question),
        (&world.bridge, "/webhook", &answer),
        (&world.gateway, "/v1/wa/chat/send/text", &answer),
    ] {
        let log = service.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found =
            lines.filter(|line| line["span"]["trace_id"] == hex(trace) && line["span"]["path"] == path);
        assert!(
            found.count() > 0,
            "{}: no line of {path} has the trace's id",
            service.service()
        );
    }

    let mut canaries = secrets(&world, &tenant);
    canaries.extend([
        ("the question", QUESTION.to_owned()),
        ("the answer", ANSWER.to_owned()),
        ("the push name", PUSH_NAME.to_owned()),
        ("the phone number", PHONE.to_owned()),
    ]);
    // What was finished last is exported before a service is gone, here for a caller that brings a trace along.
    let asked = world
        .http
        .get(format!("{}/nowhere", address(&world.gateway)))
        .header("traceparent", format!("00-{CALLERS}-00f067aa0ba902b7-01"))
        .send()
        .await
        .unwrap();
    assert_eq!(asked.status().as_u16(), 404);
    world.finish().await;
    let spans = collector.spans();
    let last = spans
        .iter()
        .find(|span| hex(&span.trace) == CALLERS)
        .expect("flushed at the end");
    assert_eq!(hex(&last.parent), "00f067aa0ba902b7");
    assert_eq!(last.attributes["http.response.status_code"], "404");
    for (what, canary) in canaries {
        assert!(!collector.was_told(&canary), "{what} was exported");
    }
    for span in spans {
        assert!(
            !span.name.contains("/health"),
            "nobody follows those who look whether it runs"
        );
        let odd = span
            .attributes
            .keys()
            .find(|key| !ATTRIBUTES.contains(&key.as_str()));
        assert_eq!(odd, None, "{span:?}");
    }
}

/// Waits for a trace that went this way, each step below the one before, and gives its id.
async fn followed(collector: &Collector, way: &[Step]) -> Vec<u8> {
    let wanted: Vec<String> = way
        .iter()
        .map(|(service, name, kind)| step(service, name, *kind))
        .collect();
    let found = tokio::time::timeout(ARRIVES, async {
        loop {
            let spans = collector.spans();
            let mut ends = spans.iter().filter(|end| way_to(&spans, end) == wanted);
            if let Some(end) = ends.next() {
                return end.trace.clone();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    found.unwrap_or_else(|_| {
        let spans = collector.spans();
        let ways: BTreeSet<_> = spans.iter().map(|end| way_to(&spans, end)).collect();
        panic!("nothing went {wanted:#?}, but: {ways:#?}")
    })
}

/// The steps from the first span of a trace to this one. What lost its parent begins with a question mark.
fn way_to(spans: &[Span], end: &Span) -> Vec<String> {
    let (mut way, mut here) = (Vec::new(), end);
    loop {
        way.insert(0, step(&here.service, &here.name, here.kind));
        if here.parent.is_empty() {
            return way;
        }
        let mut parents = spans
            .iter()
            .filter(|span| (&span.trace, &span.id) == (&here.trace, &here.parent));
        match parents.next() {
            Some(parent) => here = parent,
            None => {
                way.insert(0, "?".to_owned());
                return way;
            }
        }
    }
}

fn step(service: &str, name: &str, kind: i32) -> String {
    format!("{service}: {name} ({kind})")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
