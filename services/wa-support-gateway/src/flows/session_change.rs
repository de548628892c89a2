//! Changing what a customer chose of a session: the WA server first, read back, and only then the row (contract §7.4,
//! §7.7, W-06, W-16).

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use tenant_isolation::TenantScope;
use tenant_isolation::resolve::ExternalId;
use url::Url;
use whatsapp::genfity::{EventList, WaUserEdit};

use super::session_name::SessionName;
use super::session_upkeep::{HISTORY_AGAIN_AFTER, Told};
use super::session_work::{Which, Work};
use super::sessions::{OpenSession, Sessions, did_nothing};
use crate::error::Error;
use crate::secrets;
use crate::store::directory;
use crate::store::sessions::{self, Session, Wishes};

/// What is to be changed; what is absent stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) name: Option<SessionName>,
    /// `Some(None)`: events go nowhere from now on.
    pub(crate) webhook_url: Option<Option<Url>>,
    pub(crate) events: Option<EventList>,
    pub(crate) expiration_sec: Option<i64>,
    pub(crate) history: Option<i32>,
    pub(crate) auto_read: Option<bool>,
    pub(crate) typing: Option<bool>,
    /// What the customer's webhooks are signed with.
    pub(crate) hmac_key: Option<SecretString>,
}

impl Sessions {
    /// Changes a session, to the end even when its customer does not wait.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`], [`Error::SessionNameTaken`], [`Error::SessionBusy`]; [`Error::Upstream`] and
    /// [`Error::NotTaken`] when the WA server does not have it so: the row is as it was then, and the server is told
    /// again what is in it.
    pub(crate) async fn change(
        &self,
        scope: &TenantScope,
        session_id: &str,
        change: Change,
    ) -> Result<Session, Error> {
        let (this, scope, session_id) = (self.clone(), scope.clone(), session_id.to_owned());
        self.to_the_end(async move {
            let which = Which::SessionId(&session_id, &[sessions::READY]);
            let (work, session) = this.begin_work(&scope, which).await?;
            let changed = this.change_now(&work, &session, &change).await;
            let row = this.ended_if_failed(&work, changed).await?;
            this.forget(&row).await;
            Ok(row)
        })
        .await
    }

    async fn change_now(
        &self,
        work: &Work,
        session: &OpenSession,
        change: &Change,
    ) -> Result<Session, Error> {
        let mut wanted = session.clone();
        wanted.apply(change);
        let telling = self.telling(session, &wanted, change);
        let noted = self.note_change(work, session, &wanted, telling).await?;
        let changed = async {
            let told = self.tell(session, &wanted, change, telling).await?;
            self.write_change(work, session, &wanted, change, (noted, telling, told))
                .await
        };
        let changed = changed.await;
        if let Err(error) = &changed
            && telling.is_something()
        {
            self.set_right(work, session, error).await;
        }
        changed
    }

    /// What of a change the WA server has to hear.
    fn telling(&self, before: &OpenSession, wanted: &OpenSession, change: &Change) -> Telling {
        let (was, is) = (self.wa_webhook(before), self.wa_webhook(wanted));
        let renamed = wanted.row.session_name != before.row.session_name;
        Telling {
            key: change.hmac_key.is_some(),
            webhook: change.webhook_url.is_some()
                || change.events.is_some()
                || was.events != is.events
                || was.url != is.url,
            record: renamed || change.expiration_sec.is_some() || change.history.is_some(),
            history: change.history.is_some(),
        }
    }

    /// Before the WA server hears of it: that it may have half of a change is in the row until the change is, so whoever
    /// comes after a failure, or after a death, tells it again what the row says. Names are taken here, so that no two
    /// sessions are ever called the same there.
    async fn note_change(
        &self,
        work: &Work,
        session: &OpenSession,
        wanted: &OpenSession,
        telling: Telling,
    ) -> Result<Option<DateTime<Utc>>, Error> {
        if !telling.is_something() {
            return Ok(None);
        }
        let mut tx = self.still_ours(work, "note session change").await?;
        let name = wanted.row.session_name.as_str();
        if name != session.row.session_name {
            let name = ExternalId::new(directory::SESSION_NAME, name).ok_or(Error::SessionNameTaken)?;
            let ours = directory::claim(&mut tx, &name, work.session).await?
                || directory::holds(&mut tx, &name, work.session).await?;
            if !ours {
                return Err(Error::SessionNameTaken);
            }
        }
        sessions::set_upkeep_due(&mut tx, work.session).await?;
        if telling.record {
            let history = telling.history || session.row.history_due;
            sessions::set_record_due(&mut tx, work.session, true, history).await?;
        }
        let row = sessions::find(&mut tx, work.session).await?;
        tx.commit().await?;
        Ok(row.and_then(|row| row.upkeep_due))
    }

