//! From an outside id to a tenant: the one place where a webhook or a token becomes a scope.
//!
//! Each service's schema has a table `tenant_directory (kind, external_id) -> (tenant_id, subject_id)`. What is not
//! in it has no tenant, and nothing is ever guessed.

use database::{Database, DatabaseError};
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::TenantId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::scope::{PlatformScope, TenantScope};
use crate::transaction::PlatformTransaction;

/// An id that somebody outside uses for something of a tenant's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExternalId {
    kind: &'static str,
    id: String,
}

impl ExternalId {
    /// Longest id that is looked up; longer ones cannot be in the directory.
    pub const MAX_LENGTH: usize = 300;

    /// An id of a kind, e.g. kind `genfity_instance`, id `desa-contoh`. `None` for what can be in no directory.
    #[must_use]
    pub fn new(kind: &'static str, id: &str) -> Option<Self> {
        let possible = !id.is_empty() && id.len() <= Self::MAX_LENGTH && !id.contains('\0');
        possible.then(|| Self {
            kind,
            id: id.to_owned(),
        })
    }

    /// What sort of id it is.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The id itself.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// What an outside id stands for. As data it can be cached; only [`Resolved::scope`] makes a scope of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    tenant: TenantId,
    subject: Uuid,
}

impl Resolved {
    /// For whom work on this id is done.
    #[must_use]
    pub fn scope(&self) -> TenantScope {
        TenantScope::new(self.tenant.clone())
    }

    /// The tenant's row behind the id: an account, a session, an inbox.
    #[must_use]
    pub const fn subject(&self) -> Uuid {
        self.subject
    }
}

#[derive(diesel::QueryableByName)]
struct DirectoryRow {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    subject_id: Uuid,
}

/// Looks an outside id up. `None`: nobody registered it.
///
/// # Errors
/// [`DatabaseError`] when the directory cannot be read; callers must not take that for "unknown".
pub async fn resolve(db: &Database, external: &ExternalId) -> Result<Option<Resolved>, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("resolve tenant")).await?;
    let rows: Vec<DirectoryRow> = database::sql(
        "SELECT tenant_id, subject_id FROM tenant_directory WHERE kind = $1 AND external_id = $2",
    )
    .bind::<Text, _>(external.kind)
    .bind::<Text, _>(&external.id)
    .load(tx.connection())
    .await?;
    tx.commit().await?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(None);
    };
    let tenant = TenantId::parse(row.tenant_id).map_err(|error| DatabaseError::Refused(Box::new(error)))?;
    Ok(Some(Resolved {
        tenant,
        subject: row.subject_id,
    }))
}
