//! A number of Meta's Cloud API used as people use it: written to and answered, with the imitated Graph API at the other end.

use serde_json::json;
use simulator::{
    FaultKind, FaultSpec, FaultTarget, GraphCallback, GraphInbound, GraphShape, GraphStatusChange,
    GraphTrouble, GraphTroubleKind, GraphUpdate, NewGraphNumber,
};
use test_support::eventually;

use crate::cloud_world::{BIMA, Number, RARA, SATU, SECRET, number, spawn};
use crate::harness::{TestApp, order};

/// The number as Meta has it, with us as its app's callback.
fn at_meta(app: &TestApp, shape: GraphShape) {
    app.simulator.create_graph_number(NewGraphNumber {
        id: SATU.0.to_owned(),
        waba: SATU.1.to_owned(),
        phone: "6221550001111".to_owned(),
        token: "token-of-meta".to_owned(),
        app_secret: Some(SECRET.to_owned()),
        webhook: Some(GraphCallback {
            url: format!("{}/api/whatsapp/webhook", app.url),
            verify_token: "verify-of-meta".to_owned(),
        }),
        shape,
        ..NewGraphNumber::default()
    });
}

fn from(person: &str, words: &str) -> GraphInbound {
    GraphInbound {
        number: SATU.0.to_owned(),
        from: person.to_owned(),
        text: Some(words.to_owned()),
        ..GraphInbound::default()
    }
}

async fn answer(app: &TestApp, number: &Number<'_>, reference: &str) {
    app.publish(&number.tenant, &order(number.account, RARA, reference))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_writes_is_answered_and_reads_it() {
    let app = spawn().await;
    at_meta(&app, GraphShape::New);
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let device = satu.desk.until(&satu.device, "connected").await;
    assert_eq!(device["provider"], "cloud");

    // Every webhook comes twice at the same time.
    let twice = FaultKind::Duplicate {
        copies: 1,
        concurrent: true,
    };
    app.simulator
        .add_fault(FaultSpec::on_webhook(FaultTarget::GraphWebhook, twice))
        .unwrap();
    app.simulator
        .graph_inbound(&from(RARA, "Selamat pagi é 🙂 a/b <c>"))
        .unwrap();
    eventually("the message is here", || async {
        (app.count("messages").await == 1).then_some(())
    })
    .await;
    assert_eq!(
        app.values("SELECT body AS value FROM messages").await,
        [json!("Selamat pagi é 🙂 a/b <c>")]
    );
    answer(&app, &satu, "Baik").await;
    app.until_status("Baik", "sent").await;
    let sent = app
        .values("SELECT provider_message_id AS value FROM messages WHERE reference = 'Baik'")
        .await;
    let id = sent[0].as_str().unwrap().to_owned();
    assert!(id.starts_with("wamid."), "{id}");
    for status in ["read", "delivered"] {
        let change = GraphStatusChange {
            id: id.clone(),
            status: status.to_owned(),
            ..GraphStatusChange::default()
        };
        app.simulator.graph_status(&change).unwrap();
    }
    app.until_status("Baik", "read").await;
    eventually("every report is on record", || async {
        let known = app
            .values(
                "SELECT count(*) AS value FROM message_status_details \
                 WHERE read_at IS NOT NULL AND delivered_at IS NOT NULL AND sent_at IS NOT NULL",
            )
            .await;
        (known == [json!(1)]).then_some(())
    })
    .await;
    app.until_published().await;
    assert_eq!(app.statuses("Baik").last().map(String::as_str), Some("read"));
    assert_eq!((app.count("messages").await, app.count("chats").await), (2, 1));
    assert_eq!(
        app.count("quarantine").await + app.count("provider_events").await,
        0
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_settled_by_a_report_and_nothing_goes_out_twice() {
    let app = spawn().await;
    at_meta(&app, GraphShape::Old);
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    app.simulator.graph_inbound(&from(RARA, "Halo")).unwrap();
    eventually("the message is here", || async {
        (app.count("messages").await == 1).then_some(())
    })
    .await;
    app.simulator
        .add_graph_trouble(GraphTrouble {
            times: Some(1),
            kind: GraphTroubleKind::LostAnswer { ms: 0 },
            ..GraphTrouble::default()
        })
        .unwrap();
    answer(&app, &satu, "Sekali saja").await;
    app.until_status("Sekali saja", "sent").await;
    let id = app
        .values("SELECT provider_message_id AS value FROM messages WHERE reference = 'Sekali saja'")
        .await;
    assert!(id[0].as_str().unwrap().starts_with("wamid."), "{id:?}");
    let sends = app.simulator.graph_sends();
    assert_eq!(sends.len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_together_and_again_is_kept_once() {
    let app = spawn().await;
    at_meta(&app, GraphShape::Old);
    let _satu = number(&app, "desa-satu", "Meta", SATU).await;
    let updates: Vec<GraphUpdate> = (0..200)
        .map(|n| GraphUpdate::Inbound(Box::new(from([RARA, BIMA][n % 2], &format!("{n:03}")))))
        .collect();
    app.simulator.graph_batch(&updates).unwrap();
    eventually("all are here", || async {
        (app.count("messages").await == 200).then_some(())
    })
    .await;
    let first = eventually("it was answered", || async {
        let deliveries = app.simulator.graph_deliveries();
        deliveries.first().map(|delivery| delivery.event_id)
    })
    .await;
    app.simulator
        .graph_redeliver(&simulator::GraphRedelivery {
            event_id: first,
            copies: 5,
            concurrent: true,
        })
        .unwrap();
    eventually("all of it came again", || async {
        let deliveries = app.simulator.graph_deliveries();
        (deliveries.len() >= 6 && deliveries.iter().all(|one| one.status == Some(200))).then_some(())
    })
    .await;
    assert_eq!(app.count("messages").await, 200);
    assert_eq!(app.count("chats").await, 2);
    app.finish().await;
}
