//! Other services that call `/internal`, customers that call `/v1`, and a second process of the same installation.

use diesel::sql_types::Text;
use diesel_async::RunQueryDsl as _;
use reqwest::Method;
use reqwest::header::HeaderMap;
use runtime::shutdown::Shutdown;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use wa_support_gateway::app::{Application, ApplicationError};
use wa_support_gateway::config::Settings;

use super::Gateway;

/// The key of the service `app`.
pub(crate) const APP: &str = "app-s3cret-key";
/// The key of the service `desk`.
pub(crate) const DESK: &str = "desk-s3cret-key";
/// A key for everybody's customers.
pub(crate) const GLOBAL: &str = "global-s3cret-key";

pub(crate) const NO_END: &str = "2099-12-31T23:59:59Z";

#[derive(diesel::QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null);
        Self {
            status,
            headers,
            body,
        }
    }

    /// The answer's status and `message`.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["message"].as_str().unwrap_or_default())
    }

    /// The body of a success.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }
}

/// With the keys of two services and one for all.
pub(crate) fn with_callers(settings: &mut Settings) {
    let keys = format!("app:{APP},desk:{DESK},{GLOBAL}");
    settings.callers.internal = keys.parse().unwrap();
}

/// A customer of a service, as it is asked for.
pub(crate) fn wanted(user_id: &str, source: &str) -> Value {
    json!({"user_id": user_id, "source": source, "expires_at": NO_END, "max_sessions": 1, "max_messages": 0,
        "provider": "genfity-wa", "created_by": "tests"})
}

impl Gateway {
    pub(crate) async fn start_for_services() -> Self {
        Self::start_with(with_callers).await
    }

    pub(crate) fn internal_request(&self, method: Method, path: &str, key: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, self.url(&format!("/internal{path}")));
        request.header("x-internal-api-key", key)
    }

    pub(crate) async fn internal_get(&self, path: &str, key: &str) -> Answer {
        Answer::of(self.internal_request(Method::GET, path, key)).await
    }

    pub(crate) async fn internal(&self, method: Method, path: &str, key: &str, body: &Value) -> Answer {
        Answer::of(self.internal_request(method, path, key).json(body)).await
    }

    /// Any request, with these headers.
    pub(crate) async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.client.request(method, self.url(path));
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request).await
    }

    /// A customer of a service, made afresh; its key.
    pub(crate) async fn customer(&self, user_id: &str, source: &str) -> String {
        let answer = self
            .internal(Method::POST, "/users", GLOBAL, &wanted(user_id, source))
            .await
            .ok();
        let key = answer["api_key"].as_str().unwrap().to_owned();
        assert!(!key.is_empty(), "{user_id} was there already");
        key
    }

    /// The texts of a query's column `text`, looked up behind the policies.
    pub(crate) async fn rows(&self, query: &str) -> Vec<String> {
        let mut connection = self.database.admin().await;
        let rows: Vec<TextRow> = diesel::sql_query(query).load(&mut connection).await.unwrap();
        rows.into_iter().map(|row| row.text).collect()
    }

    /// Actor, action and address of what was done to a customer, oldest first.
    pub(crate) async fn audit(&self, user_id: &str) -> Vec<(String, String, Option<String>)> {
        let query = format!(
            "SELECT concat_ws(' ', actor, action, source) AS text FROM audit_log \
             WHERE tenant_id = '{user_id}' ORDER BY id"
        );
        let rows = self.rows(&query).await;
        rows.iter()
            .map(|row| {
                let mut words = row.split(' ').map(str::to_owned);
                (words.next().unwrap(), words.next().unwrap(), words.next())
            })
            .collect()
    }

    /// `/v1/me` with this key.
    pub(crate) async fn me(&self, key: &str) -> Answer {
        me_at(&self.client, self.port, key).await
    }
}

async fn me_at(client: &reqwest::Client, port: u16, key: &str) -> Answer {
    Answer::of(
        client
            .get(format!("http://127.0.0.1:{port}/v1/me"))
            .header("x-api-key", key),
    )
    .await
}

/// A second process in front of the same database and Redis.
pub(crate) struct Peer {
    client: reqwest::Client,
    port: u16,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), ApplicationError>>,
}

impl Peer {
    pub(crate) async fn beside(gateway: &Gateway, settings: &Settings) -> Self {
        let listener = web::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let application = Application::build(settings, gateway.database.db.clone(), listener).unwrap();
        let (port, shutdown) = (application.port(), Shutdown::new());
        let running = tokio::spawn(application.run_until_stopped(shutdown.clone()));
        let client = gateway.client.clone();
        let ready = format!("http://127.0.0.1:{port}/health/ready");
        test_support::eventually("the peer is ready", || async {
            client
                .get(&ready)
                .send()
                .await
                .ok()?
                .status()
                .is_success()
                .then_some(())
        })
        .await;
        Self {
            client,
            port,
            shutdown,
            running,
        }
    }

    pub(crate) async fn me(&self, key: &str) -> Answer {
        me_at(&self.client, self.port, key).await
    }

    pub(crate) async fn stop(self) {
        self.shutdown.begin();
        self.running.await.unwrap().unwrap();
    }
}
