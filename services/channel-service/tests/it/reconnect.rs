//! Sessions that drop are brought back, those that go deaf are attached anew, and a person's word is kept.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, FaultTarget, Inbound, TroubleKind, WaUser};
use test_support::{eventually, logs};

use crate::harness::{Maker, Tenant, TestApp, Wishes, refusal};

pub(crate) const RARA: &str = "6281290000011";
pub(crate) const CONNECT: &str = "/wa/session/connect";
pub(crate) const DISCONNECT: &str = "/wa/session/disconnect";

/// Looks every 300 ms; a session is deaf that is silent for a second.
const OFTEN: &[(&str, &str)] = &[
    ("SESSION_WATCH", "on"),
    ("SESSION_LOOK_MS", "300"),
    ("SESSION_DEAF_AFTER_MS", "1000"),
];

pub(crate) async fn spawn_with(maker: Maker, settings: &[(&'static str, &'static str)]) -> TestApp {
    TestApp::with(Wishes {
        maker,
        events_come_here: true,
        settings: Vec::leak(OFTEN.iter().chain(settings).copied().collect()),
        ..Wishes::default()
    })
    .await
}

/// A service with one tenant whose session is up, and is brought back a second after it dropped.
pub(crate) async fn spawn(settings: &[(&'static str, &'static str)]) -> TestApp {
    let app = spawn_with(Maker::Server, settings).await;
    begin(&app, true).await;
    app
}

pub(crate) async fn begin(app: &TestApp, auto_reconnect: bool) {
    app.bare_tenant("desa-satu").await;
    app.run_sql(&format!(
        "INSERT INTO tenant_whatsapp_config (tenant_id, id, endpoint_name, auto_reconnect, reconnect_interval) \
         VALUES ('desa-satu', gen_random_uuid(), 'Primary', {auto_reconnect}, 1)"
    ))
    .await;
    post(app, "session").await;
    until_up(app).await;
    // Its events are told before a test begins.
    eventually("the session was heard", || async {
        let watched = watched(app).await;
        (watched["heard"] == true && account(app).await == "connected").then_some(())
    })
    .await;
}

async fn post(app: &TestApp, route: &str) -> u16 {
    let path = format!("/whatsapp/{route}?village_id=desa-satu");
    app.internal(Method::POST, &path, None).await.status
}

pub(crate) fn user(app: &TestApp) -> WaUser {
    app.simulator.wa_users().remove(0)
}

pub(crate) async fn until_up(app: &TestApp) {
    eventually("the session is up", || async {
        user(app).logged_in.then_some(())
    })
    .await;
}

async fn account(app: &TestApp) -> Value {
    app.values("SELECT status AS value FROM accounts").await.remove(0)
}

pub(crate) async fn watched(app: &TestApp) -> Value {
    app.rows(
        "SELECT kept_off, attempts, gave_up, deaf_reason, reattachments, fence, down_since IS NOT NULL AS down, \
                heard_at IS NOT NULL AS heard, held_until IS NOT NULL AS held FROM session_watch",
    )
    .await
    .remove(0)
}

pub(crate) async fn until_watched(app: &TestApp, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || async {
        let row = watched(app).await;
        holds(&row).then_some(row)
    })
    .await
}

/// Waits until the session was looked at this many times more, whenever it was due.
async fn looks(app: &TestApp, times: i64) {
    let before = watched(app).await["fence"].as_i64().unwrap();
    eventually("it was looked at", || async {
        app.run_sql("UPDATE session_watch SET look_at = now() WHERE held_until IS NULL")
            .await;
        (watched(app).await["fence"].as_i64().unwrap() >= before + times).then_some(())
    })
    .await;
}

/// When calls of this path came, in milliseconds.
pub(crate) fn calls(app: &TestApp, path: &str) -> Vec<u64> {
    app.simulator
        .requests()
        .iter()
        .filter(|request| request.path == path)
        .map(|request| request.moment.at_ms)
        .collect()
}

fn writes(app: &TestApp, words: &str) {
    let inbound = json!({"session": user(app).id, "from": RARA, "text": words});
    let inbound: Inbound = serde_json::from_value(inbound).unwrap();
    app.simulator.inbound(&inbound).unwrap();
}

async fn until_received(app: &TestApp, words: &str) {
    eventually(&format!("{words} is here"), || async {
        (app.count(&format!("messages WHERE body = '{words}'")).await == 1).then_some(())
    })
    .await;
}

