//! Where a message is, and what the broker has not taken.

use chores::outbox::OutboxCommand;
use chores::peers::Service;
use chores::trace::TraceCommand;
use runtime::config::SettingsReader;

use super::database;
use crate::config::ChoreSettings;
use crate::flows;
use crate::flows::journey::AnyId;

/// Runs a command about the outbox. Returns what to print.
///
/// # Errors
/// When the settings are wrong, or there is no such event.
pub async fn outbox(settings: ChoreSettings, command: OutboxCommand) -> anyhow::Result<serde_json::Value> {
    Ok(chores::outbox::run(&database(&settings)?, command).await?)
}

/// Follows a message over the three services. Returns what to print.
///
/// # Errors
/// When the settings are wrong, or the own tables cannot be read.
pub async fn trace(settings: ChoreSettings, command: TraceCommand) -> anyhow::Result<String> {
    let db = database(&settings)?;
    let mut reader = SettingsReader::from_process();
    let others = [
        Service::Gateway.read(&mut reader),
        Service::Bridge.read(&mut reader),
    ];
    let others = reader.finish_part(|| Some(others))?;
    let own = async |id: &str| match AnyId::parse(id) {
        Some(id) => flows::trace::trace(&db, &id).await,
        None => Ok(flows::trace::nothing()),
    };
    Ok(chores::trace::run(&command, Service::Channel, &others, own).await?)
}
