//! Where a session stands, as its own status calls through the proxy tell (contract §8.6, W-25).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use database::Database;
use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::runtime::Handle;
use uuid::Uuid;
use whatsapp::genfity::read_status;

use crate::error::Error;
use crate::store::sessions::{self, Standing};

/// How often a session's row is written at most.
const APART: Duration = Duration::from_secs(1);

/// Sessions that are remembered; of more, none is written until some of them are old.
const REMEMBERED: usize = 50_000;

/// Notes what passes by. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct StatusNotes {
    db: Database,
    process: Handle,
    written: Arc<Mutex<BTreeMap<Uuid, Instant>>>,
}

impl StatusNotes {
    pub(crate) fn new(db: Database) -> Self {
        Self {
            db,
            process: Handle::current(),
            written: Arc::default(),
        }
    }

    /// Notes the body of an answer to a status call, in the background, for the session whose token was shown: whatever
    /// id the answer names.
    pub(crate) fn note(&self, scope: &TenantScope, session: Uuid, body: &[u8]) {
        let Some(state) = read_status(body) else {
            return;
        };
        if !self.may_write(session) {
            return;
        }
        let status = match (state.logged_in, state.connected) {
            (true, _) => "connected",
            (false, true) => "qr_waiting",
            (false, false) => "disconnected",
        };
        let standing = Standing {
            connected: state.connected,
            logged_in: state.logged_in,
            jid: state.jid.chars().filter(|c| *c != '\0').take(255).collect(),
            status,
        };
        let (db, scope) = (self.db.clone(), scope.clone());
        drop(self.process.spawn(async move {
            if let Err(error) = write(&db, &scope, session, &standing).await {
                tracing::warn!(error = %error, %session, "a session's status could not be noted");
            }
        }));
    }

    fn may_write(&self, session: Uuid) -> bool {
        let (now, mut written) = (
            Instant::now(),
            self.written.lock().unwrap_or_else(PoisonError::into_inner),
        );
        if written.len() >= REMEMBERED {
            written.retain(|_, at| now.duration_since(*at) < APART);
        }
        let room = written.len() < REMEMBERED;
        match written.get_mut(&session) {
            Some(at) if now.duration_since(*at) < APART => false,
            Some(at) => {
                *at = now;
                true
            }
            None => {
                if room {
                    written.insert(session, now);
                }
                room
            }
        }
    }
}

async fn write(db: &Database, scope: &TenantScope, session: Uuid, standing: &Standing) -> Result<(), Error> {
    let mut tx = TenantTransaction::begin(db, scope, "note session status").await?;
    sessions::set_standing(&mut tx, session, standing).await?;
    Ok(tx.commit().await?)
}
