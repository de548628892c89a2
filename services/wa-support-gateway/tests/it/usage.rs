//! What is counted of sends, and what customers see of it.

use chrono::{Days, FixedOffset, Utc};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use runtime::config::{BaseUrl, Setting as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use test_support::{TestProcessDatabase, eventually};

use crate::process::{Process, stdout};
use crate::support::{FakeWaServer, Gateway, Session, Twin};

async fn send(gateway: &Gateway, session: &Session, kind: &str, body: &str) {
    let request = gateway
        .post(&format!("/wa/chat/send/{kind}"), session)
        .json(&json!({"Phone": "62811", "Body": body}));
    request.send().await.unwrap();
}

fn today() -> chrono::NaiveDate {
    Utc::now()
        .with_timezone(&FixedOffset::east_opt(7 * 3600).unwrap())
        .date_naive()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_are_counted_by_kind_and_day_and_customers_see_their_own() {
    let gateway = Gateway::start().await;
    let (a, b) = (gateway.session("desa-a").await, gateway.session("desa-b").await);
    let (key, other) = (gateway.key_of("desa-a").await, gateway.key_of("desa-b").await);
    for (kind, body, times) in [
        ("text", "halo", 3),
        ("text", "refuse", 1),
        ("image", "halo", 1),
        ("abc", "halo", 1),
        ("x/y", "refuse", 1),
    ] {
        for _ in 0..times {
            send(&gateway, &a, kind, body).await;
        }
    }
    send(&gateway, &b, "poll", "halo").await;
    gateway.post("/wa/chat/react", &a).send().await.unwrap();

    let usage = async |key: &secrecy::SecretString, query: &str| {
        let request = gateway.client.get(gateway.url(&format!("/v1/usage{query}")));
        let answer = request
            .header("x-api-key", key.expose_secret())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let before = today();
    eventually("all of them are counted", || async {
        let count = "SELECT coalesce(sum(sent + failed), 0) FROM message_usage WHERE tenant_id = 'desa-a'";
        (gateway.number(count).await == 7).then_some(())
    })
    .await;
    let shown = eventually("they are shown", || async {
        let (status, body) = usage(&key, "").await;
        assert_eq!(status, 200, "{body}");
        (body["sent"] == 5 && body["failed"] == 2).then_some(body)
    })
    .await;
    let day = shown["sessions"][0]["days"][0]["date"].clone();
    assert!([json!(before), json!(today())].contains(&day));
    let row = |kind: &str, sent: i64, failed: i64| json!({"date": day, "type": kind, "sent": sent, "failed": failed});
    assert_eq!(
        shown["sessions"],
        json!([{
            "session_id": a.session_id, "session_name": "desa-a", "sent": 5, "failed": 2,
            "days": [row("image", 1, 0), row("other", 1, 1), row("text", 3, 1)],
        }])
    );
    let (_, of_other) = usage(&other, "").await;
    assert_eq!(
        (&of_other["sent"], &of_other["sessions"][0]["session_name"]),
        (&json!(1), &json!("desa-b"))
    );
    assert_eq!(
        gateway
            .number("SELECT sent_total * 10 + failed_total FROM sessions WHERE last_activity_at IS NOT NULL AND tenant_id = 'desa-a'")
            .await,
        52
    );

    // Other days have nothing; days that are none are refused.
    let long_ago = before.checked_sub_days(Days::new(10)).unwrap();
    let (_, nothing) = usage(&key, &format!("?from={long_ago}&to={long_ago}")).await;
    assert_eq!((&nothing["sent"], &nothing["sessions"]), (&json!(0), &json!([])));
    for wrong in [
        "?from=yesterday".to_owned(),
        format!("?from={before}&to={long_ago}"),
        "?from=2020-01-01".to_owned(),
    ] {
        assert_eq!(usage(&key, &wrong).await.0, 400, "{wrong}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_a_process_ends_in_order() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let twin = Twin::of(&gateway, |_| {}).await;
    for _ in 0..7 {
        let request = gateway
            .client
            .post(twin.url("/wa/chat/send/text"))
            .header("token", &session.token);
        assert_eq!(
            request
                .json(&json!({"Phone": "1"}))
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
    // One is in hand when the end begins.
    let slow = gateway
        .client
        .post(twin.url("/wa/chat/send/slow"))
        .header("token", &session.token)
        .json(&json!({"Phone": "1"}));
    let slow = tokio::spawn(slow.send());
    eventually("the send is on its way", || async {
        let seen = gateway.wa.seen();
        seen.iter()
            .any(|seen| seen.target.ends_with("/slow"))
            .then_some(())
    })
    .await;
    twin.stop().await;
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(
        gateway
            .number("SELECT coalesce(sum(sent), 0) FROM message_usage")
            .await,
        8
    );
    assert_eq!(gateway.number("SELECT sent_total FROM sessions").await, 8);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_was_not_answered_is_not_counted_and_a_removed_session_holds_nobody_up() {
    let gateway = Gateway::start().await;
    let (gone, session) = (gateway.session("desa-a").await, gateway.session("desa-b").await);
    let nowhere = Twin::of(&gateway, |settings| {
        settings.wa_server.url = BaseUrl::from_text("http://127.0.0.1:9/wa").unwrap();
    })
    .await;
    let request = gateway
        .client
        .post(nowhere.url("/wa/chat/send/text"))
        .header("token", &session.token);
    assert_eq!(request.send().await.unwrap().status(), 502);
    nowhere.stop().await;
    assert_eq!(gateway.number("SELECT count(*) FROM message_usage").await, 0);

    let twin = Twin::of(&gateway, |_| {}).await;
    for session in [&gone, &session] {
        let request = gateway
            .client
            .post(twin.url("/wa/chat/send/text"))
            .header("token", &session.token);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    gateway
        .sql("DELETE FROM sessions WHERE tenant_id = 'desa-a'")
        .await;
    twin.stop().await;
    assert_eq!(
        gateway
            .number("SELECT coalesce(sum(sent), 0) FROM message_usage WHERE tenant_id = 'desa-b'")
            .await,
        1
    );
    gateway.stop().await;
}

/// What was charged, what was counted by day, and what was counted in all.
async fn numbers(database: &TestProcessDatabase) -> [i64; 3] {
    #[derive(diesel::QueryableByName)]
    struct Numbers {
        #[diesel(sql_type = diesel::sql_types::Array<diesel::sql_types::BigInt>)]
        numbers: Vec<i64>,
    }
    let mut admin = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
    let row: Numbers = diesel::sql_query(
        "SELECT ARRAY[(SELECT sum(messages_used) FROM wa_support.subscriptions), \
                      (SELECT coalesce(sum(sent), 0) FROM wa_support.message_usage), \
                      (SELECT sum(sent_total) FROM wa_support.sessions)]::bigint[] AS numbers",
    )
    .get_result(&mut admin)
    .await
    .unwrap();
    row.numbers.try_into().unwrap()
}

/// Killed, a process loses what it has not written down yet, which it does each second; nothing that was written, nothing
/// of the quota, and nothing is counted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_no_more_than_what_it_had_not_written_down() {
    test_support::install_crypto_provider();
    let (database, wa) = (TestProcessDatabase::create().await, FakeWaServer::start());
    let (process, port) = Process::serving(&database, &wa);
    stdout(&process.run(&["migrate", "--bootstrap"]).await);
    let create = ["session", "create", "--customer", "desa-a", "--name", "desa-a"];
    let made: Value = serde_json::from_str(&stdout(&process.run(&create).await)).unwrap();
    let token = made["session_token"].as_str().unwrap();
    let mut admin = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
    let limit = "UPDATE wa_support.subscriptions SET max_messages = 1000";
    admin.batch_execute(limit).await.unwrap();
    drop(admin);

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |times: usize| {
        for _ in 0..times {
            let call = client.post(format!("http://127.0.0.1:{port}/wa/chat/send/text"));
            let body = json!({"Phone": "62811", "Body": "halo"});
            let answer = call.header("token", token).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        }
    };
    let serve = async || {
        let mut command = process.command(&["serve"]);
        // Nobody reads its log here.
        let child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        eventually("it is healthy", || async {
            process.run(&["healthcheck"]).await.status.success().then_some(())
        })
        .await;
        child
    };
    let counted = async |at_least: i64| {
        eventually("they are counted", || async {
            let numbers = numbers(&database).await;
            (numbers[1] >= at_least).then_some(numbers)
        })
        .await
    };

    let mut child = serve().await;
    send(20).await;
    assert_eq!(counted(20).await, [20, 20, 20]);
    send(5).await;
    child.kill().await.unwrap();
    // What it had just told Postgres to commit is committed.
    eventually("its connections are closed", || async {
        let mut admin = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
        let others =
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let others = diesel::sql_query(others).execute(&mut admin).await.unwrap();
        (others == 0).then_some(())
    })
    .await;
    let [charged, kept, total] = numbers(&database).await;
    assert_eq!(charged, 25, "the quota is exact");
    assert!((20..=25).contains(&kept), "{kept}");
    assert_eq!(kept, total, "both are written together");

    let mut child = serve().await;
    send(5).await;
    assert_eq!(counted(kept + 5).await, [30, kept + 5, kept + 5]);
    child.kill().await.unwrap();
}
