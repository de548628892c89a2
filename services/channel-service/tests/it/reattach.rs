//! What goes wrong while a session is attached anew or brought back, and how long its server may take for it.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, TroubleKind};
use test_support::{eventually, eventually_within};

use crate::harness::{Maker, TestApp, refusal};
use crate::reconnect::{
    CONNECT, DISCONNECT, begin, calls, sends, spawn_with, until_up, until_watched, user, watched,
};
use crate::tenant_config::{assign, root};

async fn deaf_without_auto_reconnect() -> TestApp {
    let app = spawn_with(Maker::Server, &[]).await;
    begin(&app, false).await;
    app.simulator.trouble("desa-satu", TroubleKind::Deaf).unwrap();
    app
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_off_because_it_was_deaf_comes_back_whatever_its_tenant_wishes() {
    let app = deaf_without_auto_reconnect().await;
    let (offs, ons) = (calls(&app, DISCONNECT).len(), calls(&app, CONNECT).len());
    let refused = refusal(500, "failed to connect", None);
    app.simulator
        .add_fault(FaultSpec::on_path(CONNECT, refused).times(2))
        .unwrap();
    sends(&app, "satu").await;
    until_watched(&app, "it is off, and known to be", |row| {
        row["down"] == true && row["reattachments"] == 1
    })
    .await;
    until_up(&app).await;
    let row = until_watched(&app, "the outage is over", |row| row["down"] == false).await;
    assert_eq!((&row["attempts"], &row["gave_up"]), (&json!(0), &Value::Null));
    assert_eq!(calls(&app, DISCONNECT).len(), offs + 1, "taken off once");
    assert_eq!(calls(&app, CONNECT).len(), ons + 3, "two were refused");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_off_by_a_process_that_died_is_brought_back_by_the_next() {
    let app = deaf_without_auto_reconnect().await;
    // As it is when the process dies between taking it off and connecting it.
    let slow = app
        .simulator
        .add_fault(FaultSpec::on_path(CONNECT, FaultKind::Delay { ms: 5_000 }))
        .unwrap();
    sends(&app, "satu").await;
    eventually("it is off", || async { (!user(&app).connected).then_some(()) }).await;
    app.simulator.remove_fault(slow);
    app.run_sql("UPDATE session_watch SET fence = fence + 1, held_until = NULL, look_at = now()")
        .await;
    let row = watched(&app).await;
    assert_eq!(
        (&row["down"], &row["deaf_reason"]),
        (&json!(true), &json!("unheard")),
        "it was written down before"
    );
    until_up(&app).await;
    until_watched(&app, "the outage is over", |row| row["down"] == false).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_no_longer_than_its_tenant_lets_it() {
    let app = spawn_with(Maker::Server, &[]).await;
    begin(&app, true).await;
    let root = root(&app).await;
    let wishes = json!({"endpoint_name": "Primary", "reconnect_interval": 1, "message_timeout": 1});
    assign(&app, &root, "desa-satu", wishes).await;
    let tries = calls(&app, CONNECT).len();
    let hangs = FaultKind::Delay { ms: 25_000 };
    let hangs = app
        .simulator
        .add_fault(FaultSpec::on_path(CONNECT, hangs))
        .unwrap();
    app.simulator.trouble("desa-satu", TroubleKind::Dropped).unwrap();
    // By itself the client waits for half a minute.
    eventually_within(Duration::from_secs(20), "two tries are over", || async {
        (watched(&app).await["attempts"].as_i64() >= Some(2)).then_some(())
    })
    .await;
    assert_eq!(calls(&app, CONNECT).len(), tries, "none of them was answered");
    app.simulator.remove_fault(hangs);
    // Asking where it stands is bounded as well.
    let hangs = FaultKind::Delay { ms: 9_000 };
    app.simulator
        .add_fault(FaultSpec::on_path("/wa/session/status", hangs))
        .unwrap();
    let fence = watched(&app).await["fence"].as_i64().unwrap();
    eventually_within(Duration::from_secs(20), "it was looked at often", || async {
        (watched(&app).await["fence"].as_i64().unwrap() >= fence + 5).then_some(())
    })
    .await;
    app.finish().await;
}
