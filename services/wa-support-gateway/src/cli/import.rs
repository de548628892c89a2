//! Taking over the original's customers.

use clap::Args;
use database::DatabaseUrl;
use runtime::config::SettingsReader;
use serde_json::json;

use super::known::Known;
use super::{CommandError, open};
use crate::config::ImportSettings;
use crate::flows::import::{Import, ImportError};
use crate::store::original::Original;

#[derive(Debug, Args)]
pub(super) struct ImportCommand {
    /// The original's database: postgres://user:password@host:port/database; better given in IMPORT_DATABASE_URL, where
    /// no list of processes shows it
    #[arg(long)]
    from: Option<DatabaseUrl>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(command: ImportCommand) -> Result<(), CommandError> {
    let settings = ImportSettings::from_reader(SettingsReader::from_process())?;
    let db = open(&settings.process, &settings.database)?;
    let from = command
        .from
        .or(settings.from)
        .ok_or(CommandError::ImportFromWhere)?;
    let original = Original::open(&from).await.map_err(ImportError::Original)?;
    let known = Known::to_processes(settings.redis.as_ref(), &db, &settings.keys)?;
    let standings = known.as_ref().map(Known::standings);
    let import = Import::new(
        &db,
        &settings.keys,
        settings.zone,
        original,
        standings,
        command.dry_run,
    );
    let done = import.run().await;
    // Also after half of it.
    if let Some(known) = known {
        known.settled().await;
    }
    let report = done?;
    runtime::process::print(&json!(report));
    Ok(())
}
