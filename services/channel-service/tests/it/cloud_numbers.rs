//! Numbers of Meta's Cloud API as devices: whose they are, whose they were, and what nobody had when it came.

use std::time::Duration;

use channel_service::flows::route_account::AccountRoutes;
use channel_service::flows::route_number::{Address, Nobodys, NumberRouter};
use chrono::Utc;
use domain::ids::{PhoneNumberId, ProviderMessageId, WabaId};
use futures_util::future::join_all;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use test_support::eventually;

use crate::cloud_world::{
    ALL, BIMA, DUA, OTHER_SECRET, RARA, SATU, SECRET, TIGA, accepted, body, change, desk, now, number,
    post_to, reasons, root, spawn, status_at, take, text, text_at, wamid, words_of,
};
use crate::harness::{TestApp, Wishes};

async fn numbers(app: &TestApp) -> Vec<Value> {
    app.rows(
        "SELECT tenant_id, phone_number_id, valid_to IS NULL AS live, valid_from = 'epoch' AS since_ever \
         FROM cloud_numbers ORDER BY created_at, valid_from",
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_taken_shown_and_given_up() {
    let app = spawn().await;
    let village = desk(&app, "desa-satu", "Meta").await;
    // Whose a number is nobody can prove here, so no tenant takes one for itself.
    let own = json!({"phone_number_id": SATU.0});
    village
        .call(Method::POST, "", Some(own))
        .await
        .assert_error(403, "superadmin_only");
    let root = root(&app).await;
    let named = |body: Value| root.call(Method::POST, "?tenant_id=desa-satu", Some(body));
    named(json!({}))
        .await
        .assert_error(409, "phone_number_id_required");
    for (body, code) in [
        (json!({"phone_number_id": "x"}), "invalid_field"),
        (
            json!({"phone_number_id": SATU.0, "waba_id": "x"}),
            "invalid_field",
        ),
        (json!({"waba_id": SATU.1}), "phone_number_id_required"),
        (json!({"phone_number_id": TIGA.0}), "unknown_number"),
    ] {
        named(body).await.assert_error(400, code);
    }
    assert!(numbers(&app).await.is_empty());

    let made = named(json!({"phone_number_id": SATU.0, "name": "Kantor"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let device = made.json()["device"].take();
    assert_eq!(
        (&device["name"], &device["provider"], &device["endpoint"]),
        (&json!("Kantor"), &json!("cloud"), &json!("Meta"))
    );
    let id = device["id"].as_str().unwrap().to_owned();
    for (method, path, body) in [
        (Method::GET, "qr", None),
        (Method::POST, "pair", Some(json!({"phone": RARA}))),
    ] {
        village
            .call(method, &format!("/{id}/{path}"), body)
            .await
            .assert_error(409, "not_paired");
    }
    // Its business account is learned from the first webhook, and no other one is believed afterwards.
    accepted(
        &app,
        &body(
            SATU.1,
            &[change(SATU.0, "messages", &[text(RARA, &wamid(), "halo")])],
        ),
    )
    .await;
    assert_eq!(
        app.rows("SELECT waba_id, display_number FROM cloud_numbers")
            .await,
        [json!({"waba_id": SATU.1, "display_number": "622150000222"})]
    );
    let elsewhere = body(
        DUA.1,
        &[change(SATU.0, "messages", &[text(RARA, &wamid(), "palsu")])],
    );
    eventually("the business account is known", || async {
        accepted(&app, &elsewhere).await;
        reasons(&app)
            .await
            .contains(&json!("waba_mismatch"))
            .then_some(())
    })
    .await;

    let gone = village.call(Method::DELETE, &format!("/{id}"), None).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert_eq!(app.count("tenant_directory").await, 0);
    assert_eq!(
        numbers(&app).await,
        [json!({"tenant_id": "desa-satu", "phone_number_id": SATU.0, "live": false, "since_ever": true})]
    );
    village
        .call(Method::POST, &format!("/{id}/connect"), None)
        .await
        .assert_error(404, "device_not_found");
    // The same village may have it back, with the chats that it had.
    let again = take(&app, "desa-satu", SATU.0, None).await;
    assert_eq!(
        (again.status, &again.json()["device"]["id"]),
        (201, &json!(id)),
        "{}",
        again.text
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_one_villages_at_a_time_and_nobody_learns_whose() {
    let app = spawn().await;
    let (satu, dua) = ("desa-satu", "desa-dua");
    for village in [satu, dua] {
        desk(&app, village, "Meta").await;
    }
    let answers =
        join_all([satu, dua, satu, dua].map(|village| take(&app, village, SATU.0, Some(SATU.1)))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        refused.assert_error(409, "number_taken");
        assert!(!refused.text.contains("desa"), "{}", refused.text);
    }
    let live = numbers(&app).await;
    assert_eq!((live.len(), &live[0]["live"]), (1, &json!(true)));
    assert_eq!(app.count("tenant_directory").await, 1);
    app.finish().await;

    let genfity = TestApp::with(Wishes::default()).await;
    crate::devices::Desk::open(&genfity, "desa-satu", 3).await;
    take(&genfity, "desa-satu", SATU.0, None)
        .await
        .assert_error(400, "no_numbers_here");
    genfity.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_a_number_is_not_shown_what_was_written_before() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let old = satu.texts(&[text_at(RARA, "wamid.OLD==", now() - 60, "rahasia")]);
    accepted(&app, &old).await;
    let schema = &app.database.names.schema;
    app.run_sql(&format!(
        "INSERT INTO {schema}.messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, \
             body, content, sent_at, status) \
         SELECT tenant_id, gen_random_uuid(), account_id, id, 'outbound', 'api', 'wamid.LATE==', 'text', 'jawaban', '{{}}', \
             now(), 'sent' FROM {schema}.chats"
    ))
    .await;
    let gone = satu
        .desk
        .call(Method::DELETE, &format!("/{}", satu.device), None)
        .await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    // As if it had been given up an hour ago.
    app.run_sql(&format!(
        "UPDATE {schema}.cloud_numbers SET valid_to = now() - interval '1 hour'"
    ))
    .await;
    let dua = number(&app, "desa-dua", "Meta", SATU).await;

    // It comes again, and so does what had never come, and what nobody had the number for.
    accepted(&app, &old).await;
    for (at, words) in [(now() - 7200, "terlambat"), (now() - 1800, "di antara")] {
        accepted(&app, &satu.texts(&[text_at(RARA, &wamid(), at, words)])).await;
    }
    // A report about the old owner's message, also one of today.
    accepted(
        &app,
        &satu.statuses(&[status_at("wamid.LATE==", "read", now() + 1)]),
    )
    .await;
    assert!(words_of(&app, "desa-dua").await.is_empty());
    assert_eq!(
        reasons(&app).await,
        [json!("unknown_number"), json!("unknown_number")]
    );
    assert_eq!(
        words_of(&app, "desa-satu").await,
        [json!("terlambat"), json!("rahasia"), json!("jawaban")]
    );
    assert_eq!(
        app.values("SELECT status AS value FROM messages WHERE provider_message_id = 'wamid.LATE=='")
            .await,
        [json!("read")]
    );
    // Nor does asking for it help.
    let asked = dua
        .desk
        .call(Method::POST, &format!("/{}/replay", dua.device), None)
        .await;
    assert_eq!(asked.json(), json!({"success": true, "taken": 0, "kept": 2}));

    // What is written from now on is the new owner's, and only that.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    accepted(&app, &dua.texts(&[text(RARA, &wamid(), "untuk dua")])).await;
    assert_eq!(words_of(&app, "desa-dua").await, [json!("untuk dua")]);
    assert_eq!(words_of(&app, "desa-satu").await.len(), 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_village_that_is_erased_leaves_no_messages_to_whoever_takes_its_number() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let schema = &app.database.names.schema;
    // What an erasure does, in short.
    app.run_sql(&format!(
        "DELETE FROM {schema}.tenant_directory; DELETE FROM {schema}.cloud_numbers"
    ))
    .await;
    app.routes.forget("cloud_number", satu.id).await;
    let _dua = number(&app, "desa-dua", "Meta", SATU).await;
    accepted(
        &app,
        &satu.texts(&[text_at(RARA, &wamid(), now() - 60, "rahasia")]),
    )
    .await;
    assert!(words_of(&app, "desa-dua").await.is_empty());
    assert_eq!(reasons(&app).await, [json!("unknown_number")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_the_number_was_known_is_taken_in_when_it_is() {
    let app = spawn().await;
    let of = |(number, waba): (&str, &str), words: &str| {
        body(
            waba,
            &[change(number, "messages", &[text(BIMA, &wamid(), words)])],
        )
    };
    let both = body(
        DUA.1,
        &[change(
            DUA.0,
            "messages",
            &[text(RARA, &wamid(), "satu"), text(RARA, &wamid(), "dua")],
        )],
    );
    accepted(&app, &both).await;
    accepted(&app, &of(TIGA, "palsu")).await;
    let account = body(
        DUA.1,
        &[json!({"field": "account_review_update", "value": {"decision": "APPROVED"}})],
    );
    accepted(&app, &account).await;
    assert_eq!(app.count("quarantine").await, 4);
    assert_eq!(app.count("messages").await, 0);

    let dua = number(&app, "desa-dua", "Meta", DUA).await;
    let tiga = number(&app, "desa-tiga", "Sendiri", TIGA).await;
    let taken = dua
        .desk
        .call(Method::POST, &format!("/{}/replay", dua.device), None)
        .await;
    assert_eq!(
        taken.json(),
        json!({"success": true, "taken": 3, "kept": 0}),
        "{}",
        taken.text
    );
    assert_eq!(words_of(&app, "desa-dua").await, [json!("satu"), json!("dua")]);
    assert_eq!(
        app.values("SELECT kind AS value FROM cloud_updates").await,
        [json!("account")]
    );
    // Whoever can sign for one app cannot lay something by for a number of another.
    let kept = tiga
        .desk
        .call(Method::POST, &format!("/{}/replay", tiga.device), None)
        .await;
    assert_eq!(kept.json(), json!({"success": true, "taken": 0, "kept": 1}));
    assert!(words_of(&app, "desa-tiga").await.is_empty());
    let again = dua
        .desk
        .call(Method::POST, &format!("/{}/replay", dua.device), None)
        .await;
    assert_eq!(again.json(), json!({"success": true, "taken": 0, "kept": 0}));
    // Another village's device is nobody's.
    dua.desk
        .call(Method::POST, &format!("/{}/replay", tiga.device), None)
        .await
        .assert_error(404, "device_not_found");
    post_to(&app, ALL, &of(TIGA, "asli"), Some(OTHER_SECRET))
        .await
        .assert_done("Accepted");
    assert_eq!(words_of(&app, "desa-tiga").await, [json!("asli")]);
    post_to(&app, ALL, &of(TIGA, "palsu"), Some(SECRET))
        .await
        .assert_done("Accepted");
    assert_eq!(reasons(&app).await.last(), Some(&json!("foreign_signature")));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_for_another_business_account_is_taken_in_when_that_is_the_right_one() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    accepted(&app, &satu.texts(&[text(BIMA, &wamid(), "halo")])).await;
    let moved = body(
        DUA.1,
        &[change(SATU.0, "messages", &[text(RARA, &wamid(), "pindah")])],
    );
    accepted(&app, &moved).await;
    assert_eq!(reasons(&app).await, [json!("waba_mismatch")]);
    let replay = format!("/{}/replay", satu.device);
    let replayed = || async { satu.desk.call(Method::POST, &replay, None).await.json() };
    assert_eq!(replayed().await, json!({"success": true, "taken": 0, "kept": 1}));
    // Whoever knows where the number is gives it anew; what came while it was thought to be elsewhere is the village's.
    let gone = satu
        .desk
        .call(Method::DELETE, &format!("/{}", satu.device), None)
        .await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    let again = take(&app, "desa-satu", SATU.0, Some(DUA.1)).await;
    assert_eq!(again.status, 201, "{}", again.text);
    assert_eq!(replayed().await, json!({"success": true, "taken": 1, "kept": 0}));
    assert!(reasons(&app).await.is_empty());
    assert_eq!(
        words_of(&app, "desa-satu").await,
        [json!("halo"), json!("pindah")]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_had_a_number_is_asked_once_and_not_for_every_report() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let gone = satu
        .desk
        .call(Method::DELETE, &format!("/{}", satu.device), None)
        .await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    let again = take(&app, "desa-satu", SATU.0, Some(SATU.1)).await;
    assert_eq!(again.status, 201, "{}", again.text);
    // It was released once, and nobody ever had the other one.
    let signed_by = ["Meta".to_owned()];
    let redis = cache::RedisLink::new(
        &SecretString::from(test_support::redis_url()),
        &test_support::unique_prefix("holders"),
    )
    .unwrap();
    let db = &app.database.db;
    let routes = AccountRoutes::new(db.clone(), redis);
    let mut router = NumberRouter::new(db, &routes, &signed_by);
    let (released, never) = (
        PhoneNumberId::parse(SATU.0).unwrap(),
        PhoneNumberId::parse(DUA.0).unwrap(),
    );
    let ids: Vec<ProviderMessageId> = (0..3)
        .map(|_| ProviderMessageId::parse(wamid()).unwrap())
        .collect();
    let waba = WabaId::parse(SATU.1).unwrap();
    let to = |number, about| Address {
        number,
        waba: Some(&waba),
        display_number: None,
        at: Some(Utc::now()),
        about: Some((about, None)),
    };
    assert!(router.find(to(&released, &ids[0])).await.unwrap().is_ok());
    assert_eq!(
        router.find(to(&never, &ids[0])).await.unwrap().unwrap_err(),
        Nobodys::UnknownNumber
    );
    app.proxies.postgres.cut();
    for id in &ids {
        let owner = router.find(to(&released, id)).await.unwrap().unwrap();
        assert_eq!(owner.account, satu.account);
        let nobodys = router.find(to(&never, id)).await.unwrap().unwrap_err();
        assert_eq!(nobodys, Nobodys::UnknownNumber);
    }
    app.proxies.postgres.restore();
    app.until_ready("ready").await;
    app.finish().await;
}
