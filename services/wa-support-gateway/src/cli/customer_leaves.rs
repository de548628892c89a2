//! Chores about a customer that leaves: everything it has is printed, and erased.

use cache::RedisLink;
use clap::{Args, Subcommand};
use domain::ids::TenantId;
use runtime::config::SettingsReader;
use serde_json::json;
use tenant_isolation::TenantScope;

use super::{CommandError, give_out, known, open};
use crate::config::{ChoreSettings, CustomerChoreSettings, KeySettings};
use crate::flows::admit::Admissions;
use crate::flows::customer_key::CustomerKeys;
use crate::flows::customers::{Actor, Customers};
use crate::flows::erase_customer;
use crate::flows::export::Of;
use crate::flows::sessions::Sessions;
use crate::flows::standing::Standings;
use crate::wa_server::WaCalls;

// A customer that leaves.
#[derive(Debug, Subcommand)]
pub(super) enum LeaveCommand {
    /// Print everything a customer has, a line of JSON for each row; no token, key or hash
    Export(Export),
    /// Erase a customer: its keys end at once, its sessions are removed at the WA server, and everything of it goes but the
    /// record of acts. Begun again, an erasure that was interrupted is finished
    Erase(Erase),
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The customer's user id
    #[arg(long, visible_alias = "tenant")]
    customer: TenantId,
}

#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The customer's user id
    #[arg(long, visible_alias = "tenant")]
    customer: TenantId,
    /// The customer's user id once more
    #[arg(long)]
    i_know_that_everything_will_be_gone: TenantId,
}

pub(super) async fn run(command: LeaveCommand) -> Result<(), CommandError> {
    match command {
        LeaveCommand::Export(order) => export(order).await,
        LeaveCommand::Erase(order) => erase(order).await,
    }
}

async fn export(order: Export) -> Result<(), CommandError> {
    let settings = KeySettings::from_reader(SettingsReader::from_process())?;
    let db = open(&settings.process, &settings.database)?;
    let scope = TenantScope::named_by_operator(order.customer);
    give_out(&db, &settings.keys, &scope, Of::Customer).await
}

async fn erase(order: Erase) -> Result<(), CommandError> {
    if order.customer != order.i_know_that_everything_will_be_gone {
        return Err(CommandError::Unconfirmed);
    }
    let settings = ChoreSettings::from_reader(SettingsReader::from_process())?;
    // Keys have to end at every process, which the running ones hear over Redis: here it has to be named.
    let redis = CustomerChoreSettings::from_reader(SettingsReader::from_process())?.redis;
    let db = open(&settings.process, &settings.database)?;
    let calls = WaCalls::new(&settings.wa_server, &settings.sessions, settings.admin_token)?;
    let redis = RedisLink::new(&redis.url, &redis.prefix)?;
    let standings = Standings::new(db.clone(), redis.clone());
    let ring = settings.keys;
    let admissions = Admissions::new(db.clone(), ring.clone(), standings.clone(), redis.clone());
    let sessions = Sessions::new(db.clone(), ring, calls, settings.relay, &settings.sessions)
        .with_admissions(admissions.clone());
    let keys = CustomerKeys::new(db.clone(), standings.clone(), redis.clone());
    let customers = Customers::new(db, standings, keys);
    let scope = TenantScope::named_by_operator(order.customer);
    let done = erase_customer::erase(&customers, &sessions, &redis, &Actor::Operator, &scope).await;
    // Also after half of it.
    known::settled(async {
        tokio::join!(customers.settled(), admissions.settled());
    })
    .await;
    runtime::process::print(&json!({"user_id": scope.tenant(), "erased": done?}));
    Ok(())
}
