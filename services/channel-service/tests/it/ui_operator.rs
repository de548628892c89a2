//! Somebody who looks after the platform, at a browser without scripts.

use domain::user::Role;
use reqwest::Method;
use reqwest::redirect::Policy;
use uuid::Uuid;

use crate::harness::{Answer, TestApp};
use crate::signing_in::bearer_of;

pub(crate) struct Operator<'a> {
    app: &'a TestApp,
    http: reqwest::Client,
    cookie: String,
    language: &'static str,
}

impl<'a> Operator<'a> {
    pub(crate) async fn enter(app: &'a TestApp) -> Self {
        Self::as_role(app, Role::Superadmin, None).await
    }

    pub(crate) async fn as_role(app: &'a TestApp, role: Role, tenant: Option<&str>) -> Self {
        let email = format!("{}@kanal.id", Uuid::now_v7().simple());
        let bearer = bearer_of(app, &email, role, tenant).await;
        Self {
            app,
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .build()
                .unwrap(),
            cookie: bearer.replace("Bearer ", "kanal_session="),
            language: "en",
        }
    }

    pub(crate) fn in_indonesian(mut self) -> Self {
        self.language = "id";
        self
    }

    pub(crate) fn signed_out(mut self) -> Self {
        self.cookie = String::new();
        self
    }

    async fn send(&self, method: Method, path: &str, form: Option<String>) -> Answer {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.app.url))
            .header("accept", "text/html")
            .header("cookie", &self.cookie)
            .header("accept-language", self.language);
        if let Some(form) = form {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// A page, with what every page has to be.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        for bad in ["style=", "<script>", "onclick", "javascript:"] {
            assert!(!answer.text.contains(bad), "{path} has {bad}");
        }
        assert_eq!(answer.text.matches("<h1").count(), 1, "{path}");
        assert!(answer.text.len() < 100_000, "{path}: {} bytes", answer.text.len());
        answer.text
    }

    /// Sends a form as the browser does that shows a page of this session.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get("/dashboard").await.text;
        let (_, token) = page.split_once("name=\"csrf\" value=\"").unwrap();
        let (token, _) = token.split_once('"').unwrap();
        self.post_with(path, Some(token), fields).await
    }

    pub(crate) async fn post_with(&self, path: &str, token: Option<&str>, fields: &[(&str, &str)]) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(token.map(|token| ("csrf", token)))
            .extend_pairs(fields)
            .finish();
        self.send(Method::POST, path, Some(form)).await
    }
}

/// Where an answer sends the browser.
#[track_caller]
pub(crate) fn goes_to(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.headers["location"].to_str().unwrap()
}
