//! The Graph API: what it takes and refuses, what it posts, and what goes wrong on demand.

mod admin;
mod limits;
mod media;
mod sends;
mod troubles;
mod webhooks;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{GraphCallback, NewGraphNumber, Simulator};

use crate::client;
use crate::receiver::Receiver;

const NUMBER: &str = "110987650000222";
const WABA: &str = "210987650000111";
const TOKEN: &str = "graph-token";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PERSON: &str = "628110000001";

/// The number of most tests; its webhooks go to the receiver.
fn number(simulator: &Simulator, receiver: Option<&Receiver>) {
    simulator.create_graph_number(NewGraphNumber {
        id: NUMBER.to_owned(),
        phone: "6221550001111".to_owned(),
        webhook: receiver.map(callback),
        ..NewGraphNumber::default()
    });
}

fn callback(receiver: &Receiver) -> GraphCallback {
    GraphCallback {
        url: receiver.url.clone(),
        verify_token: "vt-demo".to_owned(),
    }
}

/// A call with the token; status, headers and JSON of the answer.
async fn call(simulator: &Simulator, method: Method, path: &str, body: Option<&Value>) -> Answered {
    let mut request = client()
        .request(method, format!("{}/v22.0{path}", simulator.graph_url()))
        .bearer_auth(TOKEN);
    if let Some(body) = body {
        request = request.json(body);
    }
    read(request.send().await.unwrap()).await
}

struct Answered {
    status: u16,
    headers: reqwest::header::HeaderMap,
    json: Value,
}

impl Answered {
    /// HTTP status and code of the error.
    fn error(&self) -> (u16, i64) {
        (self.status, self.json["error"]["code"].as_i64().unwrap_or(-1))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn id(&self) -> String {
        let id = self.json["messages"][0]["id"].as_str();
        assert!(id.is_some(), "{} {}", self.status, self.json);
        id.unwrap_or_default().to_owned()
    }
}

async fn read(response: reqwest::Response) -> Answered {
    Answered {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        json: response.json().await.unwrap_or(Value::Null),
    }
}

async fn get(simulator: &Simulator, path: &str) -> Answered {
    call(simulator, Method::GET, path, None).await
}

async fn post(simulator: &Simulator, path: &str, body: Value) -> Answered {
    call(simulator, Method::POST, path, Some(&body)).await
}

fn text_to(to: &str) -> Value {
    json!({"messaging_product": "whatsapp", "recipient_type": "individual", "to": to, "type": "text",
           "text": {"body": "Halo"}, "biz_opaque_callback_data": "job:1"})
}

async fn send(simulator: &Simulator, body: Value) -> Answered {
    post(simulator, &format!("/{NUMBER}/messages"), body).await
}

/// The statuses that came in, `id:status`, in order.
fn statuses(receiver: &Receiver) -> Vec<String> {
    let mut all = Vec::new();
    for received in receiver.received() {
        let body = received.json();
        for entry in body["entry"].as_array().unwrap() {
            for change in entry["changes"].as_array().unwrap() {
                for status in change["value"]["statuses"].as_array().into_iter().flatten() {
                    all.push(status["status"].as_str().unwrap().to_owned());
                }
            }
        }
    }
    all
}

/// The only value of a webhook with one change.
fn value(body: &Value) -> &Value {
    assert_eq!(body["entry"][0]["changes"].as_array().unwrap().len(), 1, "{body}");
    &body["entry"][0]["changes"][0]["value"]
}
