//! Exports spans to an OpenTelemetry collector: OTLP over HTTP, in batches, beside the work.
//!
//! The work hands over what is over and goes on. What does not fit into the queue, and what the collector does not take at
//! once, is let go and counted: a collector that is away costs its spans and nothing else.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{mpsc, oneshot};
use trace_context::{Export, Finished};

use super::otlp;
use crate::config::{BaseUrl, Setting, SettingsReader};

/// Spans that wait for their batch.
const QUEUE: usize = 2048;
/// Most spans of one request.
const BATCH: usize = 512;
/// Longest wait of a span for its batch.
const WAIT: Duration = Duration::from_secs(2);
/// Longest that a collector may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that the end of the process waits for the last spans: a collector that is away must not hold up a restart.
const FLUSH: Duration = Duration::from_secs(3);
/// How often a collector that is away is written about.
const REMINDER: Duration = Duration::from_secs(60);
/// Most headers, and most attributes of the service.
const MOST_PAIRS: usize = 32;

/// Where spans go, and which.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    collector: Option<BaseUrl>,
    headers: Option<Headers>,
    ratio: Ratio,
    resource: Option<ResourceAttributes>,
}

/// Headers for the collector; their values are secrets.
#[derive(Debug, Clone)]
struct Headers(Vec<(HeaderName, SecretString)>);

impl Setting for Headers {
    const EXPECTED: &'static str = "must be name=value pairs with commas between them";

    fn from_text(text: &str) -> Option<Self> {
        let read = |(name, value): (String, String)| {
            HeaderValue::from_str(&value).ok()?;
            Some((
                HeaderName::from_bytes(name.as_bytes()).ok()?,
                SecretString::from(value),
            ))
        };
        pairs(text)?
            .into_iter()
            .map(read)
            .collect::<Option<_>>()
            .map(Self)
    }
}

/// What else is said of the service.
#[derive(Debug, Clone)]
struct ResourceAttributes(Vec<(String, String)>);

impl Setting for ResourceAttributes {
    const EXPECTED: &'static str = "must be key=value pairs with commas between them";

    fn from_text(text: &str) -> Option<Self> {
        pairs(text).map(Self)
    }
}

/// A share, from 0 to 1.
#[derive(Debug, Clone, Copy)]
struct Ratio(f64);

impl Setting for Ratio {
    const EXPECTED: &'static str = "must be a number from 0 to 1";

    fn from_text(text: &str) -> Option<Self> {
        let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))?;
        Some(Self(ratio))
    }
}

/// `key=value,key=value`, values percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let read = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let key = key.trim();
        (!key.is_empty()).then(|| (key.to_owned(), value.into_owned()))
    };
    let pairs: Vec<_> = parts.map(read).collect::<Option<_>>()?;
    (pairs.len() <= MOST_PAIRS).then_some(pairs)
}

impl TraceSettings {
    /// Reads OpenTelemetry's own variables, as far as they mean something here.
    pub fn read(reader: &mut SettingsReader) -> Option<Self> {
        let collector = reader.optional(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "Base URL of an OpenTelemetry collector (OTLP over HTTP, usually port 4318) that gets the traces; without it \
             nothing is exported",
        );
        let headers = reader.optional(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "Headers for the collector, `name=value` with commas between them, values percent-encoded",
        );
        let ratio = reader.with_default(
            "OTEL_TRACES_SAMPLER_ARG",
            "1",
            "Which part of the traces that begin here is exported, 0 to 1",
        );
        let resource = reader.optional(
            "OTEL_RESOURCE_ATTRIBUTES",
            "Attributes of the exported service, `key=value` with commas between them; its name is fixed",
        );
        Some(Self {
            collector,
            headers,
            ratio: ratio?,
            resource,
        })
    }
}

static QUEUED: OnceLock<Queue> = OnceLock::new();

