//! What a load balancer and an operator see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use serde_json::json;
use web::ServerSettings;
use web::health::{Health, Need};
use web::healthcheck::{self, NotReady};

use super::world::{Server, settings};

fn probed(
    up: &Arc<AtomicBool>,
) -> impl Fn() -> futures_util::future::BoxFuture<'static, bool> + Send + Sync + 'static {
    let up = Arc::clone(up);
    move || {
        let up = Arc::clone(&up);
        async move { up.load(Ordering::SeqCst) }.boxed()
    }
}

#[tokio::test]
async fn readiness_follows_the_dependencies() {
    let (vital, helpful) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let health = Health::new(json!({"status": "ok", "timestamp": ""}))
        .check("postgres", Need::Vital, probed(&vital))
        .check("redis", Need::Helpful, probed(&helpful));
    let server = Server::start(ServerSettings { health, ..settings() });

    let ready = server.get("/health/ready").await;
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.json(),
        json!({"status": "ready", "checks": {"postgres": "up", "redis": "up"}})
    );
    healthcheck::run(server.address).await.unwrap();

    helpful.store(false, Ordering::SeqCst);
    let degraded = server.get("/health/ready").await;
    assert_eq!(degraded.status, 200);
    assert_eq!(
        degraded.json(),
        json!({"status": "degraded", "checks": {"postgres": "up", "redis": "down"}})
    );
    healthcheck::run(server.address).await.unwrap();

    vital.store(false, Ordering::SeqCst);
    let unavailable = server.get("/health/ready").await;
    assert_eq!(unavailable.status, 503);
    assert_eq!(
        unavailable.json(),
        json!({"status": "unavailable", "checks": {"postgres": "down", "redis": "down"}})
    );
    let not_ready = healthcheck::run(server.address).await.unwrap_err();
    assert!(
        matches!(&not_ready, NotReady::Says(answer) if answer.contains("unavailable")),
        "{not_ready:?}"
    );

    // Alive is alive, whatever is away; the cheap page asks nobody and keeps its predecessor's body.
    assert_eq!(
        server.get("/health/live").await.json(),
        json!({"status": "alive"})
    );
    let cheap = server.get("/health").await;
    assert_eq!((cheap.status, &cheap.json()["status"]), (200, &json!("ok")));
    let timestamp = cheap.json()["timestamp"].as_str().unwrap().to_owned();
    assert!(
        timestamp.starts_with("20") && timestamp.ends_with('Z'),
        "{timestamp}"
    );

    let address = server.address;
    server.end().await;
    let gone = healthcheck::run(address).await.unwrap_err();
    assert!(matches!(gone, NotReady::NoAnswer(_)), "{gone:?}");
}

#[tokio::test]
async fn a_dependency_that_does_not_answer_is_down() {
    let health = Health::new(json!({}))
        .check("stuck", Need::Vital, || std::future::pending().boxed())
        .check("other", Need::Helpful, || async { true }.boxed());
    let server = Server::start(ServerSettings { health, ..settings() });
    let started = Instant::now();
    let answer = server.get("/health/ready").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["checks"], json!({"stuck": "down", "other": "up"}));
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    server.end().await;
}
