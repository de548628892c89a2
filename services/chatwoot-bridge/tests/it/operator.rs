//! An operator before a bridge: calls of `/admin` with and without the password.

use std::net::TcpListener;

use chatwoot_bridge::config::Settings;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use runtime::config::{BaseUrl, Setting as _};
use secrecy::SecretString;
use serde_json::Value;

use crate::world::{Running, World};

pub(crate) const USER: &str = "admin";
pub(crate) const PASSWORD: &str = "rahasia: test-only";
/// Nobody listens there: operators do not need the broker.
const NO_BROKER: &str = "amqp://guest:guest@127.0.0.1:1/%2f";

/// A bridge that is served under an address it knows.
pub(crate) struct Office {
    pub(crate) world: World,
    pub(crate) running: Running,
    pub(crate) client: Client,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        let read = serde_json::from_str(&self.text);
        assert!(read.is_ok(), "{self:?}");
        read.unwrap()
    }

    /// The body of a success.
    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.json()
    }

    /// Status and text of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let said = self.json();
        assert!(
            said["code"].is_string() && said["request_id"].is_string(),
            "{said}"
        );
        (self.status.as_u16(), said["error"].as_str().unwrap().to_owned())
    }
}

impl Office {
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    pub(crate) async fn open_with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut world = World::start().await;
        let mut settings = world.settings(NO_BROKER, "");
        settings.admin.password = Some(SecretString::from(PASSWORD));
        let listener: TcpListener = web::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let base = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        settings.storage.router.public_url = BaseUrl::from_text(&base);
        change(&mut settings);
        world.tools.public_url = settings.storage.router.public_url.clone();
        let running = Running::on(listener, settings);
        running.until_ready().await;
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            world,
            running,
            client,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.running.base);
        self.client.request(method, url).basic_auth(USER, Some(PASSWORD))
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Said {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            // As `curl -d` sends it.
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.to_string());
        }
        said(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Said {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Said {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Said {
        self.call(Method::PUT, path, Some(body)).await
    }
}

pub(crate) async fn said(request: RequestBuilder) -> Said {
    let answer = request.send().await.unwrap();
    Said {
        status: answer.status(),
        text: answer.text().await.unwrap(),
    }
}
