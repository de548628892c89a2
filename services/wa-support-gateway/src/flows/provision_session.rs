//! Making a customer's session: the row first, then the WA server, and all of it again without harm (W-12).
//!
//! The token and the key are sealed and committed before the WA server hears of them, so a crash at any point leaves
//! nothing that a second run does not find and finish.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::SecretString;
use tenant_isolation::resolve::ExternalId;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use crate::secrets;
use crate::store::{self, customers, directory, sessions, subscriptions};
use crate::wa_server::{WaServerAdmin, WaServerError, WaUser};

/// End of a subscription that nobody limited: 2099-12-31T23:59:59Z, as the platform's own consumers write it (§15).
const NO_END: DateTime<Utc> = match DateTime::from_timestamp(4_102_444_799, 0) {
    Some(end) => end,
    None => DateTime::<Utc>::MAX_UTC,
};

/// What a session is called; its webhooks carry it as `instanceName`. 1 to 255 characters, none of them a control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionName(String);

/// A text that cannot name a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session name has 1 to 255 characters, no control characters and no blanks around it")]
pub struct InvalidSessionName;

impl SessionName {
    const MAX_LENGTH: usize = 255;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionName {
    type Err = InvalidSessionName;

    fn from_str(text: &str) -> Result<Self, InvalidSessionName> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        let plain = text.trim() == text && !text.chars().any(char::is_control);
        if fits && plain {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSessionName)
        }
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// For whom.
    pub scope: TenantScope,
    /// What the session is called.
    pub name: SessionName,
    /// Where its events go; left out, an existing session keeps what it has.
    pub webhook_url: Option<url::Url>,
    /// Who the customer belongs to, if it has to be made.
    pub source: String,
    /// How many sessions the customer may have; left out, an existing subscription keeps what it has and a new one
    /// allows one.
    pub max_sessions: Option<i32>,
}

/// What is there afterwards.
#[derive(Debug)]
pub struct Provisioned {
    /// The WA server's id of the session.
    pub session_id: String,
    /// What it is called by.
    pub token: SecretString,
    /// What its webhooks are signed with.
    pub hmac_key: SecretString,
    /// Was the session made by this run?
    pub created: bool,
}

/// Why there is no such session.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// Names are unique over all customers, because webhooks are told apart by them (W-33).
    #[error("the session name {0} belongs to another customer")]
    NameTaken(SessionName),
    /// The customer has as many as it may have.
    #[error("the customer has its {0} session(s) already; allow more with --max-sessions")]
    LimitReached(i32),
    /// The WA server says a user with the token exists and does not list it.
    #[error("the WA server knows the session's token and does not show the session")]
    Hidden,
    /// Our own rows.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The stored secrets do not open.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// The WA server.
    #[error(transparent)]
    WaServer(#[from] WaServerError),
}

/// The session as our rows have it, opened.
struct Intent {
    id: Uuid,
    token: SecretString,
    hmac_key: SecretString,
    webhook_url: Option<String>,
    created: bool,
}

/// Makes the session, or finds and finishes the one that is there.
///
/// # Errors
/// [`ProvisionError`]; after its cause is mended, running it again goes on where it stopped.
pub async fn provision(
    db: &Database,
    keys: &KeyRing,
    server: &WaServerAdmin,
    wanted: &Wanted,
) -> Result<Provisioned, ProvisionError> {
    let intent = write_intent(db, keys, wanted).await?;
    let session_id = ensure_user(server, wanted, &intent).await?;

    let mut tx = TenantTransaction::begin(db, &wanted.scope, "note session id").await?;
    sessions::set_session_id(&mut tx, intent.id, &session_id).await?;
    tx.commit().await?;

    server
        .connect(&intent.token, &intent.hmac_key, intent.webhook_url.as_deref())
        .await?;
    let Intent {
        token,
        hmac_key,
        created,
        ..
    } = intent;
    Ok(Provisioned {
        session_id,
        token,
        hmac_key,
        created,
    })
}