    /// What can be refused comes first. The name comes last, in one call with whatever else is on the server's record.
    async fn tell(
        &self,
        before: &OpenSession,
        wanted: &OpenSession,
        change: &Change,
        telling: Telling,
    ) -> Result<Told, Error> {
        let (token, webhook) = (before.session_token()?, self.wa_webhook(wanted));
        if telling.key {
            self.wa.sessions.set_hmac_key(&token, &webhook.hmac_key).await?;
        }
        if telling.webhook {
            self.tell_webhook(&token, &webhook).await?;
        }
        if !telling.record {
            return Ok(Told::All);
        }
        let (was, is) = (&before.row, &wanted.row);
        let told = if change.history == Some(0) && (was.history != 0 || was.history_due) {
            self.tell_no_history(&token).await?
        } else {
            Told::All
        };
        let all = was.record_due;
        let edit = WaUserEdit {
            name: Some(is.session_name.as_str()).filter(|name| all || *name != was.session_name),
            expiration: Some(is.expiration_sec).filter(|_| all || change.expiration_sec.is_some()),
            history: Some(i64::from(is.history)).filter(|_| all || change.history.is_some()),
        };
        let id = was.session_id.as_deref().unwrap_or_default();
        if edit.is_something() && !self.wa.admin.edit_user(id, edit).await? {
            // It lost the session; the sweep makes it anew.
            return Err(Error::NotTaken);
        }
        Ok(told)
    }

    async fn write_change(
        &self,
        work: &Work,
        session: &OpenSession,
        wanted: &OpenSession,
        change: &Change,
        (noted, telling, told): (Option<DateTime<Utc>>, Telling, Told),
    ) -> Result<Session, Error> {
        let mut tx = self.still_ours(work, "change session").await?;
        let mut wishes = wanted.wishes();
        self.audit_change(&mut tx, session, change).await?;
        if let Some(key) = &change.hmac_key {
            let binding = secrets::customer_hmac_key_binding(&work.scope, work.session);
            wishes.customer_hmac_key_sealed = Some(Some(self.keys.seal(key, &binding)?));
        }
        sessions::change(&mut tx, work.session, wishes).await?;
        if telling.record {
            let history = if telling.history {
                told == Told::AllButHistory
            } else {
                session.row.history_due
            };
            sessions::set_record_due(&mut tx, work.session, false, history).await?;
            let kept = (directory::SESSION_NAME, wanted.row.session_name.as_str());
            directory::release(&mut tx, work.session, Some(kept)).await?;
        }
        if told == Told::AllButHistory {
            sessions::put_upkeep_off(&mut tx, work.session, noted, HISTORY_AGAIN_AFTER).await?;
        } else if session.row.upkeep_due.is_none() {
            sessions::set_upkept(&mut tx, work.session, noted).await?;
        }
        let row = sessions::find(&mut tx, work.session).await?;
        self.commit_and_end(tx, work).await?;
        row.ok_or(Error::SessionNotFound)
    }

    /// The WA server may have taken half of a change: it is told again what the row says, at once, and by a sweep where
    /// it does not listen now. A name that it certainly did not hear of is free again; any other one is free when it was
    /// told.
    async fn set_right(&self, work: &Work, session: &OpenSession, error: &Error) {
        let unheard = matches!(error, Error::Upstream(error) if did_nothing(error));
        if unheard && !session.row.record_due {
            let freed = async {
                let mut tx = self.still_ours(work, "free session name").await?;
                let kept = (directory::SESSION_NAME, session.row.session_name.as_str());
                directory::release(&mut tx, work.session, Some(kept)).await?;
                tx.commit().await?;
                Ok::<(), Error>(())
            };
            if let Err(error) = freed.await {
                tracing::warn!(error = %error, session = %work.session, "a name that is not used could not be freed");
            }
        }
        self.keep_soon(work.scope.clone(), work.session, false);
    }
}

/// What the WA server has to be told.
#[derive(Debug, Clone, Copy)]
struct Telling {
    key: bool,
    webhook: bool,
    /// Name, expiration or history.
    record: bool,
    history: bool,
}

impl Telling {
    const fn is_something(self) -> bool {
        self.key || self.webhook || self.record
    }
}

impl OpenSession {
    fn apply(&mut self, change: &Change) {
        let row = &mut self.row;
        if let Some(name) = &change.name {
            name.as_str().clone_into(&mut row.session_name);
        }
        if let Some(url) = &change.webhook_url {
            row.webhook_url = url.as_ref().map(ToString::to_string);
        }
        if let Some(events) = &change.events {
            self.events = events.clone();
        }
        if let Some(expiration) = change.expiration_sec {
            row.expiration_sec = expiration;
        }
        if let Some(history) = change.history {
            row.history = history;
        }
        if let Some(auto_read) = change.auto_read {
            row.auto_read_enabled = auto_read;
        }
        if let Some(typing) = change.typing {
            row.typing_enabled = typing;
        }
        if let Some(key) = &change.hmac_key {
            self.customer_hmac_key = Some(key.clone());
        }
    }

    fn wishes(&self) -> Wishes {
        let row = &self.row;
        Wishes {
            session_name: Some(row.session_name.clone()),
            webhook_url: Some(row.webhook_url.clone()),
            events: Some(self.events.to_string()),
            history: Some(row.history),
            expiration_sec: Some(row.expiration_sec),
            auto_read_enabled: Some(row.auto_read_enabled),
            typing_enabled: Some(row.typing_enabled),
            ..Wishes::default()
        }
    }
}
