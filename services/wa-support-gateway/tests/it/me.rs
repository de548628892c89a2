//! `/v1/me` (contract §7.1, W-13, W-22).

use serde_json::json;
use test_support::eventually;

use crate::support::{Gateway, with_callers};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_sees_itself_and_no_hash() {
    let gateway = Gateway::start_for_services().await;
    let key = gateway.customer("desa-a", "app").await;
    let me = gateway.me(&key).await.ok();
    let user = me["user"].as_object().unwrap();
    let mut fields: Vec<&str> = user.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "created_at",
            "created_by",
            "id",
            "provider_mapping",
            "source_service",
            "status",
            "updated_at"
        ]
    );
    assert_eq!(
        (&user["source_service"], &user["status"]),
        (&json!("app"), &json!("active"))
    );
    assert!(user["provider_mapping"].is_null());
    let subscription = &me["subscription"];
    assert!(subscription["id"].is_i64());
    for (field, value) in [
        ("user_id", json!("desa-a")),
        ("provider", json!("genfity-wa")),
        ("max_sessions", json!(1)),
        ("max_messages", json!(0)),
        ("messages_used", json!(0)),
        ("expires_at", json!("2099-12-31T23:59:59Z")),
        ("status", json!("active")),
    ] {
        assert_eq!(subscription[field], value, "{field}");
    }
    let hash = gateway.rows("SELECT key_hash AS text FROM api_keys").await;
    assert!(!me.to_string().contains(&hash[0]));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ended_the_subscription_the_text_is_the_same() {
    let gateway = Gateway::start_with(|settings| {
        with_callers(settings);
        settings.redis.url = "redis://127.0.0.1:1".to_owned().into();
    })
    .await;
    let key = gateway.customer("desa-a", "app").await;
    for (gone, back) in [
        (
            "UPDATE subscriptions SET expires_at = now()",
            "UPDATE subscriptions SET expires_at = now() + interval '1 day', status = 'active'",
        ),
        (
            "UPDATE subscriptions SET status = 'expired'",
            "UPDATE subscriptions SET status = 'active'",
        ),
        (
            "UPDATE subscriptions SET status = 'inactive'",
            "UPDATE subscriptions SET status = 'active'",
        ),
        (
            "UPDATE subscriptions SET provider = 'another'",
            "UPDATE subscriptions SET provider = 'genfity-wa'",
        ),
        ("DELETE FROM subscriptions", "SELECT 1"),
    ] {
        gateway.sql(gone).await;
        let answer = eventually("it has ended", || async {
            let answer = gateway.me(&key).await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        assert_eq!(answer.refusal(), (403, "subscription expired"), "{gone}");
        assert_eq!(answer.body["code"], "subscription_expired");
        gateway.sql(back).await;
        if back != "SELECT 1" {
            eventually("it is there again", || async {
                (gateway.me(&key).await.status == 200).then_some(())
            })
            .await;
        }
    }
    gateway.stop().await;
}
