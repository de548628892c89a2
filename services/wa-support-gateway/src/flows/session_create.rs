//! Making a customer's session: the row first, then the WA server (contract §7.3, W-05, W-12, W-33).
//!
//! The intent is a row with sealed token and keys, committed under the lock of the customer's row, which makes the limit
//! exact. The WA server hears of the session afterwards, so whatever breaks leaves a row that says what to look for. A
//! second order of the same name finishes it, with its own wishes; what nobody finishes, a sweep takes back. A name whose
//! last session is still on its way out is free once that is finished, which is done first.

use database::DatabaseError;
use secrecy::SecretString;
use tenant_isolation::resolve::ExternalId;
use tenant_isolation::{TenantScope, TenantTransaction};
use url::Url;
use uuid::Uuid;
use whatsapp::genfity::{EventList, NewWaUser};

use super::session_name::SessionName;
use super::session_work::{Which, Work};
use super::sessions::{OpenSession, Sessions, did_nothing, is_over};
use crate::error::Error;
use crate::secrets;
use crate::store::sessions::{self, Session, Wishes};
use crate::store::{self, customers, directory, session_connects, session_work};

/// How often an order is begun anew because what an earlier one had begun came in its way.
const ANEW: usize = 2;

/// What a customer wants of a new session.
#[derive(Debug, Clone)]
pub(crate) struct NewSession {
    pub(crate) name: SessionName,
    pub(crate) webhook_url: Option<Url>,
    pub(crate) events: EventList,
    pub(crate) expiration_sec: i64,
    pub(crate) history: i32,
    pub(crate) auto_connect: bool,
    pub(crate) auto_read: bool,
    pub(crate) typing: bool,
    /// What the customer's webhooks are signed with.
    pub(crate) hmac_key: Option<SecretString>,
}

/// A session that was made: the one moment at which its token is shown.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) row: Session,
    pub(crate) token: SecretString,
}

/// What there is to be done about an order.
enum Intent {
    /// Its row is there, to be worked on, and whether it is new.
    Begun(Work, Box<OpenSession>, bool),
    /// The customer's last session of this name is to be removed first.
    Leaving(Uuid),
}

impl Sessions {
    /// Makes a session, to the end even when its customer does not wait.
    ///
    /// # Errors
    /// [`Error::SessionNameTaken`], [`Error::SessionLimit`], [`Error::SessionBusy`], those of the customer's standing,
    /// and [`Error::Upstream`]: then the session is taken back, or at the latest a sweep does it; or one of this name is
    /// still on its way out, because the WA server does not let it go.
    pub(crate) async fn create(&self, scope: &TenantScope, new: NewSession) -> Result<Created, Error> {
        let (this, scope) = (self.clone(), scope.clone());
        self.to_the_end(async move { this.create_now(&scope, &new).await })
            .await
    }

    async fn create_now(&self, scope: &TenantScope, new: &NewSession) -> Result<Created, Error> {
        let (work, intent, fresh) = self.begin_order(scope, new).await?;
        let made = self.make(&work, &intent, fresh).await;
        let session_id = self.ended_if_failed(&work, made).await?;
        let completed = self.complete(&work, &session_id, new.auto_connect).await;
        let row = self.ended_if_failed(&work, completed).await?;
        if new.auto_connect {
            self.keep_soon(scope.clone(), row.id, true);
        }
        Ok(Created {
            row,
            token: intent.token,
        })
    }

    async fn begin_order(
        &self,
        scope: &TenantScope,
        new: &NewSession,
    ) -> Result<(Work, OpenSession, bool), Error> {
        for _ in 0..ANEW {
            match self.intend(scope, new).await? {
                Intent::Begun(work, open, fresh) => return Ok((work, *open, fresh)),
                Intent::Leaving(id) => match self.finish_removal(scope, id).await {
                    // Somebody else has finished it.
                    Ok(()) | Err(Error::SessionNotFound) => {}
                    Err(error) => return Err(error),
                },
            }
        }
        Err(Error::SessionBusy)
    }

