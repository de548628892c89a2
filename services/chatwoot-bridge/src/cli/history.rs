//! Importing what an account's chats held before its inbox was connected.

use clap::{Args, Subcommand};
use domain::ids::TenantId;
use runtime::process;
use tenant_isolation::TenantScope;
use uuid::Uuid;

use crate::api::history::wire;
use crate::app::tools;
use crate::config::StorageSettings;
use crate::flows::history::{self, Wish};

/// Which inbox's.
#[derive(Args)]
pub(super) struct HistoryCommand {
    /// The tenant
    #[arg(long, global = true)]
    tenant: Option<TenantId>,
    /// The inbox, as `inbox connect` printed it
    #[arg(long, global = true)]
    inbox: Option<Uuid>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Import; the running service does it, page by page
    Start {
        /// Nothing older than so many days
        #[arg(long)]
        days: Option<u32>,
    },
    /// No further page
    Stop,
    /// Go on where it was stopped
    Resume,
    /// Where the newest import stands
    Show,
}

pub(super) async fn run(settings: &StorageSettings, command: HistoryCommand) -> anyhow::Result<()> {
    let (Some(tenant), Some(inbox)) = (command.tenant, command.inbox) else {
        anyhow::bail!("--tenant and --inbox say whose history is meant");
    };
    anyhow::ensure!(
        settings.channel.service.is_some() || matches!(command.what, What::Show | What::Stop),
        "CHANNEL_SERVICE_URL and CHANNEL_SERVICE_KEY are not set: there is nowhere to read history from"
    );
    let (db, scope) = (tools(settings)?.db, TenantScope::named_by_operator(tenant));
    let wish = match command.what {
        What::Start { days } => Wish::Start { days },
        What::Stop => Wish::Stop,
        What::Resume => Wish::Resume,
        What::Show => {
            let job = history::report(&db, &scope, inbox).await?;
            process::print(
                &serde_json::json!({"tenant_id": scope.tenant(), "history": job.as_ref().map(wire)}),
            );
            return Ok(());
        }
    };
    let job = history::wish(&db, &scope, inbox, wish).await?;
    process::print(&serde_json::json!({"tenant_id": scope.tenant(), "history": wire(&job)}));
    Ok(())
}
