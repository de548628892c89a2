//! What is heard of sessions, and what they were made to say: every webhook is a sign of life, and every send that a
//! server took is one that should be followed by another.
//!
//! Both happen often, so they are gathered in memory and written down for many sessions at once. What a process that dies
//! had gathered is lost, which makes a deaf session known one send later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use database::{Database, DatabaseError};
use domain::ids::{AccountId, TenantId};
use domain::message::MessageKind;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};

use crate::store::session_watch::{self, HearingNote};

/// Sessions of which something is gathered at once. What is above it is not gathered at all: neither what was heard nor
/// what was said, so nobody is held for deaf by it.
const MOST: usize = 50_000;
/// Sessions that are written down by one statement.
const BATCH: usize = 1_000;

/// Gathers signs of life. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hearing(Arc<Mutex<HashMap<(TenantId, AccountId), Signs>>>);

#[derive(Debug, Clone, Copy, Default)]
struct Signs {
    heard: Option<Instant>,
    spoke_first: Option<Instant>,
    spoke_last: Option<Instant>,
}

impl Hearing {
    /// An event of the session came in.
    pub fn heard(&self, scope: &TenantScope, account: AccountId) {
        self.note(scope, account, |signs| signs.heard = Some(Instant::now()));
    }

    /// The session's server took a message. `begun` is when the call began: the server may tell of it before it answers.
    pub fn spoke(&self, scope: &TenantScope, account: AccountId, kind: MessageKind, begun: Instant) {
        if !is_echoed(kind) {
            return;
        }
        self.note(scope, account, |signs| {
            signs.spoke_first.get_or_insert(begun);
            signs.spoke_last = Some(begun);
        });
    }

    fn note(&self, scope: &TenantScope, account: AccountId, change: impl FnOnce(&mut Signs)) {
        let mut signs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (scope.tenant().clone(), account);
        if signs.len() >= MOST && !signs.contains_key(&key) {
            return;
        }
        change(signs.entry(key).or_default());
    }

    /// Writes down what was gathered.
    ///
    /// # Errors
    /// [`DatabaseError`]: then it is gathered still.
    pub async fn write_down(&self, db: &Database) -> Result<(), DatabaseError> {
        let gathered = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let gathered: Vec<_> = gathered.into_iter().collect();
        for (number, batch) in gathered.chunks(BATCH).enumerate() {
            if let Err(error) = write(db, batch).await {
                self.put_back(&gathered[number * BATCH..]);
                return Err(error);
            }
        }
        Ok(())
    }

    fn put_back(&self, gathered: &[((TenantId, AccountId), Signs)]) {
        let mut signs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, older) in gathered {
            if signs.len() >= MOST && !signs.contains_key(key) {
                continue;
            }
            let newer = signs.entry(key.clone()).or_default();
            newer.heard = newer.heard.max(older.heard);
            newer.spoke_first = older.spoke_first.or(newer.spoke_first);
            newer.spoke_last = newer.spoke_last.max(older.spoke_last);
        }
    }
}

async fn write(db: &Database, batch: &[((TenantId, AccountId), Signs)]) -> Result<(), DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("note signs of sessions")).await?;
    let age = |at: Option<Instant>| at.map(|at| at.elapsed().as_secs_f64());
    let notes: Vec<HearingNote> = batch
        .iter()
        .map(|((tenant, account), signs)| HearingNote {
            tenant: tenant.to_string(),
            account: account.as_uuid(),
            heard: age(signs.heard),
            spoke_first: age(signs.spoke_first),
            spoke_last: age(signs.spoke_last),
        })
        .collect();
    session_watch::note_hearing(&mut tx, &notes).await?;
    tx.commit().await
}

/// Does the server tell of a message of this kind that it took (wa-server contract 12)? Of edits, deletions and reactions
/// it does not.
const fn is_echoed(kind: MessageKind) -> bool {
    matches!(
        kind,
        MessageKind::Text
            | MessageKind::Image
            | MessageKind::Video
            | MessageKind::Audio
            | MessageKind::Voice
            | MessageKind::Document
            | MessageKind::Sticker
            | MessageKind::Location
            | MessageKind::Contact
    )
}
