//! Endpoints are checked, once an interval whoever shares them, and people are told when one stays away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use channel_service::store::endpoint_health::{self, HealthStatus};
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, hmac_sha256_hex};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};
use test_support::{eventually, logs};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::harness::{Maker, TestApp, Wishes, refusal};

const HEALTH: &str = "/wa/health";
const INTERVAL: Duration = Duration::from_millis(400);

/// Checks every 400 ms, and anew after 100 ms.
const OFTEN: &[(&str, &str)] = &[
    ("ENDPOINT_CHECKS", "on"),
    ("ENDPOINT_CHECK_SHORTEST_MS", "100"),
    ("ENDPOINT_CHECK_MS", "400"),
    ("ENDPOINT_CHECK_AGAIN_MS", "100"),
    ("ENDPOINT_SLOW_MS", "20000"),
    ("ENDPOINT_CHECK_TIMEOUT_MS", "20000"),
];

async fn spawn(settings: Vec<(&'static str, &'static str)>) -> TestApp {
    TestApp::with(Wishes {
        maker: Maker::Server,
        settings: Vec::leak(OFTEN.iter().copied().chain(settings).collect()),
        ..Wishes::default()
    })
    .await
}

async fn health(app: &TestApp) -> Value {
    let rows = app
        .rows("SELECT status, reason, failures, latency_ms IS NOT NULL AS timed FROM endpoint_health")
        .await;
    rows.into_iter().next().unwrap_or(Value::Null)
}

async fn until(app: &TestApp, status: &str) -> Value {
    eventually(&format!("the endpoint is {status}"), || async {
        let row = health(app).await;
        (row["status"] == status).then_some(row)
    })
    .await
}

/// What checks found, without repetitions.
async fn course(app: &TestApp) -> Vec<String> {
    let found = app
        .values("SELECT status || coalesce(' ' || reason, '') AS value FROM endpoint_checks ORDER BY seq")
        .await;
    let mut course: Vec<String> = found
        .into_iter()
        .map(|value| value.as_str().unwrap().to_owned())
        .collect();
    course.dedup();
    course
}

