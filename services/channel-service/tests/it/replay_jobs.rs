//! Many messages that were put aside are taken up again: looked at first, then worked off once, whoever dies meanwhile.

use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;
use uuid::Uuid;

use crate::harness::{Answer, Tenant, TestApp, Wishes, refusal};
use crate::signing_in::{ask, bearer_of};

const RARA: &str = "6281290000011";
const REPLAYS: &str = "/dead-letters/replays";

async fn spawn(settings: &'static [(&'static str, &'static str)]) -> TestApp {
    TestApp::with(Wishes {
        send_attempts: "1",
        settings,
        ..Wishes::default()
    })
    .await
}

/// Parks messages of these words. Returns their ids.
async fn park(app: &TestApp, tenant: &Tenant, words: &[&str], error: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for word in words {
        app.sends_fail(refusal(500, error, None), 1);
        app.order(tenant, RARA, word).await;
        app.until_status(word, "parked").await;
        let id = app
            .values(&format!(
                "SELECT id AS value FROM messages WHERE reference = '{word}'"
            ))
            .await;
        ids.push(id[0].as_str().unwrap().to_owned());
    }
    ids
}

async fn call(app: &TestApp, bearer: &str, method: Method, path: &str, body: Value) -> Answer {
    let body = (method != Method::GET).then_some(body);
    ask(app, method, path, &[("authorization", bearer)], body).await
}

/// Orders are noted as if somebody had them in hand already.
async fn keep_from_workers(app: &TestApp) {
    app.run_sql("ALTER TABLE replay_jobs ALTER COLUMN leased_until SET DEFAULT now() + interval '1 hour'")
        .await;
}

