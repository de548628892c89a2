//! Messages of one chat that arrive at the same moment: one committer's, and in the order in which they were written.

use bytes::Bytes;
use channel_service::flows::ingest_message::{Ingest, IngestJob, commit};
use channel_service::media::MediaLinks;
use channel_service::traffic::Traffic;
use chrono::{Duration, Utc};
use messaging::outbox::Signal;
use serde_json::json;
use test_support::eventually;
use tokio::sync::oneshot;
use whatsapp::event::InboundEvent;
use whatsapp::genfity::Unverified;

use crate::harness::{Tenant, TestApp, text};

const RARA: &str = "6281290000011";

/// A message that was written so many seconds after now.
fn job(desa: &Tenant, from: &str, id: &str, later: i64) -> IngestJob {
    let mut event = text(from, id, id);
    event["event"]["Info"]["Timestamp"] = json!((Utc::now() + Duration::seconds(later)).to_rfc3339());
    let webhook = desa.json(&event);
    let webhook = Unverified::read(Some("application/json"), Bytes::from(webhook.body)).unwrap();
    let event = webhook.verify(None, &[]).unwrap().parse(Utc::now()).unwrap();
    let InboundEvent::Message(message) = event else {
        panic!("{event:?}");
    };
    IngestJob {
        scope: desa.scope(),
        account: desa.account,
        request_id: None,
        traceparent: None,
        message: *message,
        media: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_kept_in_the_order_in_which_its_messages_were_written() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let (mut group, mut answers) = (Vec::new(), Vec::new());
    for (id, later) in [("3EB0D", -10), ("3EB0B", -30), ("3EB0C", -20), ("3EB0A", -40)] {
        let (answer, answered) = oneshot::channel();
        group.push((job(&desa, RARA, id, later), answer));
        answers.push(answered);
    }
    let signal = Signal::default();
    let links = MediaLinks::new(
        &app.keys,
        "http://inside.example",
        "https://files.example",
        std::time::Duration::from_secs(60),
    );
    commit(&app.direct, &links, &signal, &Traffic::default(), group).await;
    for answered in answers {
        answered.await.unwrap().unwrap();
    }
    let texts = eventually("all are announced", || async {
        let received = app.data_of("message.received");
        (received.len() == 4).then_some(received)
    })
    .await;
    let texts: Vec<&str> = texts.iter().map(|data| data["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["3EB0A", "3EB0B", "3EB0C", "3EB0D"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_chat_has_one_committer_and_many_chats_have_all_of_them() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let (ingest, queues) = Ingest::new(400, 4);
    let submit = |from: String, id: String| {
        let (ingest, job) = (ingest.clone(), job(&desa, &from, &id, 0));
        tokio::spawn(async move { drop(ingest.submit(job).await) });
    };
    let waiting = |all: usize| {
        let queues = &queues;
        async move {
            eventually("everything waits for a commit", || async {
                let lengths: Vec<usize> = queues.iter().map(tokio::sync::mpsc::Receiver::len).collect();
                (lengths.iter().sum::<usize>() == all).then_some(lengths)
            })
            .await
        }
    };
    for number in 0..20 {
        submit(RARA.to_owned(), format!("3EB0S{number}"));
    }
    let lengths = waiting(20).await;
    assert!(lengths.contains(&20), "{lengths:?}");
    for number in 0..80 {
        submit(format!("62812910000{number:02}"), format!("3EB0M{number}"));
    }
    let lengths = waiting(100).await;
    assert!(lengths.iter().all(|length| *length > 0), "{lengths:?}");
    app.finish().await;
}
