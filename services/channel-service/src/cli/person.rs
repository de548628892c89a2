//! Commands about one person of a tenant.

use anyhow::Context as _;
use cache::RedisLink;
use clap::Subcommand;
use domain::ids::TenantId;
use tenant_isolation::TenantScope;

use super::database;
use crate::config::ChoreSettings;
use crate::flows::erase_person::{erase, read_person};
use crate::flows::export_person;
use crate::flows::tenant::Actor;

/// Commands about one person of a tenant. Everything by which the tenant knows them is found from one of their names.
#[derive(Debug, Subcommand)]
pub enum PersonCommand {
    /// Print everything the tenant has of the person, a line of JSON for each row.
    Export {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// Their number (`628…`, `+62 8…`, `08…`) or their address (`…@lid`).
        #[arg(long)]
        phone: String,
    },
    /// Erase everything the tenant has of the person. Begun again, an erasure that was interrupted is finished. Files are
    /// deleted by the service's sweep.
    Erase {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// Their number or address.
        #[arg(long)]
        phone: String,
        /// Their number or address once more.
        #[arg(long)]
        i_know_that_everything_will_be_gone: String,
    },
}

/// Runs a command about a person. Returns what to print.
///
/// # Errors
/// When the settings are wrong, nobody is meant, or there is no such tenant.
pub async fn person(settings: ChoreSettings, command: PersonCommand) -> anyhow::Result<serde_json::Value> {
    let db = database(&settings)?;
    let actor = Actor::operator();
    match command {
        PersonCommand::Export { tenant, phone } => {
            let scope = TenantScope::named_by_operator(tenant);
            let who = read_person(&phone)?;
            export_person::announce(&db, &settings.keys, &scope, &who, &actor).await?;
            let (lines, printing) = chores::export::print();
            let exported = export_person::export(&db, &scope, &who, &lines).await;
            drop(lines);
            printing.await?;
            exported?;
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "complete": true}))
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
            let redis = RedisLink::new(&settings.redis, &settings.redis_prefix).context("REDIS_URL")?;
            let (erased, _) = erase(&db, &settings.keys, &redis, None, &scope, &who, &actor).await?;
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "erased": erased}))
        }
    }
}
