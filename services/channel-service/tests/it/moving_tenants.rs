//! A tenant moves to another endpoint: nothing goes out twice, nothing is lost, and what was there is left behind cleanly.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, Simulator};
use test_support::eventually;

use crate::gowa_world;
use crate::harness::{Answer, Tenant, TestApp, Wishes, refusal, text};
use crate::tenant_config::{assign, call, root, two_endpoints};

const RARA: &str = "6281290000011";
const BIMA: &str = "6281290000022";
const CITRA: &str = "6281290000033";
const PATH: &str = "/whatsapp/tenant-config/desa-satu";

/// Failures wait so long that no second attempt is made while a test looks.
async fn spawn() -> (TestApp, Simulator, Tenant, String) {
    let (app, second) = two_endpoints(Wishes {
        retry_first_ms: "60000",
        retry_cap_ms: "60000",
        ..Wishes::default()
    })
    .await;
    let satu = app.tenant("desa-satu").await;
    let root = root(&app).await;
    (app, second, satu, root)
}

async fn move_to(app: &TestApp, root: &str, endpoint: &str, force: bool) -> Answer {
    let body = json!({"endpoint_name": endpoint, "force": force});
    call(app, root, Method::POST, PATH, Some(body)).await
}

/// The tenant scans its QR code at the endpoint where it is now.
async fn pair(app: &TestApp, at: &Simulator) {
    let body = json!({"village_id": "desa-satu"});
    let made = app.internal(Method::POST, "/whatsapp/session", Some(&body)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    for user in at.wa_users() {
        app.never_log(&user.token);
    }
    eventually("the session is logged in", || async {
        let status = app
            .internal(Method::GET, "/whatsapp/status?village_id=desa-satu", None)
            .await;
        (status.json()["data"]["loggedIn"] == true).then_some(())
    })
    .await;
}

async fn standing(app: &TestApp, reference: &str) -> Value {
    app.rows(&format!(
        "SELECT m.status, m.reason, t.parked FROM messages m LEFT JOIN lane_tasks t ON t.id = m.id \
         WHERE m.reference = '{reference}'"
    ))
    .await
    .remove(0)
}

async fn replay(app: &TestApp, reference: &str) -> Answer {
    let id = app
        .values(&format!(
            "SELECT id AS value FROM messages WHERE reference = '{reference}'"
        ))
        .await
        .remove(0);
    let path = format!(
        "/dead-letters/{}/replay?village_id=desa-satu",
        id.as_str().unwrap()
    );
    app.internal(Method::POST, &path, None).await
}

async fn attempts(app: &TestApp, count: u64) {
    eventually(&format!("{count} attempts"), || async {
        (app.count("send_attempts").await == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_tenant_moves_and_keeps_its_chats() {
    let (app, second, satu, root) = spawn().await;
    app.post(&satu.json(&text(RARA, "3EB0A", "halo dari awal")))
        .await
        .assert_kept();
    app.order(&satu, RARA, "jawaban").await;
    app.until_status("jawaban", "sent").await;
    let moved = assign(&app, &root, "desa-satu", json!({"endpoint_name": "Secondary"})).await;
    assert_eq!(
        moved,
        json!({"success": true, "moved": {"devices": 1, "parked": 0, "unknown": 0, "left_behind": 0}})
    );
    assert!(
        app.simulator.wa_users().is_empty(),
        "the session is gone where it was"
    );
    assert_eq!(
        app.rows(
            "SELECT endpoint, token_sealed, session_id, webhook_keys_sealed, status, moved_at IS NOT NULL AS moved \
             FROM accounts"
        )
        .await,
        [json!({"endpoint": "Secondary", "token_sealed": null, "session_id": null, "webhook_keys_sealed": [],
                "status": "unknown", "moved": true})]
    );
    assert_eq!(app.count("tenant_directory").await, 0);
    app.post(&satu.json(&text(RARA, "3EB0B", "masih ke alamat lama")))
        .await
        .assert_done("Unknown instance");
    assert_eq!((app.count("messages").await, app.count("chats").await), (2, 1));

    pair(&app, &second).await;
    app.order(&satu, RARA, "dari tempat baru").await;
    app.until_status("dari tempat baru", "sent").await;
    assert_eq!(app.count("chats").await, 1);
    assert_eq!(app.texts_on(RARA), ["jawaban"]);
    assert_eq!(second.phone(RARA).len(), 1);
    let acts = app
        .rows("SELECT action, detail FROM audit_log WHERE action LIKE 'endpoint.%' ORDER BY id")
        .await;
    assert_eq!(
        acts,
        [
            json!({"action": "endpoint.assign", "detail": "before: none; devices 1, parked 0, unknown 0"}),
            json!({"action": "endpoint.unlink", "detail": "unlinked"}),
        ]
    );
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_refused_while_messages_are_in_flight() {
    let (app, second, satu, root) = spawn().await;
    app.sends_fail(refusal(500, "no session", None), 1);
    app.order(&satu, RARA, "menunggu").await;
    attempts(&app, 1).await;
    app.order(&satu, RARA, "di belakangnya").await;
    app.sends_fail(FaultKind::LostAnswer, 1);
    app.order(&satu, BIMA, "tak tentu").await;
    attempts(&app, 2).await;
    eventually("the third is queued", || async {
        (app.count("lane_tasks").await == 3).then_some(())
    })
    .await;
    let refused = move_to(&app, &root, "Secondary", false).await;
    refused.assert_error(409, "messages_in_flight");
    assert_eq!(
        (&refused.json()["queued"], &refused.json()["unknown"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(app.count("tenant_whatsapp_config").await, 0);
    assert_eq!(
        app.values("SELECT endpoint AS value FROM accounts").await,
        [json!("Primary")]
    );
    assert_eq!(app.simulator.wa_users().len(), 1);
    // Settings alone move nobody.
    assign(
        &app,
        &root,
        "desa-satu",
        json!({"endpoint_name": "Primary", "webhook_retries": 5}),
    )
    .await;
    assert_eq!(standing(&app, "menunggu").await["parked"], json!(false));
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_move_puts_messages_aside_and_only_what_is_not_out_may_follow() {
    let (app, second, satu, root) = spawn().await;
    app.sends_fail(refusal(500, "no session", None), 1);
    app.order(&satu, RARA, "menunggu").await;
    attempts(&app, 1).await;
    app.order(&satu, RARA, "di belakangnya").await;
    app.sends_fail(FaultKind::LostAnswer, 1);
    app.order(&satu, BIMA, "tak tentu").await;
    attempts(&app, 2).await;
    eventually("the third is queued", || async {
        (app.count("lane_tasks").await == 3).then_some(())
    })
    .await;
    let moved = move_to(&app, &root, "Secondary", true).await;
    assert_eq!(
        moved.json()["moved"],
        json!({"devices": 1, "parked": 2, "unknown": 1, "left_behind": 0}),
        "{}",
        moved.text
    );
    for (reference, status) in [
        ("menunggu", "parked"),
        ("di belakangnya", "parked"),
        ("tak tentu", "unknown"),
    ] {
        assert_eq!(
            standing(&app, reference).await,
            json!({"status": status, "reason": "endpoint_changed", "parked": true})
        );
        app.until_status(reference, status).await;
    }
    pair(&app, &second).await;
    app.run_sql("UPDATE lanes SET ready_at = now()").await;
    app.order(&satu, RARA, "pesan baru").await;
    app.until_status("pesan baru", "sent").await;
    assert_eq!(second.phone(RARA).len(), 1, "nothing old follows by itself");

    assert_eq!(replay(&app, "di belakangnya").await.status, 200);
    assert_eq!(replay(&app, "menunggu").await.status, 200);
    app.until_status("di belakangnya", "sent").await;
    app.until_status("menunggu", "sent").await;
    replay(&app, "tak tentu")
        .await
        .assert_error(409, "endpoint_changed");
    assert_eq!(
        standing(&app, "tak tentu").await,
        json!({"status": "unknown", "reason": "endpoint_changed", "parked": true})
    );
    let all = json!({"village_id": "desa-satu"});
    let answer = app
        .internal(Method::POST, "/dead-letters/replay", Some(&all))
        .await;
    assert_eq!(answer.json()["replayed"], 0, "{}", answer.text);
    assert_eq!(second.phone(RARA).len(), 3);
    assert_eq!(
        (app.simulator.phone(BIMA).len(), second.phone(BIMA).len()),
        (1, 0)
    );
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_hangs_during_the_move_goes_out_once_at_most() {
    let (app, second, satu, root) = spawn().await;
    // The first is on the phone already while the call hangs; the second one's call has not been worked on.
    app.sends_fail(FaultKind::LostAnswerDelay { ms: 4_000 }, 1);
    app.order(&satu, RARA, "menggantung").await;
    eventually("it is on the phone", || async {
        (app.simulator.phone(RARA).len() == 1).then_some(())
    })
    .await;
    app.sends_fail(FaultKind::Delay { ms: 4_000 }, 1);
    app.order(&satu, BIMA, "tertahan").await;
    eventually("both are in hand", || async {
        let faults = app.simulator.faults();
        (faults.len() == 2 && faults.iter().all(|fault| fault.hits == 1)).then_some(())
    })
    .await;
    app.order(&satu, RARA, "di belakangnya").await;
    app.order(&satu, CITRA, "di samping").await;
    app.until_status("di samping", "sent").await;
    eventually("the one behind is queued", || async {
        (app.count("lane_tasks").await == 3).then_some(())
    })
    .await;
    move_to(&app, &root, "Secondary", false)
        .await
        .assert_error(409, "messages_in_flight");
    let moved = move_to(&app, &root, "Secondary", true).await;
    assert_eq!(
        (
            &moved.json()["moved"]["parked"],
            &moved.json()["moved"]["unknown"]
        ),
        (&json!(1), &json!(2)),
        "{}",
        moved.text
    );
    pair(&app, &second).await;
    // Whoever had them in hand is done with them by now.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    for reference in ["menggantung", "tertahan"] {
        assert_eq!(
            standing(&app, reference).await,
            json!({"status": "unknown", "reason": "endpoint_changed", "parked": true})
        );
        replay(&app, reference)
            .await
            .assert_error(409, "endpoint_changed");
    }
    assert_eq!(replay(&app, "di belakangnya").await.status, 200);
    app.until_status("di belakangnya", "sent").await;
    let arrivals = |at: &Simulator, phone: &str| -> Vec<u64> {
        at.phone(phone)
            .iter()
            .map(|message| u64::from(message.arrivals))
            .collect()
    };
    assert_eq!(arrivals(&app.simulator, RARA), [1]);
    assert_eq!(arrivals(&second, RARA), [1], "only what was behind it");
    assert!(arrivals(&second, BIMA).is_empty());
    assert!(arrivals(&app.simulator, BIMA).len() <= 1);
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_slipped_past_the_move_is_not_repeated_elsewhere() {
    let (app, second, satu, root) = spawn().await;
    app.sends_fail(FaultKind::LostAnswer, 1);
    app.order(&satu, RARA, "terlewat").await;
    attempts(&app, 1).await;
    // As if it had been enqueued while the move was being committed.
    app.run_sql("UPDATE lane_tasks SET parked = true").await;
    assert_eq!(move_to(&app, &root, "Secondary", false).await.status, 200);
    pair(&app, &second).await;
    app.run_sql("UPDATE lane_tasks SET parked = false; UPDATE lanes SET ready_at = now()")
        .await;
    eventually("it is put aside", || async {
        let found = standing(&app, "terlewat").await;
        (found == json!({"status": "unknown", "reason": "endpoint_changed", "parked": true})).then_some(())
    })
    .await;
    assert_eq!(
        (app.simulator.phone(RARA).len(), second.phone(RARA).len()),
        (1, 0)
    );
    app.finish().await;
    second.stop().await;
}

/// A worker that dies writes nothing down; whoever finds its message does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_died_with_does_not_follow_to_another_endpoint() {
    let app = gowa_world::with(Wishes {
        retry_first_ms: "60000",
        retry_cap_ms: "60000",
        ..Wishes::default()
    })
    .await;
    let device = gowa_world::device(&app, "desa-satu", "toko-1", "628111000001").await;
    let root = root(&app).await;
    let no_session = refusal(401, "not logged in", None);
    let fault = app
        .simulator
        .add_fault(FaultSpec::on_path("/gowa/send/message", no_session).times(1))
        .unwrap();
    device.order(&app, RARA, "di-tangan").await;
    attempts(&app, 1).await;
    app.simulator.remove_fault(fault);
    // As if another worker had begun it and died.
    app.run_sql("UPDATE lane_tasks SET begun = begun + 1; UPDATE lanes SET ready_at = now()")
        .await;
    eventually("it is put aside", || async {
        let found = standing(&app, "di-tangan").await;
        (found == json!({"status": "unknown", "reason": "outcome_unknown", "parked": true})).then_some(())
    })
    .await;
    assert_eq!(move_to(&app, &root, "Lain", false).await.status, 200);
    replay(&app, "di-tangan")
        .await
        .assert_error(409, "endpoint_changed");
    assert!(app.simulator.gowa_sends().is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_gone_is_left_all_the_same() {
    let (app, second, satu, root) = spawn().await;
    app.run_sql("UPDATE accounts SET endpoint = 'Gone'").await;
    app.order(&satu, RARA, "menunggu").await;
    eventually("it waits for its endpoint", || async {
        let why = app.values("SELECT last_error AS value FROM lane_tasks").await;
        (why == [json!("endpoint_missing")]).then_some(())
    })
    .await;
    move_to(&app, &root, "Secondary", false)
        .await
        .assert_error(409, "messages_in_flight");
    let moved = move_to(&app, &root, "Secondary", true).await;
    assert_eq!(
        moved.json()["moved"],
        json!({"devices": 1, "parked": 1, "unknown": 0, "left_behind": 1}),
        "{}",
        moved.text
    );
    pair(&app, &second).await;
    assert_eq!(replay(&app, "menunggu").await.status, 200);
    app.until_status("menunggu", "sent").await;
    assert_eq!(second.phone(RARA).len(), 1);
    app.finish().await;
    second.stop().await;
}
