//! A browser without scripts: keeps cookies, follows nothing by itself, and sends the token of the forms it is shown.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use domain::user::Role;
use reqwest::Method;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;

use crate::harness::{Answer, TestApp};
use crate::signing_in::person;

/// What [`person`] gives everybody.
const PASSWORD: &str = "kata sandi yang panjang";

/// Somebody's browser.
pub(crate) struct Browser<'a> {
    app: &'a TestApp,
    http: reqwest::Client,
    cookies: Mutex<BTreeMap<String, String>>,
    language: &'static str,
}

impl<'a> Browser<'a> {
    /// One that nobody is signed in with, and whose reader prefers English.
    pub(crate) fn new(app: &'a TestApp) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(std::time::Duration::from_secs(30))
            .build()
            .unwrap();
        Self {
            app,
            http,
            cookies: Mutex::default(),
            language: "en",
        }
    }

    /// The same, for a reader of Indonesian.
    pub(crate) fn in_indonesian(mut self) -> Self {
        self.language = "id";
        self
    }

    /// Makes a user and logs in as one.
    pub(crate) async fn of(app: &'a TestApp, email: &str, role: Role, tenant: Option<&str>) -> Self {
        person(app, email, role, tenant).await;
        let browser = Self::new(app);
        let answer = browser.log_in(email, PASSWORD).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        browser
    }

    /// Makes a superadmin and logs in as one.
    pub(crate) async fn of_superadmin(app: &'a TestApp) -> Self {
        Self::of(app, "super@kanal.id", Role::Superadmin, None).await
    }

    /// Fills in the log-in form.
    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Answer {
        self.send("/login", &[("email", email), ("password", password)])
            .await
    }

    /// Opens a page.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    /// Opens a page that has to be there.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    }

    /// Sends a form of a page of this session's.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf().await;
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend_from_slice(fields);
        self.send(path, &all).await
    }

    /// Sends a form as it is.
    pub(crate) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.ask(Method::POST, path, Some(body.finish())).await
    }

    /// The token that forms of this session send.
    pub(crate) async fn csrf(&self) -> String {
        let page = self.page("/dashboard/account").await;
        between(&page, "name=\"csrf\" value=\"", "\"").to_owned()
    }

    /// What a cookie holds.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// Puts a cookie into the browser.
    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        self.cookies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), value.to_owned());
    }

    async fn ask(&self, method: Method, path: &str, form: Option<String>) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.app.url))
            .header(ACCEPT, "text/html,application/xhtml+xml")
            .header(ACCEPT_LANGUAGE, self.language)
            .header(COOKIE, cookies.join("; "));
        if let Some(form) = form {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form);
        }
        let answer = Answer::of(request.send().await.unwrap()).await;
        for set in answer.headers.get_all(SET_COOKIE) {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
            if value.is_empty() {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

/// Where an answer sends the browser.
#[track_caller]
pub(crate) fn sent_to(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.headers["location"].to_str().unwrap()
}

/// The text between two others.
#[track_caller]
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap().0
}