    async fn intend(&self, scope: &TenantScope, new: &NewSession) -> Result<Intent, Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "intend session").await?;
        if !customers::lock(&mut tx).await? {
            return Err(Error::InvalidApiKey);
        }
        // Looked at again under the lock: what the request was let in with may be a second old.
        let standing = customers::standing(&mut tx).await?.ok_or(Error::InvalidApiKey)?;
        let limit = standing.entitled()?.max_sessions;
        let (id, fresh) = match sessions::find_by_name(&mut tx, new.name.as_str()).await? {
            Some(row) if row.phase == sessions::CREATING => (row.id, false),
            Some(row) if row.phase == sessions::REMOVING => return Ok(Intent::Leaving(row.id)),
            Some(_) => return Err(Error::SessionNameTaken),
            None if sessions::count(&mut tx).await? >= i64::from(limit) => {
                return Err(Error::SessionLimit(limit));
            }
            None => (self.add(&mut tx, scope, &new.name).await?, true),
        };
        let work = Work {
            scope: scope.clone(),
            session: id,
            holder: Uuid::now_v7(),
        };
        if !session_work::begin(&mut tx, id, work.holder, self.work_length).await? {
            return Err(Error::SessionBusy);
        }
        sessions::change(&mut tx, id, self.wishes(scope, id, new)?).await?;
        let row = sessions::find(&mut tx, id)
            .await?
            .ok_or(DatabaseError::NotFound)?;
        let open = self.open(scope, row)?;
        tx.commit().await?;
        Ok(Intent::Begun(work, Box::new(open), fresh))
    }

    async fn add(
        &self,
        tx: &mut TenantTransaction,
        scope: &TenantScope,
        name: &SessionName,
    ) -> Result<Uuid, Error> {
        let id = Uuid::now_v7();
        let (token, hmac_key) = (secrets::new_session_token(), secrets::new_hmac_key());
        let token_hash = secrets::token_hash(&token);
        let by_name =
            ExternalId::new(directory::SESSION_NAME, name.as_str()).ok_or(Error::SessionNameTaken)?;
        // The customer's own row was looked for under a lock and is not there: whoever holds the name is somebody else.
        if !directory::claim(tx, &by_name, id).await? {
            return Err(Error::SessionNameTaken);
        }
        if let Some(by_token) = ExternalId::new(directory::SESSION_TOKEN, &token_hash) {
            directory::claim(tx, &by_token, id).await?;
        }
        let token_sealed = self.keys.seal(&token, &secrets::token_binding(scope, id))?;
        let hmac_key_sealed = self.keys.seal(&hmac_key, &secrets::hmac_key_binding(scope, id))?;
        let row = sessions::NewSession {
            tenant_id: scope.tenant().as_str(),
            id,
            provider: store::PROVIDER,
            session_name: name.as_str(),
            token_hash: &token_hash,
            token_sealed: &token_sealed,
            hmac_key_sealed: &hmac_key_sealed,
            phase: sessions::CREATING,
        };
        sessions::insert(tx, &row).await?;
        Ok(id)
    }

    fn wishes(&self, scope: &TenantScope, id: Uuid, new: &NewSession) -> Result<Wishes, Error> {
        let sealed = new.hmac_key.as_ref().map(|key| {
            self.keys
                .seal(key, &secrets::customer_hmac_key_binding(scope, id))
        });
        Ok(Wishes {
            webhook_url: Some(new.webhook_url.as_ref().map(ToString::to_string)),
            events: Some(new.events.to_string()),
            history: Some(new.history),
            expiration_sec: Some(new.expiration_sec),
            auto_read_enabled: Some(new.auto_read),
            typing_enabled: Some(new.typing),
            customer_hmac_key_sealed: Some(sealed.transpose()?),
            ..Wishes::default()
        })
    }

    /// The WA server's user of the intended session.
    async fn make(&self, work: &Work, intent: &OpenSession, fresh: bool) -> Result<String, Error> {
        if !fresh {
            // What an earlier order may have made has that order's wishes. Nobody knows its token, so nobody uses it.
            self.delete_users_of(&intent.token).await?;
        }
        let made = match self.make_one(intent).await {
            // The earlier order's call arrived only now.
            Ok(None) => {
                self.delete_users_of(&intent.token).await?;
                self.make_user(intent).await
            }
            Ok(Some(id)) => Ok(id),
            Err(error) => Err(error),
        };
        match made {
            Ok(id) => Ok(id),
            Err(Error::Upstream(error)) => {
                let made = if did_nothing(&error) {
                    None
                } else {
                    self.wa.admin.find_user(&intent.token).await?
                };
                match made {
                    Some(id) => Ok(id),
                    None if is_over(&error) => {
                        self.take_back(work).await?;
                        Err(Error::Upstream(error))
                    }
                    // It may still be at it. The intent stays, for another order or the sweep to find out.
                    None => Err(Error::Upstream(error)),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the session's user on the WA server, whose id is the answer.
    ///
    /// # Errors
    /// [`Error::Upstream`].
    pub(crate) async fn make_user(&self, session: &OpenSession) -> Result<String, Error> {
        match self.make_one(session).await? {
            Some(id) => Ok(id),
            // It does not say which, or somebody made it with the token of this very row.
            None => self
                .wa
                .admin
                .find_user(&session.token)
                .await?
                .ok_or(Error::BadProvisioning),
        }
    }

    /// `None`: there is one with this token, or it does not say which it made.
    async fn make_one(&self, session: &OpenSession) -> Result<Option<String>, Error> {
        let webhook = self.wa_webhook(session);
        let user = NewWaUser {
            name: &session.row.session_name,
            token: &session.token,
            webhook: webhook.url.as_deref(),
            events: &webhook.events,
            hmac_key: &webhook.hmac_key,
            expiration: session.row.expiration_sec,
            history: i64::from(session.row.history),
        };
        let made = self.wa.admin.create_user(&user).await?;
        Ok(made.filter(|id| !id.is_empty()))
    }

    async fn complete(&self, work: &Work, session_id: &str, connecting: bool) -> Result<Session, Error> {
        let mut tx = self.still_ours(work, "note session id").await?;
        sessions::set_made(&mut tx, work.session, session_id).await?;
        if connecting {
            sessions::set_upkeep_due(&mut tx, work.session).await?;
            session_connects::want(&mut tx, work.session).await?;
        }
        let row = sessions::find(&mut tx, work.session)
            .await?
            .ok_or(DatabaseError::NotFound)?;
        self.audit_creation(&mut tx, &row, connecting).await?;
        self.commit_and_end(tx, work).await?;
        Ok(row)
    }

    /// Removes an intent that the WA server has nothing of.
    ///
    /// # Errors
    /// [`Error::SessionBusy`], [`Error::Database`].
    pub(crate) async fn take_back(&self, work: &Work) -> Result<(), Error> {
        let mut tx = self.still_ours(work, "take session back").await?;
        sessions::delete(&mut tx, work.session).await?;
        directory::release(&mut tx, work.session, None).await?;
        Ok(tx.commit().await?)
    }

    /// Takes back a session that was begun and left: its token was never shown, so nobody can use it.
    ///
    /// # Errors
    /// [`Error::Upstream`]; then the intent stays for the next time.
    pub(crate) async fn abandon(&self, scope: &TenantScope, id: Uuid) -> Result<(), Error> {
        let (work, intent) = self.begin_work(scope, Which::Id(id)).await?;
        if intent.row.phase != sessions::CREATING {
            self.end_work(&work).await;
            return Ok(());
        }
        let removed = async {
            self.delete_users_of(&intent.token).await?;
            self.take_back(&work).await
        };
        let removed = removed.await;
        self.ended_if_failed(&work, removed).await
    }
}