/// The way to the task that exports.
#[derive(Debug, Clone)]
struct Queue {
    spans: mpsc::Sender<Finished>,
    end: mpsc::Sender<oneshot::Sender<()>>,
}

impl Export for Queue {
    fn export(&self, span: Finished) {
        if self.spans.try_send(span).is_err() {
            lost(1, "queue_full");
        }
    }
}

fn lost(spans: usize, reason: &'static str) {
    metrics::counter!("kanal_trace_spans_lost_total", "reason" => reason).increment(spans as u64);
}

/// Starts exporting, where a collector is named. The first call decides.
pub fn start(service: &'static str, settings: &TraceSettings) {
    trace_context::sample(settings.ratio.0);
    let Some(collector) = &settings.collector else {
        return;
    };
    let client = match client(settings.headers.as_ref(), TIMEOUT) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "traces are not exported");
            return;
        }
    };
    let (spans, waiting) = mpsc::channel(QUEUE);
    let (end, ended) = mpsc::channel(1);
    let queue = Queue { spans, end };
    if QUEUED.set(queue.clone()).is_ok() {
        let exporter = Exporter {
            client,
            url: format!("{}/v1/traces", collector.as_str()),
            resource: resource(service, settings.resource.as_ref()),
            trouble: None,
        };
        tokio::spawn(exporter.run(waiting, ended));
        trace_context::export_to(queue);
    }
}

fn client(given: Option<&Headers>, timeout: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(timeout)
        .default_headers(headers(given))
        .build()
}

/// Exports what is left, for a little while of the time that there is.
pub async fn finish(time: Duration) {
    if let Some(queue) = QUEUED.get() {
        flush(queue, time.min(FLUSH)).await;
    }
}

async fn flush(queue: &Queue, time: Duration) {
    let flushing = async {
        let (done, flushed) = oneshot::channel();
        if queue.end.send(done).await.is_ok() {
            // An error says that the exporter is gone, and with it whatever it had.
            drop(flushed.await);
        }
    };
    if tokio::time::timeout(time, flushing).await.is_err() {
        tracing::debug!("the last spans were not exported in time");
    }
}

