//! What Meta reports of messages of ours: in any order, more than once, before the answer to the send and instead of it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cloud_world::{DUA, Number, RARA, SATU, accepted, change, number, spawn, status_at};
use crate::harness::TestApp;

/// A message of ours as it is after a send.
async fn ours(app: &TestApp, number: &Number<'_>, id: &str, status: &str) {
    let schema = &app.database.names.schema;
    let (tenant, account) = (&number.tenant, number.account);
    app.run_sql(&format!(
        "INSERT INTO {schema}.chats (tenant_id, id, account_id, address, phone, last_message_at, last_text) \
         VALUES ('{tenant}', gen_random_uuid(), '{account}', '{RARA}@s.whatsapp.net', '{RARA}', now(), '') \
         ON CONFLICT DO NOTHING; \
         INSERT INTO {schema}.messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, \
             body, content, sent_at, status, reference) \
         SELECT '{tenant}', gen_random_uuid(), '{account}', id, 'outbound', 'api', '{id}', 'text', '{id}', '{{}}', now(), \
             '{status}', '{id}' FROM {schema}.chats WHERE tenant_id = '{tenant}'"
    ))
    .await;
}

async fn standing(app: &TestApp, words: &str) -> Value {
    app.rows(&format!(
        "SELECT provider_message_id AS id, status, reason FROM messages WHERE body = '{words}'"
    ))
    .await
    .remove(0)
}

fn failed(id: &str, at: i64) -> Value {
    let mut status = status_at(id, "failed", at);
    status["errors"] = json!([{"code": 131_047, "title": "Re-engagement message", "message": "Re-engagement message",
        "error_data": {"details": "Customer window closed"}}]);
    status
}

