//! The calls that make a session on the WA server and give it its settings (contract §9, §9.1).

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{WaServer, secret_header};

/// The longest such call is a connect, which the WA server may hold for 10 s and more.
const CALL_TIMEOUT: Duration = Duration::from_secs(45);

/// The list of all users comes in one piece; beyond this it is not a list of users.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// How much of the WA server's own words goes into an error.
const REASON_LIMIT: usize = 200;

/// Why a call to the WA server did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WaServerError {
    /// It cannot be reached or broke off.
    #[error("{call}: the WA server does not answer")]
    Unreachable {
        /// The call.
        call: &'static str,
        /// What the client says.
        source: reqwest::Error,
    },
    /// It answered with an error.
    #[error("{call}: the WA server answers {status}: {reason}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// Its own words.
        reason: String,
    },
    /// Its answer is not what the contract says.
    #[error("{call}: the WA server's answer cannot be read")]
    Unreadable {
        /// The call.
        call: &'static str,
    },
    /// A secret that cannot be a header.
    #[error("the token cannot be sent as a header")]
    ImpossibleToken,
}

/// A user that the WA server is asked to make.
#[derive(Debug)]
pub struct WaUser<'a> {
    /// Becomes `instanceName` in webhooks.
    pub name: &'a str,
    /// What the session is called by.
    pub token: &'a SecretString,
    /// Where its events go.
    pub webhook: Option<&'a str>,
    /// What its events are signed with.
    pub hmac_key: &'a SecretString,
}

/// A WA server together with the token that opens its administration.
#[derive(Debug, Clone)]
pub struct WaServerAdmin {
    server: WaServer,
    token: SecretString,
}

#[derive(Deserialize)]
struct Enveloped<T> {
    data: Option<T>,
}

#[derive(Deserialize)]
struct ListedUser {
    id: String,
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct CreatedUser {
    id: String,
}

/// What we ask a user's webhook to be told: all of it, consumers choose.
const ALL_EVENTS: &str = "All";

impl WaServerAdmin {
    /// Joins the two.
    #[must_use]
    pub const fn new(server: WaServer, token: SecretString) -> Self {
        Self { server, token }
    }

    /// The id of the user with this token, if there is one.
    ///
    /// # Errors
    /// [`WaServerError`].
    pub async fn find_user(&self, token: &SecretString) -> Result<Option<String>, WaServerError> {
        const CALL: &str = "GET /admin/users";
        let answer = self.send(CALL, Method::GET, "/admin/users", None).await?;
        let users: Enveloped<Vec<ListedUser>> = read(CALL, answer).await?;
        let users = users.data.unwrap_or_default();
        Ok(users
            .into_iter()
            .find(|user| user.token == token.expose_secret())
            .map(|user| user.id))
    }