fn headers(settings: Option<&Headers>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in settings.iter().flat_map(|headers| &headers.0) {
        if let Ok(mut value) = HeaderValue::from_str(value.expose_secret()) {
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers
}

/// The service's own name and version win over what the environment says.
fn resource(service: &str, settings: Option<&ResourceAttributes>) -> Vec<(String, String)> {
    let own = [
        ("service.name", service),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let given = settings.iter().flat_map(|attributes| attributes.0.clone());
    let mut resource: Vec<_> = given
        .filter(|(key, _)| own.iter().all(|(name, _)| name != key))
        .collect();
    resource.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    resource
}

struct Exporter {
    client: reqwest::Client,
    url: String,
    resource: Vec<(String, String)>,
    /// When the log was told that the collector is away.
    trouble: Option<Instant>,
}

impl Exporter {
    async fn run(
        mut self,
        mut waiting: mpsc::Receiver<Finished>,
        mut ended: mpsc::Receiver<oneshot::Sender<()>>,
    ) {
        loop {
            let mut batch = Vec::new();
            let asked = tokio::select! {
                biased;
                asked = ended.recv() => asked,
                () = fill(&mut waiting, &mut batch) => None,
            };
            let is_end = asked.is_some();
            if is_end {
                while batch.len() < QUEUE + BATCH
                    && let Ok(span) = waiting.try_recv()
                {
                    batch.push(span);
                }
            }
            while !batch.is_empty() {
                let rest = batch.split_off(batch.len().min(BATCH));
                self.send(std::mem::replace(&mut batch, rest)).await;
            }
            if let Some(done) = asked {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }

    async fn send(&mut self, batch: Vec<Finished>) {
        let count = batch.len();
        let body = otlp::encode(&self.resource, batch);
        let sent = self.client.post(&self.url).body(body).send().await;
        let trouble = match sent.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => None,
            Ok(status) => Some(format!("it answered {}", status.as_u16())),
            Err(error) if error.is_timeout() => Some("it did not answer in time".to_owned()),
            Err(_) => Some("it cannot be reached".to_owned()),
        };
        let Some(trouble) = trouble else {
            metrics::counter!("kanal_trace_spans_exported_total").increment(count as u64);
            if self.trouble.take().is_some() {
                tracing::info!("the collector takes spans again");
            }
            return;
        };
        lost(count, "not_taken");
        if self.trouble.is_none_or(|told| told.elapsed() >= REMINDER) {
            tracing::warn!(trouble, "the collector takes no spans, they are let go");
            self.trouble = Some(Instant::now());
        }
    }
}

/// Waits for spans, and a little longer for more of them. What is in the batch is kept when this is given up.
async fn fill(waiting: &mut mpsc::Receiver<Finished>, batch: &mut Vec<Finished>) {
    if waiting.recv_many(batch, BATCH).await == 0 {
        // Cannot be: the way in is kept for as long as the process runs.
        return std::future::pending().await;
    }
    let more = async {
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            waiting.recv_many(batch, room).await;
        }
    };
    // Full or late: either way it is time.
    drop(tokio::time::timeout(WAIT, more).await);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// How many requests the test's collector took.
    static TAKEN: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn headers_and_attributes_are_pairs() {
        let read = pairs("a=1, b = x%20y%2Cz ,").unwrap();
        assert_eq!(
            read,
            [
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "x y,z".to_owned())
            ]
        );
        for bad in ["a", "=1", "a=%ff"] {
            assert!(pairs(bad).is_none(), "{bad}");
        }
        let many = vec!["a=1"; MOST_PAIRS + 1].join(",");
        assert!(pairs(&many).is_none());
        assert!(Headers::from_text("a b=1").is_none());
        assert!(Headers::from_text("a=%0d%0ax").is_none());
        let secret = Headers::from_text("authorization=Bearer%20hush").unwrap();
        assert!(!format!("{secret:?}").contains("hush"));
        assert!(!format!("{:?}", headers(Some(&secret))).contains("hush"));
        assert_eq!(headers(Some(&secret))["authorization"], "Bearer hush");
    }

    fn spans(count: usize) -> Vec<Finished> {
        let context = trace_context::TraceContext::root([7; 16]);
        let now = std::time::SystemTime::now();
        let span = Finished {
            context,
            parent: None,
            name: "step".into(),
            kind: trace_context::Kind::Internal,
            began: now,
            ended: now,
            attributes: trace_context::Attributes::default(),
            failed: false,
        };
        vec![span; count]
    }

    /// Counts for this thread alone.
    fn counted() -> (PrometheusHandle, metrics::LocalRecorderGuard<'static>) {
        let recorder: &'static _ = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        (recorder.handle(), metrics::set_default_local_recorder(recorder))
    }

    fn exporter(url: String, timeout: Duration) -> Exporter {
        crate::tls::install_crypto_provider();
        Exporter {
            client: client(None, timeout).unwrap(),
            url,
            resource: Vec::new(),
            trouble: None,
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_queue_that_is_full() {
        let (counts, _here) = counted();
        let (way_in, mut waiting) = mpsc::channel(QUEUE);
        let queue = Queue {
            spans: way_in,
            end: mpsc::channel(1).0,
        };
        for span in spans(QUEUE + 100) {
            queue.export(span);
        }
        assert_eq!(waiting.len(), QUEUE, "what is too much is let go");
        let lost = "kanal_trace_spans_lost_total{reason=\"queue_full\"} 100";
        assert!(counts.render().contains(lost), "{}", counts.render());
        let mut batch = Vec::new();
        fill(&mut waiting, &mut batch).await;
        assert_eq!((batch.len(), waiting.len()), (BATCH, QUEUE - BATCH));
    }

    #[tokio::test]
    async fn a_collector_that_is_away_costs_the_spans_and_is_told_of_once() {
        let (counts, _here) = counted();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", free.local_addr().unwrap());
        drop(free);
        let mut exporter = exporter(url, TIMEOUT);
        exporter.send(spans(3)).await;
        let told = exporter.trouble.expect("trouble is noted");
        exporter.send(spans(3)).await;
        assert_eq!(exporter.trouble, Some(told), "not told again within a minute");
        let lost = "kanal_trace_spans_lost_total{reason=\"not_taken\"} 6";
        assert!(counts.render().contains(lost), "{}", counts.render());
    }

    /// Connections are made, by the system, and nobody reads.
    fn silent_collector() -> (std::net::TcpListener, String) {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", silent.local_addr().unwrap());
        (silent, url)
    }

    #[tokio::test]
    async fn a_collector_that_never_answers_costs_the_spans_only() {
        let (counts, _here) = counted();
        let (_silent, url) = silent_collector();
        let mut exporter = exporter(url, Duration::from_millis(50));
        exporter.send(spans(3)).await;
        let lost = "kanal_trace_spans_lost_total{reason=\"not_taken\"} 3";
        assert!(counts.render().contains(lost), "{}", counts.render());
    }

    #[tokio::test]
    async fn a_collector_that_never_answers_does_not_hold_up_the_end() {
        let (_silent, url) = silent_collector();
        let exporter = exporter(url, Duration::from_secs(3_600));
        let (way_in, waiting) = mpsc::channel(QUEUE);
        let (end, ended) = mpsc::channel(1);
        let queue = Queue { spans: way_in, end };
        for span in spans(QUEUE) {
            queue.export(span);
        }
        let running = tokio::spawn(exporter.run(waiting, ended));
        flush(&queue, Duration::from_millis(50)).await;
        assert!(
            !running.is_finished(),
            "it still waits for the collector, and nobody for it"
        );
        running.abort();
    }

    #[tokio::test]
    async fn the_last_spans_are_sent_before_the_end() {
        let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", collector.local_addr().unwrap());
        let exporter = exporter(url, TIMEOUT);
        let (way_in, waiting) = mpsc::channel(QUEUE);
        let (end, ended) = mpsc::channel(1);
        let queue = Queue { spans: way_in, end };
        for span in spans(BATCH + 1) {
            queue.export(span);
        }
        let running = tokio::spawn(exporter.run(waiting, ended));
        let taking = tokio::spawn(async move {
            for taken in 1.. {
                let (mut caller, _) = collector.accept().await.unwrap();
                let mut read = [0; 65_536];
                let _ = caller.read(&mut read).await.unwrap();
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                caller.write_all(answer.as_bytes()).await.unwrap();
                TAKEN.store(taken, Ordering::SeqCst);
            }
        });
        flush(&queue, Duration::from_secs(3_600)).await;
        assert_eq!(TAKEN.load(Ordering::SeqCst), 2, "two batches");
        running.abort();
        taking.abort();
    }

    #[test]
    fn ratios_are_shares() {
        assert!(
            ["0", "0.25", "1"]
                .into_iter()
                .all(|text| Ratio::from_text(text).is_some())
        );
        assert!(
            ["", "-1", "1.1", "NaN", "x"]
                .into_iter()
                .all(|text| Ratio::from_text(text).is_none())
        );
    }

    #[test]
    fn a_service_keeps_its_name() {
        let given = ResourceAttributes::from_text("service.name=other,deployment.environment=desa").unwrap();
        let resource = resource("channel-service", Some(&given));
        let names: Vec<_> = resource.iter().filter(|(key, _)| key == "service.name").collect();
        assert_eq!(
            names,
            [&("service.name".to_owned(), "channel-service".to_owned())]
        );
        assert!(resource.contains(&("deployment.environment".to_owned(), "desa".to_owned())));
    }
}
