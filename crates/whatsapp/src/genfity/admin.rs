//! The WhatsApp server's administration: making and removing its users, which are our sessions (wa-server contract 3).

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};

use super::http::{Call, CallError, Http, Removal};
use super::outbound::{Endpoint, InvalidEndpoint};
use super::wire;

const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The list of all users comes in one piece; beyond this it is not a list of users.
const LIST_LIMIT: usize = 64 * 1024 * 1024;

/// The raw token goes in here, without a `Bearer` in front of it.
const HEADER: &str = "authorization";

/// A user that the server is asked to make.
#[derive(Debug)]
pub struct NewWaUser<'a> {
    /// Becomes `instanceName` in webhooks.
    pub name: &'a str,
    /// What the session is called by.
    pub token: &'a SecretString,
    /// Where its events go.
    pub webhook: Option<&'a str>,
    /// What its events are signed with.
    pub hmac_key: &'a SecretString,
}

/// A server together with the token that opens its administration.
#[derive(Debug, Clone)]
pub struct WaAdmin {
    http: Http,
    token: SecretString,
}

impl WaAdmin {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &Endpoint, token: SecretString) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
            token,
        })
    }

    fn call<'a>(&'a self, name: &'static str, method: Method, path: &'a [&'a str]) -> Call<'a> {
        Call::new(name, method, path, (HEADER, &self.token), CALL_TIMEOUT)
    }

    /// The id of the user with this token, if there is one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn find_user(&self, token: &SecretString) -> Result<Option<String>, CallError> {
        let call = self.call("GET /admin/users", Method::GET, &["admin", "users"]);
        let call = Call {
            limit: LIST_LIMIT,
            ..call
        };
        let users: wire::Enveloped<Vec<wire::ListedUser>> = self.http.ask(call).await?;
        let mut users = users.data.unwrap_or_default().into_iter();
        Ok(users
            .find(|user| user.token == token.expose_secret())
            .map(|user| user.id))
    }

    /// Makes a user and returns its id; `None` when a user with this token exists already.
    ///
    /// # Errors
    /// [`CallError`]; after one that leaves the outcome open, [`Self::find_user`] tells.
    pub async fn create_user(&self, user: &NewWaUser<'_>) -> Result<Option<String>, CallError> {
        const CALL: &str = "POST /admin/users";
        let body = wire::new_user(
            user.name,
            user.token.expose_secret(),
            user.webhook.unwrap_or_default(),
            user.hmac_key.expose_secret(),
        );
        let call = self.call(CALL, Method::POST, &["admin", "users"]).with(body);
        match self.http.ask::<wire::Enveloped<wire::CreatedUser>>(call).await {
            Ok(created) => {
                let created = created.data.ok_or(CallError::Unreadable { call: CALL })?;
                Ok(Some(created.id))
            }
            Err(error) if error.status() == Some(409) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Logs a user out and removes everything of it.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn delete_user(&self, id: &str) -> Result<Removal, CallError> {
        let path = ["admin", "users", id, "full"];
        let call = self.call("DELETE /admin/users/…/full", Method::DELETE, &path);
        match self.http.call(call).await {
            Ok(_) => Ok(Removal::Removed),
            Err(error) if error.status() == Some(404) && error.said() == Some("user not found") => {
                Ok(Removal::WasAbsent)
            }
            Err(error) => Err(error),
        }
    }
}
