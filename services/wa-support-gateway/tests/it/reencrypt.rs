//! Sealing anew while sessions are being changed.

use diesel_async::SimpleAsyncConnection as _;
use runtime::config::Setting as _;
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use test_support::{ENCRYPTION_KEYS, eventually};
use wa_support_gateway::flows::reencrypt::reencrypt;

use crate::support::Gateway;

const NEWER: &str = "newer:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_while_it_is_sealed_anew_is_come_back_to() {
    let gateway = Gateway::start().await;
    for customer in ["desa-a", "desa-b"] {
        gateway.session(customer).await;
    }
    let id = &gateway
        .rows("SELECT id::text AS text FROM sessions WHERE tenant_id = 'desa-a'")
        .await[0];
    let old = KeyRing::from_text(ENCRYPTION_KEYS).unwrap();
    let binding = format!("sessions/desa-a/{id}/hmac_key");
    let changed = old
        .seal(&SecretString::from("another-key".repeat(4)), &binding)
        .unwrap();

    // Somebody who does not know the newest key changes a session, and is not through yet.
    let mut changing = gateway.database.admin().await;
    let change =
        format!("BEGIN; UPDATE sessions SET hmac_key_sealed = '{changed}' WHERE tenant_id = 'desa-a'");
    changing.batch_execute(&change).await.unwrap();
    let both = KeyRing::from_text(&format!("{NEWER},{ENCRYPTION_KEYS}")).unwrap();
    let db = gateway.database.db.clone();
    let sealing = tokio::spawn(async move { reencrypt(&db, &both).await.unwrap() });
    eventually("the sealing waits for the change", || async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN \
                       (SELECT pid FROM pg_stat_activity WHERE query LIKE 'UPDATE sessions SET token_sealed%' \
                        AND datname = current_database()) \
                       AND transactionid = (SELECT backend_xid FROM pg_stat_activity \
                                            WHERE query LIKE 'BEGIN; UPDATE sessions SET hmac_key_sealed%' \
                                            AND query LIKE ";
        let waiting = format!("{waiting} '%{}%' LIMIT 1)", &changed[..60]);
        (gateway.count(&waiting).await > 0).then_some(())
    })
    .await;
    changing.batch_execute("COMMIT").await.unwrap();

    let done = sealing.await.unwrap();
    assert_eq!(
        (done.sessions, done.changed_meanwhile, done.left, done.unreadable),
        (2, 1, 0, 0)
    );
    let sealed = gateway
        .rows("SELECT hmac_key_sealed AS text FROM sessions WHERE tenant_id = 'desa-a'")
        .await;
    assert!(sealed[0].starts_with("newer:"), "{}", sealed[0]);
    let alone = KeyRing::from_text(NEWER).unwrap();
    let opened = alone.open(&sealed[0], &binding).unwrap();
    assert_eq!(
        secrecy::ExposeSecret::expose_secret(&opened),
        "another-key".repeat(4)
    );
    gateway.stop().await;
}
