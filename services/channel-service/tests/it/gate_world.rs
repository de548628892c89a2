//! Clients of the gate, and receivers that are told in Meta's words.

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use channel_service::flows::gate::token;
use channel_service::flows::tenant::Actor;
use domain::ids::TenantId;
use domain::user::Role;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use simulator::hmac_sha256_hex;
use tenant_isolation::TenantScope;
use test_support::eventually;
use uuid::Uuid;

use crate::harness::{Answer, TestApp};
use crate::signing_in::{ask, bearer_of};

/// A token for all numbers of a tenant.
pub(crate) async fn token_of(app: &TestApp, tenant: &str) -> String {
    let scope = TenantScope::named_by_operator(TenantId::parse(tenant).unwrap());
    let made = token::create(&app.direct, &scope, "tests", &Actor::operator())
        .await
        .unwrap();
    app.never_log(made.token.expose_secret());
    made.token.expose_secret().to_owned()
}

/// A tenant's admin, as a header.
pub(crate) async fn admin_of(app: &TestApp, tenant: &str) -> String {
    let email = format!("{}@desa.id", Uuid::now_v7().simple());
    bearer_of(app, &email, Role::TenantAdmin, Some(tenant)).await
}

/// A client of the Cloud API that was pointed here.
pub(crate) struct Client<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) token: String,
    /// The phone number id of the tenant's first account.
    pub(crate) number: String,
}

impl<'a> Client<'a> {
    pub(crate) async fn of(app: &'a TestApp, tenant: &str) -> Self {
        let admin = admin_of(app, tenant).await;
        let gate = ask(
            app,
            Method::GET,
            "/whatsapp/gate",
            &[("authorization", &admin)],
            None,
        )
        .await;
        let number = gate.json()["numbers"][0]["phone_number_id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            number.bytes().all(|b| b.is_ascii_digit()) && number.len() == 15,
            "{number}"
        );
        Self {
            app,
            token: token_of(app, tenant).await,
            number,
        }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self
            .app
            .http()
            .request(method, format!("{}/graph/v22.0/{path}", self.app.url))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, mut body: Value) -> Answer {
        body["messaging_product"] = json!("whatsapp");
        let path = format!("{}/messages", self.number);
        self.call(Method::POST, &path, Some(&body)).await
    }

    /// Sends it and gives the id it goes by.
    pub(crate) async fn send(&self, body: Value) -> String {
        let answer = self.post(body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let id = answer.json()["messages"][0]["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("wamid."), "{id}");
        id
    }

    pub(crate) async fn put_up(&self, name: &str, mime_type: &str, bytes: &[u8]) -> Answer {
        let file = reqwest::multipart::Part::bytes(bytes.to_vec())
            .file_name(name.to_owned())
            .mime_str(mime_type)
            .unwrap();
        let form = reqwest::multipart::Form::new()
            .part("file", file)
            .text("messaging_product", "whatsapp")
            .text("type", mime_type.to_owned());
        let url = format!("{}/graph/v22.0/{}/media", self.app.url, self.number);
        let request = self.app.http().post(url).bearer_auth(&self.token).multipart(form);
        Answer::of(request.send().await.unwrap()).await
    }
}

/// The refusal's code, and its finer code.
pub(crate) fn refused(answer: &Answer) -> (u16, u64, Option<u64>) {
    let error = answer.json()["error"].take();
    assert!(
        error["fbtrace_id"].is_string() && error["type"] == "OAuthException",
        "{error}"
    );
    let code = error["code"].as_u64().unwrap();
    (answer.status, code, error["error_subcode"].as_u64())
}

#[derive(Default)]
struct Kept {
    bodies: Vec<(Option<String>, Vec<u8>)>,
    /// Answered to the next ones instead of 200.
    failing: Vec<u16>,
    refuses: bool,
}

/// Somebody who is told.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    kept: Arc<Mutex<Kept>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/webhook", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = web::Data::from(Arc::clone(&kept));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .default_service(web::to(answer))
        });
        let server = server.workers(1).disable_signals().listen(listener).unwrap();
        tokio::spawn(server.run());
        Self { url, kept }
    }

    pub(crate) fn fails_with(&self, statuses: &[u16]) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).failing = statuses.to_vec();
    }

    pub(crate) fn refuses(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).refuses = true;
    }

    /// Everything it took, signed with this secret.
    pub(crate) fn taken(&self, secret: &str) -> Vec<Value> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = kept.bodies.iter().map(|(signature, body)| {
            let expected = format!("sha256={}", hmac_sha256_hex(secret, &[body]));
            assert_eq!(signature.as_deref(), Some(expected.as_str()));
            assert!(body.is_ascii());
            serde_json::from_slice(body).unwrap()
        });
        checked.collect()
    }

    /// The first of what it took of which this is true.
    pub(crate) async fn until(&self, secret: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async {
            let taken = self.taken(secret).into_iter();
            let mut values = taken.map(|mut body| body["entry"][0]["changes"][0]["value"].take());
            values.find(|value| is(value))
        })
        .await
    }
}

async fn answer(request: HttpRequest, body: web::Bytes, kept: web::Data<Mutex<Kept>>) -> HttpResponse {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if request.method() == actix_web::http::Method::GET {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(request.query_string().as_bytes())
            .into_owned()
            .collect();
        let value = |name: &str| {
            let found = pairs.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let good = value("hub.mode").as_deref() == Some("subscribe")
            && value("hub.verify_token").as_deref() == Some("kata-kunci")
            && !kept.refuses;
        return if good {
            HttpResponse::Ok().body(value("hub.challenge").unwrap())
        } else {
            HttpResponse::Forbidden().finish()
        };
    }
    if !kept.failing.is_empty() {
        let status = kept.failing.remove(0);
        let status = actix_web::http::StatusCode::from_u16(status).unwrap();
        return HttpResponse::build(status)
            .insert_header(("location", "/webhook"))
            .finish();
    }
    let signature = request.headers().get("x-hub-signature-256");
    let signature = signature.map(|value| value.to_str().unwrap().to_owned());
    kept.bodies.push((signature, body.to_vec()));
    HttpResponse::Ok().finish()
}

/// Subscribes; gives the subscription's id and its secret.
pub(crate) async fn subscribe(app: &TestApp, tenant: &str, receiver: &Receiver) -> (String, String) {
    let admin = admin_of(app, tenant).await;
    let body = json!({"callback_url": receiver.url, "verify_token": "kata-kunci"});
    let path = "/whatsapp/gate/subscriptions";
    let answer = ask(app, Method::POST, path, &[("authorization", &admin)], Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let made = answer.json();
    let secret = made["app_secret"].as_str().unwrap().to_owned();
    app.never_log(&secret);
    (made["id"].as_str().unwrap().to_owned(), secret)
}
