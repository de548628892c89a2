//! A session's contacts: a copy of what the WA server lists, brought up to date on demand (contract §7.8, §7.9).
//!
//! A session is synced once at a time, over all processes: callers in this process share one sync, and a lease keeps
//! the others waiting. The WA server is asked outside of any transaction, and whoever lost the lease meanwhile writes
//! nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use database::{Database, DatabaseError};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use runtime::encryption::{EncryptionError, KeyRing};
use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::Error;
use crate::secrets;
use crate::store::contacts::{self, Contact, Listed, Owner, Wanted};
use crate::wa_server::{ContactsError, ListedContact, WaServer};

/// Syncs of one process at once: each may hold a long list in memory.
const AT_ONCE: usize = 4;
/// How long a sync may take before another process takes the session: longer than the WA server may.
const LEASE: Duration = Duration::from_secs(180);
/// How long a sync waits for the one of another process.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Contacts that go into one statement.
const TOGETHER: usize = 5_000;

/// Why a session was not synced.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The WA server gave no list.
    #[error(transparent)]
    WaServer(#[from] ContactsError),
    /// Our own rows cannot be read or written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The session's token cannot be opened.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// Another process is at it and does not come to its end.
    #[error("the session is being synced elsewhere")]
    Busy,
    /// A bug of ours.
    #[error("the sync died")]
    Died,
}

type Outcome = Result<usize, Arc<SyncError>>;
type Flight = Shared<BoxFuture<'static, Outcome>>;

/// The contacts of all sessions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Contacts {
    db: Database,
    keys: KeyRing,
    wa_server: WaServer,
    places: Arc<Semaphore>,
    flights: Arc<Mutex<HashMap<Uuid, Flight>>>,
}

impl std::fmt::Debug for Contacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contacts").finish_non_exhaustive()
    }
}

impl Contacts {
    pub(crate) fn new(db: Database, keys: KeyRing, wa_server: WaServer) -> Self {
        Self {
            db,
            keys,
            wa_server,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            flights: Arc::default(),
        }
    }

    /// The customer's session with this id.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`] when it has none, or another customer has it.
    pub(crate) async fn owner(&self, scope: &TenantScope, session_id: &str) -> Result<Owner, Error> {
        // Postgres would refuse it; no session is called so.
        if session_id.contains('\0') {
            return Err(Error::SessionNotFound);
        }
        let mut tx = TenantTransaction::begin(&self.db, scope, "find session for contacts").await?;
        let owner = contacts::owner(&mut tx, session_id).await?;
        tx.commit().await?;
        owner.ok_or(Error::SessionNotFound)
    }

    /// A page of what is known, and how many there are on all pages.
    ///
    /// # Errors
    /// A database that cannot be asked.
    pub(crate) async fn page(
        &self,
        scope: &TenantScope,
        session: Uuid,
        wanted: &Wanted,
    ) -> Result<(Vec<Contact>, i64), Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "page of contacts").await?;
        let page = contacts::page(&mut tx, session, wanted).await?;
        tx.commit().await?;
        Ok(page)
    }

    /// Brings the session's contacts up to date and says how many the WA server lists. Callers that come while it is
    /// under way share it, and it goes on when they leave.
    ///
    /// # Errors
    /// [`SyncError`].
    pub(crate) async fn sync(&self, scope: TenantScope, owner: Owner) -> Outcome {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(&owner.id) {
                Some(flight) => flight.clone(),
                None => {
                    let flight = self.begin(scope, owner.clone());
                    flights.insert(owner.id, flight.clone());
                    flight
                }
            }
        };
        flight.await
    }

    fn begin(&self, scope: TenantScope, owner: Owner) -> Flight {
        let (this, session) = (self.clone(), owner.id);
        let task = tokio::spawn(async move {
            let landing = Landing {
                flights: Arc::clone(&this.flights),
                session,
            };
            let outcome = this.run(&scope, &owner).await;
            drop(landing);
            outcome
        });
        async move {
            match task.await {
                Ok(outcome) => outcome.map_err(Arc::new),
                Err(_) => Err(Arc::new(SyncError::Died)),
            }
        }
        .boxed()
        .shared()
    }

    async fn run(&self, scope: &TenantScope, owner: &Owner) -> Result<usize, SyncError> {
        let _place = self.places.acquire().await.map_err(|_| SyncError::Died)?;
        let holder = Uuid::now_v7();
        self.take_lease(scope, owner.id, holder).await?;
        let outcome = self.under_lease(scope, owner, holder).await;
        if outcome.is_err() {
            // Whatever went wrong, the next one need not wait for the lease to end.
            if let Err(error) = self.release(scope, owner.id, holder).await {
                tracing::warn!(error = ?error, "a session's contacts stay leased for a while");
            }
        }
        outcome
    }

    async fn take_lease(&self, scope: &TenantScope, session: Uuid, holder: Uuid) -> Result<(), SyncError> {
        let started = Instant::now();
        loop {
            let mut tx = TenantTransaction::begin(&self.db, scope, "lease contacts").await?;
            let taken = contacts::lease(&mut tx, session, holder, LEASE).await?;
            tx.commit().await?;
            if taken {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(SyncError::Busy);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn under_lease(
        &self,
        scope: &TenantScope,
        owner: &Owner,
        holder: Uuid,
    ) -> Result<usize, SyncError> {
        let token = self
            .keys
            .open(&owner.token_sealed, &secrets::token_binding(scope, owner.id))?;
        let listed = self.wa_server.contacts(&token).await?;
        let at = Utc::now();
        let mut tx = TenantTransaction::begin(&self.db, scope, "store contacts").await?;
        if !contacts::still_leased(&mut tx, owner.id, holder).await? {
            return Err(SyncError::Busy);
        }
        let columns: Vec<Listed<'_>> = listed.iter().map(column).collect();
        for chunk in columns.chunks(TOGETHER) {
            contacts::take_over(&mut tx, owner.id, chunk, at).await?;
        }
        let jids: Vec<&str> = listed.iter().map(|contact| contact.jid.as_str()).collect();
        contacts::finish(&mut tx, owner.id, &jids, at).await?;
        contacts::release(&mut tx, owner.id, holder).await?;
        tx.commit().await?;
        Ok(listed.len())
    }

    async fn release(&self, scope: &TenantScope, session: Uuid, holder: Uuid) -> Result<(), DatabaseError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "release contacts").await?;
        contacts::release(&mut tx, session, holder).await?;
        tx.commit().await
    }
}

const fn column(contact: &ListedContact) -> Listed<'_> {
    Listed {
        jid: contact.jid.as_str(),
        name: contact.name.as_str(),
        phone: contact.phone.as_str(),
        raw: contact.raw.as_str(),
    }
}

/// Takes the flight off the list when it is over, also when it died.
struct Landing {
    flights: Arc<Mutex<HashMap<Uuid, Flight>>>,
    session: Uuid,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.session);
    }
}