fn permutations(of: &[usize]) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, first) in of.iter().enumerate() {
        let mut rest = of.to_vec();
        rest.remove(at);
        for mut tail in permutations(&rest) {
            tail.insert(0, *first);
            all.push(tail);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_whichever_order_reports_come_they_end_the_same() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let at = crate::cloud_world::now();
    let told = |id: &str, what: usize| match what {
        0 => status_at(id, "sent", at),
        1 => status_at(id, "delivered", at + 1),
        2 => status_at(id, "read", at + 2),
        3 => status_at(id, "played", at + 3),
        _ => failed(id, at),
    };
    let mut expected = Vec::new();
    for (kinds, ends) in [
        (vec![0, 1, 2], "read"),
        (vec![0, 4], "failed"),
        (vec![0, 1, 4], "delivered"),
        (vec![1, 2, 3], "read"),
    ] {
        for order in permutations(&kinds) {
            let name: String = order.iter().map(usize::to_string).collect();
            for (how, together) in [("satu", true), ("demi", false)] {
                let id = format!("wamid.{how}{name}==");
                ours(&app, &satu, &id, "sent").await;
                let statuses: Vec<Value> = order.iter().map(|what| told(&id, *what)).collect();
                if together {
                    accepted(&app, &satu.statuses(&statuses)).await;
                } else {
                    for status in statuses {
                        accepted(&app, &satu.statuses(&[status])).await;
                    }
                }
                expected.push((id, ends));
            }
        }
    }
    for (id, ends) in &expected {
        let now = standing(&app, id).await;
        assert_eq!(now["status"], *ends, "{id}");
        let reason = if *ends == "failed" {
            json!("meta_131047")
        } else {
            Value::Null
        };
        assert_eq!(now["reason"], reason, "{id}");
    }
    // Everything that was told is on record, whichever came first.
    let details = app
        .rows(
            "SELECT DISTINCT extract(epoch FROM sent_at)::bigint AS sent, extract(epoch FROM delivered_at)::bigint AS delivered, \
                    extract(epoch FROM read_at)::bigint AS read FROM message_status_details \
             WHERE provider_message_id LIKE 'wamid.____012==' OR provider_message_id LIKE 'wamid.____210=='",
        )
        .await;
    assert_eq!(
        details,
        [json!({"sent": at, "delivered": at + 1, "read": at + 2})]
    );
    assert_eq!(app.count("early_receipts").await, 0);

    // No repetition is news.
    app.until_published().await;
    let before = app.data_of("message.status_changed").len();
    for (id, _) in &expected {
        accepted(&app, &satu.statuses(&[status_at(id, "sent", at)])).await;
    }
    app.until_published().await;
    assert_eq!(app.data_of("message.status_changed").len(), before);
    app.finish().await;
}

/// Reports of two villages that come at the same moment share commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_ids_of_two_villages_stay_apart_although_their_reports_are_recorded_together() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let dua = number(&app, "desa-dua", "Meta", DUA).await;
    let at = crate::cloud_world::now();
    let ids: Vec<String> = (0..10).map(|number| format!("wamid.SAMA{number}==")).collect();
    for id in &ids {
        ours(&app, &satu, id, "sent").await;
        ours(&app, &dua, id, "sent").await;
    }
    // One of them begins an answer of the AI's, which is followed for its village alone.
    let schema = &app.database.names.schema;
    app.run_sql(&format!(
        "UPDATE {schema}.messages SET reference = 'ai:0:none' WHERE provider_message_id = '{}'",
        ids[3]
    ))
    .await;
    let bodies: Vec<_> = ids
        .iter()
        .flat_map(|id| {
            [
                satu.statuses(&[status_at(id, "read", at)]),
                dua.statuses(&[status_at(id, "delivered", at)]),
                dua.statuses(&[status_at(id, "sent", at)]),
            ]
        })
        .collect();
    futures_util::future::join_all(bodies.iter().map(|body| accepted(&app, body))).await;
    let ended = app
        .rows("SELECT tenant_id, status, count(*) FROM messages GROUP BY 1, 2 ORDER BY 1")
        .await;
    assert_eq!(
        ended,
        [
            json!({"tenant_id": "desa-dua", "status": "delivered", "count": 10}),
            json!({"tenant_id": "desa-satu", "status": "read", "count": 10}),
        ]
    );
    app.until_published().await;
    let told = app.data_of("message.status_changed");
    for (status, of) in [("read", &satu), ("delivered", &dua)] {
        let told = told.iter().filter(|data| data["status"] == status);
        let account = of.account.to_string();
        assert_eq!(
            told.filter(|data| data["account_id"] == account.as_str()).count(),
            10
        );
    }
    assert_eq!(told.len(), 20);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_tells_why_and_what_it_costs_is_kept() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let at = crate::cloud_world::now();
    ours(&app, &satu, "wamid.A==", "sent").await;
    ours(&app, &satu, "wamid.B==", "sent").await;
    let mut sent = status_at("wamid.A==", "sent", at);
    sent["pricing"] =
        json!({"billable": true, "pricing_model": "PMP", "type": "regular", "category": "utility"});
    sent["conversation"] =
        json!({"id": "7d1f", "expiration_timestamp": "1763686501", "origin": {"type": "utility"}});
    accepted(&app, &satu.statuses(&[sent, failed("wamid.B==", at)])).await;
    assert_eq!(
        app.rows(
            "SELECT billable, pricing_model, pricing_type, pricing_category, conversation_id, conversation_origin \
             FROM message_status_details WHERE provider_message_id = 'wamid.A=='"
        )
        .await,
        [json!({"billable": true, "pricing_model": "PMP", "pricing_type": "regular", "pricing_category": "utility",
                "conversation_id": "7d1f", "conversation_origin": "utility"})]
    );
    assert_eq!(
        app.rows(
            "SELECT error_code, error_title, error_details FROM message_status_details WHERE provider_message_id = 'wamid.B=='"
        )
        .await,
        [json!({"error_code": 131_047, "error_title": "Re-engagement message", "error_details": "Customer window closed"})]
    );
    app.until_status("wamid.B==", "failed").await;
    let told = app
        .data_of("message.status_changed")
        .into_iter()
        .find(|told| told["status"] == "failed")
        .unwrap();
    assert_eq!(
        (&told["reason"], &told["detail"]),
        (&json!("meta_131047"), &json!("Customer window closed"))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_at_what_was_put_aside_sees_what_was_reported_of_it() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let schema = &app.database.names.schema;
    for id in ["wamid.LOST==", "wamid.OUT=="] {
        ours(&app, &satu, id, "unknown").await;
    }
    app.run_sql(&format!(
        "INSERT INTO {schema}.lane_tasks (tenant_id, id, lane, kind, payload, parked) \
         SELECT tenant_id, id, chat_id::text, 'send', '{{}}', true FROM {schema}.messages"
    ))
    .await;
    let at = crate::cloud_world::now();
    let told = satu.statuses(&[
        failed("wamid.LOST==", at),
        status_at("wamid.OUT==", "delivered", at),
    ]);
    accepted(&app, &told).await;
    let all = app
        .internal(Method::GET, "/dead-letters?village_id=desa-satu", None)
        .await;
    let all = all.json()["data"].take();
    // What went out after all is none any more.
    assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
    assert_eq!(
        (&all[0]["status"], &all[0]["reason"]),
        (&json!("failed"), &json!("meta_131047"))
    );
    let path = format!(
        "/dead-letters/{}?village_id=desa-satu",
        all[0]["message_id"].as_str().unwrap()
    );
    let one = app.internal(Method::GET, &path, None).await.json();
    let reported = &one["data"]["reported_failure"];
    assert_eq!(
        (&reported["code"], &reported["details"]),
        (&json!(131_047), &json!("Customer window closed"))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_settles_a_send_whose_answer_was_lost() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let at = crate::cloud_world::now();
    for id in ["3EB0OURS1", "3EB0OURS2", "3EB0OURS3"] {
        ours(&app, &satu, id, "unknown").await;
    }
    let with = |id: &str, callback: &str, status: &str| {
        let mut status = status_at(id, status, at);
        status["biz_opaque_callback_data"] = json!(callback);
        status
    };
    accepted(&app, &satu.statuses(&[with("wamid.ONE==", "3EB0OURS1", "sent")])).await;
    assert_eq!(
        standing(&app, "3EB0OURS1").await,
        json!({"id": "wamid.ONE==", "status": "sent", "reason": null})
    );
    // What was reported without saying whose it is counts as soon as that is said.
    accepted(&app, &satu.statuses(&[failed("wamid.TWO==", at)])).await;
    assert_eq!(app.count("early_receipts").await, 1);
    accepted(&app, &satu.statuses(&[with("wamid.TWO==", "3EB0OURS2", "sent")])).await;
    assert_eq!(
        standing(&app, "3EB0OURS2").await,
        json!({"id": "wamid.TWO==", "status": "failed", "reason": "meta_131047"})
    );
    // Many at once, and none of a message that is nobody's.
    let copies = (0..8).map(|_| {
        let body = satu.statuses(&[
            with("wamid.THREE==", "3EB0OURS3", "delivered"),
            with("wamid.FOUR==", "3EB0NOBODYS", "read"),
        ]);
        let app = &app;
        async move { accepted(app, &body).await }
    });
    futures_util::future::join_all(copies).await;
    assert_eq!(
        standing(&app, "3EB0OURS3").await,
        json!({"id": "wamid.THREE==", "status": "delivered", "reason": null})
    );
    assert_eq!(
        app.values("SELECT provider_message_id AS value FROM early_receipts")
            .await,
        [json!("wamid.FOUR==")]
    );
    assert_eq!(app.count("inbound_ledger").await, 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_group_do_not_multiply_a_message() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    ours(&app, &satu, "wamid.GROUP==", "sent").await;
    let at = crate::cloud_world::now();
    let members: Vec<Value> = (0..50)
        .map(|n| {
            json!({"id": "wamid.GROUP==", "status": "delivered", "timestamp": (at + n).to_string(),
                "recipient_id": "Z3JvdXAtZXhhbXBsZS0wMDAx", "recipient_type": "group",
                "recipient_participant_id": format!("62811000{n:04}")})
        })
        .collect();
    let told = satu.statuses(&members);
    for _ in 0..2 {
        accepted(&app, &told).await;
    }
    assert_eq!(standing(&app, "wamid.GROUP==").await["status"], "delivered");
    app.until_published().await;
    assert_eq!(app.statuses("wamid.GROUP=="), ["delivered"]);
    assert_eq!(
        app.values("SELECT extract(epoch FROM delivered_at)::bigint AS value FROM message_status_details")
            .await,
        [json!(at)]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_without_contacts_and_of_unknown_sorts_are_accepted() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    ours(&app, &satu, "wamid.X==", "sent").await;
    let at = crate::cloud_world::now();
    let mut new = change(
        satu.id,
        "statuses",
        &[
            status_at("wamid.X==", "delivered", at),
            status_at("wamid.X==", "melayang", at),
        ],
    );
    new["value"]["contacts"] = json!([{"wa_id": RARA, "user_id": "ID.90812345670000000001"}]);
    accepted(&app, &crate::cloud_world::body(satu.waba, &[new])).await;
    assert_eq!(standing(&app, "wamid.X==").await["status"], "delivered");
    assert_eq!(app.count("provider_events").await, 1, "the unknown one is kept");
    app.finish().await;
}
