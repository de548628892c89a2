//! Messages that are not tried again by themselves: listed, shown, and replayed, one or many.

use messaging::events::send_requested::SendRequested;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::harness::{LIMITED_KEY, Tenant, TestApp, Wishes, order, refusal};

const RARA: &str = "6281290000011";
const PATH: &str = "/dead-letters";

async fn with_one_attempt() -> TestApp {
    TestApp::with(Wishes {
        send_attempts: "1",
        ..Wishes::default()
    })
    .await
}

/// Parks a message of this text, for this answer of the server. Returns its id.
async fn park(app: &TestApp, tenant: &Tenant, words: &str, error: (u16, &str)) -> String {
    app.sends_fail(refusal(error.0, error.1, None), 1);
    app.order(tenant, RARA, words).await;
    app.until_status(words, "parked").await;
    let ids = app
        .values(&format!(
            "SELECT id AS value FROM messages WHERE reference = '{words}'"
        ))
        .await;
    ids[0].as_str().unwrap().to_owned()
}

const NO_SESSION: (u16, &str) = (500, "no session");
const UNAUTHORIZED: (u16, &str) = (401, "unauthorized");

async fn listed(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.internal(Method::GET, &format!("{PATH}{query}"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["data"].as_array().unwrap().clone()
}

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .map(|row| row["message_id"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_by_filter_and_without_their_words() {
    let app = with_one_attempt().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let first = park(&app, &satu, "rahasia satu", NO_SESSION).await;
    let second = park(&app, &satu, "rahasia dua", UNAUTHORIZED).await;
    let other = park(&app, &dua, "rahasia tiga", NO_SESSION).await;
    app.order(&satu, RARA, "terkirim").await;
    app.until_status("terkirim", "sent").await;

    let all = listed(&app, "").await;
    assert_eq!(ids(&all), [&first, &second, &other]);
    let row = &all[0];
    assert_eq!(
        json!([
            row["village_id"],
            row["kind"],
            row["status"],
            row["reason"],
            row["attempts"],
            row["account_id"]
        ]),
        json!(["desa-satu", "text", "parked", "no_session", 1, satu.account])
    );
    assert!(!json!(all).to_string().contains("rahasia"), "words in a list");
    assert_eq!(
        ids(&listed(&app, "?village_id=desa-satu").await),
        [&first, &second]
    );
    assert_eq!(
        ids(&listed(&app, "?village_id=desa-satu&reason=unauthorized").await),
        [&second]
    );
    assert_eq!(ids(&listed(&app, "?limit=1").await), [&first]);
    let since = all[1]["since"].as_str().unwrap();
    app.run_sql(&format!(
        "UPDATE messages SET updated_at = updated_at - interval '1 hour' WHERE id = '{first}'"
    ))
    .await;
    assert_eq!(
        ids(&listed(&app, &format!("?older_than={since}")).await),
        [&first]
    );
    assert_eq!(
        ids(&listed(&app, &format!("?newer_than={since}")).await),
        [&second, &other]
    );
    for wrong in [
        "?limit=0",
        "?limit=x",
        "?limit=1001",
        "?older_than=yesterday",
        "?newer_than=1",
    ] {
        app.internal(Method::GET, &format!("{PATH}{wrong}"), None)
            .await
            .assert_error(400, "invalid_field");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_is_shown_with_its_words_to_its_own_tenant_and_replayed() {
    let app = with_one_attempt().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let letter = park(&app, &satu, "menyerah", NO_SESSION).await;
    app.order(&satu, RARA, "berikutnya").await;
    app.until_status("berikutnya", "sent").await;
    let path = |village: &str| format!("{PATH}/{letter}?village_id={village}");

    let shown = app.internal(Method::GET, &path("desa-satu"), None).await.json();
    let data = &shown["data"];
    assert_eq!(
        json!([data["text"], data["to"], data["reference"], data["message_id"]]),
        json!(["menyerah", format!("{RARA}@s.whatsapp.net"), "menyerah", letter])
    );
    assert_eq!(
        json!([data["tries"][0]["outcome"], data["tries"][0]["reason"]]),
        json!(["retry_later", "no_session"])
    );
    // Another tenant's name opens nothing, nor does a missing one.
    for (method, path) in [
        (Method::GET, path(&dua.id)),
        (
            Method::POST,
            format!("{PATH}/{letter}/replay?village_id=desa-dua"),
        ),
        (Method::GET, format!("{PATH}/not-an-id?village_id=desa-satu")),
        (
            Method::POST,
            format!("{PATH}/{}/replay?village_id=desa-satu", uuid::Uuid::now_v7()),
        ),
    ] {
        app.internal(method, &path, None)
            .await
            .assert_error(404, "dead_letter_not_found");
    }
    for path in [format!("{PATH}/{letter}/replay"), format!("{PATH}/replay")] {
        app.internal(Method::POST, &path, None)
            .await
            .assert_error(400, "village_id_required");
    }

    let replay = format!("{PATH}/{letter}/replay");
    let body = json!({"village_id": "desa-satu", "user": "Bu Sri"});
    let replayed = app.internal(Method::POST, &replay, Some(&body)).await;
    assert_eq!(
        (replayed.status, replayed.json()),
        (
            200,
            json!({"success": true, "message_id": letter, "status": "queued"})
        )
    );
    app.until_status("menyerah", "sent").await;
    assert_eq!(app.texts_on(RARA), ["berikutnya", "menyerah"]);
    assert_eq!(app.statuses("menyerah"), ["queued", "parked", "queued", "sent"]);
    app.internal(Method::POST, &replay, Some(&body))
        .await
        .assert_error(404, "dead_letter_not_found");
    let acts = app
        .rows("SELECT actor, action, subject FROM audit_log WHERE action LIKE 'dead_letter.%' ORDER BY id")
        .await;
    assert_eq!(
        json!(acts),
        json!([
            {"actor": "internal", "action": "dead_letter.show", "subject": letter},
            {"actor": "internal: Bu Sri", "action": "dead_letter.replay", "subject": letter},
        ])
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_replayed_by_filter_in_their_old_order() {
    let app = with_one_attempt().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    for words in ["satu", "dua", "tiga"] {
        park(&app, &satu, words, NO_SESSION).await;
    }
    park(&app, &satu, "lain", UNAUTHORIZED).await;
    park(&app, &dua, "tetangga", NO_SESSION).await;
    let replay = async |body: Value| {
        let answer = app
            .internal(Method::POST, "/dead-letters/replay", Some(&body))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["replayed"].as_u64().unwrap()
    };
    let in_the_past = json!({"village_id": "desa-satu", "older_than": "2026-03-02T02:15:04Z"});
    assert_eq!(replay(in_the_past).await, 0);
    assert_eq!(
        replay(json!({"village_id": "desa-satu", "reason": "no_session", "limit": 2})).await,
        2
    );
    app.until_status("dua", "sent").await;
    assert_eq!(
        replay(json!({"village_id": "desa-satu", "reason": "no_session"})).await,
        1
    );
    app.until_status("tiga", "sent").await;
    assert_eq!(app.texts_on(RARA), ["satu", "dua", "tiga"]);
    let left = listed(&app, "").await;
    assert_eq!(left.len(), 2);
    for wrong in [
        json!({"limit": 0}),
        json!({"limit": "x"}),
        json!({"older_than": "x"}),
        json!({"reason": 7}),
    ] {
        let mut body = wrong;
        body["village_id"] = json!("desa-satu");
        app.internal(Method::POST, "/dead-letters/replay", Some(&body))
            .await
            .assert_error(400, "invalid_field");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_nobody_knows_is_a_dead_letter_too() {
    let app = with_one_attempt().await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(simulator::FaultKind::LostAnswer, 1);
    app.order(&desa, RARA, "entah").await;
    app.until_status("entah", "unknown").await;
    let rows = eventually("it is put aside", || async {
        Some(listed(&app, "").await).filter(|rows| rows.len() == 1)
    })
    .await;
    assert_eq!(rows[0]["status"], "unknown");
    let body = json!({"village_id": "desa-satu"});
    app.internal(
        Method::POST,
        &format!("{PATH}/{}/replay", ids(&rows)[0]),
        Some(&body),
    )
    .await;
    app.until_status("entah", "sent").await;
    // The person sees it once.
    let phone = app.simulator.phone(RARA);
    assert_eq!((phone.len(), phone[0].arrivals), (1, 2));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_another_takes_the_place_of_is_never_sent_beside_it() {
    let app = with_one_attempt().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    app.sends_fail(refusal(NO_SESSION.0, NO_SESSION.1, None), 1);
    let first = app.order(&satu, RARA, "gagal").await;
    app.until_status("gagal", "parked").await;
    let letters = listed(&app, "").await;
    let letter = ids(&letters)[0].to_owned();
    let in_place_of_it = |tenant: &Tenant, words: &str| SendRequested {
        replaces: Some(first),
        ..order(tenant.account, RARA, words)
    };
    // Another tenant's order takes the place of nothing here.
    app.publish(&dua.id, &in_place_of_it(&dua, "tetangga")).await;
    app.until_status("tetangga", "sent").await;
    assert_eq!(listed(&app, "").await, letters);

    let again = in_place_of_it(&satu, "lagi");
    app.publish(&satu.id, &again).await;
    app.until_status("lagi", "sent").await;
    assert_eq!(listed(&app, "").await, [json!(null); 0], "it is over");
    let reason = app
        .values("SELECT reason AS value FROM messages WHERE reference = 'gagal'")
        .await;
    assert_eq!(reason, [json!("replaced")]);
    let body = json!({"village_id": "desa-satu"});
    let replayed = app
        .internal(Method::POST, &format!("{PATH}/{letter}/replay"), Some(&body))
        .await;
    replayed.assert_error(404, "dead_letter_not_found");
    let replayed = app
        .internal(Method::POST, &format!("{PATH}/replay"), Some(&body))
        .await;
    assert_eq!((replayed.status, &replayed.json()["replayed"]), (200, &json!(0)));
    // What is told twice is done once, and what comes behind it in the chat is not held up.
    app.publish(&satu.id, &again).await;
    app.order(&satu, RARA, "sesudahnya").await;
    app.until_status("sesudahnya", "sent").await;
    let texts = app.texts_on(RARA);
    assert_eq!(texts, ["tetangga", "lagi", "sesudahnya"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_key_reaches_its_own_tenant_and_must_say_so() {
    let app = with_one_attempt().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let mine = park(&app, &satu, "punyaku", NO_SESSION).await;
    let other = park(&app, &dua, "tetangga", NO_SESSION).await;
    let limited =
        async |method: Method, path: String| app.internal_as(LIMITED_KEY, method, &path, None).await;
    limited(Method::GET, PATH.to_owned())
        .await
        .assert_error(400, "village_id_required");
    let seen = limited(Method::GET, format!("{PATH}?village_id=desa-satu"))
        .await
        .json();
    assert_eq!(ids(seen["data"].as_array().unwrap()), [&mine]);
    for (method, path) in [
        (Method::GET, format!("{PATH}?village_id=desa-dua")),
        (Method::GET, format!("{PATH}/{other}?village_id=desa-dua")),
        (Method::POST, format!("{PATH}/{other}/replay?village_id=desa-dua")),
        (Method::POST, format!("{PATH}/replay?village_id=desa-dua")),
    ] {
        limited(method, path).await.assert_error(403, "not_your_village");
    }
    let stranger = app.get("/internal/dead-letters").await;
    stranger.assert_error(401, "api_key_missing");
    assert_eq!(
        app.values("SELECT count(*) AS value FROM lane_tasks WHERE parked")
            .await,
        [json!(2)]
    );
    app.finish().await;
}