fn asked(app: &TestApp) -> usize {
    let requests = app.simulator.requests();
    requests.iter().filter(|request| request.path == HEALTH).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_turns_when_an_endpoint_goes_and_when_it_is_back() {
    runtime::telemetry::start_metrics();
    let app = spawn(vec![]).await;
    let desa = app.tenant("desa-satu").await;
    assert_eq!(until(&app, "healthy").await["timed"], json!(true));
    let gone = app
        .simulator
        .add_fault(FaultSpec::on_path("/wa", FaultKind::Cut))
        .unwrap();
    let healthy = app.count("endpoint_checks WHERE status = 'healthy'").await;
    let row = until(&app, "unhealthy").await;
    assert_eq!(row["timed"], json!(false));
    assert!(row["failures"].as_i64().unwrap() >= 3, "{row}");
    // It turns with the first check that is begun after that: no more than the one under way found it as it was.
    let more = app.count("endpoint_checks WHERE status = 'healthy'").await - healthy;
    assert!(more <= 1, "{more} checks found it healthy all the same");
    app.simulator.remove_fault(gone);
    let unhealthy = app.count("endpoint_checks WHERE status = 'unhealthy'").await;
    until(&app, "healthy").await;
    let more = app.count("endpoint_checks WHERE status = 'unhealthy'").await - unhealthy;
    assert!(more <= 1, "{more} checks found it unhealthy all the same");
    // And the next check is never planned for later than an interval from now.
    for _ in 0..20 {
        let ahead = app
            .values("SELECT extract(epoch FROM check_at - clock_timestamp())::float8 AS value FROM endpoint_health")
            .await;
        let ahead = ahead[0].as_f64().unwrap();
        assert!(ahead <= INTERVAL.as_secs_f64(), "{ahead} s until the next check");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let row = until(&app, "healthy").await;
    assert_eq!((&row["failures"], &row["reason"]), (&json!(0), &Value::Null));
    assert_eq!(
        course(&app).await,
        ["healthy", "degraded no_answer", "unhealthy no_answer", "healthy"]
    );
    // From the first failure on it is looked at more often: three are there before an interval is over.
    let within = app
        .values(
            "SELECT extract(epoch FROM max(at) - min(at))::float8 AS value FROM \
             (SELECT at FROM endpoint_checks WHERE status <> 'healthy' ORDER BY seq LIMIT 3) first_three",
        )
        .await;
    assert!(within[0].as_f64().unwrap() >= 0.1, "{within:?}");

    // A tenant may read how its endpoint is, and change nothing about it.
    let mut tx = TenantTransaction::begin(&app.direct, &desa.scope(), "read health")
        .await
        .unwrap();
    let known = endpoint_health::of(&mut tx, "Primary").await.unwrap().unwrap();
    assert_eq!((known.status, known.reason), (HealthStatus::Healthy, None));
    assert!(known.checked_at.is_some() && known.latency.is_some());
    assert_eq!(endpoint_health::of(&mut tx, "primary").await.unwrap(), None);
    tx.commit().await.unwrap();
    let metrics = runtime::telemetry::render_metrics();
    for shown in [
        "kanal_endpoint_call_seconds_count{endpoint=\"Primary\",call=\"probe\",outcome=\"ok\"}",
        "kanal_endpoint_call_seconds_count{endpoint=\"Primary\",call=\"probe\",outcome=\"failed\"}",
        "kanal_endpoint_health{endpoint=\"Primary\",status=\"healthy\"}",
        "kanal_endpoints{status=\"unhealthy\"}",
        "kanal_endpoint_alerting{endpoint=\"Primary\"}",
    ] {
        assert!(metrics.contains(shown), "{shown}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_is_enough_and_a_slow_answer_is_only_slow() {
    let app = spawn(vec![("ENDPOINT_SLOW_MS", "1000")]).await;
    let slow = app
        .simulator
        .add_fault(FaultSpec::on_path(HEALTH, FaultKind::Delay { ms: 1500 }))
        .unwrap();
    eventually("it is slow", || async {
        let row = health(&app).await;
        (row["status"] == "degraded" && row["reason"] == "slow").then_some(())
    })
    .await;
    app.simulator.remove_fault(slow);
    app.run_sql("DELETE FROM endpoint_checks").await;
    let refused = refusal(401, "unauthorized", None);
    let locked = app
        .simulator
        .add_fault(FaultSpec::on_path("/wa/admin", refused))
        .unwrap();
    assert_eq!(until(&app, "unhealthy").await["reason"], "key_refused");
    app.simulator.remove_fault(locked);
    until(&app, "healthy").await;
    let course = course(&app).await;
    let refusals = course.iter().filter(|found| found.contains("key_refused"));
    assert_eq!(
        refusals.collect::<Vec<_>>(),
        ["unhealthy key_refused"],
        "{course:?}"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_make_one_check_an_interval() {
    let app = spawn(vec![]).await;
    let replica = app.replica().await;
    let before = asked(&app);
    let begun = std::time::Instant::now();
    eventually("ten checks", || async {
        (asked(&app) >= before + 10).then_some(())
    })
    .await;
    let (made, passed) = (asked(&app) - before, begun.elapsed());
    // An interval is shortened by a tenth at most.
    let most = passed.as_secs_f64() / (INTERVAL.as_secs_f64() * 0.9) + 2.0;
    assert!(made as f64 <= most, "{made} checks within {passed:?}");
    replica.finish().await;
    // Whoever is left goes on.
    let before = asked(&app);
    eventually("checks go on", || async {
        (asked(&app) >= before + 3).then_some(())
    })
    .await;
    assert_eq!(app.count("leases WHERE name = 'endpoint health'").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tenant_in_the_greatest_hurry_decides_for_all() {
    let app = spawn(vec![("ENDPOINT_CHECK_MS", "3600000")]).await;
    until(&app, "healthy").await;
    assert_eq!(asked(&app), 1);
    for (tenant, seconds) in [("desa-satu", 3600), ("desa-dua", 1), ("desa-tiga", 60)] {
        app.bare_tenant(tenant).await;
        app.run_sql(&format!(
            "INSERT INTO tenant_whatsapp_config (tenant_id, id, endpoint_name, health_check_interval) \
             VALUES ('{tenant}', gen_random_uuid(), 'Primary', {seconds})"
        ))
        .await;
    }
    eventually("checks come every second", || async {
        (asked(&app) >= 4).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_episode_is_told_once_and_so_is_its_end() {
    let operators = Operators::start().await;
    let app = spawn(vec![
        ("ENDPOINT_ALERT_AFTER_SECONDS", "1"),
        ("ALERT_WEBHOOK_URL", operators.url.clone().leak()),
        ("ALERT_WEBHOOK_SECRET", "the-operators-own-secret"),
    ])
    .await;
    app.never_log("the-operators-own-secret");
    app.never_log("T0SECRETPATH");
    let replica = app.replica().await;
    until(&app, "healthy").await;
    operators.answer(503);
    let gone = app
        .simulator
        .add_fault(FaultSpec::on_path("/wa", FaultKind::Cut))
        .unwrap();
    eventually("it was tried to tell them", || async {
        (operators.count() >= 1).then_some(())
    })
    .await;
    // Another process takes over, and the operators are there again.
    app.run_sql("UPDATE leases SET holder = gen_random_uuid(), until = now() + interval '1 second'")
        .await;
    operators.answer(204);
    app.run_sql("UPDATE endpoint_alerts SET try_at = now() WHERE try_at IS NOT NULL")
        .await;
    eventually("they know", || async {
        (operators.taken().len() == 1).then_some(())
    })
    .await;
    let before = app.count("endpoint_checks").await;
    eventually("it stays away for a while", || async {
        (app.count("endpoint_checks").await > before + 6).then_some(())
    })
    .await;
    app.simulator.remove_fault(gone);
    until(&app, "healthy").await;
    eventually("they know that it is back", || async {
        (operators.taken().len() == 2).then_some(())
    })
    .await;
    let told = operators.taken();
    let kinds: Vec<&Value> = told.iter().map(|alert| &alert["type"]).collect();
    assert_eq!(kinds, ["endpoint.unhealthy", "endpoint.recovered"]);
    assert_eq!(told[0]["endpoint"], "Primary");
    assert_eq!(told[0]["reason"], "no_answer");
    assert_eq!(told[0]["unhealthy_since"], told[1]["unhealthy_since"]);
    assert_ne!(told[0]["id"], told[1]["id"]);
    assert_eq!(
        app.count("endpoint_alerts WHERE told_at IS NOT NULL AND try_at IS NULL")
            .await,
        2
    );
    assert!(logs::hold("an endpoint stays unhealthy"));
    replica.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_bounded_in_age_and_number() {
    let app = TestApp::spawn().await;
    app.run_sql(
        "INSERT INTO endpoint_health (endpoint, checked_at) VALUES ('Primary', now()), ('Gone', now() - interval '9 days'); \
         INSERT INTO endpoint_checks (endpoint, status, at) \
             SELECT 'Primary', 'healthy', now() - n * interval '1 hour' FROM generate_series(240, 1, -1) n; \
         INSERT INTO endpoint_checks (endpoint, status, at) SELECT 'Gone', 'healthy', now() - interval '9 days'",
    )
    .await;
    let trim = |most: u32| {
        let db = app.direct.clone();
        async move {
            let platform = PlatformScope::for_purpose("test");
            let mut tx = PlatformTransaction::begin(&db, platform).await.unwrap();
            let age = Duration::from_secs(7 * 24 * 60 * 60);
            let deleted = endpoint_health::trim(&mut tx, age, most, 1_000).await.unwrap();
            tx.commit().await.unwrap();
            deleted
        }
    };
    // 240 hours are ten days; the last hour of the seventh may fall on either side.
    let old = trim(1_000).await;
    assert!((73..=75).contains(&old), "{old}");
    assert_eq!(
        app.values("SELECT endpoint AS value FROM endpoint_health").await,
        [json!("Primary")]
    );
    trim(50).await;
    let left = "SELECT count(*) AS n, extract(epoch FROM now() - min(at))::int / 3600 AS oldest FROM endpoint_checks";
    assert_eq!(app.rows(left).await, [json!({"n": 50, "oldest": 50})]);
    assert_eq!(trim(50).await, 0);
    app.finish().await;
}

/// Whoever is told of alerts.
struct Operators {
    url: String,
    status: Arc<Mutex<u16>>,
    seen: Arc<Mutex<Vec<(u16, Value)>>>,
}

impl Operators {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/T0SECRETPATH?v=1", listener.local_addr().unwrap());
        let (status, seen) = (Arc::new(Mutex::new(204)), Arc::<Mutex<Vec<_>>>::default());
        let (answering, keeping) = (Arc::clone(&status), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let (mut length, mut signature, mut line) = (0, String::new(), String::new());
                while stream.read_line(&mut line).await.unwrap() > 2 {
                    let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                    match name.to_ascii_lowercase().as_str() {
                        "content-length" => length = value.trim().parse().unwrap(),
                        "x-kanal-signature" => signature = value.trim().to_owned(),
                        _ => {}
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.unwrap();
                let signed = hmac_sha256_hex("the-operators-own-secret", &[&body]);
                assert_eq!(signature, format!("sha256={signed}"));
                let status = *answering.lock().unwrap_or_else(PoisonError::into_inner);
                let alert = (status, serde_json::from_slice(&body).unwrap());
                keeping.lock().unwrap_or_else(PoisonError::into_inner).push(alert);
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, status, seen }
    }

    fn answer(&self, status: u16) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What they took, in order.
    fn taken(&self) -> Vec<Value> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seen.iter().filter(|(status, _)| *status == 204);
        taken.map(|(_, alert)| alert.clone()).collect()
    }
}
