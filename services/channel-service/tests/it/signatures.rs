//! Who may speak for an account.

use serde_json::json;
use simulator::hmac_sha256_hex;
use test_support::eventually;

use crate::harness::{Tenant, TestApp, Webhook, text};

const RARA: &str = "6281290000011";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_accounts_own_signature_nothing_is_kept() {
    let app = TestApp::spawn().await;
    let (desa, other) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let event = text(RARA, "3EB0SIG", "tanpa tanda tangan");
    for good in [desa.json(&event), desa.form(&event)] {
        let with = |signature: Option<&str>| Webhook {
            signature: signature.map(str::to_owned),
            ..good.clone()
        };
        let own = good.signature.clone().unwrap();
        let foreign = hmac_sha256_hex(other.key.as_ref().unwrap(), &[&good.body]);
        let mut altered = good.clone();
        let place = altered.body.windows(5).position(|word| word == b"tanpa").unwrap();
        altered.body[place] = b'T';
        let mut upper_last = own.clone();
        upper_last.replace_range(63.., if own.ends_with('0') { "1" } else { "0" });
        for (webhook, code) in [
            (with(None), "signature_missing"),
            (with(Some("")), "signature_missing"),
            (with(Some(&foreign)), "signature_mismatch"),
            (with(Some(&upper_last)), "signature_mismatch"),
            (altered, "signature_mismatch"),
            (with(Some("not hexadecimal")), "signature_malformed"),
            (with(Some(&own[..62])), "signature_malformed"),
            (with(Some(&format!("{own}00"))), "signature_malformed"),
            (with(Some(&format!("sha256={own}"))), "signature_malformed"),
        ] {
            app.post(&webhook).await.assert_error(401, code);
        }
    }
    for table in ["messages", "chats", "inbound_ledger", "outbox", "quarantine"] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }
    app.post(&desa.json(&event)).await.assert_kept();
    app.post(&desa.form(&event))
        .await
        .assert_done("Duplicate message");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_a_key_is_unsigned_until_it_gets_one() {
    let app = TestApp::spawn().await;
    let desa = app.unsigned_tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0U1", "satu")))
        .await
        .assert_kept();
    let mut decorated = desa.json(&text(RARA, "3EB0U2", "dua"));
    decorated.signature = Some("says nothing".to_owned());
    app.post(&decorated).await.assert_kept();

    let key = "a-key-that-came-later-than-the-account";
    app.register("desa-satu", &desa.session, Some(key)).await;
    let signed = Tenant {
        key: Some(key.to_owned()),
        ..desa.clone()
    };
    eventually("unsigned webhooks are refused", || async {
        let probe = desa.json(&text(
            RARA,
            &format!("3EB0{}", uuid::Uuid::now_v7().simple()),
            "tanpa",
        ));
        (app.post(&probe).await.status == 401).then_some(())
    })
    .await;
    app.post(&signed.json(&text(RARA, "3EB0U3", "tiga")))
        .await
        .assert_kept();
    assert_eq!(
        app.values("SELECT count(*) AS value FROM messages WHERE body = 'tiga'")
            .await,
        [json!(1)]
    );
    app.finish().await;
}
