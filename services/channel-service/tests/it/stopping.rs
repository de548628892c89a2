//! An orderly end: what is in hand is finished, what is not begun stays for the next process.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use serde_json::json;
use simulator::FaultKind;
use test_support::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{TestApp, text};

const RARA: &str = "6281290000011";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_in_hand_is_finished_and_recorded() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(FaultKind::Delay { ms: 7_000 }, 1);
    app.order(&desa, RARA, "sedang dikirim").await;
    app.order(&desa, RARA, "belum dimulai").await;
    eventually("the first is begun and the second waits", || async {
        let begun = app
            .values("SELECT begun AS value FROM lane_tasks ORDER BY seq")
            .await;
        (begun == [json!(1), json!(0)]).then_some(())
    })
    .await;
    app.shutdown.begin();
    assert!(app.shutdown.finished_within(Duration::from_secs(30)).await);
    assert_eq!(app.texts_on(RARA), ["sedang dikirim"]);
    assert_eq!(
        app.rows("SELECT reference, status FROM messages ORDER BY sent_at")
            .await,
        [
            json!({"reference": "sedang dikirim", "status": "sent"}),
            json!({"reference": "belum dimulai", "status": "queued"})
        ]
    );
    // The lane was let go: the next process need not wait for the lease.
    assert_eq!(
        app.rows("SELECT leased_until, ready_at IS NOT NULL AS ready FROM lanes")
            .await,
        [json!({"leased_until": null, "ready": true})]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_was_cut_off_is_repeated_with_the_same_id() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    // It arrives at once; of whoever sent it nothing is heard any more, as when a process is killed with its call open.
    app.sends_fail(FaultKind::LostAnswerDelay { ms: 9_000 }, 1);
    app.order(&desa, RARA, "terputus di tengah").await;
    let first = eventually("it is on the phone", || async {
        app.simulator.phone(RARA).pop().map(|message| message.id)
    })
    .await;
    app.run_sql("UPDATE lanes SET fence = fence + 1, leased_until = NULL, ready_at = now()")
        .await;
    app.until_status("terputus di tengah", "sent").await;
    let phone = app.simulator.phone(RARA);
    assert_eq!((phone.len(), phone[0].arrivals), (1, 2));
    assert_eq!(phone[0].id, first);
    // Whoever was thought dead and is not changes nothing more.
    app.shutdown.begin();
    assert!(app.shutdown.finished_within(Duration::from_secs(30)).await);
    assert_eq!(
        app.rows("SELECT m.status, a.outcome FROM messages m JOIN send_attempts a ON a.message_id = m.id")
            .await,
        [json!({"status": "sent", "outcome": "accepted"})]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_in_hand_are_answered_after_their_commit() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0S0", "pemanasan")))
        .await
        .assert_kept();

    // One whose commit is held up, one whose body is still coming.
    let mut holding = app.database.admin().await;
    holding
        .batch_execute("BEGIN; LOCK TABLE messages IN EXCLUSIVE MODE")
        .await
        .unwrap();
    let held = desa.json(&text(RARA, "3EB0S1", "di tengah jalan"));
    let slow = desa.json(&text("6281290000022", "3EB0S2", "masih datang"));
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Hmac-Signature: {}\r\nContent-Length: {}\r\n\r\n",
        slow.signature.as_ref().unwrap(),
        slow.body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&slow.body[..20]).await.unwrap();
    let ending = async {
        eventually("the commit waits for the lock", || async {
            let waiting = app
                .values("SELECT count(*) AS value FROM pg_locks l WHERE NOT l.granted AND l.relation = 'messages'::regclass")
                .await;
            (waiting == [json!(1)]).then_some(())
        })
        .await;
        app.shutdown.begin();
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.write_all(&slow.body[20..]).await.unwrap();
        holding.batch_execute("ROLLBACK").await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        answer
    };
    let (first, second) = tokio::join!(app.post(&held), ending);
    first.assert_kept();
    assert!(second.starts_with("HTTP/1.1 200"), "{second}");
    assert_eq!(app.count("messages").await, 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_service_ends_at_once() {
    let app = TestApp::spawn().await;
    app.shutdown.begin();
    assert!(app.shutdown.finished_within(Duration::from_secs(30)).await);
    app.finish().await;
}
