//! What certainly did not go out is tried again, and never waits for a report.

use std::sync::Arc;

use bytes::Bytes;
use channel_service::flows::load_media::{LoadMedia, LoadedFile, MediaNotLoaded, Wanted};
use domain::message::Media;
use domain::user::Role;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{GraphCall, GraphTrouble, GraphTroubleKind};
use test_support::eventually;
use whatsapp::port::{FileBytes, OutboundFile};

use crate::cloud_sending::{open_window, say};
use crate::cloud_troubles::{put, quick, sent, standing, until, with_settings};
use crate::cloud_world::{ENDPOINTS, RARA, SATU, number};
use crate::harness::{TestApp, Wishes};
use crate::signing_in::{ask, bearer_of};

/// The same document under every address.
struct Document;

impl LoadMedia for Document {
    fn load<'a>(
        &'a self,
        _media: &'a Media,
        _wanted: Wanted,
    ) -> BoxFuture<'a, Result<LoadedFile, MediaNotLoaded>> {
        let bytes = FileBytes::new(Bytes::from_static(b"%PDF-1.7 isi berkas"));
        ready(
            bytes
                .map(|bytes| LoadedFile {
                    file: OutboundFile::Bytes(bytes),
                    mime_type: Some("application/pdf".into()),
                })
                .map_err(|_| MediaNotLoaded::Never),
        )
        .boxed()
    }
}

async fn attempts(app: &TestApp) -> Vec<Value> {
    app.rows("SELECT outcome, reason FROM send_attempts ORDER BY seq")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_does_not_get_up_in_time_is_put_up_again_and_nothing_is_unknown() {
    let app = TestApp::with(Wishes {
        settings: &[ENDPOINTS],
        files: Some(Arc::new(Document)),
        ..Wishes::default()
    })
    .await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    // The shortest time that a village can give a call.
    let root = bearer_of(&app, "root@kanal.id", Role::Superadmin, None).await;
    let body = json!({"endpoint_name": "Meta", "message_timeout": 1});
    let path = "/whatsapp/tenant-config/desa-satu";
    let changed = ask(&app, Method::POST, path, &[("authorization", &root)], Some(body)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let stalled = GraphTrouble {
        call: GraphCall::Upload,
        times: Some(1),
        kind: GraphTroubleKind::SlowAnswer { ms: 30_000 },
        ..GraphTrouble::default()
    };
    app.simulator.add_graph_trouble(stalled).unwrap();
    let order = json!({"to": RARA, "type": "document", "wait": false,
        "document": {"link": "https://berkas.example/KK.pdf", "filename": "KK.pdf"}});
    let answer = say(&app, &satu, order).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let status = "SELECT status AS value FROM messages WHERE direction = 'outbound'";
    eventually("it is sent", || async {
        (app.values(status).await == [json!("sent")]).then_some(())
    })
    .await;
    let attempts = attempts(&app).await;
    assert_eq!(
        attempts[0],
        json!({"outcome": "retry_later", "reason": "upload_unanswered"})
    );
    assert!(
        attempts.iter().all(|attempt| attempt["outcome"] != "unknown"),
        "{attempts:?}"
    );
    assert_eq!(app.simulator.graph_sends().len(), 1);
    app.finish().await;
}

/// Another worker takes it up after the lease, and Meta has not heard of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_breaks_before_the_call_leaves_nothing_unknown() {
    let app = with_settings(&[ENDPOINTS, ("LANE_LEASE_MS", "1500")]).await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    let schema = &app.database.names.schema;
    // Asked for just before a message goes out, and nowhere else here.
    app.run_sql(&format!(
        "ALTER TABLE {schema}.accounts RENAME COLUMN is_upgraded TO is_away"
    ))
    .await;
    put(&app, &satu, RARA, "terhenti").await;
    let taken_up = async || {
        app.values("SELECT fence AS value FROM lanes WHERE leased_until IS NOT NULL")
            .await
            .pop()
    };
    let first = eventually("it was taken up", taken_up).await;
    eventually("it was taken up once more", async || {
        taken_up().await.filter(|fence| *fence != first)
    })
    .await;
    app.run_sql(&format!(
        "ALTER TABLE {schema}.accounts RENAME COLUMN is_away TO is_upgraded"
    ))
    .await;
    until(&app, "terhenti", "sent").await;
    assert_eq!(
        attempts(&app).await,
        [json!({"outcome": "accepted", "reason": null})]
    );
    assert_eq!(sent(&app), ["terhenti"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_died_with_in_the_middle_of_the_call_stays_unknown() {
    let app = quick().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    app.run_sql("UPDATE accounts SET send_paused_until = now() + interval '1 hour'")
        .await;
    put(&app, &satu, RARA, "di tangan").await;
    eventually("it waits", || async {
        (standing(&app, "di tangan").await["last_error"] == "account_paused").then_some(())
    })
    .await;
    // What a process leaves that is killed with the call under way, long after the village came to this endpoint.
    app.run_sql(
        "UPDATE lane_tasks SET begun = 1; UPDATE accounts SET send_paused_until = NULL, moved_at = NULL; \
         UPDATE lanes SET ready_at = now()",
    )
    .await;
    until(&app, "di tangan", "unknown").await;
    eventually("it waits for a report", || async {
        (standing(&app, "di tangan").await["last_error"] == "awaiting_report").then_some(())
    })
    .await;
    assert_eq!(
        attempts(&app).await,
        [json!({"outcome": "unknown", "reason": "outcome_unknown"})]
    );
    assert_eq!(sent(&app), [""; 0]);
    app.finish().await;
}
