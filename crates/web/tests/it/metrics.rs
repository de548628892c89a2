//! `/metrics` and who may read it.

use std::time::Duration;

use secrecy::SecretString;
use web::{MetricsToken, ServerSettings};

use super::world::{Server, get, settings};

#[tokio::test]
async fn the_page_opens_for_the_token_and_for_nothing_else() {
    runtime::telemetry::start_metrics();
    let metrics = MetricsToken(Some(SecretString::from("open-sesame")));
    assert!(!format!("{metrics:?}").contains("sesame"));
    let server = Server::start(ServerSettings {
        metrics,
        ..settings()
    });
    for headers in [
        "",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer open-sesam\r\n",
        "Authorization: Bearer open-sesame2\r\n",
        "Authorization: open-sesame\r\n",
        "Authorization: Basic open-sesame\r\n",
    ] {
        let answer = server.ask(&get("/metrics", headers)).await;
        assert_eq!(answer.status, 401, "{headers:?}");
        assert_eq!(answer.json()["code"], "metrics_token_required");
    }
    server.get("/number/12345").await;
    server.get("/broken").await;
    server.get("/some/guess/98765").await;
    let page = server
        .ask(&get("/metrics", "Authorization: Bearer open-sesame\r\n"))
        .await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/plain"));
    let counted = |route: &str, status: &str| {
        page.body.lines().any(|line| {
            line.starts_with("kanal_http_request_seconds_count")
                && line.contains(&format!("route=\"{route}\""))
                && line.contains(&format!("status=\"{status}\""))
        })
    };
    // By route, never by path: paths are without number.
    assert!(counted("/number/{number}", "200"), "{}", page.body);
    assert!(counted("/broken", "500"), "{}", page.body);
    assert!(counted("unmatched", "404"), "{}", page.body);
    assert!(
        !page.body.contains("12345") && !page.body.contains("98765"),
        "{}",
        page.body
    );
    server.end().await;
}

/// Requests that are being answered, in all servers of this process.
fn in_flight() -> Option<f64> {
    let page = runtime::telemetry::render_metrics();
    let line = page
        .lines()
        .find(|line| line.starts_with("kanal_http_requests_in_flight"))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn until(what: &str, holds: impl Fn(f64) -> bool) {
    let waiting = async {
        while !in_flight().is_some_and(&holds) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}: {:?}", in_flight()));
}

#[tokio::test]
async fn a_caller_that_leaves_is_no_request_in_flight() {
    runtime::telemetry::start_metrics();
    let server = Server::start(ServerSettings {
        cancel_when_caller_leaves: true,
        ..settings()
    });
    server.get("/broken").await;
    let open = server.open(&get("/slow", "")).await;
    server.calls.until(&server.calls.begun, 1).await;
    assert!(in_flight().is_some_and(|count| count >= 1.0), "{:?}", in_flight());
    drop(open);
    server.calls.until(&server.calls.dropped, 1).await;
    // The tests beside this one have theirs in flight; what has drifted never comes back to nothing.
    until("all are answered or gone", |count| count == 0.0).await;
    server.end().await;
}

#[tokio::test]
async fn without_a_token_there_is_no_page() {
    let server = Server::start(settings());
    let answer = server.ask(&get("/metrics", "Authorization: Bearer \r\n")).await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (404, &"route_not_found".into())
    );
    server.end().await;
}
