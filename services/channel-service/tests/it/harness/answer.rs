//! What the service answered, and what an answer has to be.

use serde_json::{Value, json};

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Is it the answer 200 with this message?
    #[track_caller]
    pub(crate) fn assert_done(&self, message: &str) {
        assert_eq!(
            (self.status, self.json()),
            (200, json!({"status": "ok", "message": message}))
        );
    }

    /// Is it an answer 200 that names the kept message?
    #[track_caller]
    pub(crate) fn assert_kept(&self) -> String {
        let body = self.json();
        assert_eq!(
            (self.status, &body["status"]),
            (200, &json!("ok")),
            "{}",
            self.text
        );
        body["message_id"]
            .as_str()
            .unwrap_or_else(|| panic!("no message id: {}", self.text))
            .to_owned()
    }

    /// Is it an error in the shape every error has, telling nothing of our insides?
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str) {
        let body = self.json();
        assert_eq!(
            (self.status, body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert!(
            body["error"].as_str().is_some_and(|text| !text.is_empty()),
            "{}",
            self.text
        );
        let request_id = body["request_id"].as_str().unwrap_or_default();
        assert!(!request_id.is_empty(), "{}", self.text);
        assert_eq!(
            self.headers.get("x-request-id").and_then(|id| id.to_str().ok()),
            Some(request_id)
        );
        let shown = self.text.to_lowercase();
        for inside in [
            "postgres",
            "diesel",
            "sql",
            "relation",
            "panicked",
            "src/",
            ".rs",
            "serde",
            "actix",
            "line 1",
            "column",
            "redis",
            "rabbit",
            "lapin",
            "127.0.0.1",
        ] {
            assert!(!shown.contains(inside), "{inside}: {}", self.text);
        }
    }
}
