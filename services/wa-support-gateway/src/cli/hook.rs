//! Chores about webhooks that could not be delivered.

use clap::{Args, Subcommand};
use domain::ids::TenantId;
use runtime::config::SettingsReader;
use serde_json::json;
use tenant_isolation::TenantScope;
use uuid::Uuid;

use super::{CommandError, open};
use crate::config::StoreSettings;
use crate::flows::hooks::parked;

#[derive(Debug, Subcommand)]
pub(super) enum HookCommand {
    /// List a customer's webhooks that were put aside, oldest first, and how many fared how; nothing of their contents
    #[command(visible_alias = "list")]
    Parked(Parked),
    /// Show what is known of a webhook that is not delivered yet; nothing of its contents
    Show(Show),
    /// Take webhooks that were put aside up again, each in its old place
    #[command(group = clap::ArgGroup::new("which").required(true).args(["event", "session", "all"]))]
    Replay(Replay),
}

#[derive(Debug, Args)]
pub(super) struct Parked {
    /// The customer's user id
    #[arg(long, visible_alias = "tenant")]
    customer: TenantId,
    /// Only of this session, by our id of it
    #[arg(long)]
    session: Option<Uuid>,
    /// Most webhooks to list
    #[arg(long, default_value_t = 100)]
    limit: u16,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The customer's user id
    #[arg(long, visible_alias = "tenant")]
    customer: TenantId,
    /// The webhook's id
    #[arg(long, visible_alias = "id")]
    event: Uuid,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The customer's user id
    #[arg(long, visible_alias = "tenant")]
    customer: TenantId,
    /// The webhook's id
    #[arg(long, visible_alias = "id")]
    event: Option<Uuid>,
    /// All of this session, by our id of it
    #[arg(long)]
    session: Option<Uuid>,
    /// All of the customer's
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(command: HookCommand) -> Result<(), CommandError> {
    let settings = StoreSettings::from_reader(SettingsReader::from_process())?;
    let db = open(&settings.process, &settings.database)?;
    let answer = match command {
        HookCommand::Parked(Parked {
            customer,
            session,
            limit,
        }) => {
            let scope = TenantScope::named_by_operator(customer);
            let (parked, sessions) = parked::parked(&db, &scope, session, limit.into()).await?;
            json!({"customer": scope.tenant(), "parked": parked, "sessions": sessions})
        }
        HookCommand::Show(Show { customer, event }) => {
            let scope = TenantScope::named_by_operator(customer);
            let found = parked::show(&db, &scope, event)
                .await?
                .ok_or(CommandError::NoSuchWebhook)?;
            json!({"customer": scope.tenant(), "webhook": found})
        }
        HookCommand::Replay(Replay {
            customer,
            event,
            session,
            ..
        }) => {
            let scope = TenantScope::named_by_operator(customer);
            let replayed = match event {
                Some(event) => {
                    if !parked::replay(&db, &scope, event).await? {
                        return Err(CommandError::NoSuchWebhook);
                    }
                    1
                }
                None => parked::replay_all(&db, &scope, session).await?,
            };
            json!({"customer": scope.tenant(), "replayed": replayed})
        }
    };
    runtime::process::print(&answer);
    Ok(())
}
