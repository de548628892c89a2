//! The commands about the audit log, the same in every service. Each prints lines of JSON.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use database::{Database, DatabaseError, DatabaseUrl};
use domain::ids::TenantId;
use serde_json::{Value, json};
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use crate::anchors::{Anchors, InvalidAnchors};
use crate::chain::Chain;
use crate::prune::{PruneError, prune};
use crate::read::{self, Wanted};
use crate::verify::{Report, next_chain, note_check, verify};

/// Commands about the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Compute every hash of the log anew and compare; exit code 1 where a chain is broken. Keep what it prints somewhere
    /// else and hand it back as --anchor: only so a chain whose end was cut off is known from a whole one.
    Verify {
        /// Only this tenant's acts.
        #[arg(long)]
        tenant: Option<TenantId>,
        /// What an earlier run printed.
        #[arg(long)]
        anchor: Option<PathBuf>,
    },
    /// Show acts, the newest first.
    List {
        /// Only this tenant's acts.
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Begin behind the act of this id.
        #[arg(long)]
        before: Option<Uuid>,
        /// Most acts to show.
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Delete acts that are older than a time, after they were verified. Needs MIGRATE_DATABASE_URL: the service itself has
    /// no right to. Run `verify` first and keep what it prints.
    Prune {
        /// Only this tenant's acts; otherwise everybody's and those about the platform.
        #[arg(long)]
        tenant: Option<TenantId>,
        /// The time, as in 2026-01-31T00:00:00Z.
        #[arg(long)]
        before: DateTime<Utc>,
    },
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum ChoreError {
    /// The noted heads are none.
    #[error(transparent)]
    Anchors(#[from] InvalidAnchors),
    /// A chain was not pruned.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// Nobody said who the schema's owner is.
    #[error("MIGRATE_DATABASE_URL is not set: only the schema's owner may delete acts")]
    NoOwner,
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// What a command found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Nothing wrong.
    Well,
    /// A broken chain: the process ends with code 1.
    Broken,
}

impl AuditCommand {
    /// It does what only the schema's owner may do: [`run`] needs the way in.
    #[must_use]
    pub const fn needs_owner(&self) -> bool {
        matches!(self, Self::Prune { .. })
    }
}

/// Runs a command and hands each line to `print`.
///
/// # Errors
/// [`ChoreError`].
pub async fn run(
    db: &Database,
    owner: Option<&DatabaseUrl>,
    command: AuditCommand,
    mut print: impl FnMut(&Value),
) -> Result<Finding, ChoreError> {
    match command {
        AuditCommand::Verify { tenant, anchor } => {
            let noted = anchor.map(|path| Anchors::read(&path)).transpose()?;
            verify_all(db, tenant, noted.unwrap_or_default(), print).await
        }
        AuditCommand::List {
            tenant,
            before,
            limit,
        } => {
            let wanted = Wanted {
                tenant: tenant.map(|tenant| tenant.to_string()),
                before,
                ..Wanted::default()
            };
            let purpose = PlatformScope::for_purpose("list acts");
            let mut tx = PlatformTransaction::begin(db, purpose).await?;
            let acts = read::page(&mut tx, &wanted, limit.into()).await?;
            tx.commit().await?;
            print(&json!({"acts": acts}));
            Ok(Finding::Well)
        }
        AuditCommand::Prune { tenant, before } => {
            prune_all(db, owner.ok_or(ChoreError::NoOwner)?, tenant, before, print).await
        }
    }
}

async fn verify_all(
    db: &Database,
    tenant: Option<TenantId>,
    noted: Anchors,
    mut print: impl FnMut(&Value),
) -> Result<Finding, ChoreError> {
    let only = tenant.map(|tenant| Chain::Tenant(tenant.to_string()));
    let (mut chains, mut entries, mut broken) = (0_u64, 0_u64, 0_u64);
    verify(db, only.as_ref(), noted, u64::MAX, |report| {
        chains += 1;
        entries += report.entries;
        broken += u64::from(report.broken.is_some());
        print(&line(&report));
    })
    .await?;
    print(&json!({"chains": chains, "entries": entries, "broken": broken}));
    if only.is_none() {
        note_check(db, chains, entries, broken).await?;
    }
    Ok(if broken == 0 {
        Finding::Well
    } else {
        Finding::Broken
    })
}

async fn prune_all(
    db: &Database,
    owner: &DatabaseUrl,
    tenant: Option<TenantId>,
    before: DateTime<Utc>,
    mut print: impl FnMut(&Value),
) -> Result<Finding, ChoreError> {
    let only = tenant.map(|tenant| Chain::Tenant(tenant.to_string()));
    let mut finding = Finding::Well;
    let mut next = Some(only.clone().unwrap_or(Chain::Platform));
    while let Some(chain) = next {
        let mut said = named(&chain);
        match prune(db, owner, &chain, before).await {
            Ok(pruned) => said["pruned"] = json!(pruned.entries),
            Err(PruneError::Broken(broken)) => {
                finding = Finding::Broken;
                said["broken"] = json!(broken.to_string());
            }
            Err(error) => return Err(error.into()),
        }
        print(&said);
        next = match &only {
            Some(_) => None,
            None => next_chain(db, &chain).await?,
        };
    }
    Ok(finding)
}

fn named(chain: &Chain) -> Value {
    match chain {
        Chain::Platform => json!({"chain": "platform"}),
        Chain::Tenant(tenant) => json!({"chain": "tenant", "tenant_id": tenant}),
    }
}

/// What is told of a chain; [`Anchors::read`] reads it again.
fn line(report: &Report) -> Value {
    let mut line = named(&report.chain);
    line["entries"] = json!(report.entries);
    if let Some(broken) = &report.broken {
        line["broken"] = json!(broken.to_string());
        line["at"] = json!(broken.seq);
    } else if let Some(head) = report.head {
        // Only of a chain that is whole: nobody shall note another.
        line["seq"] = json!(head.seq);
        line["hash"] = json!(head.hash);
    }
    line
}
