//! wa-support-gateway's customers and their sessions (channel-service contract 6.5). To the gateway a tenant is a
//! customer: `user_id` is the tenant's id.

use std::str::FromStr;
use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use super::http::{Call, CallError, Http, Removal};
use super::outbound::{Endpoint, InvalidEndpoint};
use super::wire;

const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Our key at the gateway, written `source:key` or `key`: only the key is sent, the source names whose customers ours
/// are.
#[derive(Debug, Clone)]
pub struct InternalKey {
    source: String,
    key: SecretString,
}

/// A text without a key in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", InternalKey::EXPECTED)]
pub struct InvalidInternalKey;

impl InternalKey {
    /// What a right value looks like.
    pub const EXPECTED: &str = "must be `key` or `source:key`";
    /// Whose our customers are when the key does not say.
    const SOURCE: &str = "govconnect";

    /// What is sent.
    pub(crate) const fn secret(&self) -> &SecretString {
        &self.key
    }
}

/// The same key for the same customers.
impl PartialEq for InternalKey {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.key.expose_secret() == other.key.expose_secret()
    }
}

impl Eq for InternalKey {}

impl FromStr for InternalKey {
    type Err = InvalidInternalKey;

    fn from_str(text: &str) -> Result<Self, InvalidInternalKey> {
        let (source, key) = match text.trim().split_once(':') {
            Some((source, key)) if !source.trim().is_empty() => (source.trim(), key.trim()),
            Some((_, key)) => (Self::SOURCE, key.trim()),
            None => (Self::SOURCE, text.trim()),
        };
        let fits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self {
            source: source.to_owned(),
            key: SecretString::from(key),
        })
        .ok_or(InvalidInternalKey)
    }
}

/// What a customer's own calls are made with.
#[derive(Debug, Clone)]
pub struct CustomerKey(pub SecretString);

/// What came of making sure that a customer is there.
#[derive(Debug, Clone)]
pub enum EnsuredCustomer {
    /// It is new, and this is its key.
    New(CustomerKey),
    /// It was there. Its key is shown to nobody any more.
    Known,
}

/// A session that is to be made.
#[derive(Debug)]
pub struct NewGatewaySession<'a> {
    /// Becomes `instanceName` in webhooks.
    pub name: &'a str,
    /// Where its events go.
    pub webhook_url: Option<&'a str>,
    /// What its events are signed with.
    pub hmac_key: &'a SecretString,
}

/// A customer's session as the gateway has it.
#[derive(Debug, Clone)]
pub struct GatewaySession {
    /// The WhatsApp server's id of it.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it is called by, where the gateway tells.
    pub token: Option<SecretString>,
}

/// A page of customers, as objects for people to look at.
#[derive(Debug, Clone)]
pub struct UserPage {
    /// Each with `id` and `user_id`.
    pub items: Vec<Map<String, Value>>,
    /// Page, limit and total.
    pub meta: Value,
    /// How many there are.
    pub total: u64,
}

impl UserPage {
    /// A customer's own id.
    #[must_use]
    pub fn id_of(item: &Map<String, Value>) -> Option<&str> {
        wire::customer_id(item)
    }
}

/// A gateway together with our key to it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SupportGateway {
    http: Http,
    key: InternalKey,
}

