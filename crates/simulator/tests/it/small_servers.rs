//! The small imitations: the Graph API and the bucket.

use serde_json::{Value, json};

use crate::{client, start};

#[tokio::test]
async fn graph_accepts_a_message_from_whoever_has_a_token() {
    let simulator = start().await;
    let url = format!("{}/graph/v22.0/111/messages", simulator.base_url());
    let body = json!({"messaging_product": "whatsapp", "to": "6281200000001", "type": "text", "text": {"body": "Halo"}});
    assert_eq!(
        client().post(&url).json(&body).send().await.unwrap().status(),
        401
    );
    let sent = client()
        .post(&url)
        .bearer_auth("t")
        .json(&body)
        .send()
        .await
        .unwrap();
    let sent: Value = sent.json().await.unwrap();
    assert!(sent["messages"][0]["id"].as_str().unwrap().starts_with("wamid."));
    assert_eq!(simulator.graph_sends()[0].phone_number_id, "111");
}

#[tokio::test]
async fn what_was_put_into_the_bucket_can_be_had_by_everybody() {
    let simulator = start().await;
    let url = simulator.put_s3_object("users/a/inbox/b.jpg", vec![1, 2, 3]);
    let got = client()
        .get(format!("{url}?X-Amz-Expires=60"))
        .send()
        .await
        .unwrap();
    assert_eq!(got.bytes().await.unwrap()[..], [1, 2, 3]);
    let other = format!("{}/s3/other.bin", simulator.base_url());
    assert_eq!(client().get(&other).send().await.unwrap().status(), 404);
    client().put(&other).body(vec![9; 70_000]).send().await.unwrap();
    let got = client().get(&other).send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap().len(), 70_000);
}
