//! Somebody at the dashboard, without a browser.

use std::net::SocketAddr;
use std::process::Stdio;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use test_support::TestProcessDatabase;
use tokio::process::Command;

const PASSWORD: &str = "kata-sandi-yang-panjang-1";

/// Makes a superadmin.
pub(crate) async fn make_user(database: &TestProcessDatabase, email: &str) {
    let made = Command::new(env!("CARGO_BIN_EXE_channel-service"))
        .args(["user", "create", "--email", email, "--role", "superadmin"])
        .env_clear()
        .env("DATABASE_URL", database.service_url("channel"))
        .env("REDIS_URL", test_support::redis_url())
        .env("RABBITMQ_URL", test_support::rabbitmq_url())
        .env("ENCRYPTION_KEYS", test_support::ENCRYPTION_KEYS)
        .env("INTERNAL_API_KEY", "bench-internal-key")
        .env("WA_API_URL", "http://127.0.0.1:9")
        .env("USER_PASSWORD", PASSWORD)
        .stdout(Stdio::null())
        .status();
    assert!(made.await.unwrap().success(), "the user can be made");
}

pub(crate) struct Visitor {
    http: Client,
    base: String,
    cookie: String,
    /// What a form sends besides.
    csrf: String,
}

impl Visitor {
    pub(crate) async fn sign_in(address: SocketAddr, email: &str) -> Self {
        let http = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .unwrap();
        let base = format!("http://{address}");
        let form = form_of(&[("email", email), ("password", PASSWORD)]);
        let posted = http
            .post(format!("{base}/login"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = posted.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "the log-in is taken");
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self {
            http,
            base,
            cookie,
            csrf: String::new(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let asked = self.http.get(format!("{}{path}", self.base));
        let answer = asked.header(COOKIE, &self.cookie).send().await.unwrap();
        let (status, leads_to) = (answer.status(), answer.headers().get(LOCATION).cloned());
        assert!(status.is_success(), "{path}: {status} {leads_to:?}");
        answer.text().await.unwrap()
    }

    pub(crate) async fn first_chat(&self, tenant: &str) -> String {
        let base = format!("/dashboard/t/{tenant}/chats");
        let page = self.get(&base).await;
        let (_, after) = page
            .split_once(&format!("href=\"{base}/"))
            .expect("a chat is listed");
        after.split('"').next().unwrap().to_owned()
    }

    pub(crate) async fn learn_form(&mut self, tenant: &str) {
        let page = self.get(&format!("/dashboard/t/{tenant}/chats")).await;
        let (_, after) = page
            .split_once("name=\"csrf\" value=\"")
            .expect("the page has a form");
        self.csrf = after.split('"').next().unwrap().to_owned();
    }

    pub(crate) async fn search_chats(&self, tenant: &str, words: &str) -> String {
        let form = form_of(&[("csrf", &self.csrf), ("words", words)]);
        let posted = self
            .http
            .post(format!("{}/dashboard/t/{tenant}/chats/search", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .header(COOKIE, &self.cookie)
            .body(form);
        let answer = posted.send().await.unwrap();
        assert!(answer.status().is_success(), "searching: {}", answer.status());
        answer.text().await.unwrap()
    }
}

fn form_of(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}
