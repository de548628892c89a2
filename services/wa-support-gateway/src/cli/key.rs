//! Chores about encryption keys.

use clap::Subcommand;
use runtime::config::SettingsReader;
use serde_json::json;

use super::{CommandError, open};
use crate::config::KeySettings;
use crate::flows::reencrypt::reencrypt;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Seal every secret anew under the first of ENCRYPTION_KEYS, so that older ones can go; may be stopped and begun again
    Reencrypt,
}

pub(super) async fn run(command: KeyCommand) -> Result<(), CommandError> {
    let KeyCommand::Reencrypt = command;
    let settings = KeySettings::from_reader(SettingsReader::from_process())?;
    let db = open(&settings.process, &settings.database)?;
    let done = reencrypt(&db, &settings.keys).await?;
    runtime::process::print(&json!(done));
    match (done.unreadable, done.left) {
        (0, 0) => Ok(()),
        (0, left) => Err(CommandError::Unsealed(left)),
        (unreadable, _) => Err(CommandError::Unreadable(unreadable)),
    }
}