async fn write_intent(db: &Database, keys: &KeyRing, wanted: &Wanted) -> Result<Intent, ProvisionError> {
    let mut tx = TenantTransaction::begin(db, &wanted.scope, "intend session").await?;
    customers::ensure_and_lock(&mut tx, &wanted.source).await?;
    let subscription = subscriptions::NewSubscription {
        expires_at: NO_END,
        max_sessions: wanted.max_sessions.unwrap_or(1),
    };
    subscriptions::ensure(&mut tx, subscription).await?;
    if let Some(max_sessions) = wanted.max_sessions {
        subscriptions::set_max_sessions(&mut tx, max_sessions).await?;
    }
    let intent = match sessions::find_by_name(&mut tx, wanted.name.as_str()).await? {
        Some(session) => reuse(&mut tx, keys, wanted, session).await?,
        None => add(&mut tx, keys, wanted).await?,
    };
    tx.commit().await?;
    Ok(intent)
}

async fn reuse(
    tx: &mut TenantTransaction,
    keys: &KeyRing,
    wanted: &Wanted,
    session: sessions::Session,
) -> Result<Intent, ProvisionError> {
    let id = session.id;
    let token = keys.open(&session.token_sealed, &secrets::token_binding(&wanted.scope, id))?;
    let hmac_key = keys.open(
        &session.hmac_key_sealed,
        &secrets::hmac_key_binding(&wanted.scope, id),
    )?;
    if let Some(url) = &wanted.webhook_url {
        sessions::set_webhook_url(tx, id, url.as_str()).await?;
    }
    let webhook_url = wanted
        .webhook_url
        .as_ref()
        .map(ToString::to_string)
        .or(session.webhook_url);
    Ok(Intent {
        id,
        token,
        hmac_key,
        webhook_url,
        created: false,
    })
}

async fn add(tx: &mut TenantTransaction, keys: &KeyRing, wanted: &Wanted) -> Result<Intent, ProvisionError> {
    let limit = subscriptions::max_sessions(tx).await?;
    if sessions::count(tx).await? >= i64::from(limit) {
        return Err(ProvisionError::LimitReached(limit));
    }
    let id = Uuid::now_v7();
    let (token, hmac_key) = (secrets::new_session_token(), secrets::new_hmac_key());
    let token_hash = secrets::token_hash(&token);
    let name_taken = || ProvisionError::NameTaken(wanted.name.clone());
    let name = ExternalId::new(directory::SESSION_NAME, wanted.name.as_str()).ok_or_else(name_taken)?;
    // The customer's own row was looked for under a lock and is not there: whoever holds the name is somebody else.
    if !directory::claim(tx, &name, id).await? {
        return Err(name_taken());
    }
    if let Some(by_token) = ExternalId::new(directory::SESSION_TOKEN, &token_hash) {
        directory::claim(tx, &by_token, id).await?;
    }
    let token_sealed = keys.seal(&token, &secrets::token_binding(&wanted.scope, id))?;
    let hmac_key_sealed = keys.seal(&hmac_key, &secrets::hmac_key_binding(&wanted.scope, id))?;
    let webhook_url = wanted.webhook_url.as_ref().map(ToString::to_string);
    let new = sessions::NewSession {
        tenant_id: wanted.scope.tenant().as_str(),
        id,
        provider: store::PROVIDER,
        session_name: wanted.name.as_str(),
        token_hash: &token_hash,
        token_sealed: &token_sealed,
        hmac_key_sealed: &hmac_key_sealed,
        webhook_url: webhook_url.as_deref(),
    };
    sessions::insert(tx, &new).await?;
    Ok(Intent {
        id,
        token,
        hmac_key,
        webhook_url,
        created: true,
    })
}

/// The WA server's user of the intended session, made if it is not there.
async fn ensure_user(
    server: &WaServerAdmin,
    wanted: &Wanted,
    intent: &Intent,
) -> Result<String, ProvisionError> {
    if let Some(id) = server.find_user(&intent.token).await? {
        return Ok(id);
    }
    let user = WaUser {
        name: wanted.name.as_str(),
        token: &intent.token,
        webhook: intent.webhook_url.as_deref(),
        hmac_key: &intent.hmac_key,
    };
    match server.create_user(&user).await? {
        Some(id) => Ok(id),
        // Somebody made it between the two calls, with the token of this very row.
        None => server
            .find_user(&intent.token)
            .await?
            .ok_or(ProvisionError::Hidden),
    }
}
