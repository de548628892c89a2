//! Changing what a customer chose of a session: the WA server first, read back, and only then the row (contract §7.4,
//! §7.7, W-06, W-16).

use secrecy::SecretString;
use tenant_isolation::TenantScope;
use tenant_isolation::resolve::ExternalId;
use url::Url;
use whatsapp::genfity::{EventList, WaUserEdit};

use super::session_name::SessionName;
use super::session_work::{Which, Work};
use super::sessions::{OpenSession, Sessions};
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
    /// [`Error::NotTaken`] when the WA server does not have it so: the row is as it was then, and a sweep tells the
    /// server again what is in it.
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
        let renamed = wanted.row.session_name != session.row.session_name;
        if renamed {
            self.claim_name(work, &wanted.row.session_name).await?;
        }
        let told = self.tell(session, &wanted, change).await;
        if let Err(error) = told {
            self.set_right(work, session).await;
            return Err(error);
        }

        let mut tx = self.still_ours(work, "change session").await?;
        let mut wishes = wanted.wishes();
        self.audit_change(&mut tx, session, change).await?;
        if let Some(key) = &change.hmac_key {
            let binding = secrets::customer_hmac_key_binding(&work.scope, work.session);
            wishes.customer_hmac_key_sealed = Some(Some(self.keys.seal(key, &binding)?));
        }
        sessions::change(&mut tx, work.session, wishes).await?;
        if renamed {
            let kept = (directory::SESSION_NAME, wanted.row.session_name.as_str());
            directory::release(&mut tx, work.session, Some(kept)).await?;
        }
        let row = sessions::find(&mut tx, work.session).await?;
        self.commit_and_end(tx, work).await?;
        row.ok_or(Error::SessionNotFound)
    }

    /// Names are taken before the WA server hears of them, so that no two sessions are ever called the same there.
    async fn claim_name(&self, work: &Work, name: &str) -> Result<(), Error> {
        let name = ExternalId::new(directory::SESSION_NAME, name).ok_or(Error::SessionNameTaken)?;
        let mut tx = self.still_ours(work, "claim session name").await?;
        let ours = directory::claim(&mut tx, &name, work.session).await?
            || directory::holds(&mut tx, &name, work.session).await?;
        if !ours {
            return Err(Error::SessionNameTaken);
        }
        Ok(tx.commit().await?)
    }

    async fn tell(&self, before: &OpenSession, wanted: &OpenSession, change: &Change) -> Result<(), Error> {
        let (id, token) = (before.row.session_id.as_deref(), before.session_token()?);
        let edit = WaUserEdit {
            name: Some(wanted.row.session_name.as_str()).filter(|name| *name != before.row.session_name),
            expiration: change.expiration_sec,
            history: change.history.map(i64::from),
        };
        if let (true, Some(id)) = (edit.is_something(), id)
            && !self.wa.admin.edit_user(id, edit).await?
        {
            // It lost the session; the sweep makes it anew.
            return Err(Error::NotTaken);
        }
        if change.history == Some(0) && before.row.history != 0 {
            self.wa.sessions.set_history(&token, 0).await?;
        }
        let webhook = self.wa_webhook(wanted);
        if change.hmac_key.is_some() {
            self.wa.sessions.set_hmac_key(&token, &webhook.hmac_key).await?;
        }
        let concerns_events = change.webhook_url.is_some()
            || change.events.is_some()
            || self.wa_webhook(before).events != webhook.events
            || self.wa_webhook(before).url != webhook.url;
        if concerns_events {
            self.tell_webhook(&token, &webhook).await?;
        }
        Ok(())
    }

    /// The WA server may have taken half of a change: it is told again what the row says, by a sweep where it does not
    /// listen now. A name that was claimed is free again.
    async fn set_right(&self, work: &Work, session: &OpenSession) {
        let noted = async {
            let mut tx = self.still_ours(work, "note session upkeep").await?;
            let kept = (directory::SESSION_NAME, session.row.session_name.as_str());
            directory::release(&mut tx, work.session, Some(kept)).await?;
            sessions::set_upkeep_due(&mut tx, work.session).await?;
            tx.commit().await?;
            Ok::<(), Error>(())
        };
        if let Err(error) = noted.await {
            tracing::warn!(error = %error, session = %work.session, "a session could not be marked for upkeep");
        }
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
