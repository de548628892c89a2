//! `/metrics` and who may read it.

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
