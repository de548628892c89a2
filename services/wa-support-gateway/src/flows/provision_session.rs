//! The operator's way of making a session: the customer with it, connected, and all of it again without harm (W-12).

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use database::DatabaseError;
use runtime::encryption::EncryptionError;
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;
use whatsapp::genfity::{CallError, EventList};

use super::session_audit::SessionActor;
use super::session_create::NewSession;
use super::session_name::SessionName;
use super::session_work::{Which, Work};
use super::sessions::{OpenSession, Sessions};
use crate::error::Error;
use crate::secrets;
use crate::store::sessions::{self, Session, Wishes};
use crate::store::{customers, subscriptions};

/// End of a subscription that nobody limited: 2099-12-31T23:59:59Z, as the platform's own consumers write it (§15).
const NO_END: DateTime<Utc> = match DateTime::from_timestamp(4_102_444_799, 0) {
    Some(end) => end,
    None => DateTime::<Utc>::MAX_UTC,
};

/// How long somebody else's work on the session is waited for, and how often that is looked at.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(200));

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
    /// What the customer's webhooks are signed with.
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
    /// The WA server.
    #[error(transparent)]
    WaServer(CallError),
    /// Our own rows.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The stored secrets do not open.
    #[error(transparent)]
    Encryption(EncryptionError),
    /// Anything else.
    #[error(transparent)]
    Other(Error),
}

/// Makes the session, or finds and finishes the one that is there.
///
/// # Errors
/// [`ProvisionError`]; after its cause is mended, running it again goes on where it stopped.
pub async fn provision(sessions: &Sessions, wanted: &Wanted) -> Result<Provisioned, ProvisionError> {
    let sessions = &sessions.clone().acting_for(SessionActor::Operator);
    ensure_customer(sessions, wanted).await?;
    let (patience, look) = PATIENCE;
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        match attempt(sessions, wanted).await {
            Err(Error::SessionBusy) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(look).await;
            }
            done => return done.map_err(|error| explain(error, wanted)),
        }
    }
}

fn explain(error: Error, wanted: &Wanted) -> ProvisionError {
    match error {
        Error::SessionNameTaken => ProvisionError::NameTaken(wanted.name.clone()),
        Error::SessionLimit(limit) => ProvisionError::LimitReached(limit),
        Error::Upstream(error) => ProvisionError::WaServer(error),
        Error::Database(error) => ProvisionError::Database(error),
        Error::Encryption(error) => ProvisionError::Encryption(error),
        other => ProvisionError::Other(other),
    }
}

async fn ensure_customer(sessions: &Sessions, wanted: &Wanted) -> Result<(), DatabaseError> {
    let mut tx = TenantTransaction::begin(&sessions.db, &wanted.scope, "ensure customer").await?;
    let made = customers::ensure_and_lock(&mut tx, &wanted.source).await?;
    let subscription = subscriptions::NewSubscription {
        expires_at: NO_END,
        max_sessions: wanted.max_sessions.unwrap_or(1),
    };
    let began = subscriptions::ensure(&mut tx, subscription).await?;
    let changed = match wanted.max_sessions {
        Some(max_sessions) => subscriptions::set_max_sessions(&mut tx, max_sessions).await?,
        None => false,
    };
    let (end, most) = (subscription.expires_at, subscription.max_sessions);
    let end = end.to_rfc3339_opts(SecondsFormat::Secs, true);
    let act = match (made, began, wanted.max_sessions) {
        (true, true, _) => {
            let detail = format!("until {end}, sessions {most}; for {}", wanted.source);
            Some(("customer.create", detail))
        }
        (true, false, _) => Some(("customer.create", format!("for {}", wanted.source))),
        (false, true, _) => Some(("customer.update", format!("until {end}, sessions {most}"))),
        (false, false, Some(most)) if changed => Some(("customer.update", format!("sessions {most}"))),
        // Everything was there already.
        (false, false, _) => None,
    };
    if let Some((action, detail)) = act {
        sessions.audit_customer(&mut tx, action, detail).await?;
    }
    tx.commit().await
}

