//! A service with endpoints of Meta's Cloud API, tenants with numbers there, and webhooks made by hand.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::Utc;
use domain::ids::AccountId;
use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::hmac_sha256_hex;
use uuid::Uuid;

use crate::devices::Desk;
use crate::harness::{Answer, TestApp, Wishes};
use crate::signing_in::{ask, bearer_of};

pub(crate) const RARA: &str = "6281290000011";
pub(crate) const BIMA: &str = "6281290000022";
/// Numbers at the endpoint `Meta`, and their business accounts.
pub(crate) const SATU: (&str, &str) = ("110987650000222", "210987650000111");
pub(crate) const DUA: (&str, &str) = ("110987650000333", "210987650000999");
/// A number at the endpoint `Sendiri`.
pub(crate) const TIGA: (&str, &str) = ("110987650000444", "210987650000777");

pub(crate) const SECRET: &str = "secret-of-meta-now";
pub(crate) const SECRET_BEFORE: &str = "secret-of-meta-before";
pub(crate) const OTHER_SECRET: &str = "secret-of-sendiri";
pub(crate) const ALL: &str = "/api/whatsapp/webhook";

/// Two apps at Meta, the first of which is changing its secret.
pub(crate) const ENDPOINTS: (&str, &str) = (
    "WHATSAPP_ENDPOINTS",
    r#"[{"name":"Meta","provider":"cloud","apiUrl":"{simulator}/graph","apiKey":"token-of-meta",
         "appSecret":["secret-of-meta-now","secret-of-meta-before"],"verifyToken":"verify-of-meta",
         "phoneNumberIds":["110987650000222","110987650000333"]},
        {"name":"Sendiri","provider":"cloud","apiUrl":"{simulator}/graph","apiKey":"token-of-sendiri",
         "appSecret":"secret-of-sendiri","verifyToken":"verify-of-sendiri",
         "phoneNumberIds":["110987650000444"]}]"#,
);

/// A tenant with a number.
pub(crate) struct Number<'a> {
    pub(crate) desk: Desk<'a>,
    pub(crate) tenant: String,
    pub(crate) account: AccountId,
    pub(crate) device: String,
    pub(crate) id: &'static str,
    pub(crate) waba: &'static str,
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
    for secret in [
        SECRET,
        SECRET_BEFORE,
        OTHER_SECRET,
        "token-of-meta",
        "verify-of-meta",
    ] {
        app.never_log(secret);
    }
    app
}

/// A village whose devices are made on this endpoint.
pub(crate) async fn desk<'a>(app: &'a TestApp, tenant: &str, endpoint: &str) -> Desk<'a> {
    let desk = Desk::open(app, tenant, 3).await;
    let root = bearer_of(app, &format!("super-{tenant}@kanal.id"), Role::Superadmin, None).await;
    let path = format!("/whatsapp/tenant-config/{tenant}");
    let body = Some(json!({"endpoint_name": endpoint}));
    let answer = ask(app, Method::POST, &path, &[("authorization", &root)], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    desk
}

/// A village with a number.
pub(crate) async fn number<'a>(
    app: &'a TestApp,
    tenant: &str,
    endpoint: &str,
    (id, waba): (&'static str, &'static str),
) -> Number<'a> {
    let desk = desk(app, tenant, endpoint).await;
    let made = take(app, tenant, id, Some(waba)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let device = made.json()["device"]["id"].as_str().unwrap().to_owned();
    Number {
        desk,
        tenant: tenant.to_owned(),
        account: AccountId::from_uuid(device.parse().unwrap()),
        device,
        id,
        waba,
    }
}

/// A superadmin gives a number to a tenant.
pub(crate) async fn take(app: &TestApp, tenant: &str, id: &str, waba: Option<&str>) -> Answer {
    let body = json!({"phone_number_id": id, "waba_id": waba});
    let path = format!("?tenant_id={tenant}");
    root(app).await.call(Method::POST, &path, Some(body)).await
}

pub(crate) async fn root(app: &TestApp) -> Desk<'_> {
    let email = format!("{}@kanal.id", Uuid::now_v7().simple());
    Desk {
        app,
        bearer: bearer_of(app, &email, Role::Superadmin, None).await,
    }
}

/// An id that no other message has.
pub(crate) fn wamid() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("wamid.HBgM{}==", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn now() -> i64 {
    Utc::now().timestamp()
}

/// A whole body with these changes of one business account.
pub(crate) fn body(waba: &str, changes: &[Value]) -> Value {
    envelope(&[entry(waba, changes)])
}

pub(crate) fn envelope(entries: &[Value]) -> Value {
    json!({"object": "whatsapp_business_account", "entry": entries})
}

pub(crate) fn entry(waba: &str, changes: &[Value]) -> Value {
    json!({"id": waba, "changes": changes})
}

/// A change of a number's, with this beside its metadata.
pub(crate) fn change(number: &str, what: &str, list: &[Value]) -> Value {
    json!({"field": "messages", "value": {"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": format!("62215{}", &number[number.len() - 7..]), "phone_number_id": number},
        what: list}})
}

pub(crate) fn text_at(from: &str, id: &str, at: i64, words: &str) -> Value {
    json!({"from": from, "id": id, "timestamp": at.to_string(), "type": "text", "text": {"body": words}})
}

pub(crate) fn text(from: &str, id: &str, words: &str) -> Value {
    text_at(from, id, now(), words)
}

pub(crate) fn status_at(id: &str, status: &str, at: i64) -> Value {
    json!({"id": id, "status": status, "timestamp": at.to_string(), "recipient_id": RARA})
}

impl Number<'_> {
    pub(crate) fn texts(&self, messages: &[Value]) -> Value {
        body(self.waba, &[change(self.id, "messages", messages)])
    }

    pub(crate) fn statuses(&self, statuses: &[Value]) -> Value {
        body(self.waba, &[change(self.id, "statuses", statuses)])
    }
}

/// Posts a body as Meta does, signed with this secret.
pub(crate) async fn post(app: &TestApp, body: &Value) -> Answer {
    post_to(app, ALL, body, Some(SECRET)).await
}

pub(crate) async fn post_to(app: &TestApp, path: &str, body: &Value, secret: Option<&str>) -> Answer {
    post_raw(app, path, body.to_string().into_bytes(), secret).await
}

pub(crate) async fn post_raw(app: &TestApp, path: &str, body: Vec<u8>, secret: Option<&str>) -> Answer {
    let mut request = app
        .http()
        .post(format!("{}{path}", app.url))
        .header("content-type", "application/json");
    if let Some(secret) = secret {
        let signature = format!("sha256={}", hmac_sha256_hex(secret, &[&body]));
        request = request.header("x-hub-signature-256", signature);
    }
    Answer::of(request.body(body).send().await.unwrap()).await
}

pub(crate) async fn accepted(app: &TestApp, body: &Value) {
    post(app, body).await.assert_done("Accepted");
}

/// What a tenant's people have written, in order.
pub(crate) async fn words_of(app: &TestApp, tenant: &str) -> Vec<Value> {
    app.values(&format!(
        "SELECT body AS value FROM messages WHERE tenant_id = '{tenant}' ORDER BY sent_at, id"
    ))
    .await
}

pub(crate) async fn reasons(app: &TestApp) -> Vec<Value> {
    app.values("SELECT reason AS value FROM quarantine ORDER BY id")
        .await
}