    /// Makes a user and returns its id; `None` when a user with this token exists already.
    ///
    /// # Errors
    /// [`WaServerError`].
    pub async fn create_user(&self, user: &WaUser<'_>) -> Result<Option<String>, WaServerError> {
        const CALL: &str = "POST /admin/users";
        let body = json!({
            "name": user.name, "token": user.token.expose_secret(), "webhook": user.webhook.unwrap_or_default(),
            "events": ALL_EVENTS, "hmacKey": user.hmac_key.expose_secret(),
        });
        match self.send(CALL, Method::POST, "/admin/users", Some(body)).await {
            Ok(answer) => {
                let created: Enveloped<CreatedUser> = read(CALL, answer).await?;
                let created = created.data.ok_or(WaServerError::Unreadable { call: CALL })?;
                Ok(Some(created.id))
            }
            Err(WaServerError::Refused { status: 409, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(
        &self,
        call: &'static str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response, WaServerError> {
        // The raw token: the WA server refuses a `Bearer` in front of it (W-31).
        let token = secret_header(&self.token).ok_or(WaServerError::ImpossibleToken)?;
        self.server
            .call(call, method, path, (AUTHORIZATION.as_str(), token), body)
            .await
    }

    /// Connects a session to WhatsApp and repeats what the WA server keeps only in memory. A session that is connected
    /// already is left so.
    ///
    /// # Errors
    /// [`WaServerError`]; running it again is safe.
    pub async fn connect(
        &self,
        token: &SecretString,
        hmac_key: &SecretString,
        webhook: Option<&str>,
    ) -> Result<(), WaServerError> {
        let server = &self.server;
        let connect = json!({"Subscribe": [ALL_EVENTS], "Immediate": true});
        match server
            .session_call(
                "POST /session/connect",
                Method::POST,
                "/session/connect",
                token,
                connect,
            )
            .await
        {
            Ok(()) => {}
            Err(WaServerError::Refused { reason, .. }) if reason == "already connected" => {}
            Err(error) => return Err(error),
        }
        let key = json!({"hmac_key": hmac_key.expose_secret()});
        server
            .session_call(
                "POST /session/hmac/config",
                Method::POST,
                "/session/hmac/config",
                token,
                key,
            )
            .await?;
        let media = json!({"enabled": false, "media_delivery": "base64"});
        server
            .session_call(
                "POST /session/s3/config",
                Method::POST,
                "/session/s3/config",
                token,
                media,
            )
            .await?;
        if let Some(webhook) = webhook {
            // Always all three: without `active` the server clears the URL, without `events` it goes silent.
            let settings = json!({"webhook": webhook, "active": true, "events": [ALL_EVENTS]});
            server
                .session_call("PUT /webhook", Method::PUT, "/webhook", token, settings)
                .await?;
        }
        Ok(())
    }
}

impl WaServer {
    async fn session_call(
        &self,
        call: &'static str,
        method: Method,
        path: &str,
        token: &SecretString,
        body: impl Serialize,
    ) -> Result<(), WaServerError> {
        let token = secret_header(token).ok_or(WaServerError::ImpossibleToken)?;
        let body = serde_json::to_value(body).map_err(|_| WaServerError::Unreadable { call })?;
        self.call(call, method, path, ("token", token), Some(body))
            .await
            .map(drop)
    }

    async fn call(
        &self,
        call: &'static str,
        method: Method,
        path: &str,
        credential: (&'static str, HeaderValue),
        body: Option<Value>,
    ) -> Result<Response, WaServerError> {
        let mut request = self.client.request(method, self.url(path)).timeout(CALL_TIMEOUT);
        request = request.header(credential.0, credential.1);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let unreachable = |error: reqwest::Error| WaServerError::Unreachable {
            call,
            source: error.without_url(),
        };
        let answer = request.send().await.map_err(unreachable)?;
        // Judged by the status, because bodies of the WA server contradict it at times.
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status => Err(WaServerError::Refused {
                call,
                status: status.as_u16(),
                reason: reason(status, answer).await,
            }),
        }
    }
}

/// The text of the WA server's error, for an operator and for the few texts that mean something.
async fn reason(status: StatusCode, answer: Response) -> String {
    let body = read_limited(answer).await.unwrap_or_default();
    let text = serde_json::from_slice::<Value>(&body).ok();
    let text = text.as_ref().and_then(|body| body.get("error")?.as_str());
    let text = text.or_else(|| status.canonical_reason()).unwrap_or_default();
    text.chars().take(REASON_LIMIT).collect()
}

async fn read<T: for<'de> Deserialize<'de>>(
    call: &'static str,
    answer: Response,
) -> Result<T, WaServerError> {
    let body = read_limited(answer)
        .await
        .ok_or(WaServerError::Unreadable { call })?;
    serde_json::from_slice(&body).map_err(|_| WaServerError::Unreadable { call })
}

/// The whole body, unless it breaks off or is longer than anything the WA server has to say.
async fn read_limited(answer: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.ok()?;
        if body.len() + piece.len() > ANSWER_LIMIT {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    Some(body)
}
