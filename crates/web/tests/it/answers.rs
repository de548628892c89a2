//! Every answer has an id, and every error one shape.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use web::{ErrorField, ServerSettings};

use super::world::{Answer, LIMIT, Server, get, settings};

/// An error in our shape: the text in `field`, the code, and the id that is also in the header.
fn assert_error(answer: &Answer, status: u16, field: &str, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    assert!(body[field].is_string(), "{answer:?}");
    assert_eq!(body["code"], code);
    let id = answer.header("x-request-id").expect("an id in the header");
    assert!(id.len() >= 32, "{id}");
    assert_eq!(body["request_id"], id);
}

#[tokio::test]
async fn errors_have_the_field_that_old_clients_read() {
    let server = Server::start(settings());
    let answer = server.get("/teapot").await;
    assert_error(&answer, 418, "error", "teapot");
    let body = answer.json();
    assert_eq!(
        (&body["error"], &body["pots"]),
        (&json!("No coffee here"), &json!(3))
    );
    assert_eq!(body.get("message"), None);
    server.end().await;

    let server = Server::start(ServerSettings {
        error_field: ErrorField::Message,
        ..settings()
    });
    let answer = server.get("/teapot").await;
    assert_error(&answer, 418, "message", "teapot");
    assert_eq!(answer.json().get("error"), None);
    server.end().await;
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own_which_the_handler_knows() {
    let server = Server::start(settings());
    let (one, other) = (server.get("/number/1").await, server.get("/number/2").await);
    assert_eq!(one.json()["request_id"], one.header("x-request-id").unwrap());
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    // A caller cannot choose it.
    let chosen = server.ask(&get("/number/3", "x-request-id: mine\r\n")).await;
    assert_ne!(chosen.header("x-request-id"), Some("mine"));
    server.end().await;
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_server_goes_on() {
    let server = Server::start(settings());
    for _ in 0..3 {
        let answer = server.get("/broken").await;
        assert_error(&answer, 500, "error", "internal_error");
        assert!(!answer.body.contains("secret"), "{answer:?}");
    }
    assert_eq!(server.get("/number/1").await.status, 200);
    server.end().await;
}

#[tokio::test]
async fn what_a_middleware_refuses_has_the_same_shape() {
    let server = Server::start(ServerSettings {
        error_field: ErrorField::Message,
        ..settings()
    });
    let answer = server.get("/kept/room").await;
    assert_error(&answer, 401, "message", "no_entry");
    server.end().await;
}

#[tokio::test]
async fn a_path_or_a_method_that_does_not_exist_is_no_route() {
    let server = Server::start(settings());
    for request in [
        get("/nowhere?token=x", "Connection: close\r\n"),
        "POST /teapot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "DELETE /health HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
    ] {
        let answer = server.ask(&request).await;
        assert_error(&answer, 404, "error", "route_not_found");
        let path = request.split([' ', '?']).nth(1).unwrap();
        assert_eq!(answer.json()["path"], path);
    }
    server.end().await;
}

#[tokio::test]
async fn an_unreadable_path_is_our_json_too() {
    let server = Server::start(settings());
    let answer = server.get("/number/many").await;
    assert_error(&answer, 400, "error", "bad_path");
    server.end().await;
}

#[tokio::test]
async fn whoever_comes_too_early_is_told_when_to_come_again() {
    let server = Server::start(settings());
    let answer = server.get("/away").await;
    assert_error(&answer, 503, "error", "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    server.end().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let server = Server::start(settings());
    let post = |headers: &str| format!("POST /body HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let announced = |length: usize| post(&format!("Content-Length: {length}\r\n"));

    let answer = server.ask(&(announced(LIMIT) + &"x".repeat(LIMIT))).await;
    assert_eq!(answer.json(), json!({"length": LIMIT}));
    // Refused before a single byte of it was sent.
    let answer = server.ask(&announced(LIMIT + 1)).await;
    assert_error(&answer, 413, "error", "payload_too_large");

    let chunk = format!("{:x}\r\n{}\r\n", LIMIT / 2, "x".repeat(LIMIT / 2));
    let chunked = post("Transfer-Encoding: chunked\r\n") + &chunk + &chunk;
    let answer = server.ask(&format!("{chunked}0\r\n\r\n")).await;
    assert_eq!(answer.json(), json!({"length": LIMIT}));
    let mut stream = server.open(&chunked).await;
    stream.write_all(b"1\r\nx\r\n").await.unwrap();
    assert_error(
        &Answer::read(&mut stream).await,
        413,
        "error",
        "payload_too_large",
    );
    server.end().await;
}
