//! The spam guard on the way to the AI (contract channel-service 1.7, 3.2, 9.B6, 9.E). Its numbers are tested where it
//! lives; here: nothing is lost, tenants are apart, bans are seen and lifted, and Redis may be away.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::ai_handover::{until_handled, write};
use crate::harness::{INTERNAL_KEY, LIMITED_KEY, TestApp};

const RARA: &str = "6281290000011";
const BANS: &str = "/spam-guard/bans";

async fn bans(app: &TestApp, path: &str) -> Vec<Value> {
    let mut body = app.internal(Method::GET, path, None).await.json();
    let bans: Vec<Value> = serde_json::from_value(body["bans"].take()).unwrap();
    assert_eq!(body["total"], bans.len());
    bans
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_messages_are_kept_and_only_the_first_ten_reach_the_ai() {
    let app = TestApp::spawn().await;
    let (desa, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    // Two processes, one memory.
    let other = app.replica().await;
    for number in 0..12 {
        write(
            &app,
            &desa,
            RARA,
            &format!("3EB0S{number}"),
            &format!("nomor {number}"),
        )
        .await;
    }
    write(&app, &dua, RARA, "3EB0S11", "desa lain").await;
    assert_eq!(
        until_handled(&app, "3EB0S10").await,
        "spam: rate_spam (11 msgs in 10s, banned 60s)"
    );
    eventually("the last is handled", || async {
        let handled = app
            .values("SELECT ai_handling AS value FROM messages WHERE provider_message_id = '3EB0S11' ORDER BY tenant_id")
            .await;
        let banned = handled[1].as_str().is_some_and(|text| text.starts_with("spam: rate_banned ("));
        (handled[0] == "handed_over" && banned).then_some(())
    })
    .await;
    app.until_published().await;
    assert_eq!(app.until_to_ai(11).await.len(), 11);
    assert_eq!(app.count("messages").await, 13);

    let list = bans(&app, BANS).await;
    let at = list[0]["bannedAt"].as_i64().unwrap();
    assert_eq!(
        list,
        [
            json!({"village_id": "desa-satu", "wa_user_id": RARA, "reason": "rate_spam (11 msgs in 10s, banned 60s)",
                "bannedAt": at, "expiresAt": at + 60_000, "identicalText": "", "messageCount": 11, "banType": "rate"})
        ]
    );
    assert_eq!(bans(&app, "/spam-guard/bans?village_id=desa-satu").await, list);
    assert!(
        bans(&app, "/spam-guard/bans?village_id=desa-dua")
            .await
            .is_empty()
    );
    let stats = app.internal(Method::GET, "/spam-guard/stats", None).await.json();
    assert_eq!(
        stats,
        json!({"enabled": true, "maxIdentical": 5, "banDurationMs": 60000, "rateMaxMessages": 10, "rateWindowMs": 10000,
               "activeTrackers": 2, "activeBans": 1, "supersededMessages": 11, "bans": list})
    );
    other.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_is_lifted_by_whom_it_concerns() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.tenant("desa-dua").await;
    let long = "tolong dibaca ya bapak ibu perangkat desa semuanya, saya ulangi lagi";
    for number in 0..6 {
        write(&app, &desa, RARA, &format!("3EB0I{number}"), long).await;
    }
    assert_eq!(
        until_handled(&app, "3EB0I5").await,
        "spam: identical_spam (6x > 5, text banned 60s)"
    );
    let got = app.until_to_ai(5).await;
    assert_eq!(got[4]["spam_guard"]["isDuplicate"], true);
    let list = bans(&app, BANS).await;
    assert_eq!(
        json!([
            list[0]["banType"],
            list[0]["messageCount"],
            list[0]["identicalText"]
        ]),
        json!(["identical", 6, "tolong dibaca ya bapak ibu perangkat des…"])
    );

    let ask = |key: &'static str, method: Method, path: &'static str| {
        let app = &app;
        async move { app.internal_as(key, method, path, None).await }
    };
    // Whose key is for one tenant has to say so, and sees no other's.
    for path in [BANS, "/spam-guard/stats"] {
        ask(LIMITED_KEY, Method::GET, path)
            .await
            .assert_error(400, "village_id_required");
    }
    ask(LIMITED_KEY, Method::GET, "/spam-guard/bans?village_id=desa-dua")
        .await
        .assert_error(403, "not_your_village");
    let own = ask(LIMITED_KEY, Method::GET, "/spam-guard/bans?village_id=desa-satu").await;
    assert_eq!(own.json()["total"], 1);
    ask(INTERNAL_KEY, Method::DELETE, "/spam-guard/bans/6281290000011")
        .await
        .assert_error(400, "village_id_required");
    ask(
        LIMITED_KEY,
        Method::DELETE,
        "/spam-guard/bans/6281290000011?village_id=desa-dua",
    )
    .await
    .assert_error(403, "not_your_village");
    for nobody in [
        "/spam-guard/bans/6281290000011?village_id=desa-dua",
        "/spam-guard/bans/6281290000099?village_id=desa-satu",
        "/spam-guard/bans/%20?village_id=desa-satu",
    ] {
        let answer = ask(INTERNAL_KEY, Method::DELETE, nobody).await;
        answer.assert_error(404, "spam_ban_not_found");
        assert_eq!(
            json!([answer.json()["success"], answer.json()["error"]]),
            json!([false, "No active spam ban found"])
        );
    }
    assert_eq!(bans(&app, BANS).await.len(), 1);
    let path = "/spam-guard/bans/6281290000011?village_id=desa-satu";
    let answer = ask(LIMITED_KEY, Method::DELETE, path).await;
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({"success": true, "message": "Spam ban removed for 6281290000011"})
        )
    );
    ask(LIMITED_KEY, Method::DELETE, path)
        .await
        .assert_error(404, "spam_ban_not_found");
    assert!(bans(&app, BANS).await.is_empty());
    write(&app, &desa, RARA, "3EB0I6", long).await;
    assert_eq!(until_handled(&app, "3EB0I6").await, "handed_over");
    assert_eq!(
        app.values("SELECT action AS value FROM audit_log WHERE action LIKE 'spam%'")
            .await,
        [json!("spam_ban.lift")]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_everybody_reaches_the_ai() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.proxies.redis.cut();
    app.until_ready("degraded").await;
    for number in 0..12 {
        write(&app, &desa, RARA, &format!("3EB0R{number}"), "ok").await;
    }
    let got = app.until_to_ai(12).await;
    assert!(
        got.iter()
            .all(|got| got["spam_guard"]["supersedePrevious"] == false)
    );
    for path in [BANS, "/spam-guard/stats", "/spam-guard/bans?village_id=desa-satu"] {
        app.internal(Method::GET, path, None)
            .await
            .assert_error(503, "temporarily_unavailable");
    }
    app.internal(
        Method::DELETE,
        "/spam-guard/bans/6281290000011?village_id=desa-satu",
        None,
    )
    .await
    .assert_error(503, "temporarily_unavailable");
    app.proxies.redis.restore();
    // A Redis that failed is left alone for a moment.
    eventually("the bans are listed again", || async {
        (app.internal(Method::GET, BANS, None).await.status == 200).then_some(())
    })
    .await;
    assert!(bans(&app, BANS).await.is_empty());
    app.finish().await;
}
