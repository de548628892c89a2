//! A customer's sessions: what every use case about them has at hand.

use std::sync::Arc;
use std::time::Duration;

use database::{Database, DatabaseError};
use outbound_url::OutboundPolicy;
use runtime::encryption::KeyRing;
use secrecy::{ExposeSecret as _, SecretString};
use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::runtime::Handle;
use url::Url;
use whatsapp::credentials::SessionToken;
use whatsapp::genfity::{CallError, EventList};

use super::admit::Admissions;
use super::session_audit::SessionActor;
use super::session_upkeep::Keeper;
use super::session_webhook::{SessionWebhook, WaWebhook, wa_webhook};
use crate::config::{RelaySettings, SessionSettings};
use crate::error::Error;
use crate::secrets;
use crate::store::sessions::{self, Session};
use crate::wa_server::WaCalls;

/// Most sessions of one answer.
pub(crate) const PAGE_LIMIT: u32 = 1000;

/// What the use cases about sessions work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions {
    pub(crate) db: Database,
    pub(crate) keys: KeyRing,
    pub(crate) wa: WaCalls,
    pub(crate) relay: Arc<RelaySettings>,
    pub(crate) private_hosts: OutboundPolicy,
    /// The longest that a piece of work on one session takes; whoever holds it longer is dead.
    pub(crate) work_length: Duration,
    pub(crate) keeper: Keeper,
    /// Sessions that are being taken off.
    pub(super) switcher: Keeper,
    pub(crate) process: Handle,
    admissions: Option<Admissions>,
    /// Who is noted for what is done.
    pub(super) actor: SessionActor,
}

/// Calls that one piece of work makes at most, one after the other.
const CALLS_OF_A_WORK: u32 = 10;

impl Sessions {
    /// Puts it together, on the runtime that background work lives on.
    #[must_use]
    pub fn new(
        db: Database,
        keys: KeyRing,
        wa: WaCalls,
        relay: RelaySettings,
        settings: &SessionSettings,
    ) -> Self {
        Self {
            db,
            keys,
            wa,
            relay: Arc::new(relay),
            private_hosts: settings.private_hosts.clone(),
            work_length: settings.call_timeout * CALLS_OF_A_WORK,
            keeper: Keeper::default(),
            switcher: Keeper::default(),
            process: Handle::current(),
            admissions: None,
            actor: SessionActor::default(),
        }
    }

    /// With what is known of tokens at hand, to be told of changes. A chore without Redis has none; what others know ends
    /// by itself within a minute.
    pub(crate) fn with_admissions(mut self, admissions: Admissions) -> Self {
        self.admissions = Some(admissions);
        self
    }

