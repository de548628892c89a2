//! The WhatsApp server's administration: making and removing its users, which are our sessions (wa-server contract 3).

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};

use super::events::EventList;
use super::http::{Call, CallError, Http, Removal};
use super::outbound::{Endpoint, InvalidEndpoint};
use super::wire;

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
    /// Which of them.
    pub events: &'a EventList,
    /// What they are signed with.
    pub hmac_key: &'a SecretString,
    /// A number that the server keeps and does nothing with.
    pub expiration: i64,
    /// How many messages of a chat the server keeps; 0: none.
    pub history: i64,
}

/// A user that the server has. `Debug` does not show its token.
#[derive(Debug, Clone)]
pub struct WaUser {
    /// The server's id of it.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it is called by.
    pub token: SecretString,
    /// Where its events go; empty: nowhere.
    pub webhook: String,
    /// Which of them, separated by commas.
    pub events: String,
    /// Is its socket to WhatsApp up?
    pub connected: bool,
}

/// What of a user is to be changed. The server takes nothing and 0 for "not given", so nothing can be cleared.
#[derive(Debug, Clone, Copy, Default)]
pub struct WaUserEdit<'a> {
    /// What it is called from now on.
    pub name: Option<&'a str>,
    /// A number that the server keeps and does nothing with.
    pub expiration: Option<i64>,
    /// How many messages of a chat the server keeps.
    pub history: Option<i64>,
}

impl WaUserEdit<'_> {
    /// Does the server find something to change in it?
    #[must_use]
    pub fn is_something(&self) -> bool {
        self.name.is_some_and(|name| !name.is_empty())
            || self.expiration.is_some_and(|number| number != 0)
            || self.history.is_some_and(|number| number != 0)
    }
}

/// A server together with the token that opens its administration.
#[derive(Debug, Clone)]
pub struct WaAdmin {
    http: Http,
    token: SecretString,
    timeout: Duration,
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
            timeout: endpoint.total_timeout(),
        })
    }

    fn call<'a>(&'a self, name: &'static str, method: Method, path: &'a [&'a str]) -> Call<'a> {
        Call::new(name, method, path, (HEADER, &self.token), self.timeout)
    }

    /// The id of the user with this token, if there is one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn find_user(&self, token: &SecretString) -> Result<Option<String>, CallError> {
        let mut users = self.listed().await?.into_iter();
        Ok(users
            .find(|user| user.token == token.expose_secret())
            .map(|user| user.id))
    }

    /// Every user of the server.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn users(&self) -> Result<Vec<WaUser>, CallError> {
        let users = self.listed().await?.into_iter();
        Ok(users
            .map(|user| WaUser {
                id: user.id,
                name: user.name,
                token: SecretString::from(user.token),
                webhook: user.webhook,
                events: user.events,
                connected: user.connected,
            })
            .collect())
    }

    async fn listed(&self) -> Result<Vec<wire::ListedUser>, CallError> {
        const CALL: &str = "GET /admin/users";
        let call = self.call(CALL, Method::GET, &["admin", "users"]);
        let call = Call {
            limit: LIST_LIMIT,
            ..call
        };
        let users: wire::Enveloped<Vec<wire::ListedUser>> = self.http.ask(call).await?;
        Ok(users.data.unwrap_or_default())
    }

    /// Makes a user and returns its id; `None` when a user with this token exists already.
    ///
    /// # Errors
    /// [`CallError`]; after one that leaves the outcome open, [`Self::find_user`] tells.
    pub async fn create_user(&self, user: &NewWaUser<'_>) -> Result<Option<String>, CallError> {
        const CALL: &str = "POST /admin/users";
        let mut body = wire::new_user(
            user.name,
            user.token.expose_secret(),
            user.webhook.unwrap_or_default(),
            &user.events.to_string(),
            user.hmac_key.expose_secret(),
        );
        wire::add_numbers(&mut body, user.expiration, user.history);
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

    /// Changes a user. False: the server has no such user.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn edit_user(&self, id: &str, edit: WaUserEdit<'_>) -> Result<bool, CallError> {
        let path = ["admin", "users", id];
        let body = wire::edit_user(
            edit.name,
            edit.expiration.unwrap_or_default(),
            edit.history.unwrap_or_default(),
        );
        let call = self.call("PUT /admin/users/…", Method::PUT, &path).with(body);
        match self.http.call(call).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) && error.said() == Some("user not found") => Ok(false),
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
