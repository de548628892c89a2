//! Secrets are sealed in the tables, and neither they nor people's words are in the logs.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::json;
use simulator::FaultKind;
use test_support::logs;

use crate::harness::{TestApp, Webhook, refusal, text};

const RARA: &str = "6281290000011";

/// Every row of every table, as text.
pub(crate) async fn dump(app: &TestApp) -> String {
    let schema = &app.database.names.schema;
    let tables = app
        .values(&format!(
            "SELECT tablename AS value FROM pg_tables WHERE schemaname = '{schema}'"
        ))
        .await;
    let mut dump = String::new();
    for table in &tables {
        for row in app
            .rows(&format!("SELECT * FROM {}", table.as_str().unwrap()))
            .await
        {
            dump.push_str(&row.to_string());
            dump.push('\n');
        }
    }
    dump
}

/// The secret is nowhere, in whatever form somebody could have written it down.
#[track_caller]
pub(crate) fn assert_in_no_table(dump: &str, secret: &str) {
    let in_url: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let in_path: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut forms = vec![
        secret.to_owned(),
        in_url,
        in_path,
        hex::encode(secret),
        hex::encode_upper(secret),
    ];
    // Base64 of a text with something before it has one of three forms; the ends depend on what is beside it.
    for before in 0..3 {
        let padded = format!("{}{secret}", "x".repeat(before));
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&padded);
            let begin = [0, 2, 3][before];
            forms.push(encoded[begin..encoded.len() - 2].to_owned());
        }
    }
    for form in forms {
        assert!(!dump.contains(&form), "{form} is in a table");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_hold_no_secret_and_logs_hold_neither_secrets_nor_words() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let words = format!("kata-warga-{}", uuid::Uuid::now_v7().simple());

    // Everything that can go right and wrong with these words once.
    app.post(&desa.json(&text(RARA, "3EB0W1", &words)))
        .await
        .assert_kept();
    app.post(&desa.json(&text(RARA, "3EB0W1", &words)))
        .await
        .assert_done("Duplicate message");
    let mut unsigned = desa.json(&text(RARA, "3EB0W2", &words));
    unsigned.signature = None;
    assert_eq!(app.post(&unsigned).await.status, 401);
    let mut stranger = text(RARA, "3EB0W3", &words);
    stranger["instanceName"] = json!("asing");
    app.post(&Webhook::json(&stranger))
        .await
        .assert_done("Unknown instance");
    assert_eq!(
        app.post(&Webhook::raw("application/json", format!("{{\"{words}")))
            .await
            .status,
        400
    );
    app.post(&desa.json(&json!({"type": "Unheard", "event": {"text": words}})))
        .await
        .assert_done("Event kept");
    // A server that repeats the token and the text in its errors.
    app.sends_fail(
        refusal(500, &format!("cannot send with {}", desa.session.token), None),
        1,
    );
    app.sends_fail(FaultKind::Cut, 1);
    app.sends_fail(
        refusal(400, &format!("bad token {}", desa.session.token), None),
        1,
    );
    app.order(&desa, RARA, &words).await;
    app.until_status(&words, "failed").await;
    app.proxies.postgres.cut();
    assert_eq!(
        app.post(&desa.json(&text(RARA, "3EB0W4", &words))).await.status,
        503
    );
    app.proxies.postgres.restore();
    app.until_ready("ready").await;
    app.until_published().await;
    assert!(logs::hold("\"tenant\":\"desa-satu\""), "the logs are being kept");
    assert!(!logs::hold(&words), "{:?}", logs::lines_with(&words));

    let dump = dump(&app).await;
    assert!(
        dump.contains(&words) && dump.contains("token_sealed"),
        "the dump is whole"
    );
    for secret in [desa.session.token.as_str(), desa.key.as_deref().unwrap()] {
        assert_in_no_table(&dump, secret);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_secret_of_one_tenant_does_not_open_in_anothers_row() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    app.run_sql(
        "UPDATE accounts SET token_sealed = (SELECT token_sealed FROM accounts WHERE tenant_id = 'desa-dua'), \
             webhook_keys_sealed = (SELECT webhook_keys_sealed FROM accounts WHERE tenant_id = 'desa-dua') \
         WHERE tenant_id = 'desa-satu'",
    )
    .await;
    app.routes
        .forget(channel_service::store::account::INSTANCE, &satu.session.name)
        .await;
    app.post(&satu.json(&text(RARA, "3EB0K", "kunci tertukar")))
        .await
        .assert_error(500, "internal_error");
    app.order(&satu, RARA, "token tertukar").await;
    app.until_status("token tertukar", "parked").await;
    assert!(app.simulator.wa_sends(None).is_empty());
    app.order(&dua, RARA, "token sendiri").await;
    app.until_status("token sendiri", "sent").await;
    app.finish().await;
}
