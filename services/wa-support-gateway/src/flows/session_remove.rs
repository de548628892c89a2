//! Removing a session: its token is refused at once, then the WA server forgets it, then the rows go (contract §7.5,
//! W-12).

use secrecy::{ExposeSecret as _, SecretString};
use tenant_isolation::TenantScope;
use uuid::Uuid;
use whatsapp::genfity::Removal;

use super::session_work::{Which, Work};
use super::sessions::{OpenSession, Sessions};
use crate::error::Error;
use crate::store::directory;
use crate::store::sessions::{self, Session};

impl Sessions {
    /// Removes a session, to the end even when its customer does not wait. One that is on its way out already is
    /// finished.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`], [`Error::SessionBusy`]; [`Error::Upstream`]: the session stays on its way out, and a
    /// sweep finishes it.
    pub(crate) async fn remove(&self, scope: &TenantScope, session_id: &str) -> Result<Session, Error> {
        let (this, scope, session_id) = (self.clone(), scope.clone(), session_id.to_owned());
        self.to_the_end(async move {
            let phases = [sessions::READY, sessions::REMOVING];
            let which = Which::SessionId(&session_id, &phases);
            let (work, session) = this.begin_work(&scope, which).await?;
            let removed = this.remove_now(&work, &session).await;
            this.ended_if_failed(&work, removed).await?;
            Ok(session.row)
        })
        .await
    }

    /// Finishes the removal of a session that was left on its way out.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub(crate) async fn finish_removal(&self, scope: &TenantScope, id: Uuid) -> Result<(), Error> {
        let (work, session) = self.begin_work(scope, Which::Id(id)).await?;
        if session.row.phase != sessions::REMOVING {
            self.end_work(&work).await;
            return Ok(());
        }
        let removed = self.remove_now(&work, &session).await;
        self.ended_if_failed(&work, removed).await
    }

    /// Removes a session whose customer leaves, whatever phase it is in.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub(crate) async fn remove_of_leaving(&self, scope: &TenantScope, id: Uuid) -> Result<(), Error> {
        let (work, session) = self.begin_work(scope, Which::Id(id)).await?;
        let removed = self.remove_now(&work, &session).await;
        self.ended_if_failed(&work, removed).await
    }

    async fn remove_now(&self, work: &Work, session: &OpenSession) -> Result<(), Error> {
        let mut tx = self.still_ours(work, "begin session removal").await?;
        sessions::set_removing(&mut tx, work.session).await?;
        self.audit_removal(&mut tx, &session.row).await?;
        tx.commit().await?;
        self.forget(&session.row).await;

        let known = match &session.row.session_id {
            Some(id) => self.wa.admin.delete_user(id).await? == Removal::Removed,
            None => false,
        };
        if !known {
            // Not under the id that we know. It may have been made anew under another one.
            self.delete_users_of(&session.token).await?;
        }

        let mut tx = self.still_ours(work, "remove session").await?;
        sessions::delete(&mut tx, work.session).await?;
        directory::release(&mut tx, work.session, None).await?;
        Ok(tx.commit().await?)
    }

    /// Deletes whatever users the WA server has of this token. Its own check lets two in that come at the same moment.
    ///
    /// # Errors
    /// [`Error::Upstream`].
    pub(crate) async fn delete_users_of(&self, token: &SecretString) -> Result<(), Error> {
        for user in self.wa.admin.users().await? {
            if user.token.expose_secret() == token.expose_secret() {
                self.wa.admin.delete_user(&user.id).await?;
            }
        }
        Ok(())
    }
}