    /// A page of the customer's sessions, newest change first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn list(
        &self,
        scope: &TenantScope,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<Session>, Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "list sessions").await?;
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let found = sessions::list(&mut tx, i64::from(limit.min(PAGE_LIMIT)), offset).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// The customer's session that the WA server knows by this id.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`] for one that is not there or another customer's.
    pub(crate) async fn find(&self, scope: &TenantScope, session_id: &str) -> Result<Session, Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find session").await?;
        let found = sessions::find_by_session_id(&mut tx, session_id, &[sessions::READY]).await?;
        tx.commit().await?;
        found.ok_or(Error::SessionNotFound)
    }

    /// Whether events may go to this address: it is the WA server or a relay that will dial it, from inside the network
    /// (W-20). Nothing in it means nowhere.
    ///
    /// # Errors
    /// [`Error::WebhookUrl`].
    pub(crate) async fn check_webhook_url(&self, text: &str) -> Result<Option<Url>, Error> {
        const LONGEST: usize = 2048;
        let refused = "webhook_url must be a public http:// or https:// address without credentials";
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > LONGEST {
            return Err(Error::WebhookUrl("webhook_url must have at most 2048 characters"));
        }
        let url = Url::parse(text).map_err(|_| Error::WebhookUrl(refused))?;
        let checked = self.private_hosts.check_for_others(&url).await;
        checked.map_err(|_| Error::WebhookUrl(refused))?;
        Ok(Some(url))
    }

    /// What is known of the session's token is out of date.
    pub(crate) async fn forget(&self, session: &Session) {
        if let Some(admissions) = &self.admissions {
            admissions.forget(&session.token_hash).await;
        }
    }

    /// The session with its secrets.
    pub(crate) fn open(&self, scope: &TenantScope, row: Session) -> Result<OpenSession, Error> {
        let id = row.id;
        let token = self
            .keys
            .open(&row.token_sealed, &secrets::token_binding(scope, id))?;
        let hmac_key = self
            .keys
            .open(&row.hmac_key_sealed, &secrets::hmac_key_binding(scope, id))?;
        let customer_hmac_key = row
            .customer_hmac_key_sealed
            .as_deref()
            .map(|sealed| {
                self.keys
                    .open(sealed, &secrets::customer_hmac_key_binding(scope, id))
            })
            .transpose()?;
        // Checked when it was written; a name that is no longer known must not keep the session from being served.
        let events = EventList::parse(&row.events).unwrap_or_else(|_| EventList::all());
        Ok(OpenSession {
            events,
            token,
            hmac_key,
            customer_hmac_key,
            row,
        })
    }

    /// What the WA server is told about the session's events.
    pub(crate) fn wa_webhook(&self, session: &OpenSession) -> WaWebhook {
        wa_webhook(
            &self.relay,
            &SessionWebhook {
                session: session.row.id,
                webhook_url: session.row.webhook_url.as_deref(),
                events: &session.events,
                auto_read: session.row.auto_read_enabled,
                hmac_key: &session.hmac_key,
                customer_hmac_key: session.customer_hmac_key.as_ref(),
            },
        )
    }

    /// Tells the WA server where the session's events go, and reads back whether it has it so.
    ///
    /// # Errors
    /// [`Error::Upstream`], or [`Error::NotTaken`] when it says yes and has something else.
    pub(crate) async fn tell_webhook(&self, token: &SessionToken, webhook: &WaWebhook) -> Result<(), Error> {
        let (url, events) = (webhook.url.as_deref(), &webhook.events);
        self.wa.sessions.set_webhook(token, url, events).await?;
        let kept = self.wa.sessions.webhook(token).await?;
        if kept.url == url.unwrap_or_default() && events.same_as(kept.events.iter().map(String::as_str)) {
            Ok(())
        } else {
            Err(Error::NotTaken)
        }
    }
}

/// A session with its secrets.
#[derive(Debug, Clone)]
pub(crate) struct OpenSession {
    pub(crate) row: Session,
    pub(crate) events: EventList,
    pub(crate) token: SecretString,
    pub(crate) hmac_key: SecretString,
    pub(crate) customer_hmac_key: Option<SecretString>,
}

impl OpenSession {
    /// The token as it is sent.
    pub(crate) fn session_token(&self) -> Result<SessionToken, Error> {
        SessionToken::new(self.token.expose_secret())
            .map_err(|_| Error::Internal("a stored session token cannot be sent as a header"))
    }
}

/// Is it certain that the WA server did nothing of what it was asked?
pub(crate) fn did_nothing(error: &CallError) -> bool {
    match error {
        CallError::Unreachable { .. } | CallError::Credential { .. } => true,
        CallError::Refused { status, .. } => *status < 500,
        CallError::NoAnswer { .. } | CallError::Unreadable { .. } => false,
    }
}

/// Is the WA server certainly done with what it was asked, whatever became of it?
pub(crate) fn is_over(error: &CallError) -> bool {
    match error {
        // Said by something in between, which gave up waiting.
        CallError::Refused { status, .. } => !matches!(status, 502..=504),
        CallError::Unreadable { .. } | CallError::Unreachable { .. } | CallError::Credential { .. } => true,
        CallError::NoAnswer { .. } => false,
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self::Upstream(error)
    }
}

/// Whether work may be tried again soon.
pub(crate) fn is_worth_another_try(error: &Error) -> bool {
    match error {
        Error::Upstream(_) | Error::NotTaken | Error::SessionBusy => true,
        Error::Database(error) => DatabaseError::is_transient(error),
        _ => false,
    }
}
