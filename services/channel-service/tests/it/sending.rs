//! Orders to send: out exactly once, in order, and what happens when the provider does not play along.

use std::time::{Duration, Instant};

use domain::ids::EventId;
use messaging::Envelope;
use messaging::topology::Queue;
use serde_json::{Value, json};
use simulator::FaultKind;
use test_support::eventually;

use crate::harness::{TestApp, Wishes, order, refusal};

const RARA: &str = "6281290000011";
const BIMA: &str = "6281290000022";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_goes_out_once_with_our_id() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let order = order(desa.account, RARA, "halo Rara");
    for _ in 0..3 {
        app.publish(&desa.id, &order).await;
    }
    app.until_status("halo Rara", "sent").await;
    app.order(&desa, RARA, "pesan kedua").await;
    app.until_status("pesan kedua", "sent").await;

    let phone = app.simulator.phone(RARA);
    assert_eq!(app.texts_on(RARA), ["halo Rara", "pesan kedua"]);
    assert!(phone.iter().all(|message| message.arrivals == 1));
    let rows = app.rows("SELECT * FROM messages ORDER BY sent_at").await;
    assert_eq!(
        json!([
            rows[0]["provider_message_id"],
            rows[0]["status"],
            rows[0]["source"],
            rows[0]["direction"],
            rows[0]["reference"]
        ]),
        json!([phone[0].id, "sent", "api", "outbound", "halo Rara"])
    );
    let queued = &app.data_of("message.status_changed")[0];
    assert_eq!(
        json!([
            queued["message_id"],
            queued["provider_message_id"],
            queued["account_id"],
            queued["status"]
        ]),
        json!([rows[0]["id"], phone[0].id, desa.account, "queued"])
    );
    assert_eq!(app.statuses("halo Rara"), ["queued", "sent"]);
    let attempts = app.values("SELECT outcome AS value FROM send_attempts").await;
    assert_eq!(attempts, [json!("accepted"), json!("accepted")]);
    assert_eq!(app.count("lane_tasks").await, 0);
    assert_eq!(app.values("SELECT unread AS value FROM chats").await, [json!(0)]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_orders_to_one_chat_keep_their_order_through_failures() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(refusal(500, "no session", None), 2);
    let texts: Vec<String> = (1..=20).map(|number| format!("nomor {number}")).collect();
    for (number, text) in texts.iter().enumerate() {
        if number == 10 {
            app.sends_fail(FaultKind::Cut, 1);
            app.sends_fail(FaultKind::LostAnswer, 1);
        }
        app.order(&desa, RARA, text).await;
    }
    app.until_status("nomor 20", "sent").await;
    assert_eq!(app.texts_on(RARA), texts);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_waits_delays_no_other() {
    let app = TestApp::with(Wishes {
        retry_first_ms: "8000",
        retry_cap_ms: "8000",
        ..Wishes::default()
    })
    .await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(refusal(500, "no session", None), 1);
    app.order(&desa, RARA, "pertama").await;
    app.order(&desa, RARA, "kedua").await;
    eventually("the first attempt failed", || async {
        (app.count("send_attempts").await == 1).then_some(())
    })
    .await;
    app.order(&desa, BIMA, "lewat").await;
    app.until_status("lewat", "sent").await;
    assert!(
        app.texts_on(RARA).is_empty(),
        "the failed one is still waiting, and the next behind it"
    );
    assert_eq!(
        app.rows("SELECT outcome, reason FROM send_attempts ORDER BY at LIMIT 1")
            .await,
        [json!({"outcome": "retry_later", "reason": "no_session"})]
    );

    app.until_status("kedua", "sent").await;
    assert_eq!(app.texts_on(RARA), ["pertama", "kedua"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_send_keeps_its_lease_and_delays_no_other_chat() {
    let app = TestApp::with(Wishes {
        settings: &[("LANE_LEASE_MS", "3000")],
        message_timeout_ms: "30000",
        ..Wishes::default()
    })
    .await;
    let desa = app.tenant("desa-satu").await;
    // Several times as long as the lease, and well below the limit of a call.
    app.sends_fail(FaultKind::Delay { ms: 10_000 }, 1);
    app.order(&desa, RARA, "lambat").await;
    eventually("it was begun", || async {
        (app.values("SELECT begun AS value FROM lane_tasks").await == [json!(1)]).then_some(())
    })
    .await;
    app.order(&desa, BIMA, "cepat").await;
    app.until_status("cepat", "sent").await;
    assert!(app.texts_on(RARA).is_empty());
    app.until_status("lambat", "sent").await;
    assert_eq!(app.simulator.phone(RARA)[0].arrivals, 1);
    assert_eq!(app.count("send_attempts").await, 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_waited_for_and_does_not_count() {
    let app = TestApp::with(Wishes {
        send_attempts: "2",
        ..Wishes::default()
    })
    .await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(refusal(429, "rate limit exceeded", Some("1")), 3);
    // With two attempts in all, this failure is the last one if any of the three above counts.
    app.sends_fail(refusal(500, "no session", None), 1);
    let started = Instant::now();
    app.order(&desa, RARA, "sabar").await;
    app.until_status("sabar", "sent").await;
    assert!(
        started.elapsed() >= Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    let outcomes = app
        .values("SELECT outcome AS value FROM send_attempts ORDER BY seq")
        .await;
    assert_eq!(
        outcomes,
        [
            "rate_limited",
            "rate_limited",
            "rate_limited",
            "retry_later",
            "accepted"
        ]
    );
    assert_eq!(app.statuses("sabar"), ["queued", "sent"]);
    app.finish().await;
}

fn last_status(app: &TestApp, reference: &str) -> Value {
    let mut events = app.data_of("message.status_changed");
    events.retain(|data| data["reference"] == reference);
    events.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_for_good_fails_with_its_reason_and_the_chat_goes_on() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(refusal(400, "could not parse Phone", None), 1);
    app.order(&desa, RARA, "ditolak").await;
    app.until_status("ditolak", "failed").await;
    app.order(&desa, RARA, "diterima").await;
    app.until_status("diterima", "sent").await;
    assert_eq!(last_status(&app, "ditolak")["reason"], "invalid_recipient");
    assert_eq!(app.texts_on(RARA), ["diterima"]);
    assert_eq!(
        app.rows("SELECT status, reason FROM messages WHERE reference = 'ditolak'")
            .await,
        [json!({"status": "failed", "reason": "invalid_recipient"})]
    );
    assert_eq!(
        app.values("SELECT count(*) AS value FROM send_attempts").await,
        [json!(2)]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_shows_the_message_once() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(FaultKind::LostAnswer, 2);
    app.order(&desa, RARA, "jawaban hilang").await;
    app.until_status("jawaban hilang", "sent").await;
    let phone = app.simulator.phone(RARA);
    assert_eq!((phone.len(), phone[0].arrivals), (1, 3));
    assert_eq!(app.statuses("jawaban hilang"), ["queued", "unknown", "sent"]);
    assert_eq!(
        app.values("SELECT status AS value FROM messages").await,
        [json!("sent")]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_tried_again() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(FaultKind::Cut, 3);
    app.order(&desa, RARA, "terputus").await;
    app.until_status("terputus", "sent").await;
    let phone = app.simulator.phone(RARA);
    assert_eq!((phone.len(), phone[0].arrivals), (1, 1));
    let outcomes = app
        .rows("SELECT outcome, reason FROM send_attempts ORDER BY seq LIMIT 1")
        .await;
    assert_eq!(
        outcomes,
        [json!({"outcome": "unknown", "reason": "connection_cut"})]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_last_attempt_a_message_is_parked_and_the_chat_goes_on() {
    let app = TestApp::with(Wishes {
        send_attempts: "3",
        ..Wishes::default()
    })
    .await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(refusal(500, "no session", None), 3);
    app.order(&desa, RARA, "menyerah").await;
    app.order(&desa, RARA, "berikutnya").await;
    app.until_status("menyerah", "parked").await;
    app.until_status("berikutnya", "sent").await;
    assert_eq!(last_status(&app, "menyerah")["reason"], "no_session");
    assert_eq!(app.statuses("menyerah"), ["queued", "parked"]);
    assert_eq!(
        app.rows("SELECT parked, failures, begun, last_error FROM lane_tasks")
            .await,
        [json!({"parked": true, "failures": 2, "begun": 3, "last_error": "no_session"})]
    );
    assert_eq!(app.texts_on(RARA), ["berikutnya"]);

    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_stays_unknown_is_put_aside_and_never_called_failed() {
    let app = TestApp::with(Wishes {
        send_attempts: "2",
        ..Wishes::default()
    })
    .await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(FaultKind::LostAnswer, 2);
    app.order(&desa, RARA, "entah").await;
    eventually("it is put aside", || async {
        (app.values("SELECT parked AS value FROM lane_tasks").await == [json!(true)]).then_some(())
    })
    .await;
    app.until_published().await;
    eventually("the end of it is announced", || async {
        (app.statuses("entah").len() == 3).then_some(())
    })
    .await;
    assert_eq!(app.statuses("entah"), ["queued", "unknown", "unknown"]);
    let events = app.data_of("message.status_changed");
    assert_eq!(
        json!([
            events[1]["put_aside"],
            events[2]["put_aside"],
            events[2]["reason"]
        ]),
        json!([null, true, "connection_cut"]),
        "the first was tried again"
    );
    // And operators find it where they look for whatever was put aside.
    let parked = eventually("it goes to the queue of parked messages", || async {
        app.data_of("message.parked").pop()
    })
    .await;
    assert_eq!(parked["reason"], "connection_cut");
    assert_eq!(app.simulator.phone(RARA).len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_cannot_be_right_end_in_the_dead_letter_queue() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let unknown_account = order(domain::ids::AccountId::generate(), RARA, "akun tak dikenal");
    app.publish("desa-satu", &unknown_account).await;
    assert_eq!(app.dead_letter().await["data"]["text"], "akun tak dikenal");
    // Whoever asked learns of it as of any message that failed.
    app.until_status("akun tak dikenal", "failed").await;
    assert_eq!(last_status(&app, "akun tak dikenal")["reason"], "no_such_account");
    // One tenant's name and another one's account.
    app.publish("desa-satu", &order(dua.account, RARA, "akun orang lain"))
        .await;
    assert_eq!(app.dead_letter().await["data"]["text"], "akun orang lain");
    app.publish("desa-tiada", &order(dua.account, RARA, "desa tak dikenal"))
        .await;
    assert_eq!(app.dead_letter().await["tenant_id"], "desa-tiada");
    let mut nobody = order(satu.account, RARA, "bukan alamat");
    nobody.to = "bukan alamat".to_owned();
    app.publish("desa-satu", &nobody).await;
    assert_eq!(app.dead_letter().await["data"]["to"], "bukan alamat");
    let mut silent = order(satu.account, RARA, "kosong");
    silent.text = " ".repeat(0);
    app.publish("desa-satu", &silent).await;
    assert_eq!(app.dead_letter().await["data"]["text"], "");
    let strange = json!({"id": EventId::generate(), "version": 99, "type": "message.send_requested",
        "tenant_id": "desa-satu", "occurred_at": "2026-03-02T02:15:04Z", "data": {}});
    app.publish_raw(EventId::generate(), strange.to_string().into_bytes())
        .await;
    assert_eq!(app.dead_letter().await["version"], 99);
    app.publish_raw(EventId::generate(), b"\"no envelope\"".to_vec())
        .await;
    assert_eq!(app.dead_letter().await, "no envelope");

    let mut endless = order(satu.account, RARA, "rujukan panjang");
    endless.reference = Some("r".repeat(2_000));
    app.publish("desa-satu", &endless).await;
    assert_eq!(app.dead_letter().await["data"]["text"], "rujukan panjang");

    // The queue is not stuck behind any of them.
    app.order(&dua, BIMA, "tetap jalan").await;
    app.until_status("tetap jalan", "sent").await;
    assert_eq!(app.simulator.wa_sends(None).len(), 1);
    assert_eq!(
        (app.count("messages").await, app.count("send_requests").await),
        (1, 1)
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tenants_may_choose_the_same_request_id() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let first = order(satu.account, RARA, "dari satu");
    let mut second = order(dua.account, RARA, "dari dua");
    second.request_id = first.request_id;
    app.publish(&satu.id, &first).await;
    app.publish(&dua.id, &second).await;
    app.until_status("dari satu", "sent").await;
    app.until_status("dari dua", "sent").await;
    let sends = app.simulator.wa_sends(None);
    let mut pairs: Vec<(&str, Option<&str>)> = sends
        .iter()
        .map(|call| (call.session_name.as_str(), call.text.as_deref()))
        .collect();
    pairs.sort_unstable();
    assert_eq!(
        pairs,
        [
            ("desa-dua-wa", Some("dari dua")),
            ("desa-satu-wa", Some("dari satu"))
        ]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_postgres_does_not_take_waits_for_better_days() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    // Neither away nor busy: it refuses, as with a full disk.
    app.run_sql("ALTER TABLE messages ADD CONSTRAINT full_disk CHECK (false) NOT VALID")
        .await;
    app.order(&desa, RARA, "tertunda").await;
    eventually("it was tried and has to wait", || async {
        test_support::logs::hold("full_disk").then_some(())
    })
    .await;
    app.run_sql("ALTER TABLE messages DROP CONSTRAINT full_disk")
        .await;
    app.until_status("tertunda", "sent").await;
    let dead = app.topology.dead_letter_queue(Queue::ChannelCommands);
    assert_eq!(app.take_from(&dead).await, None);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_fast_in_one_chat_slows_the_whole_account_down_and_no_other() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    app.sends_fail(refusal(429, "rate limit exceeded", Some("600")), 1);
    app.order(&satu, RARA, "terlalu cepat").await;
    eventually("the provider said so", || async {
        (app.count("send_attempts").await == 1).then_some(())
    })
    .await;
    app.order(&satu, BIMA, "ikut menunggu").await;
    app.order(&dua, BIMA, "desa lain").await;
    app.until_status("desa lain", "sent").await;
    eventually("the other chat waits, too", || async {
        let waits = app
            .values("SELECT last_error AS value FROM lane_tasks ORDER BY seq")
            .await;
        (waits == [json!("rate_limited"), json!("account_paused")]).then_some(())
    })
    .await;
    // Nobody died in the middle of either: both are as if they had not been begun.
    assert_eq!(
        app.rows("SELECT begun, failures FROM lane_tasks").await,
        [
            json!({"begun": 0, "failures": 0}),
            json!({"begun": 0, "failures": 0})
        ]
    );
    assert_eq!(app.simulator.wa_sends(None).len(), 1);
    app.run_sql("UPDATE accounts SET send_paused_until = now(); UPDATE lanes SET ready_at = now()")
        .await;
    app.until_status("terlalu cepat", "sent").await;
    app.until_status("ikut menunggu", "sent").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_behind_an_order_is_named_in_everything_that_follows() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let order = order(desa.account, RARA, "jejak");
    let envelope = Envelope::new(&desa.scope(), &order)
        .unwrap()
        .caused_by(Some("req-0123".to_owned()));
    app.publish_raw(envelope.id, envelope.to_json().unwrap().into_bytes())
        .await;
    app.until_status("jejak", "sent").await;
    let requests: Vec<Value> = app
        .events()
        .into_iter()
        .filter(|arrival| arrival.routing_key == "message.status_changed")
        .map(|mut arrival| arrival.body["request_id"].take())
        .collect();
    assert_eq!(requests, [json!("req-0123"), json!("req-0123")]);
    app.finish().await;
}
