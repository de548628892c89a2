//! What Meta's refusals, silences and limits do to messages.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{GraphTemplate, GraphTrouble, GraphTroubleKind, NewGraphNumber};
use test_support::eventually;

use crate::cloud_sending::{open_window, say, words};
use crate::cloud_world::{BIMA, DUA, Number, RARA, SATU, accepted, number, status_at, wamid, with};
use crate::harness::{TestApp, Wishes};
use crate::signing_in::ask;

const QUICK: &[(&str, &str)] = &[
    crate::cloud_world::ENDPOINTS,
    ("CLOUD_PAIR_BACKOFF_MS", "300"),
    ("CLOUD_TOKEN_PROBE_MS", "300"),
    ("CLOUD_UNKNOWN_WAIT_MS", "60000"),
];

pub(crate) async fn quick() -> TestApp {
    with_settings(QUICK).await
}

pub(crate) async fn with_settings(settings: &'static [(&'static str, &'static str)]) -> TestApp {
    TestApp::with(Wishes {
        settings,
        ..Wishes::default()
    })
    .await
}

/// Meta knows these numbers.
pub(crate) fn at_meta(app: &TestApp, numbers: &[(&str, &str)]) {
    for (id, waba) in numbers {
        app.simulator.create_graph_number(NewGraphNumber {
            id: (*id).to_owned(),
            waba: (*waba).to_owned(),
            token: "token-of-meta".to_owned(),
            ..NewGraphNumber::default()
        });
    }
}

pub(crate) fn error(code: i64) -> GraphTroubleKind {
    GraphTroubleKind::Error {
        code,
        subcode: None,
        status: None,
        details: None,
        retry_after: Some("1".to_owned()),
        transient: None,
        accepted: false,
    }
}

pub(crate) fn trouble(app: &TestApp, times: Option<u64>, kind: GraphTroubleKind) {
    let trouble = GraphTrouble {
        times,
        kind,
        ..GraphTrouble::default()
    };
    app.simulator.add_graph_trouble(trouble).unwrap();
}