async fn attempt(sessions: &Sessions, wanted: &Wanted) -> Result<Provisioned, Error> {
    match own(sessions, wanted).await? {
        Some(row) if row.phase == sessions::READY => repair(sessions, wanted, row.id).await,
        _ => create(sessions, wanted).await,
    }
}

async fn own(sessions: &Sessions, wanted: &Wanted) -> Result<Option<Session>, Error> {
    let mut tx = TenantTransaction::begin(&sessions.db, &wanted.scope, "find session").await?;
    let row = sessions::find_by_name(&mut tx, wanted.name.as_str()).await?;
    tx.commit().await?;
    Ok(row)
}

async fn create(sessions: &Sessions, wanted: &Wanted) -> Result<Provisioned, Error> {
    let hmac_key = secrets::new_hmac_key();
    let new = NewSession {
        name: wanted.name.clone(),
        webhook_url: wanted.webhook_url.clone(),
        events: EventList::all(),
        expiration_sec: 0,
        history: 0,
        // Below, where whoever runs this sees what comes of it.
        auto_connect: false,
        auto_read: false,
        typing: false,
        hmac_key: Some(hmac_key.clone()),
    };
    let created = match sessions.create(&wanted.scope, new).await {
        // Another run has made it meanwhile.
        Err(Error::SessionNameTaken) if own(sessions, wanted).await?.is_some() => {
            return Err(Error::SessionBusy);
        }
        created => created?,
    };
    let row = created.row.clone();
    sessions.switch(&wanted.scope, row.id, true).await?;
    let open = sessions.open(&wanted.scope, row)?;
    sessions.tell_all(&open, true).await?;
    Ok(Provisioned {
        session_id: created.row.session_id.unwrap_or_default(),
        token: created.token,
        hmac_key,
        created: true,
    })
}

async fn repair(sessions: &Sessions, wanted: &Wanted, id: Uuid) -> Result<Provisioned, Error> {
    let (work, session) = sessions.begin_work(&wanted.scope, Which::Id(id)).await?;
    let repaired = repair_now(sessions, wanted, &work, session).await;
    sessions.ended_if_failed(&work, repaired).await
}

async fn repair_now(
    sessions: &Sessions,
    wanted: &Wanted,
    work: &Work,
    mut session: OpenSession,
) -> Result<Provisioned, Error> {
    // Whoever made the session before customers had keys of their own was shown ours.
    let hmac_key = session
        .customer_hmac_key
        .get_or_insert_with(|| session.hmac_key.clone())
        .clone();
    if let Some(url) = &wanted.webhook_url {
        session.row.webhook_url = Some(url.to_string());
    }
    let session_id = match sessions.wa.admin.find_user(&session.token).await? {
        Some(id) => id,
        None => sessions.make_user(&session).await?,
    };
    sessions.switch(&work.scope, work.session, true).await?;
    sessions.tell_all(&session, true).await?;

    let binding = secrets::customer_hmac_key_binding(&work.scope, work.session);
    let wishes = Wishes {
        webhook_url: Some(session.row.webhook_url.clone()),
        customer_hmac_key_sealed: Some(Some(sessions.keys.seal(&hmac_key, &binding)?)),
        ..Wishes::default()
    };
    let mut tx = sessions.still_ours(work, "repair session").await?;
    sessions::change(&mut tx, work.session, wishes).await?;
    sessions.audit_repair(&mut tx, &session.row).await?;
    if session.row.session_id.as_deref() != Some(session_id.as_str()) {
        sessions::set_made(&mut tx, work.session, &session_id).await?;
    }
    sessions.commit_and_end(tx, work).await?;
    Ok(Provisioned {
        session_id,
        token: session.token,
        hmac_key,
        created: false,
    })
}
