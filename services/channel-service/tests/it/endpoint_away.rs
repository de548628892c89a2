//! An endpoint that cannot be reached: its messages wait without using up anything, others do not notice, and it is tried
//! by one message at a time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, Simulator, SimulatorConfig};
use test_support::{eventually, logs};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::endpoints::tenant_at;
use crate::harness::{MediaWishes, SEND, TestApp, Wishes, refusal};
use crate::media::{jpeg, sends_file};
use crate::tenant_config::{assign, root};

const RARA: &str = "6281290000011";
const BIMA: &str = "6281290000022";
const WAITING: &str = "lane_tasks WHERE last_error = 'endpoint_unreachable' AND failures = 0";
const UNREACHABLE: &str = "send_attempts WHERE outcome = 'retry_later' AND reason = 'unreachable'";

/// A port behind which there is a server, or nothing at all: while it is shut, connections are refused.
struct Door {
    address: SocketAddr,
    passing: Option<JoinSet<()>>,
}

impl Door {
    /// A free port, shut.
    async fn shut() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            passing: None,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn open(&mut self, to: SocketAddr) {
        let address = self.address;
        let listener = eventually("the port is free", || async {
            TcpListener::bind(address).await.ok()
        })
        .await;
        let mut passing = JoinSet::new();
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut inside, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut outside) = TcpStream::connect(to).await {
                        let _ = copy_bidirectional(&mut inside, &mut outside).await;
                    }
                });
            }
        });
        self.passing = Some(passing);
    }

    async fn close(&mut self) {
        if let Some(mut passing) = self.passing.take() {
            passing.shutdown().await;
        }
    }
}

/// A WhatsApp server whose gateway says that it is not there.
fn upstream_unreachable() -> FaultKind {
    FaultKind::Status {
        status: 502,
        body: Some(json!({"code": "upstream_unreachable", "error": "no connection"})),
        retry_after: None,
    }
}

