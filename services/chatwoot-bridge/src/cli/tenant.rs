//! `tenant` and `person`: what a tenant, or one person of it, has here is given out and erased.

use chores::export::{ExportError, LineSender, print};
use clap::Subcommand;
use domain::ids::TenantId;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use crate::app::tools;
use crate::config::StorageSettings;
use crate::flows::person::read_person;
use crate::flows::{erase_person, erase_tenant, export_person, export_tenant};
use crate::store::audit_log::Actor;

/// Said with every erasure: nobody shall take it for more than it is.
const ELSEWHERE: &str = "Chatwoot keeps what it has, and so does channel-service: erase there as well";

#[derive(Subcommand)]
pub(super) enum TenantCommand {
    /// Print everything a tenant has here, a line of JSON for each row, but for tokens and secrets
    Export {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
    },
    /// Erase everything a tenant has here. Only its administrative acts stay; Chatwoot knows nothing of this
    Erase {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// The tenant once more
        #[arg(long)]
        i_know_that_everything_will_be_gone: TenantId,
    },
}

/// Everything by which the tenant knows the person here is found from one of their names.
#[derive(Subcommand)]
pub(super) enum PersonCommand {
    /// Print everything a tenant has here of one person, a line of JSON for each row
    Export {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// Their number (`628…`, `+62 8…`, `08…`) or their address (`…@lid`)
        #[arg(long)]
        phone: String,
    },
    /// Erase everything a tenant has here of one person, and name their contacts in Chatwoot, which stay. Begun again, an
    /// erasure that was interrupted is finished
    Erase {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// Their number or address
        #[arg(long)]
        phone: String,
        /// Their number or address once more
        #[arg(long)]
        i_know_that_everything_will_be_gone: String,
    },
}

pub(super) async fn tenant(settings: &StorageSettings, command: TenantCommand) -> anyhow::Result<Value> {
    let (tools, actor) = (tools(settings)?, Actor::operator());
    match command {
        TenantCommand::Export { tenant } => {
            let scope = TenantScope::named_by_operator(tenant);
            export_tenant::announce(&tools.db, &scope, &actor).await?;
            printed(async |lines: &LineSender| export_tenant::export(&tools.db, &scope, lines).await).await?;
            Ok(json!({"tenant_id": scope.tenant(), "complete": true}))
        }
        TenantCommand::Erase {
            tenant,
            i_know_that_everything_will_be_gone,
        } => {
            anyhow::ensure!(
                tenant == i_know_that_everything_will_be_gone,
                "the two ids differ; nothing was erased"
            );
            let scope = TenantScope::named_by_operator(tenant);
            let rows = erase_tenant::erase(&tools.db, tools.redis.as_ref(), &scope, &actor).await?;
            Ok(json!({"tenant_id": scope.tenant(), "rows_erased": rows, "note": ELSEWHERE}))
        }
    }
}

pub(super) async fn person(settings: &StorageSettings, command: PersonCommand) -> anyhow::Result<Value> {
    let (tools, actor) = (tools(settings)?, Actor::operator());
    match command {
        PersonCommand::Export { tenant, phone } => {
            let scope = TenantScope::named_by_operator(tenant);
            let who = read_person(&phone)?;
            export_person::announce(&tools.db, &tools.keys, &scope, &who, &actor).await?;
            printed(async |lines: &LineSender| export_person::export(&tools.db, &scope, &who, lines).await)
                .await?;
            Ok(json!({"tenant_id": scope.tenant(), "complete": true}))
        }
        PersonCommand::Erase {
            tenant,
            phone,
            i_know_that_everything_will_be_gone,
        } => {
            let who = read_person(&phone)?;
            anyhow::ensure!(
                read_person(&i_know_that_everything_will_be_gone)? == who,
                "two people were named; nothing was erased"
            );
            let scope = TenantScope::named_by_operator(tenant);
            let erased = erase_person::erase(&tools.db, &tools.keys, &scope, &who, &actor).await?;
            Ok(json!({"tenant_id": scope.tenant(), "erased": erased, "note": ELSEWHERE}))
        }
    }
}

/// Prints the lines of an export as they come.
async fn printed(export: impl AsyncFnOnce(&LineSender) -> Result<(), ExportError>) -> anyhow::Result<()> {
    let (lines, printing) = print();
    let exported = export(&lines).await;
    drop(lines);
    printing.await?;
    Ok(exported?)
}
