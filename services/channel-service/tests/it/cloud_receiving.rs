//! Meta's webhooks: who may post them, what is kept of them and how often, and that no part of one costs another.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::eventually;

use crate::cloud_world::{
    ALL, BIMA, DUA, OTHER_SECRET, RARA, SATU, SECRET, SECRET_BEFORE, TIGA, accepted, body, change, entry,
    envelope, number, post, post_raw, post_to, reasons, spawn, status_at, text, text_at, wamid, words_of,
};
use crate::harness::{Answer, TestApp};

async fn verify(app: &TestApp, path: &str, query: &str) -> (u16, String) {
    let answer = app.get(&format!("{path}?{query}")).await;
    (answer.status, answer.text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_challenge_comes_back_to_whoever_knows_the_token() {
    let app = spawn().await;
    let asked = |token: &str| format!("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
    let path = "/api/whatsapp/webhook/Sendiri";
    for (path, token) in [
        (ALL, "verify-of-meta"),
        (ALL, "verify-of-sendiri"),
        (path, "verify-of-sendiri"),
    ] {
        let answer = app.get(&format!("{path}?{}", asked(token))).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "1158201444"));
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    for (path, query) in [
        (path, asked("verify-of-meta")),
        (ALL, asked("wrong")),
        (ALL, asked("")),
        ("/api/whatsapp/webhook/Tiada", asked("verify-of-meta")),
        (
            ALL,
            "hub.mode=subscribe&hub.verify_token=verify-of-meta".to_owned(),
        ),
        (
            ALL,
            "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=verify-of-meta".to_owned(),
        ),
    ] {
        let (status, text) = verify(&app, path, &query).await;
        assert_eq!(status, 403, "{query}");
        assert!(!text.contains("1158201444"));
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_that_is_not_signed() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let told = satu.texts(&[text(RARA, &wamid(), "halo")]);
    post_to(&app, ALL, &told, None)
        .await
        .assert_error(401, "signature_missing");
    post_to(&app, ALL, &told, Some("wrong"))
        .await
        .assert_error(401, "signature_mismatch");
    let own = "/api/whatsapp/webhook/Sendiri";
    post_to(&app, own, &told, Some(SECRET))
        .await
        .assert_error(401, "signature_mismatch");
    post_to(&app, "/api/whatsapp/webhook/Tiada", &told, Some(SECRET))
        .await
        .assert_error(401, "signature_missing");
    assert_eq!(app.count("messages").await + app.count("quarantine").await, 0);
    // The secret before it was changed is good, too.
    post_to(&app, ALL, &told, Some(SECRET_BEFORE))
        .await
        .assert_done("Accepted");
    assert_eq!(words_of(&app, "desa-satu").await, [json!("halo")]);

    // What somebody signed and nobody understands is kept and not asked for again.
    for (sent, reason) in [
        (b"halo".to_vec(), "not_json"),
        (br#"{"object":"page","entry":[]}"#.to_vec(), "other_product"),
    ] {
        let answer = post_raw(&app, ALL, sent, Some(SECRET)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(reasons(&app).await.last(), Some(&json!(reason)));
    }
    // 4 MiB and a bit, announced and not.
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    post_raw(&app, ALL, large.clone(), Some(SECRET))
        .await
        .assert_error(413, "payload_too_large");
    let parts: Vec<Result<Vec<u8>, std::io::Error>> =
        large.chunks(64 * 1024).map(|part| Ok(part.to_vec())).collect();
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
    let claimed = format!("sha256={}", "0".repeat(64));
    let request = app.http().post(format!("{}{ALL}", app.url)).body(chunked);
    let answer = request
        .header("x-hub-signature-256", &claimed)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413);
    // What is not written as Meta writes it is no claim, and nothing is read for it. Nor are two claims one.
    for signatures in [
        vec!["sha256=00".to_owned()],
        vec!["0".repeat(64)],
        vec![claimed.clone(), claimed],
    ] {
        let mut request = app.http().post(format!("{}{ALL}", app.url)).body("{}");
        for signature in &signatures {
            request = request.header("x-hub-signature-256", signature);
        }
        let answer = Answer::of(request.send().await.unwrap()).await;
        answer.assert_error(401, "signature_malformed");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_two_tenants_is_five_units_and_each_goes_its_way() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let dua = number(&app, "desa-dua", "Meta", DUA).await;
    let template = json!({"field": "message_template_status_update", "value": {"event": "APPROVED",
        "message_template_id": 1_689_000_000_000_456_u64, "message_template_name": "konfirmasi_janji",
        "message_template_language": "id", "reason": "NONE", "message_template_category": "UTILITY"}});
    let mixed = envelope(&[
        entry(
            satu.waba,
            &[
                change(
                    satu.id,
                    "messages",
                    &[
                        text_at(RARA, &wamid(), 1_763_600_300, "satu"),
                        text_at(RARA, &wamid(), 1_763_600_300, "dua"),
                    ],
                ),
                change(
                    satu.id,
                    "statuses",
                    &[status_at("wamid.OURS==", "read", 1_763_600_301)],
                ),
            ],
        ),
        entry(
            dua.waba,
            &[
                template,
                change(
                    dua.id,
                    "messages",
                    &[text_at(BIMA, &wamid(), 1_763_600_303, "halo")],
                ),
            ],
        ),
    ]);
    for _ in 0..2 {
        accepted(&app, &mixed).await;
    }
    assert_eq!(words_of(&app, "desa-satu").await, [json!("satu"), json!("dua")]);
    assert_eq!(words_of(&app, "desa-dua").await, [json!("halo")]);
    assert_eq!(
        app.rows("SELECT tenant_id, status FROM early_receipts").await,
        [json!({"tenant_id": "desa-satu", "status": "read"})]
    );
    assert_eq!(
        app.rows("SELECT tenant_id, kind, subject FROM cloud_updates")
            .await,
        [json!({"tenant_id": "desa-dua", "kind": "template", "subject": "konfirmasi_janji"})]
    );
    app.until_published().await;
    let told = app.data_of("whatsapp.update");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["kind"], "template");
    assert_eq!(
        (&told[0]["details"]["id"], &told[0]["details"]["change"]["event"]),
        (&json!(1_689_000_000_000_456_u64), &json!("APPROVED"))
    );
    assert_eq!(app.data_of("message.received").len(), 3);
    assert_eq!(app.count("quarantine").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_copies_at_once_are_one_message() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let told = satu.texts(&[text(RARA, "wamid.SAME==", "sekali")]);
    let answers = join_all((0..20).map(|_| post(&app, &told))).await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(app.count("messages").await, 1);
    assert_eq!(app.count("inbound_ledger").await, 1);
    app.until_published().await;
    assert_eq!(app.data_of("message.received").len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reaction_is_changed_and_taken_away_under_the_id_that_it_came_under() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let reaction = |at: i64, emoji: Option<&str>| {
        let mut told = json!({"from": RARA, "id": "wamid.REACTION==", "timestamp": at.to_string(), "type": "reaction",
            "reaction": {"message_id": "wamid.OURS=="}});
        if let Some(emoji) = emoji {
            told["reaction"]["emoji"] = json!(emoji);
        }
        told
    };
    let told = satu.texts(&[
        reaction(1_763_600_050, Some("👍")),
        reaction(1_763_600_052, Some("🙏")),
        reaction(1_763_600_055, None),
    ]);
    for _ in 0..2 {
        accepted(&app, &told).await;
    }
    // By itself, too.
    accepted(&app, &satu.texts(&[reaction(1_763_600_052, Some("🙏"))])).await;
    assert_eq!(
        app.values("SELECT content::jsonb ->> 'emoji' AS value FROM messages ORDER BY sent_at")
            .await,
        [json!("👍"), json!("🙏"), Value::Null]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_are_kept_in_order_and_share_commits() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let at = crate::cloud_world::now();
    let messages: Vec<Value> = (0..1000)
        .map(|n| text_at([RARA, BIMA][n % 2], &wamid(), at, &format!("{n:04}")))
        .collect();
    accepted(&app, &satu.texts(&messages)).await;
    assert_eq!(app.count("messages").await, 1000);
    for (person, rest) in [(RARA, 0), (BIMA, 1)] {
        // By id: they were made in the order in which they were kept.
        let kept = app
            .values(&format!(
                "SELECT m.body AS value FROM messages m JOIN chats c ON c.id = m.chat_id \
                 WHERE c.phone = '{person}' ORDER BY m.id"
            ))
            .await;
        let expected: Vec<Value> = (0..1000)
            .filter(|n| n % 2 == rest)
            .map(|n| json!(format!("{n:04}")))
            .collect();
        assert_eq!(kept, expected);
    }
    let commits = app
        .values("SELECT count(DISTINCT created_at) AS value FROM messages")
        .await;
    assert!(commits[0].as_u64().unwrap() < 200, "{commits:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_poisoned_item_takes_no_other_with_it() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let schema = &app.database.names.schema;
    app.run_sql(&format!(
        "CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ \
         BEGIN IF NEW.body = 'racun' THEN RAISE EXCEPTION 'never'; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON {schema}.messages FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()"
    ))
    .await;
    let no_id =
        json!({"from": RARA, "timestamp": "1763600300", "type": "text", "text": {"body": "tanpa id"}});
    let told = satu.texts(&[
        text(RARA, &wamid(), "sehat"),
        text(BIMA, &wamid(), "racun"),
        no_id,
        json!("bukan pesan"),
        json!({"from": RARA, "id": wamid(), "timestamp": "1763600300", "type": "belum_ada", "belum_ada": {}}),
        text(BIMA, &wamid(), "juga sehat"),
        text(RARA, &wamid(), "dengan \u{0} di dalam"),
    ]);
    accepted(&app, &told).await;
    let words = words_of(&app, "desa-satu").await;
    for kept in ["sehat", "juga sehat", "dengan  di dalam"] {
        assert!(words.contains(&json!(kept)), "{words:?}");
    }
    assert!(!words.contains(&json!("racun")));
    let reasons = app
        .values("SELECT DISTINCT coalesce(reason, 'none') AS value FROM provider_events ORDER BY 1")
        .await;
    assert!(reasons.contains(&json!("not_storable")), "{reasons:?}");
    // By itself, too, it is kept aside and not asked for for a week.
    accepted(&app, &satu.texts(&[text(BIMA, &wamid(), "racun")])).await;
    app.finish().await;
}

/// Most events that cannot be used, of one village; most strays of one sort.
const MOST_KEPT: i64 = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_village_that_keeps_no_more_makes_nobody_repeat_anything() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let schema = &app.database.names.schema;
    app.run_sql(&format!(
        "INSERT INTO {schema}.provider_events (tenant_id, id, account_id, type_name, payload) \
         SELECT 'desa-satu', gen_random_uuid(), '{}', 'lama', '{{}}' FROM generate_series(1, {MOST_KEPT})",
        satu.account
    ))
    .await;
    let told = satu.texts(&[
        json!("bukan pesan"),
        text(RARA, &wamid(), "halo"),
        json!({"from": RARA, "timestamp": "1763600300", "type": "text", "text": {"body": "tanpa id"}}),
    ]);
    accepted(&app, &told).await;
    let field = json!({"field": "partner_solutions", "value": {"event": "SOLUTION_CREATED"}});
    accepted(&app, &body(SATU.1, &[field])).await;
    assert_eq!(words_of(&app, "desa-satu").await, [json!("halo")]);
    assert_eq!(
        app.count("provider_events").await,
        u64::try_from(MOST_KEPT).unwrap()
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_leave_behind_takes_no_place_of_what_is_signed() {
    let app = spawn().await;
    let schema = &app.database.names.schema;
    app.run_sql(&format!(
        "INSERT INTO {schema}.quarantine (id, reason, provider, body, body_size) \
         SELECT gen_random_uuid(), 'unknown_session', 'genfity', '\\x', 0 FROM generate_series(1, {MOST_KEPT})"
    ))
    .await;
    let told = body(
        SATU.1,
        &[change(SATU.0, "messages", &[text(RARA, &wamid(), "halo")])],
    );
    accepted(&app, &told).await;
    assert_eq!(app.count("quarantine WHERE provider = 'cloud'").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_it_comes_again() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let many: Vec<Value> = (0..200)
        .map(|n| text([RARA, BIMA][n % 2], &wamid(), "sekali"))
        .collect();
    let told = satu.texts(&many);
    app.proxies.postgres.cut();
    for _ in 0..8 {
        let begun = Instant::now();
        let answer = post(&app, &told).await;
        answer.assert_error(503, "temporarily_unavailable");
        assert!(answer.headers.contains_key("retry-after"));
        // Two seconds for each of two hundred would be more than six minutes.
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }
    app.proxies.postgres.restore();
    eventually("Meta's repetition is accepted", || async {
        let answer = post(&app, &told).await;
        assert!([200, 503].contains(&answer.status), "{}", answer.text);
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(app.count("messages").await, 200);
    app.until_ready("ready").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_good_for_the_numbers_of_its_own_endpoints_only() {
    let app = spawn().await;
    let _satu = number(&app, "desa-satu", "Meta", SATU).await;
    let tiga = number(&app, "desa-tiga", "Sendiri", TIGA).await;
    let of_satu = |words| {
        body(
            SATU.1,
            &[change(SATU.0, "messages", &[text(RARA, &wamid(), words)])],
        )
    };
    for path in [ALL, "/api/whatsapp/webhook/Sendiri"] {
        post_to(&app, path, &of_satu("palsu"), Some(OTHER_SECRET))
            .await
            .assert_done("Accepted");
    }
    assert_eq!(
        reasons(&app).await,
        [json!("foreign_signature"), json!("foreign_signature")]
    );
    assert!(words_of(&app, "desa-satu").await.is_empty());
    // Also not what is about the whole account.
    let banned = body(
        SATU.1,
        &[
            json!({"field": "account_update", "value": {"event": "DISABLED_UPDATE",
            "ban_info": {"waba_ban_state": "DISABLE", "waba_ban_date": "November 30, 2026"}}}),
        ],
    );
    post_to(&app, ALL, &banned, Some(OTHER_SECRET))
        .await
        .assert_done("Accepted");
    assert_eq!(app.count("cloud_updates").await, 0);

    let own = tiga.texts(&[text(RARA, &wamid(), "asli")]);
    post_to(&app, "/api/whatsapp/webhook/Sendiri", &own, Some(OTHER_SECRET))
        .await
        .assert_done("Accepted");
    assert_eq!(words_of(&app, "desa-tiga").await, [json!("asli")]);
    app.finish().await;
}
