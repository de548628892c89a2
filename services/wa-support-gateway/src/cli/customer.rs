//! Chores about customers. Each prints one JSON object; a key is shown when it is made and never again.

use std::time::Duration;

use cache::RedisLink;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use domain::ids::TenantId;
use runtime::config::SettingsReader;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use super::customer_leaves::{self, LeaveCommand};
use super::{CommandError, known, open};
use crate::api::customers::{item, wire};
use crate::config::CustomerChoreSettings;
use crate::error::Error;
use crate::flows::customer_key::CustomerKeys;
use crate::flows::customers::{Actor, Customers, Overview, Wanted};
use crate::flows::standing::Standings;
use crate::store::PROVIDER;
use crate::store::terms::Terms;

/// Acts of the audit log that are shown.
const SHOWN_ACTS: i64 = 50;

#[derive(Debug, Subcommand)]
pub(super) enum CustomerCommand {
    #[command(flatten)]
    Keep(KeepCommand),
    #[command(flatten)]
    Leave(LeaveCommand),
}

// A customer that stays.
#[derive(Debug, Subcommand)]
pub(super) enum KeepCommand {
    /// Make a customer with its subscription, or bring both to this; prints the key of a new customer
    Create(Create),
    /// Give a customer a new key
    Rotate(Rotate),
    /// Switch a customer off: its key and its sessions are refused
    Suspend(Named),
    /// Switch a customer on again
    Activate(Named),
    /// Show a customer, its subscription, what is known of its keys and what was done to it
    Show(Named),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The customer's user id
    #[arg(long)]
    customer: TenantId,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The customer's user id
    #[arg(long)]
    customer: TenantId,
    /// Which service the customer belongs to
    #[arg(long)]
    source: String,
    /// End of the subscription, with its offset
    #[arg(long, default_value = "2099-12-31T23:59:59Z")]
    expires_at: DateTime<Utc>,
    /// How many sessions the customer may have
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    max_sessions: i32,
    /// How many messages the customer may send in a period; 0 means no limit
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    max_messages: i64,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// The customer's user id
    #[arg(long)]
    customer: TenantId,
    /// How long the old key stays good
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    grace_seconds: u64,
}

pub(super) async fn run(command: CustomerCommand) -> Result<(), CommandError> {
    match command {
        CustomerCommand::Keep(command) => keep(command).await,
        CustomerCommand::Leave(command) => customer_leaves::run(command).await,
    }
}

async fn keep(command: KeepCommand) -> Result<(), CommandError> {
    let settings = CustomerChoreSettings::from_reader(SettingsReader::from_process())?;
    let db = open(&settings.process, &settings.database)?;
    let redis = RedisLink::new(&settings.redis.url, &settings.redis.prefix)?;
    let standings = Standings::new(db.clone(), redis.clone());
    let keys = CustomerKeys::new(db.clone(), standings.clone(), redis);
    let customers = Customers::new(db, standings, keys);
    let done = work(&customers, command).await;
    // Also after half of it.
    known::settled(customers.settled()).await;
    runtime::process::print(&done?);
    Ok(())
}

async fn work(customers: &Customers, command: KeepCommand) -> Result<Value, Error> {
    let by = Actor::Operator;
    Ok(match command {
        KeepCommand::Create(create) => {
            let wanted = Wanted {
                scope: TenantScope::named_by_operator(create.customer),
                source: create.source,
                created_by: "operator".to_owned(),
                provider: PROVIDER.to_owned(),
                terms: Terms {
                    expires_at: create.expires_at,
                    max_sessions: create.max_sessions,
                    max_messages: create.max_messages,
                },
            };
            let key = customers.upsert(&by, &wanted).await?;
            json!({
                "user_id": wanted.scope.tenant(), "created": key.is_some(),
                "api_key": key.as_ref().map(SecretString::expose_secret),
            })
        }
        KeepCommand::Rotate(rotate) => {
            let scope = TenantScope::named_by_operator(rotate.customer);
            let grace = Duration::from_secs(rotate.grace_seconds);
            let key = customers.rotate_key(&by, &scope, grace).await?;
            json!({"user_id": scope.tenant(), "api_key": key.expose_secret()})
        }
        KeepCommand::Suspend(named) => switch(customers, named, false).await?,
        KeepCommand::Activate(named) => switch(customers, named, true).await?,
        KeepCommand::Show(named) => {
            let scope = TenantScope::named_by_operator(named.customer);
            shown(&customers.overview(&scope, SHOWN_ACTS).await?)
        }
    })
}

async fn switch(customers: &Customers, named: Named, active: bool) -> Result<Value, Error> {
    let scope = TenantScope::named_by_operator(named.customer);
    let changed = customers.set_active(&Actor::Operator, &scope, active).await?;
    let status = if active { "active" } else { "suspended" };
    Ok(json!({"user_id": scope.tenant(), "status": status, "changed": changed}))
}

fn shown(overview: &Overview) -> Value {
    let mut shown = item(&overview.customer);
    if let Some(subscription) = &overview.subscription {
        shown["subscription"]["messages_used"] = json!(subscription.messages_used);
        shown["subscription"]["period_started_at"] = json!(wire(subscription.period_started_at));
    }
    let keys = overview.keys.iter().map(|key| {
        json!({
            "prefix": key.prefix, "created_at": wire(key.created_at),
            "valid_until": key.valid_until.map(wire),
        })
    });
    shown["keys"] = keys.collect();
    shown["audit"] = json!(overview.acts);
    shown
}
