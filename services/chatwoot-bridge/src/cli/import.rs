//! `import`: the predecessor's routes.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use domain::ids::TenantId;
use runtime::process;
use serde_json::json;
use tenant_isolation::TenantScope;

use crate::app::tools;
use crate::config::StorageSettings;
use crate::flows::import_routes::Import;
use crate::store::audit_log::Actor;
use crate::store::inboxes::InboxKey;
use crate::store::original;
use crate::webhooks::chatwoot::DEFAULT_INSTALLATION;

#[derive(Debug, Args)]
pub(super) struct ImportCommand {
    /// The predecessor's database: its file dev.db
    #[arg(long)]
    sqlite: PathBuf,
    /// Whose the routes become; without it, ROUTES_TENANT
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Our name for the Chatwoot server that they are about
    #[arg(long, default_value = DEFAULT_INSTALLATION)]
    installation: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(settings: &StorageSettings, command: ImportCommand) -> anyhow::Result<()> {
    anyhow::ensure!(
        InboxKey::is_installation(&command.installation),
        "the installation's name has 1 to 64 letters, digits, '.', '_' or '-'"
    );
    let file = command.sqlite;
    let rows = tokio::task::spawn_blocking(move || original::read(&file))
        .await?
        .context("--sqlite")?;
    let tenant = command
        .tenant
        .unwrap_or_else(|| settings.router.routes_tenant.clone());
    let import = Import {
        tools: &tools(settings)?,
        outbound: &settings.outbound,
        scope: &TenantScope::named_by_operator(tenant),
        installation: &command.installation,
        dry_run: command.dry_run,
        actor: &Actor::operator(),
    };
    let report = import.run(&rows).await?;
    process::print(&json!(report));
    Ok(())
}