impl SupportGateway {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &Endpoint, key: InternalKey) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
            key,
        })
    }

    fn internal<'a>(&'a self, name: &'static str, method: Method, path: &'a [&'a str]) -> Call<'a> {
        let credential = ("x-internal-api-key", &self.key.key);
        Call::new(name, method, path, credential, CALL_TIMEOUT)
    }

    fn customer<'a>(
        key: &'a CustomerKey,
        name: &'static str,
        method: Method,
        path: &'a [&'a str],
    ) -> Call<'a> {
        Call::new(name, method, path, ("x-api-key", &key.0), CALL_TIMEOUT)
    }

    /// Who the gateway takes us for.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn me(&self) -> Result<Value, CallError> {
        self.http
            .ask(self.internal("GET /internal/me", Method::GET, &["internal", "me"]))
            .await
    }

    /// A page of our customers.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn users(&self, page: u32, limit: u32) -> Result<UserPage, CallError> {
        let query = [
            ("source", self.key.source.clone()),
            ("page", page.to_string()),
            ("limit", limit.to_string()),
        ];
        let call = self.internal("GET /internal/users", Method::GET, &["internal", "users"]);
        let call = Call {
            query: &query,
            limit: 8 * 1024 * 1024,
            ..call
        };
        let page: wire::Customers = self.http.ask(call).await?;
        let items: Vec<_> = page.items.into_iter().map(wire::with_both_ids).collect();
        let shown = u64::try_from(items.len()).unwrap_or(u64::MAX);
        Ok(UserPage {
            total: wire::total(&page.meta).unwrap_or(shown),
            items,
            meta: page.meta,
        })
    }

    /// What the gateway tells about a customer's key: that there is one. `None`: it has no such customer of ours.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn user(&self, id: &str) -> Result<Option<Value>, CallError> {
        let path = ["internal", "users", id, "apikey"];
        let call = self.internal("GET /internal/users/…/apikey", Method::GET, &path);
        match self.http.ask::<Map<String, Value>>(call).await {
            Ok(user) => Ok(Some(Value::Object(wire::with_both_ids(user)))),
            Err(error) if matches!(error.status(), Some(403 | 404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that the customer is there, with a subscription for one session.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn ensure_customer(&self, id: &str) -> Result<EnsuredCustomer, CallError> {
        let call = self.internal("POST /internal/users", Method::POST, &["internal", "users"]);
        let answer: wire::CustomerAnswer = self
            .http
            .ask(call.with(wire::customer(id, &self.key.source)))
            .await?;
        Ok(match answer.api_key.filter(|key| !key.is_empty()) {
            Some(key) => EnsuredCustomer::New(CustomerKey(SecretString::from(key))),
            None => EnsuredCustomer::Known,
        })
    }

    /// Lets the customer have as many sessions, if it may not have them already. False when it may.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn allow_sessions(&self, key: &CustomerKey, id: &str, most: i64) -> Result<bool, CallError> {
        let call = Self::customer(key, "GET /v1/me", Method::GET, &["v1", "me"]);
        let me: wire::Me = self.http.ask(call).await?;
        if me.subscription.max_sessions >= most {
            return Ok(false);
        }
        let body = wire::customer_with(id, &self.key.source, &me.subscription, most);
        let call = self.internal("POST /internal/users", Method::POST, &["internal", "users"]);
        self.http.ask::<wire::CustomerAnswer>(call.with(body)).await?;
        Ok(true)
    }

    /// Did the gateway refuse because the customer has as many sessions as it may have?
    #[must_use]
    pub fn is_full(error: &CallError) -> bool {
        error.status() == Some(403) && error.said() == Some("session limit exceeded")
    }

    /// Gives the customer another key; the one before opens nothing any more.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn rotate_key(&self, id: &str) -> Result<CustomerKey, CallError> {
        const CALL: &str = "POST /internal/users/…/apikey/rotate";
        let path = ["internal", "users", id, "apikey", "rotate"];
        let call = self.internal(CALL, Method::POST, &path).with(json!({}));
        let answer: wire::CustomerAnswer = self.http.ask(call).await?;
        answer
            .api_key
            .filter(|key| !key.is_empty())
            .map(|key| CustomerKey(SecretString::from(key)))
            .ok_or(CallError::Unreadable { call: CALL })
    }

    /// Makes a session.
    ///
    /// # Errors
    /// [`CallError`]; after one that leaves the outcome open, [`Self::sessions`] tells.
    pub async fn create_session(
        &self,
        key: &CustomerKey,
        new: &NewGatewaySession<'_>,
    ) -> Result<GatewaySession, CallError> {
        const CALL: &str = "POST /v1/sessions";
        let body = wire::session(
            new.name,
            new.webhook_url.unwrap_or_default(),
            new.hmac_key.expose_secret(),
        );
        let call = Self::customer(key, CALL, Method::POST, &["v1", "sessions"]).with(body);
        let created: wire::Created = self.http.ask(call).await?;
        read_session(created.session).ok_or(CallError::Unreadable { call: CALL })
    }

    /// The customer's sessions.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn sessions(&self, key: &CustomerKey) -> Result<Vec<GatewaySession>, CallError> {
        let sessions = self.listed(key).await?.into_iter();
        Ok(sessions
            .filter_map(|session| serde_json::from_value(session).ok().and_then(read_session))
            .collect())
    }

    /// The customer's sessions as objects for people to look at, without their tokens.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn show_sessions(&self, key: &CustomerKey) -> Result<Vec<Value>, CallError> {
        let sessions = self.listed(key).await?.into_iter();
        Ok(sessions.map(wire::without_token).collect())
    }

    async fn listed(&self, key: &CustomerKey) -> Result<Vec<Value>, CallError> {
        let call = Self::customer(key, "GET /v1/sessions", Method::GET, &["v1", "sessions"]);
        let listed: wire::Sessions = self.http.ask(call).await?;
        Ok(listed.sessions)
    }

    /// A session's settings and counters. `None`: the customer has no such session.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn session_settings(&self, key: &CustomerKey, id: &str) -> Result<Option<Value>, CallError> {
        let path = ["v1", "sessions", id, "settings"];
        let call = Self::customer(key, "GET /v1/sessions/…/settings", Method::GET, &path);
        match self.http.ask(call).await {
            Ok(settings) => Ok(Some(settings)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a session, here and on the WhatsApp server.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn delete_session(&self, key: &CustomerKey, id: &str) -> Result<Removal, CallError> {
        let path = ["v1", "sessions", id];
        let call = Self::customer(key, "DELETE /v1/sessions/…", Method::DELETE, &path);
        match self.http.call(call).await {
            Ok(_) => Ok(Removal::Removed),
            Err(error) if is_absent(&error) => Ok(Removal::WasAbsent),
            Err(error) => Err(error),
        }
    }

    /// Was the call refused because the customer's key opens nothing any more?
    #[must_use]
    pub fn is_stale_key(error: &CallError) -> bool {
        error.status() == Some(401) && error.said() == Some("invalid api key")
    }
}

/// Only where it is said in so many words: a path that does not exist is a 404 too.
fn is_absent(error: &CallError) -> bool {
    matches!(error.status(), Some(403 | 404))
        && matches!(
            error.said(),
            Some("session not found" | "session not found for user" | "user not found")
        )
}

fn read_session(session: wire::Session) -> Option<GatewaySession> {
    let id = session
        .session_id
        .filter(|id| !id.is_empty())
        .or_else(|| match session.id? {
            Value::String(id) if !id.is_empty() => Some(id),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        })?;
    Some(GatewaySession {
        id,
        name: session.session_name.unwrap_or_default(),
        token: session
            .session_token
            .filter(|token| !token.is_empty())
            .map(SecretString::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_the_part_before_the_first_colon() {
        for (text, source, key) in [
            ("kanal-dev:abc", "kanal-dev", "abc"),
            ("abc", "govconnect", "abc"),
            (" a : b:c ", "a", "b:c"),
            (":abc", "govconnect", "abc"),
        ] {
            let read: InternalKey = text.parse().unwrap();
            assert_eq!((read.source.as_str(), read.key.expose_secret()), (source, key));
            assert!(!format!("{read:?}").contains("abc"));
        }
        for wrong in ["", " ", "a:", "a: ", "a:b c"] {
            assert!(wrong.parse::<InternalKey>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_a_session_that_is_said_to_be_missing_is_absent() {
        let refused = |status: u16, said: &str| CallError::Refused {
            call: "DELETE",
            status,
            code: None,
            said: crate::port::OperatorText::without(said, "-"),
        };
        assert!(is_absent(&refused(404, "session not found")));
        assert!(is_absent(&refused(403, "session not found for user")));
        assert!(!is_absent(&refused(404, "Route not found")));
        assert!(!is_absent(&refused(404, "Not Found")));
        assert!(!is_absent(&refused(403, "user is not active")));
        assert!(!is_absent(&refused(502, "session not found")));
    }
}
