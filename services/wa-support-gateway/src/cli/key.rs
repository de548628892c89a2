//! Chores about encryption keys.

use chores::key::KeyCommand;
use runtime::config::SettingsReader;

use super::{CommandError, open};
use crate::config::KeySettings;
use crate::store::sealed;

pub(super) async fn run(command: KeyCommand) -> Result<(), CommandError> {
    let settings = KeySettings::from_reader(SettingsReader::from_process())?;
    let db = open(&settings.process, &settings.database)?;
    Ok(chores::key::run(&db, &settings.keys, sealed::TABLES, command).await?)
}
