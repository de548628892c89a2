//! A customer as a whole.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use test_support::canary::{Of, keys_with};
use test_support::{eventually, eventually_within, logs};

use super::world::{BUDI, ERIN, LID, World};
use crate::support::{APP, DESK, Fault, GLOBAL, Peer};

const NOT_OWN: (u16, &str) = (403, "user does not belong to this source");
const NOTHING: [String; 0] = [];

fn confirmed() -> Value {
    json!({"confirm": "desa-a"})
}

/// The acts about the customer, as actor and action, oldest first.
async fn acts(world: &World) -> Vec<String> {
    let query =
        "SELECT actor || ' ' || action AS text FROM audit_log WHERE tenant_id = 'desa-a' ORDER BY seq";
    world.gateway.rows(query).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_customer_is_nowhere_and_its_neighbour_still_everywhere() {
    let world = World::start().await;
    let peer = Peer::beside(&world.gateway, &world.settings).await;
    let key = &world.keys[0];
    let secrets = world
        .gateway
        .rows(
            "SELECT unnest(ARRAY[key_hash, token_hash, token_sealed, hmac_key_sealed, webhook_url]) AS text \
               FROM sessions JOIN api_keys USING (tenant_id) WHERE tenant_id = 'desa-a'",
        )
        .await;
    assert_eq!(secrets.len(), 5);
    let neighbour = Of::Tenant("desa-b");
    let mut theirs = Vec::new();
    for words in ["canaryErin", "canaryBudi", ERIN, LID, "gwa_"] {
        theirs.push((words, world.places_of(words, neighbour).await));
    }

    for body in [json!({}), json!({"confirm": "desa-b"}), json!({"confirm": true})] {
        assert_eq!(
            world.about_satu(Method::DELETE, "", APP, &body).await.status,
            400,
            "{body}"
        );
    }
    assert_eq!(
        world
            .about_satu(Method::DELETE, "", DESK, &confirmed())
            .await
            .refusal(),
        NOT_OWN
    );
    assert_eq!(peer.me(key).await.status, 200, "nothing was erased yet");
    assert_eq!(world.gateway.wa.users().len(), 2);

    let erased = world.about_satu(Method::DELETE, "", APP, &confirmed()).await.ok();
    assert_eq!(erased, json!({"user_id": "desa-a", "sessions": 1, "cache": true}));
    // Far less than the minute for which Redis would keep what nobody takes back.
    eventually_within(Duration::from_secs(15), "the key is dead there", || async {
        (peer.me(key).await.status == 401).then_some(())
    })
    .await;
    let users = world.gateway.wa.users();
    assert_eq!(users.len(), 1, "the WA server has let go of its session");
    assert_eq!(users[0]["name"], "desa-b");

    let of_satu = Of::Tenant("desa-a");
    for words in ["canaryErin", "canaryBudi", ERIN, BUDI, LID, "081277700011"] {
        assert_eq!(
            world.gateway.database.columns_with(words, of_satu).await,
            NOTHING,
            "{words}"
        );
        assert_eq!(logs::lines_with(words), NOTHING, "{words}");
    }
    for secret in &secrets[..4] {
        assert_eq!(
            world.gateway.database.columns_with(secret, Of::All).await,
            NOTHING
        );
        assert_eq!(logs::lines_with(secret), NOTHING);
    }
    // Both customers have the same receiver.
    let webhook = &secrets[4];
    assert_eq!(
        world.gateway.database.columns_with(webhook, of_satu).await,
        NOTHING
    );
    let left = world.gateway.database.columns_with("desa-a", Of::All).await;
    assert_eq!(
        left,
        ["audit_log.detail", "audit_log.tenant_id"],
        "only its acts are left"
    );
    let prefix = &world.settings.redis.prefix;
    for words in ["desa-a", secrets[0].as_str(), secrets[1].as_str()] {
        eventually("Redis has let go of it", || async {
            keys_with(prefix, words).await.is_empty().then_some(())
        })
        .await;
    }
    for (words, places) in theirs {
        assert_eq!(world.places_of(words, neighbour).await, places, "{words}");
    }
    assert_eq!(peer.me(&world.keys[1]).await.status, 200);
    let acts = acts(&world).await;
    assert_eq!(
        acts[acts.len() - 3..],
        ["app customer.erase", "app session.delete", "app customer.erased"]
    );

    // It is not there any more, and its name is free.
    let again = world.about_satu(Method::DELETE, "", APP, &confirmed()).await;
    assert_eq!(
        again.refusal(),
        NOT_OWN,
        "a service does not learn what is not there"
    );
    let again = world.about_satu(Method::DELETE, "", GLOBAL, &confirmed()).await;
    assert_eq!(again.refusal(), (404, "user not found"));
    let fresh = world.gateway.customer("desa-a", "app").await;
    assert_eq!(peer.me(&fresh).await.status, 200);
    peer.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_wa_server_lets_go_of_nothing_the_customer_is_off_and_the_next_order_ends_it() {
    let world = World::start().await;
    world
        .gateway
        .wa
        .fail("DELETE", "/admin/users", Fault::Status(500), 10_000);
    let refused = world.about_satu(Method::DELETE, "", APP, &confirmed()).await;
    assert_eq!(refused.refusal(), (502, "upstream refused"));
    assert_eq!(world.gateway.me(&world.keys[0]).await.status, 401);
    let shown = world.gateway.internal_get("/users/desa-a", APP).await.ok();
    assert_eq!(
        (&shown["status"], &shown["session_count"]),
        (&json!("suspended"), &json!(1))
    );
    // A key that is made meanwhile opens nothing, and goes with the rest.
    let key = world
        .about_satu(Method::POST, "/apikey/rotate", APP, &json!({}))
        .await
        .ok()["api_key"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        world.gateway.me(&key).await.refusal(),
        (403, "user is not active")
    );
    world.gateway.wa.recover();
    let erased = world
        .about_satu(Method::DELETE, "", GLOBAL, &confirmed())
        .await
        .ok();
    assert_eq!(erased["sessions"], 1);
    assert_eq!(world.gateway.wa.users().len(), 1);
    assert_eq!(world.gateway.me(&key).await.refusal(), (401, "invalid api key"));
    assert_eq!(
        world.gateway.database.columns_with("desa-a", Of::All).await,
        ["audit_log.detail", "audit_log.tenant_id"]
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_customer_holds_everything_and_no_secret() {
    let world = World::start().await;
    let (text, lines) = world.exported(Method::GET, "/export", &json!({})).await;
    assert!(lines.iter().all(|line| line["row"]["tenant_id"] == "desa-a"));
    let rows = |table: &str| lines.iter().filter(|line| line["table"] == table).count();
    for (table, many) in [
        ("customers", 1),
        ("subscriptions", 1),
        ("sessions", 1),
        ("api_keys", 1),
        ("contacts", 4),
        ("hook_events", 6),
        ("hook_counts", 1),
        ("lane_tasks", 8),
        ("tenant_directory", 0),
    ] {
        assert_eq!(rows(table), many, "{table}");
    }
    assert!(rows("audit_log") > 1);
    for word in [
        "canaryErinContact",
        "canaryErinRaw",
        "canaryErinForm",
        "canaryBudi",
    ] {
        // What is no text is given out as bytes.
        let written = if word == "canaryErinRaw" {
            hex::encode(word)
        } else {
            word.to_owned()
        };
        assert!(text.contains(&written), "{word}");
    }
    let secrets = world
        .gateway
        .rows("SELECT unnest(ARRAY[key_hash, token_hash, token_sealed, hmac_key_sealed, customer_hmac_key_sealed]) AS text \
               FROM sessions JOIN api_keys USING (tenant_id)")
        .await;
    assert_eq!(secrets.len(), 10);
    assert!(secrets.iter().all(|secret| !text.contains(secret)));
    assert!(!text.contains("hash") && !text.contains("sealed") && !text.contains("desa-b"));

    let path = "/users/desa-a/export";
    assert_eq!(world.gateway.internal_get(path, DESK).await.refusal(), NOT_OWN);
    let nobody = world
        .gateway
        .internal_get("/users/desa-none/export", GLOBAL)
        .await;
    assert_eq!(nobody.refusal(), (404, "user not found"));
    assert_eq!(
        acts(&world)
            .await
            .iter()
            .filter(|act| *act == "app customer.export")
            .count(),
        1
    );
    world.stop().await;
}