pub(crate) async fn sends(app: &TestApp, words: &str) {
    let body = json!({"village_id": "desa-satu", "wa_user_id": RARA, "message": words});
    let sent = app.internal(Method::POST, "/send", Some(&body)).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    eventually("it went out", || async {
        app.texts_on(RARA).iter().any(|text| text == words).then_some(())
    })
    .await;
}

async fn acts(app: &TestApp, action: &str) -> Vec<Value> {
    app.values(&format!(
        "SELECT detail AS value FROM audit_log WHERE action = '{action}'"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_session_comes_back_with_growing_waits_and_one_process_tries() {
    let app = spawn(&[]).await;
    let replica = app.replica().await;
    let before = calls(&app, CONNECT).len();
    let refused = refusal(500, "failed to connect", None);
    app.simulator
        .add_fault(FaultSpec::on_path(CONNECT, refused).times(2))
        .unwrap();
    app.simulator.trouble("desa-satu", TroubleKind::Dropped).unwrap();
    until_watched(&app, "it is known to be down", |row| row["down"] == true).await;
    until_up(&app).await;
    let row = until_watched(&app, "the outage is over", |row| row["down"] == false).await;
    assert_eq!((&row["attempts"], &row["gave_up"]), (&json!(0), &Value::Null));
    let tries = calls(&app, CONNECT).split_off(before);
    assert_eq!(tries.len(), 3, "{tries:?}");
    let waits: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] >= 1_900 && waits[1] >= 3_900, "{waits:?}");
    writes(&app, "kembali");
    until_received(&app, "kembali").await;
    assert_eq!(account(&app).await, "connected");
    replica.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_drops_without_a_word_is_noticed() {
    let app = spawn(&[]).await;
    app.simulator
        .trouble("desa-satu", TroubleKind::DroppedSilently)
        .unwrap();
    until_watched(&app, "it is known to be down", |row| row["down"] == true).await;
    assert_eq!(account(&app).await, "disconnected");
    until_up(&app).await;
    eventually("the account says so", || async {
        (account(&app).await == "connected").then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_phone_logged_out_is_given_up_loudly_until_a_person_helps() {
    let app = spawn(&[]).await;
    let before = calls(&app, CONNECT).len();
    app.simulator.trouble("desa-satu", TroubleKind::Unlinked).unwrap();
    // The server says that nobody is paired, or its event says why, whichever comes first.
    let reasons = ["logged_out", "not_paired"];
    let row = until_watched(&app, "it is given up", |row| {
        reasons.iter().any(|reason| row["gave_up"] == *reason)
    })
    .await;
    looks(&app, 4).await;
    eventually("its event is here, too", || async {
        (account(&app).await == "logged_out").then_some(())
    })
    .await;
    assert_eq!(calls(&app, CONNECT).len(), before, "nobody tried");
    assert_eq!(
        acts(&app, "session.give_up").await,
        [row["gave_up"].clone()],
        "said once"
    );
    assert!(logs::hold("a session is not brought back any more"));
    assert_eq!(post(&app, "connect").await, 200);
    until_up(&app).await;
    until_watched(&app, "it is taken up again", |row| row["gave_up"] == Value::Null).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tries_have_an_end_and_an_event_takes_it_up_again() {
    let app = spawn(&[
        ("SESSION_RECONNECT_ATTEMPTS", "2"),
        ("SESSION_RECONNECT_CAP_MS", "1000"),
    ])
    .await;
    let before = calls(&app, CONNECT).len();
    let refused = refusal(500, "failed to connect", None);
    let fault = app
        .simulator
        .add_fault(FaultSpec::on_path(CONNECT, refused))
        .unwrap();
    app.simulator.trouble("desa-satu", TroubleKind::Dropped).unwrap();
    until_watched(&app, "it is given up", |row| row["gave_up"] == "attempts_used_up").await;
    looks(&app, 4).await;
    assert_eq!(calls(&app, CONNECT).len(), before + 2);
    assert_eq!(acts(&app, "session.give_up").await, [json!("attempts_used_up")]);
    assert_eq!(account(&app).await, "disconnected");
    // Somebody brings it up at the server itself.
    app.simulator.remove_fault(fault);
    let connected = app
        .http()
        .post(format!("{}{CONNECT}", app.simulator.base_url()))
        .header("token", user(&app).token)
        .json(&json!({"Subscribe": ["All"]}))
        .send()
        .await
        .unwrap();
    assert_eq!(connected.status(), 200);
    let row = until_watched(&app, "it is taken up again", |row| row["gave_up"] == Value::Null).await;
    assert_eq!((&row["attempts"], &row["down"]), (&json!(0), &json!(false)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_took_off_stays_off_until_a_person_connects_it() {
    let app = spawn(&[]).await;
    let before = calls(&app, CONNECT).len();
    assert_eq!(post(&app, "disconnect").await, 200);
    assert_eq!(watched(&app).await["kept_off"], true);
    // A look that was begun before is over when the next one begins.
    looks(&app, 1).await;
    let asked = calls(&app, "/wa/session/status").len();
    looks(&app, 5).await;
    // That look may have found it down already, which starts nothing.
    assert_eq!(watched(&app).await["kept_off"], true);
    assert_eq!(calls(&app, CONNECT).len(), before);
    assert_eq!(
        calls(&app, "/wa/session/status").len(),
        asked,
        "it is not even asked about"
    );
    assert!(!user(&app).connected);
    assert_eq!(post(&app, "connect").await, 200);
    until_up(&app).await;
    assert_eq!(watched(&app).await["kept_off"], false);
    app.simulator.trouble("desa-satu", TroubleKind::Dropped).unwrap();
    until_watched(&app, "it is known to be down", |row| row["down"] == true).await;
    until_up(&app).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_word_in_the_middle_of_a_try_is_the_last() {
    let app = spawn(&[]).await;
    let slow = app
        .simulator
        .add_fault(FaultSpec::on_path(
            "/wa/session/hmac",
            FaultKind::Delay { ms: 1500 },
        ))
        .unwrap();
    app.simulator.trouble("desa-satu", TroubleKind::Dropped).unwrap();
    eventually("it is being tried", || async {
        (app.count("session_leases").await == 1).then_some(())
    })
    .await;
    // It is not connected yet, which the server says; the wish stands all the same.
    post(&app, "disconnect").await;
    eventually("the try is over", || async {
        (app.count("session_leases").await == 0).then_some(())
    })
    .await;
    app.simulator.remove_fault(slow);
    looks(&app, 3).await;
    assert_eq!(watched(&app).await["kept_off"], true);
    assert!(!user(&app).connected, "the try was taken back");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_does_not_wish_it_is_left_alone() {
    let app = spawn_with(Maker::Server, &[]).await;
    begin(&app, false).await;
    let before = calls(&app, CONNECT).len();
    app.simulator.trouble("desa-satu", TroubleKind::Dropped).unwrap();
    eventually("it is known to be down", || async {
        (account(&app).await == "disconnected").then_some(())
    })
    .await;
    looks(&app, 5).await;
    assert_eq!(calls(&app, CONNECT).len(), before);
    assert_eq!(watched(&app).await["down"], false);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_back_does_not_get_all_sessions_at_once() {
    let app = spawn_with(Maker::Server, &[("SESSION_RECONNECT_RATE", "2")]).await;
    let mut sessions = Vec::new();
    for number in 0..7 {
        let id = format!("desa-{number}");
        let tenant = app.live_tenant(&id).await;
        app.run_sql(&format!(
            "INSERT INTO tenant_whatsapp_config (tenant_id, id, endpoint_name, reconnect_interval) \
             VALUES ('{id}', gen_random_uuid(), 'Primary', 1)"
        ))
        .await;
        sessions.push(tenant.session.id);
    }
    eventually("their numbers are known", || async {
        (app.count("accounts WHERE phone IS NOT NULL").await == 7).then_some(())
    })
    .await;
    for session in &sessions {
        app.simulator
            .trouble(session, TroubleKind::DroppedSilently)
            .unwrap();
    }
    eventually("all of them are back", || async {
        app.simulator
            .wa_users()
            .iter()
            .all(|user| user.logged_in)
            .then_some(())
    })
    .await;
    let tries = calls(&app, CONNECT);
    assert_eq!(tries.len(), 7);
    // Two at once and two a second: the seventh has to wait for two seconds and a half.
    assert!(tries[6] - tries[0] >= 2_000, "{tries:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_settings_are_lost_is_told_them_again_without_a_pause() {
    let app = spawn(&[]).await;
    let offs = calls(&app, DISCONNECT).len();
    let ours = format!("{}/webhook", app.url);
    for lost in [
        // Without events the server's list is emptied.
        json!({"webhook": ours, "active": true}),
        json!({"webhook": "https://elsewhere.example/hook", "active": true, "events": ["All"]}),
        json!({"webhook": ours, "active": false, "events": ["All"]}),
    ] {
        let before = watched(&app).await["reattachments"].as_i64().unwrap();
        app.http()
            .put(format!("{}/wa/webhook", app.simulator.base_url()))
            .header("token", user(&app).token)
            .json(&lost)
            .send()
            .await
            .unwrap();
        until_watched(&app, "it is told again", |row| {
            row["reattachments"].as_i64().unwrap() > before && row["deaf_reason"] == Value::Null
        })
        .await;
        let user = user(&app);
        assert_eq!(
            (user.webhook.as_str(), user.events.as_str()),
            (ours.as_str(), "All"),
            "{lost}"
        );
        assert!(user.logged_in && user.signs_webhooks);
        // The next one is no repetition of this.
        app.run_sql("UPDATE session_watch SET reattached_at = NULL, reattachments = 0")
            .await;
    }
    assert_eq!(
        calls(&app, DISCONNECT).len(),
        offs,
        "it was never off the network"
    );
    writes(&app, "terdengar");
    until_received(&app, "terdengar").await;
    app.finish().await;
}

async fn hears_again(maker: Maker) {
    let app = spawn_with(maker, &[]).await;
    begin(&app, true).await;
    // Sends that are told of are no sign of deafness.
    sends(&app, "satu").await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    looks(&app, 4).await;
    assert_eq!(watched(&app).await["reattachments"], 0);
    app.simulator.trouble("desa-satu", TroubleKind::Deaf).unwrap();
    sends(&app, "dua").await;
    until_watched(&app, "it is attached anew", |row| row["reattachments"] == 1).await;
    until_watched(&app, "it hears", |row| row["deaf_reason"] == Value::Null).await;
    until_up(&app).await;
    writes(&app, "terdengar");
    until_received(&app, "terdengar").await;
    looks(&app, 4).await;
    let row = watched(&app).await;
    assert_eq!(
        (&row["reattachments"], &row["down"]),
        (&json!(1), &json!(false)),
        "once was enough"
    );
    assert!(logs::hold("a connected session is deaf"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_session_is_noticed_and_attached_anew() {
    hears_again(Maker::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_session_is_attached_anew_through_the_gateway() {
    hears_again(Maker::Gateway).await;
}

/// Six tenants with a session each.
async fn six_tenants(app: &TestApp) -> Vec<Tenant> {
    let mut tenants = Vec::new();
    for number in 0..6 {
        tenants.push(app.live_tenant(&format!("desa-{number}")).await);
    }
    tenants
}

async fn all_write(app: &TestApp, tenants: &[Tenant]) {
    for tenant in tenants {
        app.order(tenant, RARA, &format!("halo dari {}", tenant.id)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_is_broken_takes_no_more_than_one_session_off_at_a_time() {
    let app = spawn_with(Maker::Server, &[]).await;
    let replica = app.replica().await;
    let tenants = six_tenants(&app).await;
    let broken = FaultSpec::on_webhook(FaultTarget::WaWebhook, FaultKind::Cut);
    let broken = app.simulator.add_fault(broken).unwrap();
    let begun = std::time::Instant::now();
    all_write(&app, &tenants).await;
    eventually("all of them are known to be silent", || async {
        (app.count("session_watch WHERE deaf_reason = 'unheard'").await == 6).then_some(())
    })
    .await;
    eventually("one was attached anew", || async {
        (app.count("session_watch WHERE reattachments > 0").await >= 1).then_some(())
    })
    .await;
    let (attached, passed) = (
        app.count("session_watch WHERE reattachments > 0").await,
        begun.elapsed().as_secs(),
    );
    // One a second at most, by two processes together.
    assert!(attached <= passed + 1, "{attached} within {passed} s");
    assert!(logs::hold("no event comes from an endpoint"));
    // The next one is heard, and then it is the others' turn.
    app.simulator.remove_fault(broken);
    eventually("all of them hear", || async {
        (app.count("session_watch WHERE deaf_reason IS NULL AND reattachments > 0")
            .await
            == 6)
            .then_some(())
    })
    .await;
    replica.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_went_deaf_together_are_all_attached_anew() {
    let app = spawn_with(Maker::Server, &[]).await;
    let tenants = six_tenants(&app).await;
    for tenant in &tenants {
        app.simulator
            .trouble(&tenant.session.id, TroubleKind::Deaf)
            .unwrap();
    }
    all_write(&app, &tenants).await;
    eventually("all of them hear again", || async {
        (app.count("session_watch WHERE deaf_reason IS NULL AND reattachments > 0")
            .await
            == 6)
            .then_some(())
    })
    .await;
    app.finish().await;
}
