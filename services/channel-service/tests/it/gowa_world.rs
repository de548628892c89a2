//! A service with a GoWA as its endpoint, and tenants with devices there.

use channel_service::flows::register_device::{NewDeviceAccount, register};
use domain::endpoint::EndpointName;
use domain::ids::{AccountId, ProviderMessageId, TenantId};
use domain::message::MessageContent;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::{GowaConfigChange, GowaWebhook, NewGowaDevice, hmac_sha256_hex};
use uuid::Uuid;

use crate::harness::{Answer, TestApp, Wishes, order};

pub(crate) const RARA: &str = "6281290000011";
pub(crate) const BIMA: &str = "6281290000022";
pub(crate) const ENDPOINT_SECRET: &str = "secret-of-the-endpoint";

/// One GoWA, which asks for user and password, and another name for the same one.
pub(crate) const ENDPOINTS: (&str, &str) = (
    "WHATSAPP_ENDPOINTS",
    r#"[{"name":"Toko","provider":"gowa","apiUrl":"{simulator}/gowa","apiKey":"kanal:password-of-gowa",
         "webhookSecret":"secret-of-the-endpoint"},
        {"name":"Lain","provider":"gowa","apiUrl":"{simulator}/gowa","apiKey":"kanal:password-of-gowa"}]"#,
);

/// A tenant's device.
pub(crate) struct Device {
    pub(crate) tenant: String,
    pub(crate) account: AccountId,
    pub(crate) id: String,
    pub(crate) number: String,
    pub(crate) key: String,
}

pub(crate) async fn spawn() -> TestApp {
    with(Wishes::default()).await
}

pub(crate) async fn with(wishes: Wishes) -> TestApp {
    let app = TestApp::with(Wishes {
        settings: &[ENDPOINTS],
        ..wishes
    })
    .await;
    for secret in ["password-of-gowa", ENDPOINT_SECRET] {
        app.never_log(secret);
    }
    app.simulator.configure_gowa(GowaConfigChange {
        basic_auth: Some("kanal:password-of-gowa".to_owned()),
        ..GowaConfigChange::default()
    });
    app
}

/// A paired device that posts its events here, signed.
pub(crate) async fn device(app: &TestApp, tenant: &str, id: &str, number: &str) -> Device {
    let key = format!("key-{}", Uuid::now_v7().simple());
    app.never_log(&key);
    app.simulator.create_gowa_device(NewGowaDevice {
        id: id.to_owned(),
        phone: Some(number.to_owned()),
        webhook: Some(GowaWebhook {
            webhook_url: format!("{}/webhook/gowa/Toko", app.url),
            webhook_secret: key.clone(),
            ..GowaWebhook::default()
        }),
    });
    let account = known(app, tenant, id, &key).await;
    Device {
        tenant: tenant.to_owned(),
        account,
        id: id.to_owned(),
        number: number.to_owned(),
        key,
    }
}

/// The device as the service knows it.
pub(crate) async fn known(app: &TestApp, tenant: &str, id: &str, key: &str) -> AccountId {
    let new = NewDeviceAccount {
        tenant: TenantId::parse(tenant).unwrap(),
        endpoint: EndpointName::parse("Toko").unwrap(),
        device: id.to_owned(),
        webhook_key: Some(SecretString::from(key)),
    };
    register(&app.direct, &app.routes, &app.keys, new).await.unwrap()
}

impl Device {
    /// Orders a text over the broker; the reference is also the text.
    pub(crate) async fn order(&self, app: &TestApp, to: &str, reference: &str) {
        app.publish(&self.tenant, &order(self.account, to, reference))
            .await;
    }

    /// Orders any message.
    pub(crate) async fn send(
        &self,
        app: &TestApp,
        reference: &str,
        content: MessageContent,
        quoted: Option<&str>,
    ) {
        let mut order = order(self.account, RARA, reference);
        order.text = String::new();
        order.content = Some(content);
        order.quoted = quoted.map(|id| ProviderMessageId::parse(id).unwrap());
        app.publish(&self.tenant, &order).await;
    }

    /// A text from a person, as the device posts it.
    pub(crate) fn event(&self, id: &str, words: &str) -> Value {
        json!({
            "event": "message", "device_id": format!("{}@s.whatsapp.net", self.number), "session_id": self.id,
            "payload": {
                "id": id, "chat_id": format!("{RARA}@s.whatsapp.net"), "from": format!("{RARA}@s.whatsapp.net"),
                "from_name": "Rara", "timestamp": chrono::Utc::now().to_rfc3339(), "is_from_me": false, "body": words,
            },
        })
    }
}

/// Posts an event as a GoWA does, signed with this key.
pub(crate) async fn post(app: &TestApp, endpoint: &str, event: &Value, key: Option<&str>) -> Answer {
    let body = event.to_string();
    let signature = key.map(|key| format!("sha256={}", hmac_sha256_hex(key, &[body.as_bytes()])));
    post_raw(app, endpoint, body, signature.as_deref()).await
}

pub(crate) async fn post_raw(app: &TestApp, endpoint: &str, body: String, signature: Option<&str>) -> Answer {
    let mut request = app
        .http()
        .post(format!("{}/webhook/gowa/{endpoint}", app.url))
        .header("content-type", "application/json")
        .body(body);
    if let Some(signature) = signature {
        request = request.header("x-hub-signature-256", signature);
    }
    Answer::of(request.send().await.unwrap()).await
}
