//! One at a time talks to the WA server about a session, so that what the server was told last is what the row says.
//!
//! No transaction is open meanwhile: the work is a lease on the row. Whoever wakes up after its end finds out before it
//! writes anything.

use std::time::Duration;

use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::sessions::{OpenSession, Sessions};
use crate::error::Error;
use crate::state::to_the_end;
use crate::store::session_work;
use crate::store::sessions::{self, Session};

/// How long somebody waits for another one's work to end, and how often it looks.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(100));

/// Which session is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    /// The one of this id, whatever phase it is in.
    Id(Uuid),
    /// The one that the WA server knows by this id, in one of these phases.
    SessionId(&'a str, &'a [&'a str]),
}

/// The right to work on one session. Ended by [`Work::end`]; when it is lost before, the row lets go by itself.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) scope: TenantScope,
    pub(crate) session: Uuid,
    pub(crate) holder: Uuid,
}

impl Sessions {
    /// Begins to work on a session, when nobody else does any more.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::SessionBusy`] when another one's work takes longer than anybody waits.
    pub(crate) async fn begin_work(
        &self,
        scope: &TenantScope,
        which: Which<'_>,
    ) -> Result<(Work, OpenSession), Error> {
        let (patience, look) = PATIENCE;
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            if let Some((work, row)) = self.try_work(scope, which).await? {
                return match self.open(scope, row) {
                    Ok(open) => Ok((work, open)),
                    Err(error) => {
                        self.end_work(&work).await;
                        Err(error)
                    }
                };
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::SessionBusy);
            }
            tokio::time::sleep(look).await;
        }
    }

    async fn try_work(
        &self,
        scope: &TenantScope,
        which: Which<'_>,
    ) -> Result<Option<(Work, Session)>, Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "begin work on session").await?;
        let found = match which {
            Which::Id(id) => sessions::find(&mut tx, id).await?,
            Which::SessionId(id, phases) => sessions::find_by_session_id(&mut tx, id, phases).await?,
        };
        let found = found.ok_or(Error::SessionNotFound)?;
        let work = Work {
            scope: scope.clone(),
            session: found.id,
            holder: Uuid::now_v7(),
        };
        if !session_work::begin(&mut tx, work.session, work.holder, self.work_length).await? {
            return Ok(None);
        }
        // Read again under the lock that the beginning took: another one's work may have ended in between.
        let row = match which {
            Which::Id(id) => sessions::find(&mut tx, id).await?,
            Which::SessionId(id, phases) => sessions::find_by_session_id(&mut tx, id, phases).await?,
        };
        let row = row.ok_or(Error::SessionNotFound)?;
        tx.commit().await?;
        Ok(Some((work, row)))
    }

    /// A transaction in which the work is still ours.
    ///
    /// # Errors
    /// [`Error::SessionBusy`] when it took too long and somebody else is at it.
    pub(crate) async fn still_ours(
        &self,
        work: &Work,
        name: &'static str,
    ) -> Result<TenantTransaction, Error> {
        let mut tx = TenantTransaction::begin(&self.db, &work.scope, name).await?;
        if session_work::is_held(&mut tx, work.session, work.holder).await? {
            Ok(tx)
        } else {
            Err(Error::SessionBusy)
        }
    }

    /// Ends the work together with what was written in this transaction.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn commit_and_end(&self, mut tx: TenantTransaction, work: &Work) -> Result<(), Error> {
        session_work::end(&mut tx, work.session, work.holder).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the work without having written anything. Where that fails, the row lets go by itself.
    pub(crate) async fn end_work(&self, work: &Work) {
        let ended = async {
            let mut tx = TenantTransaction::begin(&self.db, &work.scope, "end work on session").await?;
            session_work::end(&mut tx, work.session, work.holder).await?;
            tx.commit().await
        };
        if let Err(error) = ended.await {
            tracing::warn!(error = %error, session = %work.session, "work on a session could not be ended");
        }
    }

    /// Passes the outcome on; the work ends if it did not end well.
    pub(crate) async fn ended_if_failed<T>(&self, work: &Work, done: Result<T, Error>) -> Result<T, Error> {
        if done.is_err() {
            self.end_work(work).await;
        }
        done
    }

    /// Does work that is finished even when whoever asked for it does not wait: half of it would be worse than all.
    ///
    /// # Errors
    /// Those of the work.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        to_the_end(&self.process, work).await
    }
}
