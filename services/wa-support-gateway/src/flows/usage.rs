//! What is sent, counted without a write per message (contract §11).
//!
//! Numbers gather in this process and are written down each second, all of them in one statement. A process that ends in
//! order writes the last ones when no request is left; one that is killed loses a second of them. Quotas do not rest on
//! these numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, Utc};
use database::{Database, DatabaseError};
use tenant_isolation::{GroupTransaction, ScopeSet, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::send_kind::SendKind;
use crate::config::BusinessZone;
use crate::error::Error;
use crate::store::usage::{self, Counted, UsageRow};

/// Numbers kept while they cannot be written. Those of more sessions are lost, and counted as that.
const KEPT: usize = 200_000;
/// Numbers that are written in one transaction.
const TOGETHER: usize = 2_000;

/// What is sent by whom. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    db: Database,
    zone: BusinessZone,
    gathered: Arc<Mutex<HashMap<Key, Numbers>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    scope: TenantScope,
    session: Uuid,
    day: NaiveDate,
    kind: SendKind,
}

#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    sent: i64,
    failed: i64,
    last_sent_at: Option<DateTime<Utc>>,
    last_failed_at: Option<DateTime<Utc>>,
}

impl Usage {
    /// `zone` decides when a day begins.
    pub(crate) fn new(db: Database, zone: BusinessZone) -> Self {
        Self {
            db,
            zone,
            gathered: Arc::default(),
        }
    }

    /// Counts a send that the WA server has answered, with success or not.
    pub(crate) fn count(&self, scope: &TenantScope, session: Uuid, kind: SendKind, success: bool) {
        self.count_at(scope, session, kind, success, Utc::now());
    }

    fn count_at(&self, scope: &TenantScope, session: Uuid, kind: SendKind, success: bool, at: DateTime<Utc>) {
        let key = Key {
            scope: scope.clone(),
            session,
            day: self.zone.day(at),
            kind,
        };
        let one = if success {
            Numbers {
                sent: 1,
                last_sent_at: Some(at),
                ..Numbers::default()
            }
        } else {
            Numbers {
                failed: 1,
                last_failed_at: Some(at),
                ..Numbers::default()
            }
        };
        self.gather(key, one);
    }

    fn gather(&self, key: Key, more: Numbers) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.len() >= KEPT && !gathered.contains_key(&key) {
            metrics::counter!("kanal_usage_lost_total").increment(1);
            return;
        }
        gathered.entry(key).or_default().add(more);
    }

    /// Writes down what was gathered. False when some of it could not be written and is kept.
    pub(crate) async fn flush(&self) -> bool {
        let gathered = {
            let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *gathered)
        };
        let mut rows: Vec<(Key, Numbers)> = gathered.into_iter().collect();
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut written = true;
        for chunk in rows.chunks(TOGETHER) {
            match self.written(chunk).await {
                // Whether a commit that failed took place nobody knows. Counting twice would be worse than not at all.
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error = ?error, "it is unknown whether sends were counted"),
                Err(error) => {
                    tracing::warn!(error = ?error, "sends cannot be counted yet");
                    written = false;
                    for (key, numbers) in chunk {
                        self.gather(key.clone(), *numbers);
                    }
                }
            }
        }
        written
    }

    /// The inner result is the commit's.
    async fn written(&self, rows: &[(Key, Numbers)]) -> Result<Result<(), DatabaseError>, DatabaseError> {
        let counted: Vec<Counted> = rows.iter().map(|(key, numbers)| key.row(numbers)).collect();
        let scopes: ScopeSet = rows.iter().map(|(key, _)| &key.scope).collect();
        let mut tx = GroupTransaction::begin(&self.db, scopes, "count sends").await?;
        usage::add(&mut tx, &counted).await?;
        Ok(tx.commit().await)
    }

    /// Today, where the business is.
    pub(crate) fn today(&self) -> NaiveDate {
        self.zone.day(Utc::now())
    }

    /// The customer's numbers of these days, both included; at most a second old.
    ///
    /// # Errors
    /// A database that cannot be asked.
    pub(crate) async fn between(
        &self,
        scope: &TenantScope,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<UsageRow>, Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "customer's usage").await?;
        let rows = usage::between(&mut tx, from, to).await?;
        tx.commit().await?;
        Ok(rows)
    }
}

impl Numbers {
    fn add(&mut self, more: Self) {
        self.sent += more.sent;
        self.failed += more.failed;
        self.last_sent_at = self.last_sent_at.max(more.last_sent_at);
        self.last_failed_at = self.last_failed_at.max(more.last_failed_at);
    }
}

impl Key {
    fn row(&self, numbers: &Numbers) -> Counted {
        Counted {
            tenant_id: self.scope.tenant().to_string(),
            session: self.session,
            day: self.day,
            kind: self.kind.as_str(),
            sent: numbers.sent,
            failed: numbers.failed,
            last_sent_at: numbers.last_sent_at,
            last_failed_at: numbers.last_failed_at,
        }
    }
}