async fn until_over(app: &TestApp, bearer: &str, path: &str) -> Value {
    eventually("the order is over", || async {
        let answer = call(app, bearer, Method::GET, path, json!({})).await;
        let data = answer.json()["data"].clone();
        (data["state"] == "done").then_some(data)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_looks_first_and_then_takes_up_what_fits() {
    let app = spawn(&[]).await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let mine = park(&app, &satu, &["satu", "dua", "tiga"], "no session").await;
    let other = park(&app, &dua, &["tetangga"], "no session").await;
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let neighbour = bearer_of(&app, "budi@desa.id", Role::TenantAdmin, Some("desa-dua")).await;

    let look = format!("{REPLAYS}/preview");
    let found = call(&app, &admin, Method::POST, &look, json!({"reason": "no_session"})).await;
    let sort = json!({"village_id": "desa-satu", "status": "parked", "reason": "no_session", "kind": "text", "messages": 3});
    assert_eq!(
        found.json()["data"],
        json!({"total": 3, "more": false, "tenants": 1, "sorts": [sort]}),
        "{}",
        found.text
    );
    for nothing in [
        json!({"reason": "timeout"}),
        json!({"kind": "image"}),
        json!({"unknown": true}),
        json!({"ordered_before": "2026-03-02T02:15:04Z"}),
        json!({"account_id": dua.account}),
        json!({"message_ids": other}),
    ] {
        let found = call(&app, &admin, Method::POST, &look, nothing.clone()).await;
        assert_eq!(found.json()["data"]["total"], 0, "{nothing}");
        call(&app, &admin, Method::POST, REPLAYS, nothing)
            .await
            .assert_error(404, "dead_letter_not_found");
    }
    assert_eq!(app.count("replay_jobs").await, 0, "looking does nothing");

    // The phone got one of them after all, and another one is gone.
    app.run_sql(&format!(
        "UPDATE messages SET status = 'delivered', reason = NULL WHERE id = '{}'",
        mine[1]
    ))
    .await;
    let missing = Uuid::now_v7();
    let (id, ids) = (
        Uuid::now_v7(),
        json!([mine[0], mine[1], mine[2], missing, other[0]]),
    );
    let order = json!({"id": id, "message_ids": ids});
    // What turned out to have gone out is none any more, unless it does so after the order.
    app.run_sql(&format!(
        "UPDATE messages SET status = 'parked' WHERE id = '{0}'; \
         UPDATE messages SET status = 'parked', reason = 'no_session' WHERE id = '{0}'",
        mine[1]
    ))
    .await;
    keep_from_workers(&app).await;
    for _ in 0..2 {
        let begun = call(&app, &admin, Method::POST, REPLAYS, order.clone()).await;
        assert_eq!(
            (begun.status, &begun.json()["data"]["total"]),
            (202, &json!(3)),
            "{}",
            begun.text
        );
    }
    app.run_sql(&format!(
        "ALTER TABLE replay_jobs ALTER COLUMN leased_until DROP DEFAULT; \
         UPDATE messages SET status = 'delivered', reason = NULL WHERE id = '{}'; \
         UPDATE replay_jobs SET leased_until = NULL",
        mine[1]
    ))
    .await;
    let path = format!("{REPLAYS}/{id}");
    let over = until_over(&app, &admin, &path).await;
    assert_eq!(
        json!([over["replayed"], over["skipped"], over["failed"], over["left"]]),
        json!([2, 1, 0, [{"message_id": mine[1], "outcome": "skipped", "reason": "went_out"}]])
    );
    for word in ["satu", "tiga"] {
        app.until_status(word, "sent").await;
    }
    assert_eq!(
        app.texts_on(RARA),
        ["satu", "tiga"],
        "in their old order, each once"
    );
    assert_eq!(
        app.values("SELECT count(*) AS value FROM lane_tasks WHERE parked AND tenant_id = 'desa-dua'")
            .await,
        [json!(1)]
    );
    let acts = app
        .values(
            "SELECT action AS value FROM audit_log WHERE actor = 'user rara@desa.id' AND action LIKE 'dead_letter.%' \
             ORDER BY id",
        )
        .await;
    assert_eq!(
        acts,
        [
            "dead_letter.replay_many",
            "dead_letter.replay",
            "dead_letter.replay"
        ]
    );
    let listed = call(&app, &admin, Method::GET, REPLAYS, json!({})).await.json();
    assert_eq!(listed["data"][0]["id"], json!(id));

    // Somebody else's order is none.
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::POST, format!("{path}/cancel")),
        (Method::GET, format!("{REPLAYS}/kosong")),
    ] {
        call(&app, &neighbour, method, &path, json!({}))
            .await
            .assert_error(404, "replay_not_found");
    }
    for path in [
        format!("/dead-letters/all/replays/{id}"),
        "/dead-letters/all/replays/x".to_owned(),
    ] {
        call(&app, &admin, Method::GET, &path, json!({}))
            .await
            .assert_error(403, "superadmin_only");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_goes_on_where_a_process_died_and_two_orders_double_nothing() {
    let app = spawn(&[("REPLAYS_PER_SECOND", "4")]).await;
    let desa = app.tenant("desa-satu").await;
    let words = ["satu", "dua", "tiga", "empat", "lima"];
    park(&app, &desa, &words, "no session").await;
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let replica = app.replica().await;
    let mut orders = Vec::new();
    for _ in 0..2 {
        let begun = call(
            &app,
            &admin,
            Method::POST,
            REPLAYS,
            json!({"reason": "no_session"}),
        )
        .await;
        assert_eq!(begun.status, 202, "{}", begun.text);
        orders.push(begun.json()["data"]["id"].as_str().unwrap().to_owned());
    }
    eventually("both are begun", || async {
        let begun = app
            .values("SELECT count(*) AS value FROM replay_jobs WHERE replayed + skipped > 0")
            .await;
        (begun == [json!(2)]).then_some(())
    })
    .await;
    // Whoever had them is as good as dead: what it still writes is not taken, and others go on.
    app.run_sql("UPDATE replay_jobs SET fence = fence + 1, leased_until = now() - interval '1 second'")
        .await;
    let mut replayed = 0;
    for order in &orders {
        let over = until_over(&app, &admin, &format!("{REPLAYS}/{order}")).await;
        let count = |name: &str| over[name].as_i64().unwrap();
        assert_eq!(count("replayed") + count("skipped"), 5, "{over}");
        assert_eq!(count("failed"), 0, "{over}");
        replayed += count("replayed");
    }
    assert_eq!(replayed, 5, "each message once");
    for word in words {
        app.until_status(word, "sent").await;
    }
    let phone = app.simulator.phone(RARA);
    assert_eq!(phone.len(), 5);
    assert!(phone.iter().all(|message| message.arrivals == 1));
    replica.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_can_be_ended_and_one_over_all_tenants_is_a_superadmins() {
    let app = spawn(&[]).await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    park(&app, &satu, &["satu", "dua", "tiga", "empat"], "no session").await;
    park(&app, &dua, &["lima"], "no session").await;
    let root = bearer_of(&app, "super@kanal.id", Role::Superadmin, None).await;
    let all = "/dead-letters/all/replays";
    let found = call(&app, &root, Method::POST, &format!("{all}/preview"), json!({})).await;
    assert_eq!(
        json!([found.json()["data"]["total"], found.json()["data"]["tenants"]]),
        json!([5, 2]),
        "{}",
        found.text
    );
    keep_from_workers(&app).await;
    let begun = call(&app, &root, Method::POST, all, json!({"reason": "no_session"})).await;
    assert_eq!(
        (begun.status, &begun.json()["data"]["total"]),
        (202, &json!(5)),
        "{}",
        begun.text
    );
    let id = begun.json()["data"]["id"].as_str().unwrap().to_owned();
    let ended = call(
        &app,
        &root,
        Method::POST,
        &format!("{all}/{id}/cancel"),
        json!({}),
    )
    .await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    let shown = call(&app, &root, Method::GET, &format!("{all}/{id}"), json!({}))
        .await
        .json();
    assert_eq!(shown["data"]["state"], "cancelled");
    call(
        &app,
        &root,
        Method::POST,
        &format!("{all}/{id}/cancel"),
        json!({}),
    )
    .await
    .assert_error(404, "replay_not_found");
    let acts = app
        .values("SELECT DISTINCT tenant_id AS value FROM audit_log WHERE action = 'dead_letter.replay_many' ORDER BY 1")
        .await;
    assert_eq!(acts, ["desa-dua", "desa-satu"]);
    // What had no turn lies where it lay.
    let left = app
        .values("SELECT count(*) AS value FROM lane_tasks WHERE parked")
        .await;
    assert_eq!(left, [json!(5)]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_saw_it_on_the_phone_says_that_it_went_out() {
    let app = spawn(&[]).await;
    let desa = app.tenant("desa-satu").await;
    app.bare_tenant("desa-dua").await;
    app.sends_fail(simulator::FaultKind::LostAnswer, 1);
    app.order(&desa, RARA, "entah").await;
    app.until_status("entah", "unknown").await;
    let id = eventually("it is put aside", || async {
        let rows = app
            .values("SELECT id AS value FROM lane_tasks WHERE parked")
            .await;
        rows.into_iter().next()
    })
    .await;
    let id = id.as_str().unwrap();
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let neighbour = bearer_of(&app, "budi@desa.id", Role::TenantAdmin, Some("desa-dua")).await;
    let path = format!("/dead-letters/{id}/settle");
    call(&app, &neighbour, Method::POST, &path, json!({}))
        .await
        .assert_error(404, "dead_letter_not_found");
    let settled = call(&app, &admin, Method::POST, &path, json!({})).await;
    assert_eq!(
        (settled.status, &settled.json()["status"]),
        (200, &json!("sent")),
        "{}",
        settled.text
    );
    app.until_status("entah", "sent").await;
    assert_eq!(app.count("lane_tasks").await, 0);
    call(&app, &admin, Method::POST, &path, json!({}))
        .await
        .assert_error(404, "dead_letter_not_found");
    assert_eq!(app.simulator.phone(RARA).len(), 1);
    app.finish().await;
}
