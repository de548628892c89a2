//! Where a message is, and what the broker has not taken.

use chores::outbox::OutboxCommand;
use chores::peers::Service;
use chores::trace::TraceCommand;
use runtime::config::SettingsReader;

use super::{CommandError, open};
use crate::config::StoreSettings;
use crate::flows;

pub(super) async fn outbox(command: OutboxCommand) -> Result<(), CommandError> {
    let settings = StoreSettings::from_reader(SettingsReader::from_process())?;
    let db = open(&settings.process, &settings.database)?;
    runtime::process::print(&chores::outbox::run(&db, command).await?);
    Ok(())
}

pub(super) async fn trace(command: TraceCommand) -> Result<(), CommandError> {
    let settings = StoreSettings::from_reader(SettingsReader::from_process())?;
    let db = open(&settings.process, &settings.database)?;
    let mut reader = SettingsReader::from_process();
    let others = [
        Service::Channel.read(&mut reader),
        Service::Bridge.read(&mut reader),
    ];
    let others = reader.finish_part(|| Some(others))?;
    let own = async |id: &str| flows::trace::trace(&db, None, id).await;
    let told = chores::trace::run(&command, Service::Gateway, &others, own).await?;
    runtime::process::print(&told.trim_end());
    Ok(())
}
