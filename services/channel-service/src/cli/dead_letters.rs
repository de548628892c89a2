//! Commands about messages that were put aside.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use domain::ids::{MessageId, TenantId};
use messaging::outbox::Signal;
use tenant_isolation::TenantScope;

use super::database;
use crate::config::ChoreSettings;
use crate::flows::dead_letter::{self, Replayed, Wake};
use crate::flows::tenant::Actor;
use crate::store::dead_letter::DeadLetterFilter;

/// Commands about messages that were put aside.
#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// List messages that are not tried again by themselves, those first that have lain longest. Without their words.
    List(ListDeadLetters),
    /// Show one of a tenant's, with what it says and what was tried.
    Show {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// The message's id.
        #[arg(long, visible_alias = "id")]
        message: MessageId,
    },
    /// Queue one of a tenant's again, or every one that the filter means, in its old place in its chat.
    Replay(ReplayDeadLetters),
}

/// Arguments of `deadletter list`.
#[derive(Debug, Args)]
pub struct ListDeadLetters {
    /// The tenant's id; everybody's without it.
    #[arg(long)]
    tenant: Option<TenantId>,
    #[command(flatten)]
    filter: FilterArguments,
}

/// Arguments of `deadletter replay`.
#[derive(Debug, Args)]
pub struct ReplayDeadLetters {
    /// The tenant's id.
    #[arg(long)]
    tenant: TenantId,
    /// The message's id; without it, the filter says which ones.
    #[arg(long, visible_alias = "id", conflicts_with_all = ["reason", "older_than", "newer_than"])]
    message: Option<MessageId>,
    #[command(flatten)]
    filter: FilterArguments,
}

/// Which dead letters are meant.
#[derive(Debug, Args)]
pub struct FilterArguments {
    /// Put aside for this reason, e.g. `no_session`.
    #[arg(long)]
    reason: Option<String>,
    /// Put aside before this time (RFC 3339).
    #[arg(long)]
    older_than: Option<DateTime<Utc>>,
    /// Put aside at or after this time (RFC 3339).
    #[arg(long)]
    newer_than: Option<DateTime<Utc>>,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=dead_letter::MOST))]
    limit: i64,
}

impl From<FilterArguments> for DeadLetterFilter {
    fn from(arguments: FilterArguments) -> Self {
        let FilterArguments {
            reason,
            older_than,
            newer_than,
            limit,
        } = arguments;
        Self {
            reason,
            older_than,
            newer_than,
            limit,
        }
    }
}

/// Runs a command about messages that were put aside. Returns what to print.
///
/// # Errors
/// When the settings are wrong, or there is no such dead letter.
pub async fn dead_letters(
    settings: ChoreSettings,
    command: DeadLetterCommand,
) -> anyhow::Result<serde_json::Value> {
    let db = database(&settings)?;
    let actor = Actor::operator();
    match command {
        DeadLetterCommand::List(ListDeadLetters { tenant, filter }) => {
            let filter = filter.into();
            let rows = match tenant.map(TenantScope::named_by_operator) {
                Some(scope) => dead_letter::list(&db, &scope, &filter).await?,
                None => dead_letter::list_all(&db, &filter).await?,
            };
            Ok(serde_json::json!({"dead_letters": rows}))
        }
        DeadLetterCommand::Show { tenant, message } => {
            let scope = TenantScope::named_by_operator(tenant);
            let found = dead_letter::show(&db, &scope, message, &actor).await?;
            let Some(letter) = found else {
                anyhow::bail!("tenant {} has no such message put aside", scope.tenant());
            };
            Ok(serde_json::json!({
                "dead_letter": letter.row, "to": letter.words.address, "text": letter.words.body,
                "reference": letter.words.reference, "attempts": letter.attempts,
            }))
        }
        DeadLetterCommand::Replay(ReplayDeadLetters {
            tenant,
            message,
            filter,
        }) => {
            let scope = TenantScope::named_by_operator(tenant);
            // The service runs elsewhere and finds the work by looking.
            let (relay, senders) = (Signal::default(), Signal::default());
            let wake = Wake {
                relay: &relay,
                senders: &senders,
            };
            let replayed = match message {
                Some(id) => match dead_letter::replay(&db, wake, &scope, id, &actor).await? {
                    Replayed::Queued => vec![id],
                    Replayed::NotThere | Replayed::WentOut => {
                        anyhow::bail!("tenant {} has no such message put aside", scope.tenant())
                    }
                    Replayed::MayBeOutElsewhere => anyhow::bail!(
                        "the message may have gone out through the endpoint that tenant {} has left",
                        scope.tenant()
                    ),
                },
                None => dead_letter::replay_all(&db, wake, &scope, &filter.into(), &actor).await?,
            };
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "replayed": replayed}))
        }
    }
}