fn settings(given: Vec<(&'static str, String)>) -> &'static [(&'static str, &'static str)] {
    let leak = |value: String| -> &'static str { Box::leak(value.into_boxed_str()) };
    Vec::leak(
        given
            .into_iter()
            .map(|(name, value)| (name, leak(value)))
            .collect(),
    )
}

/// Where messages stand, by their references.
async fn standing(app: &TestApp, reference: &str) -> Value {
    let query = format!("SELECT status, reason FROM messages WHERE reference = '{reference}'");
    app.rows(&query).await.into_iter().next().unwrap_or(Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_outlast_a_long_absence_and_go_out_once_and_in_order() {
    runtime::telemetry::start_metrics();
    let mut door = Door::shut().await;
    let second = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
    let app = TestApp::with(Wishes {
        send_attempts: "2",
        settings: settings(vec![("WA_API_URL", format!("{}/wa", door.url()))]),
        endpoints: vec![("Second", second.base_url())],
        ..Wishes::default()
    })
    .await;
    door.open(app.simulator.addr()).await;
    let satu = app.tenant("desa-satu").await;
    let dua = tenant_at(&app, &second, "Second", "desa-dua").await;
    let root = root(&app).await;
    let once = json!({"endpoint_name": "Primary", "webhook_retries": 1});
    assign(&app, &root, "desa-satu", once).await;
    app.order(&satu, RARA, "sebelum").await;
    app.until_status("sebelum", "sent").await;

    door.close().await;
    for n in 0..3 {
        app.order(&satu, RARA, &format!("rara {n}")).await;
        app.order(&satu, BIMA, &format!("bima {n}")).await;
    }
    // Far more often than the tenant's tries or everybody's.
    eventually("it was tried for long", || async {
        (app.count(UNREACHABLE).await >= 8).then_some(())
    })
    .await;
    eventually("both chats wait", || async {
        (app.count(WAITING).await == 2).then_some(())
    })
    .await;
    assert_eq!(app.count("lane_tasks WHERE failures > 0 OR parked").await, 0);
    app.until_published().await;
    assert_eq!(app.statuses("rara 0"), ["queued"]);
    for n in 0..5 {
        app.order(&dua, RARA, &format!("dua {n}")).await;
        app.until_status(&format!("dua {n}"), "sent").await;
    }
    let metrics = runtime::telemetry::render_metrics();
    for shown in [
        "kanal_endpoint_breaker{endpoint=\"Primary\",state=\"open\"}",
        "kanal_endpoint_breaker_changes_total{endpoint=\"Primary\",state=\"half_open\"}",
        "kanal_sends_held_total{endpoint=\"Primary\",reason=\"endpoint_unreachable\"}",
    ] {
        assert!(metrics.contains(shown), "{shown}");
    }
    assert!(!logs::lines_with("an endpoint cannot be reached: its chats wait").is_empty());

    door.open(app.simulator.addr()).await;
    for n in 0..3 {
        app.until_status(&format!("rara {n}"), "sent").await;
        app.until_status(&format!("bima {n}"), "sent").await;
    }
    assert_eq!(app.texts_on(RARA), ["sebelum", "rara 0", "rara 1", "rara 2"]);
    assert_eq!(app.texts_on(BIMA), ["bima 0", "bima 1", "bima 2"]);
    app.until_published().await;
    assert_eq!(app.statuses("rara 2"), ["queued", "sent"]);
    assert_eq!(app.count("send_attempts WHERE outcome = 'accepted'").await, 7 + 5);
    assert!(!logs::lines_with("an endpoint is reached again: its chats go on").is_empty());
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_waiting_chats_do_not_each_dial_an_endpoint_that_is_away() {
    const REST: Duration = Duration::from_millis(300);
    const CHATS: usize = 50;
    /// Chats that may be on their way when the first failures come, and those failures.
    const AT_FIRST: u128 = 32 + 3;
    let app = TestApp::with(Wishes {
        settings: &[
            ("ENDPOINT_REST_FIRST_MS", "300"),
            ("ENDPOINT_REST_CAP_MS", "300"),
            ("ENDPOINT_RETURN_RATE", "100"),
            ("SEND_RATE_PER_ACCOUNT", "1000"),
            ("SEND_RATE_PER_TENANT", "1000"),
        ],
        ..Wishes::default()
    })
    .await;
    let satu = app.tenant("desa-satu").await;
    let away = app
        .simulator
        .add_fault(FaultSpec::on_path(SEND, upstream_unreachable()))
        .unwrap();
    let started = Instant::now();
    for n in 0..CHATS {
        app.order(&satu, &format!("628129000{n:04}"), &format!("tunggu {n}"))
            .await;
    }
    eventually("every chat waits", || async {
        (app.count(WAITING).await == CHATS as u64).then_some(())
    })
    .await;
    // Every chat comes back about twice a second, and there are probes every 300 ms.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let dialled = || {
        let requests = app.simulator.requests();
        requests.iter().filter(|request| request.path == SEND).count() as u128
    };
    let dials = dialled();
    let most = AT_FIRST + started.elapsed().as_millis() / REST.as_millis() + 1;
    assert!(dials <= most, "{dials} calls, at most {most}");
    eventually("it is tried on and on", || async {
        (dialled() > dials).then_some(())
    })
    .await;

    app.simulator.remove_fault(away);
    for n in 0..CHATS {
        app.until_status(&format!("tunggu {n}"), "sent").await;
        assert_eq!(app.texts_on(&format!("628129000{n:04}")), [format!("tunggu {n}")]);
    }
    assert_eq!(
        app.count("send_attempts WHERE outcome = 'accepted'").await,
        CHATS as u64
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_waits_no_longer_than_its_time_and_may_be_replayed() {
    let app = TestApp::with(Wishes {
        settings: &[("ENDPOINT_WAIT_SECONDS", "2")],
        ..Wishes::default()
    })
    .await;
    let satu = app.tenant("desa-satu").await;
    let root = root(&app).await;
    let often = json!({"endpoint_name": "Primary", "webhook_retries": 20});
    assign(&app, &root, "desa-satu", often).await;
    let away = app
        .simulator
        .add_fault(FaultSpec::on_path(SEND, upstream_unreachable()))
        .unwrap();
    for reference in ["satu", "dua"] {
        app.order(&satu, RARA, reference).await;
    }
    for reference in ["satu", "dua"] {
        app.until_status(reference, "parked").await;
        assert_eq!(app.statuses(reference), ["queued", "parked"]);
        let expected = json!({"status": "parked", "reason": "endpoint_unreachable"});
        assert_eq!(standing(&app, reference).await, expected);
    }
    assert!(
        app.count("send_attempts WHERE reason = 'upstream_unreachable'")
            .await
            >= 3
    );
    let replay = async || {
        let body = json!({"village_id": "desa-satu", "reason": "endpoint_unreachable"});
        let answer = app
            .internal(Method::POST, "/dead-letters/replay", Some(&body))
            .await;
        assert_eq!(answer.json()["replayed"], 2, "{}", answer.text);
    };

    // Replayed while the endpoint is away: they wait once more, for a time of their own.
    replay().await;
    eventually("they wait again", || async {
        (app.count(WAITING).await == 1).then_some(())
    })
    .await;
    app.until_published().await;
    assert_eq!(app.statuses("satu"), ["queued", "parked", "queued"]);
    eventually("and are parked again", || async {
        (app.count("lane_tasks WHERE parked").await == 2).then_some(())
    })
    .await;
    app.simulator.remove_fault(away);
    replay().await;
    for reference in ["satu", "dua"] {
        app.until_status(reference, "sent").await;
    }
    assert_eq!(app.texts_on(RARA), ["satu", "dua"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_answers_use_up_a_tenants_retries() {
    let app = TestApp::with(Wishes {
        send_attempts: "6",
        ..Wishes::default()
    })
    .await;
    let satu = app.tenant("desa-satu").await;
    let root = root(&app).await;
    let once = json!({"endpoint_name": "Primary", "webhook_retries": 1});
    assign(&app, &root, "desa-satu", once).await;
    let no_session = || refusal(500, "no session", None);
    // Cut calls may have gone out, and are repeated with the same id; those count for the limit of everybody.
    app.sends_fail(FaultKind::Cut, 2);
    app.sends_fail(upstream_unreachable(), 2);
    app.sends_fail(refusal(503, "restarting", Some("1")), 1);
    app.sends_fail(no_session(), 1);
    app.order(&satu, RARA, "sabar").await;
    app.until_status("sabar", "sent").await;
    assert_eq!(app.texts_on(RARA), ["sabar"]);
    let tries = "SELECT coalesce(reason, outcome) AS value FROM send_attempts ORDER BY seq";
    assert_eq!(
        app.values(tries).await,
        [
            "connection_cut",
            "connection_cut",
            "upstream_unreachable",
            "upstream_unreachable",
            "unavailable",
            "no_session",
            "accepted"
        ]
    );

    app.run_sql("DELETE FROM send_attempts").await;
    app.sends_fail(no_session(), 1);
    app.sends_fail(upstream_unreachable(), 2);
    app.sends_fail(FaultKind::Cut, 1);
    app.sends_fail(no_session(), 1);
    app.order(&satu, RARA, "habis").await;
    eventually("it is put aside", || async {
        (app.count("lane_tasks WHERE parked").await == 1).then_some(())
    })
    .await;
    let tried = app.values(tries).await;
    assert_eq!(tried.last().unwrap(), "no_session", "{tried:?}");
    assert_eq!(tried.len(), 5, "{tried:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_out_stays_unknown_when_its_endpoint_stays_away() {
    let app = TestApp::with(Wishes {
        settings: &[("ENDPOINT_WAIT_SECONDS", "2")],
        ..Wishes::default()
    })
    .await;
    let satu = app.tenant("desa-satu").await;
    app.sends_fail(FaultKind::LostAnswer, 1);
    app.sends_fail(upstream_unreachable(), 1_000);
    app.order(&satu, RARA, "entah").await;
    eventually("it is put aside", || async {
        (app.count("lane_tasks WHERE parked AND last_error = 'endpoint_unreachable'")
            .await
            == 1)
            .then_some(())
    })
    .await;
    let expected = json!({"status": "unknown", "reason": "endpoint_unreachable"});
    assert_eq!(standing(&app, "entah").await, expected);
    app.until_published().await;
    // Told twice: that nobody knows, and that nobody will try again.
    assert_eq!(app.statuses("entah"), ["queued", "unknown", "unknown"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_waits_for_its_endpoint_too() {
    let mut door = Door::shut().await;
    let app = TestApp::with(Wishes {
        media: MediaWishes {
            attempts: "2",
            ..MediaWishes::default()
        },
        endpoints: vec![("Berkas", door.url())],
        ..Wishes::default()
    })
    .await;
    let satu = tenant_at(&app, &app.simulator, "Berkas", "desa-satu").await;
    let root = root(&app).await;
    let never = json!({"endpoint_name": "Berkas", "webhook_retries": 0});
    assign(&app, &root, "desa-satu", never).await;
    sends_file(&app, &satu, "image", "image/jpeg", &jpeg(5_000));
    eventually("the file waits", || async {
        let waiting =
            "lane_tasks WHERE lane LIKE 'media:%' AND last_error = 'endpoint_unreachable' AND failures = 0";
        (app.count(waiting).await == 1).then_some(())
    })
    .await;
    eventually("it was asked for often", || async {
        let lines = logs::lines_with("an endpoint still cannot be reached");
        let here = lines.iter().filter(|line| line.contains("Berkas"));
        (here.count() >= 3).then_some(())
    })
    .await;
    assert_eq!(app.count("media WHERE state = 'pending'").await, 1);
    door.open(app.simulator.addr()).await;
    eventually("the file is stored", || async {
        (app.count("media WHERE state = 'stored'").await == 1).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_a_session_off_that_reached_nobody_changes_no_wish() {
    let mut door = Door::shut().await;
    let app = TestApp::with(Wishes {
        settings: settings(vec![("WA_API_URL", format!("{}/wa", door.url()))]),
        ..Wishes::default()
    })
    .await;
    door.open(app.simulator.addr()).await;
    app.tenant("desa-satu").await;
    let kept_off = async || {
        app.values("SELECT kept_off AS value FROM session_watch")
            .await
            .remove(0)
    };
    let take_off = async |route: &str| {
        let path = format!("/whatsapp/{route}?village_id=desa-satu");
        app.internal(Method::POST, &path, None).await
    };
    door.close().await;
    for route in ["disconnect", "logout"] {
        let answer = take_off(route).await;
        assert!(answer.status >= 500, "{}", answer.text);
        assert_eq!(answer.json()["code"], "provider_unreachable", "{}", answer.text);
        assert_eq!(kept_off().await, false, "{route}");
    }
    // One that was wanted off stays so.
    app.run_sql("UPDATE session_watch SET kept_off = true").await;
    take_off("disconnect").await;
    assert_eq!(kept_off().await, true);
    app.run_sql("UPDATE session_watch SET kept_off = false").await;
    door.open(app.simulator.addr()).await;
    eventually("it is taken off", || async {
        (take_off("disconnect").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(kept_off().await, true);
    app.finish().await;
}
