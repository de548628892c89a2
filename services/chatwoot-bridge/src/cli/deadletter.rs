//! `deadletter`: all that is put aside, whether it was for Chatwoot (`task`) or for the URL of a route (`forward`).

use clap::{ArgGroup, Subcommand};
use database::Database;
use domain::ids::TenantId;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;
use uuid::Uuid;

use crate::flows::forward::parked;
use crate::flows::parked_tasks;

#[derive(Subcommand)]
pub(super) enum DeadLetterCommand {
    /// List a tenant's tasks and events that were put aside, oldest first, with their reasons and without their contents
    List {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// Most of either to list
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Show what is known of one of them; nothing of its contents
    Show {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// The task's or the event's id
        #[arg(long)]
        id: Uuid,
    },
    /// Take one of them up again in its old place, or all of them; what a target may have is taken up one by one only
    #[command(group = ArgGroup::new("which").required(true).args(["id", "all"]))]
    Replay {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// The task's or the event's id
        #[arg(long)]
        id: Option<Uuid>,
        /// All of the tenant's
        #[arg(long)]
        all: bool,
    },
}

pub(super) async fn run(db: &Database, command: DeadLetterCommand) -> anyhow::Result<Value> {
    Ok(match command {
        DeadLetterCommand::List { tenant, limit } => {
            let scope = TenantScope::named_by_operator(tenant);
            let tasks = parked_tasks::parked(db, &scope, limit.into()).await?;
            let (events, _) = parked::parked(db, &scope, None, limit.into()).await?;
            json!({"tenant_id": scope.tenant(), "tasks": tasks, "events": events})
        }
        DeadLetterCommand::Show { tenant, id } => {
            let scope = TenantScope::named_by_operator(tenant);
            if let Some(event) = parked::show(db, &scope, id).await? {
                json!({"tenant_id": scope.tenant(), "event": event})
            } else {
                let tasks = parked_tasks::parked(db, &scope, i64::MAX).await?;
                let Some(task) = tasks.into_iter().find(|task| task.id == id) else {
                    anyhow::bail!("tenant {} has no such task or event put aside", scope.tenant());
                };
                json!({"tenant_id": scope.tenant(), "task": task})
            }
        }
        DeadLetterCommand::Replay { tenant, id, .. } => {
            let scope = TenantScope::named_by_operator(tenant);
            let replayed = match id {
                Some(id) => {
                    let found =
                        parked::replay(db, &scope, id).await? || parked_tasks::replay(db, &scope, id).await?;
                    anyhow::ensure!(
                        found,
                        "tenant {} has no such task or event put aside",
                        scope.tenant()
                    );
                    1
                }
                None => {
                    parked_tasks::replay_all(db, &scope).await? + parked::replay_all(db, &scope, None).await?
                }
            };
            json!({"tenant_id": scope.tenant(), "replayed": replayed})
        }
    })
}
