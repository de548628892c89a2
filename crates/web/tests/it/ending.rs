//! Callers that leave, and a server that ends.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use web::ServerSettings;

use super::world::{Answer, Server, get, settings};

#[tokio::test]
async fn the_end_waits_for_open_requests_and_takes_no_new_ones() {
    let server = Server::start(settings());
    let mut open = server.open(&get("/slow", "")).await;
    server.calls.until(&server.calls.begun, 1).await;
    server.shutdown.begin();
    let answer = Answer::read(&mut open).await;
    assert_eq!(answer.status, 200);
    drop(open);
    let address = server.address;
    server.end().await;
    assert!(TcpStream::connect(address).await.is_err(), "it still listens");
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let server = Server::start(settings());
    let mut idle = server.open(&get("/number/1", "")).await;
    assert_eq!(Answer::read(&mut idle).await.status, 200);
    let started = Instant::now();
    server.end().await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn accepted_work_is_finished_although_the_caller_left() {
    let server = Server::start(settings());
    let open = server.open(&get("/slow", "")).await;
    server.calls.until(&server.calls.begun, 1).await;
    drop(open);
    server.calls.until(&server.calls.finished, 1).await;
    assert_eq!(server.calls.dropped.load(Ordering::SeqCst), 0);
    server.end().await;
}

#[tokio::test]
async fn work_for_a_caller_that_left_can_be_given_up() {
    let server = Server::start(ServerSettings {
        cancel_when_caller_leaves: true,
        ..settings()
    });
    let open = server.open(&get("/slow", "")).await;
    server.calls.until(&server.calls.begun, 1).await;
    drop(open);
    server.calls.until(&server.calls.dropped, 1).await;
    assert_eq!(server.calls.finished.load(Ordering::SeqCst), 0);
    // Whoever stays is answered.
    assert_eq!(server.get("/slow").await.status, 200);
    server.end().await;
}

#[tokio::test]
async fn a_taken_port_is_noticed_before_anything_runs() {
    let listener = web::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert!(web::bind(listener.local_addr().unwrap()).is_err());
}
