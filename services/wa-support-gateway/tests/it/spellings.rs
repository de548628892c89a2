//! Thousands of spellings over the wire, and a WA server that takes down what it got.

use futures_util::StreamExt as _;
use futures_util::stream;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::support::{Gateway, raw};

#[path = "../../src/flows/proxy_path_spellings.rs"]
mod generated;

use generated::{gullible, must_not_be_reached, spelling};

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
const EXPOSED: [&str; 8] = [
    "session",
    "webhook",
    "chat",
    "status",
    "call",
    "user",
    "group",
    "newsletter",
];

/// 4,000, or as many as the variable says.
fn count() -> usize {
    let said = std::env::var("PROXY_SPELLINGS_OVER_HTTP").ok();
    said.and_then(|number| number.parse().ok()).unwrap_or(4_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_refused_path_reaches_the_wa_server() {
    let gateway = Gateway::start_with(|settings| {
        settings.traffic.per_key.most = u32::MAX;
        settings.traffic.per_key.most_in_burst = u32::MAX;
    })
    .await;
    let session = gateway.session("desa-a").await;
    let mut runner = TestRunner::deterministic();
    let mut requests = Vec::new();
    while requests.len() < count() {
        let path = spelling().new_tree(&mut runner).unwrap().current();
        // A request line has no room for these; a server would see another request.
        if path.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            continue;
        }
        let method = METHODS[requests.len() % METHODS.len()];
        let prefix = if requests.len() % 2 == 0 { "/wa" } else { "/v1/wa" };
        requests.push((method, format!("{prefix}{path}")));
    }
    let head = format!("token: {}\r\nContent-Length: 0\r\n", session.token);
    let answered: Vec<u16> = stream::iter(&requests)
        .map(|(method, target)| {
            let (port, head) = (gateway.port, &head);
            async move { raw(port, method, target, head, b"").await.status }
        })
        .buffer_unordered(16)
        .collect()
        .await;
    let count = |status: u16| answered.iter().filter(|known| **known == status).count();
    assert_eq!(
        count(200) + count(400) + count(403) + count(404),
        answered.len(),
        "{answered:?}"
    );
    assert!(count(200) > 50 && count(400) > 500, "the generator says nothing");

    let seen = gateway.wa.seen();
    let mut reached = 0;
    for seen in seen.iter().filter(|seen| seen.target != "/wa/health") {
        let path = seen.target.strip_prefix("/wa").unwrap();
        let segments = gullible(path);
        assert!(
            !must_not_be_reached(&seen.method, &segments, &EXPOSED),
            "{} {}",
            seen.method,
            seen.target
        );
        reached += 1;
    }
    assert_eq!(reached, count(200), "what is refused goes nowhere");
    gateway.stop().await;
}
