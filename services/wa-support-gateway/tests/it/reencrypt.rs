//! Secrets are sealed anew under another key.

use chores::key::{Fared, reencrypt};
use runtime::config::Setting as _;
use runtime::encryption::KeyRing;
use serde_json::{Value, json};
use test_support::{ENCRYPTION_KEYS, NEWER_ENCRYPTION_KEY, unique_prefix};
use wa_support_gateway::store::sealed;

use crate::session_sweep::{MEND, NOW};
use crate::support::{ADMIN_TOKEN, Gateway, Twin, sessions_at, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_secret_is_sealed_anew_and_still_opens() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 3).await;
    for (name, key) in [
        ("a", json!("a-customers-key-of-more-than-32-characters")),
        ("b", Value::Null),
    ] {
        let body = json!({"session_name": name, "hmac_key": key});
        assert_eq!(gateway.ask(&owner, "POST", "/v1/sessions", body).await.0, 201);
    }
    let both = format!("{NEWER_ENCRYPTION_KEY},{ENCRYPTION_KEYS}");
    let keys = KeyRing::from_text(&both).unwrap();
    let done = reencrypt(&gateway.database.db, &keys, sealed::TABLES)
        .await
        .unwrap();
    let fared = |resealed, current| Fared {
        resealed,
        current,
        unreadable: 0,
    };
    let kinds: Vec<_> = done.kinds.into_iter().collect();
    let [customers, hmac_keys, tokens] = [
        "sessions.customer_hmac_key_sealed",
        "sessions.hmac_key_sealed",
        "sessions.token_sealed",
    ]
    .map(str::to_owned);
    let expected = [
        (customers, fared(1, 0)),
        (hmac_keys, fared(2, 0)),
        (tokens, fared(2, 0)),
    ];
    assert_eq!(kinds, expected);
    let named: Vec<_> = kinds.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        named,
        gateway.database.sealed_columns().await,
        "each column has its row in store/sealed.rs"
    );
    let again = reencrypt(&gateway.database.db, &keys, sealed::TABLES)
        .await
        .unwrap();
    assert_eq!(again.kinds["sessions.token_sealed"], fared(0, 2));
    let old = gateway
        .count(
            "SELECT count(*) FROM sessions WHERE token_sealed NOT LIKE 'newer:%' OR hmac_key_sealed NOT LIKE 'newer:%' \
             OR customer_hmac_key_sealed NOT LIKE 'newer:%'",
        )
        .await;
    assert_eq!(old, 0);

    // With the newest key alone everything opens: the lost sessions are made again with their tokens and keys.
    let before = gateway.wa.users();
    gateway.wa.lose_users();
    let alone = sessions_at(
        &gateway.database.db,
        &settings(&gateway.wa.url()),
        NEWER_ENCRYPTION_KEY,
        ADMIN_TOKEN,
    );
    let report = alone.reconcile(NOW, MEND).await.unwrap();
    assert_eq!((report.mended, report.failed), (2, 0));
    for user in before {
        let now = gateway.wa.user(user["name"].as_str().unwrap());
        assert_eq!(
            (&now["token"], &now["hmacKey"]),
            (&user["token"], &user["hmacKey"])
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_token_that_was_sealed_under_a_key_that_is_gone_is_read_anew() {
    let prefix = unique_prefix("wa-support");
    let gateway = Gateway::start_with(|settings| settings.redis.prefix.clone_from(&prefix)).await;
    let session = gateway.session("desa-a").await;
    // The copy is in Redis from now on.
    let answer = gateway.get("/wa/session/status", &session).send().await.unwrap();
    assert_eq!(answer.status(), 200);

    let ring = |text: &str| KeyRing::from_text(text).unwrap();
    let both = ring(&format!("{NEWER_ENCRYPTION_KEY},{ENCRYPTION_KEYS}"));
    let done = reencrypt(&gateway.database.db, &both, sealed::TABLES)
        .await
        .unwrap();
    assert_eq!(done.kinds["sessions.token_sealed"].resealed, 1);
    let twin = Twin::of(&gateway, |settings| {
        settings.redis.prefix.clone_from(&prefix);
        settings.keys = ring(NEWER_ENCRYPTION_KEY);
    })
    .await;
    for _ in 0..3 {
        let asked = gateway.client.get(twin.url("/wa/session/status"));
        let answer = asked.header("token", &session.token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    twin.stop().await;
    gateway.stop().await;
}