/// Orders a text without waiting for it; its words are what it is known by.
pub(crate) async fn put(app: &TestApp, number: &Number<'_>, to: &str, text: &str) {
    let mut body = words(to, text);
    body["wait"] = json!(false);
    let answer = say(app, number, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

pub(crate) async fn standing(app: &TestApp, words: &str) -> Value {
    let query = format!(
        "SELECT m.status, m.reason, m.provider_message_id AS id, m.id AS message, t.parked, t.last_error FROM messages m \
         LEFT JOIN lane_tasks t ON t.tenant_id = m.tenant_id AND t.id = m.id WHERE m.body = '{words}'"
    );
    app.rows(&query).await.into_iter().next().unwrap_or(Value::Null)
}

pub(crate) async fn until(app: &TestApp, words: &str, status: &str) -> Value {
    eventually(&format!("{words} is {status}"), || async {
        let now = standing(app, words).await;
        (now["status"] == status).then_some(now)
    })
    .await
}

pub(crate) fn sent(app: &TestApp) -> Vec<String> {
    let sends = app.simulator.graph_sends();
    let words = sends.iter().filter_map(|send| send.body["text"]["body"].as_str());
    words.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_for_good_end_a_message_with_their_reason() {
    let app = quick().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    for (code, reason) in [
        (131_026, "invalid_recipient"),
        (131_047, "window_closed"),
        (100, "invalid_request"),
        (132_000, "invalid_request"),
        (131_053, "unprocessable"),
        (368, "policy"),
        (131_031, "policy"),
        (130_472, "refused"),
    ] {
        trouble(&app, Some(1), error(code));
        let words_of = format!("galat {code}");
        let answer = say(&app, &satu, words(RARA, &words_of)).await;
        let code = if reason == "window_closed" {
            (409, "window_closed")
        } else {
            (422, "send_failed")
        };
        answer.assert_error(code.0, code.1);
        assert_eq!(answer.json()["reason"], reason);
        let now = standing(&app, &words_of).await;
        assert_eq!(
            (&now["status"], &now["reason"]),
            (&json!("failed"), &json!(reason))
        );
    }
    assert_eq!(sent(&app), [""; 0]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_taken_for_a_spammer_rests() {
    let app = quick().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    open_window(&app, &satu, BIMA).await;
    trouble(&app, Some(1), error(131_048));
    let answer = say(&app, &satu, words(RARA, "promosi")).await;
    answer.assert_error(422, "send_failed");
    assert_eq!(answer.json()["reason"], "spam_limited");
    put(&app, &satu, BIMA, "menunggu").await;
    eventually("the other chat waits", || async {
        (standing(&app, "menunggu").await["last_error"] == "account_paused").then_some(())
    })
    .await;
    let left = "SELECT (send_paused_until > now() + interval '55 minutes')::text AS value FROM accounts \
                WHERE send_paused_until IS NOT NULL";
    assert_eq!(app.values(left).await, [json!("true")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_holds_the_account_and_nobody_else_until_it_is_taken_again() {
    let app = quick().await;
    at_meta(&app, &[SATU, DUA]);
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let dua = number(&app, "desa-dua", "Meta", DUA).await;
    for (who, from) in [(&satu, RARA), (&satu, BIMA), (&dua, RARA)] {
        open_window(&app, who, from).await;
    }
    let refused = GraphTrouble {
        number: Some(satu.id.to_owned()),
        call: simulator::GraphCall::Any,
        times: None,
        kind: error(190),
        ..GraphTrouble::default()
    };
    app.simulator.add_graph_trouble(refused).unwrap();
    put(&app, &satu, RARA, "pertama").await;
    eventually("the account is held", || async {
        let held = app
            .values("SELECT send_held AS value FROM accounts WHERE send_held IS NOT NULL")
            .await;
        (held == [json!("token_refused")]).then_some(())
    })
    .await;
    put(&app, &satu, BIMA, "kedua").await;
    eventually("the other chat waits", || async {
        (standing(&app, "kedua").await["last_error"] == "token_refused").then_some(())
    })
    .await;
    assert_eq!(say(&app, &dua, words(RARA, "lain")).await.status, 200);
    assert_eq!(sent(&app), ["lain"]);
    assert_eq!(
        app.count("lane_tasks WHERE failures > 0").await,
        0,
        "nothing was used up"
    );

    app.simulator.clear_graph_troubles();
    until(&app, "pertama", "sent").await;
    until(&app, "kedua", "sent").await;
    assert_eq!(app.count("accounts WHERE send_held IS NOT NULL").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_token_releases_a_held_account() {
    let app = quick().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let schema = &app.database.names.schema;
    app.run_sql(&format!(
        "UPDATE {schema}.accounts SET send_held = 'token_refused', send_probe_at = now() + interval '1 day' \
         WHERE id = '{}'",
        satu.account
    ))
    .await;
    app.run_sql(&format!("UPDATE {schema}.accounts SET status = 'connected'"))
        .await;
    assert_eq!(app.count("accounts WHERE send_held IS NOT NULL").await, 1);
    app.run_sql(&format!(
        "UPDATE {schema}.accounts SET token_sealed = 'another' WHERE id = '{}'",
        satu.account
    ))
    .await;
    assert_eq!(app.count("accounts WHERE send_held IS NOT NULL").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_person_who_is_written_to_too_fast_delays_nobody_else() {
    let app = quick().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    open_window(&app, &satu, BIMA).await;
    let pair = GraphTrouble {
        recipient: Some(RARA.to_owned()),
        times: Some(2),
        kind: error(131_056),
        ..GraphTrouble::default()
    };
    app.simulator.add_graph_trouble(pair).unwrap();
    for text in ["rara 1", "rara 2"] {
        put(&app, &satu, RARA, text).await;
    }
    eventually("the person is left alone", || async {
        (app.count("send_attempts WHERE outcome = 'rate_limited'").await > 0).then_some(())
    })
    .await;
    assert_eq!(say(&app, &satu, words(BIMA, "bima")).await.status, 200);
    until(&app, "rara 2", "sent").await;
    let sent = sent(&app);
    let of_rara: Vec<&String> = sent.iter().filter(|text| text.starts_with("rara")).collect();
    assert_eq!(of_rara, ["rara 1", "rara 2"], "in order");
    assert_eq!(sent[0], "bima", "{sent:?}");
    assert_eq!(app.count("send_attempts WHERE outcome = 'rate_limited'").await, 2);
    assert_eq!(app.count("accounts WHERE send_paused_until IS NOT NULL").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_number_app_and_account_are_no_failures() {
    let app = quick().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    // A permission that is missing may come: that is tried again, and counts.
    trouble(&app, Some(1), error(10));
    put(&app, &satu, RARA, "izin").await;
    until(&app, "izin", "sent").await;
    let tries = "send_attempts WHERE outcome = 'retry_later' AND reason = 'forbidden'";
    assert_eq!(app.count(tries).await, 1);
    for code in [130_429, 4, 80_007] {
        trouble(&app, Some(1), error(code));
        let text = format!("batas {code}");
        put(&app, &satu, RARA, &text).await;
        until(&app, &text, "sent").await;
    }
    assert_eq!(app.count("send_attempts WHERE outcome = 'rate_limited'").await, 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_settled_by_a_report_and_never_repeated() {
    let app = quick().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    trouble(&app, Some(1), GraphTroubleKind::LostAnswer { ms: 0 });
    put(&app, &satu, RARA, "hilang").await;
    let unknown = until(&app, "hilang", "unknown").await;
    put(&app, &satu, RARA, "sesudah").await;
    eventually("it waits for a report", || async {
        (standing(&app, "hilang").await["last_error"] == "awaiting_report").then_some(())
    })
    .await;
    assert_eq!(sent(&app), ["hilang"], "what comes after it waits, too");
    let mut status = status_at(&wamid(), "delivered", crate::cloud_world::now());
    status["biz_opaque_callback_data"] = unknown["id"].clone();
    accepted(&app, &satu.statuses(&[status])).await;
    until(&app, "hilang", "delivered").await;
    until(&app, "sesudah", "sent").await;
    assert_eq!(sent(&app), ["hilang", "sesudah"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_report_it_is_put_aside_and_can_be_replayed() {
    let app = with_settings(&[crate::cloud_world::ENDPOINTS, ("CLOUD_UNKNOWN_WAIT_MS", "300")]).await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    trouble(&app, Some(1), error(131_016));
    put(&app, &satu, RARA, "diam").await;
    let aside = eventually("it is put aside", || async {
        let now = standing(&app, "diam").await;
        (now["parked"] == true).then_some(now)
    })
    .await;
    assert_eq!(
        (&aside["status"], &aside["last_error"]),
        (&json!("unknown"), &json!("no_report"))
    );
    assert_eq!(sent(&app), [""; 0]);
    let path = format!("/dead-letters/{}/replay", aside["message"].as_str().unwrap());
    let body = json!({"village_id": satu.tenant});
    let replayed = app.internal(Method::POST, &path, Some(&body)).await;
    assert!(replayed.status < 300, "{}", replayed.text);
    until(&app, "diam", "sent").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_is_wanted_a_lost_answer_is_repeated_on_the_schedule() {
    let app = TestApp::with(Wishes {
        send_attempts: "8",
        retry_first_ms: "40",
        retry_cap_ms: "10000",
        settings: &[crate::cloud_world::ENDPOINTS, ("CLOUD_REPEAT_UNKNOWN", "true")],
        ..Wishes::default()
    })
    .await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    trouble(&app, None, error(2));
    put(&app, &satu, RARA, "empat kali").await;
    eventually("it is put aside", || async {
        (standing(&app, "empat kali").await["parked"] == true).then_some(())
    })
    .await;
    let waits = app
        .values(
            "SELECT (extract(epoch FROM at - lag(at) OVER (ORDER BY seq)) * 1000)::bigint AS value FROM send_attempts \
             ORDER BY seq OFFSET 1",
        )
        .await;
    let waits: Vec<i64> = waits.iter().filter_map(Value::as_i64).collect();
    // The village's own limit is three retries.
    assert_eq!(waits.len(), 3, "four tries: {waits:?}");
    for (wait, least) in waits.iter().zip([40, 80, 160]) {
        assert!(*wait >= least, "{waits:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pairs_bucket_is_ours_before_it_is_metas() {
    let app = with_settings(&[
        crate::cloud_world::ENDPOINTS,
        ("CLOUD_PAIR_BURST", "2"),
        ("CLOUD_PAIR_INTERVAL_MS", "400"),
    ])
    .await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    for text in ["a", "b", "c", "d"] {
        put(&app, &satu, RARA, text).await;
    }
    until(&app, "d", "sent").await;
    assert_eq!(sent(&app), ["a", "b", "c", "d"]);
    let took = "SELECT (max(at) - min(at) >= interval '700 milliseconds')::text AS value FROM send_attempts";
    assert_eq!(app.values(took).await, [json!("true")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_are_listed_and_held_against_what_is_sent() {
    let app = with(Wishes::default()).await;
    at_meta(&app, &[SATU, DUA]);
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let dua = number(&app, "desa-dua", "Meta", DUA).await;
    let call = |who: &Number<'_>, method: Method, path: &'static str| {
        let bearer = who.desk.bearer.clone();
        let app = &app;
        async move { ask(app, method, path, &[("authorization", &bearer)], None).await }
    };
    let template = |count: u32| {
        let parameters: Vec<Value> = (0..count)
            .map(|n| json!({"type": "text", "text": n.to_string()}))
            .collect();
        json!({"to": RARA, "type": "template", "template": {"name": "pengingat", "language": {"code": "id"},
            "components": [{"type": "body", "parameters": parameters}]}})
    };
    let made: GraphTemplate = serde_json::from_value(json!({
        "name": "pengingat", "language": "id", "status": "APPROVED", "category": "UTILITY",
        "components": [{"type": "BODY", "text": "Halo {{1}}, jam {{2}}"}],
    }))
    .unwrap();
    app.simulator.put_graph_template(satu.waba, made).unwrap();

    let synced = call(&satu, Method::POST, "/whatsapp/templates/sync").await;
    assert_eq!(synced.status, 200, "{}", synced.text);
    assert_eq!(
        synced.json()["accounts"],
        json!([{"waba_id": satu.waba, "count": 1}])
    );
    let known = call(&satu, Method::GET, "/whatsapp/templates").await.json();
    assert_eq!(known["templates"][0]["name"], "pengingat");
    assert_eq!(
        call(&dua, Method::GET, "/whatsapp/templates").await.json()["count"],
        0
    );

    let few = say(&app, &satu, template(1)).await;
    few.assert_error(422, "invalid_template");
    assert_eq!(few.json()["field"], "template.components[0].parameters");
    let mut other = template(2);
    other["template"]["name"] = json!("tidak_ada");
    let unknown = say(&app, &satu, other).await;
    unknown.assert_error(422, "invalid_template");
    assert_eq!(unknown.json()["field"], "template.name");
    assert_eq!(app.count("messages WHERE direction = 'outbound'").await, 0);

    let paused = json!({"field": "message_template_status_update", "value": {"event": "PAUSED",
        "message_template_id": 1, "message_template_name": "pengingat", "message_template_language": "id",
        "reason": "NONE"}});
    let mut told = crate::cloud_world::body(satu.waba, &[paused]);
    told["entry"][0]["time"] = json!(crate::cloud_world::now());
    accepted(&app, &told).await;
    say(&app, &satu, template(2))
        .await
        .assert_error(422, "invalid_template");
    app.finish().await;
}

/// Redis is away: everything goes out all the same, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_pace_is_kept_by_the_process() {
    let app = quick().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    app.proxies.redis.cut();
    for text in ["a", "b", "c"] {
        put(&app, &satu, RARA, text).await;
    }
    until(&app, "c", "sent").await;
    assert_eq!(sent(&app), ["a", "b", "c"]);
    app.proxies.redis.restore();
    tokio::time::timeout(Duration::from_secs(30), app.finish())
        .await
        .unwrap();
}
