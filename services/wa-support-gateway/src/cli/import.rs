//! Taking over the original's customers.

use clap::Args;
use database::{Database, DatabaseUrl, SchemaNames};
use runtime::config::SettingsReader;
use runtime::telemetry::start_logs;
use serde_json::json;

use super::CommandError;
use crate::SCHEMA;
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
    start_logs(&settings.process.log_level, settings.process.log_format);
    let db = Database::new(
        &settings.database.url,
        SchemaNames::of_service(SCHEMA),
        settings.database.pool,
    )?;
    let from = command
        .from
        .or(settings.from)
        .ok_or(CommandError::ImportFromWhere)?;
    let original = Original::open(&from).await.map_err(ImportError::Original)?;
    let report = Import::new(&db, &settings.keys, settings.zone, original, command.dry_run)
        .run()
        .await?;
    runtime::process::print(&json!(report));
    Ok(())
}
