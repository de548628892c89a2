//! The commands an operator runs beside the service. Each prints one JSON object; secrets come by environment, never
//! on the command line, where every user of the machine could read them.

use anyhow::Context as _;
use cache::RedisLink;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use database::{Database, SchemaNames};
use domain::ids::{MessageId, TenantId};
use domain::tenant::TenantStatus;
use messaging::outbox::Signal;
use runtime::config::SettingsReader;
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};

use crate::config::{ChoreSettings, MigrateSettings};
use crate::flows::dead_letter::{self, Wake};
use crate::flows::register_account::{NewAccount, register};
use crate::flows::route_account::AccountRoutes;
use crate::flows::tenant::{Actor, KeptPlacesChange};
use crate::store::dead_letter::DeadLetterFilter;
use crate::{flows, store};

/// Commands about accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Register a tenant's WhatsApp session, or replace its session id and credentials. Reads SESSION_TOKEN and,
    /// for signed webhooks, HMAC_KEY from the environment.
    Create(CreateAccount),
}

/// Arguments of `account create`.
#[derive(Debug, Args)]
pub struct CreateAccount {
    /// The tenant's id.
    #[arg(long)]
    tenant: TenantId,
    /// The session's name on the WhatsApp server (`instanceName` in webhooks).
    #[arg(long)]
    instance: String,
    /// The WhatsApp server's id of the session (`userID` in webhooks).
    #[arg(long)]
    session_id: Option<String>,
}

/// Commands about tenants.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Register a tenant, or give it another name.
    Create {
        /// The tenant's id, `village_id` to GovConnect.
        #[arg(long)]
        tenant: TenantId,
        /// What people call it.
        #[arg(long)]
        name: Option<String>,
    },
    /// List tenants in the order of their ids.
    List {
        /// Begin behind this id.
        #[arg(long)]
        after: Option<String>,
        /// Most tenants to list.
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Send nothing for a tenant and tell nobody of what arrives, until it is resumed. What arrives is kept.
    Suspend {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
    },
    /// Lift a suspension.
    Resume {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
    },
    /// Keep messages from groups, broadcast lists and status posts, or go on ignoring them. None of them reaches an AI.
    Keep {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// Keep group messages.
        #[arg(long)]
        groups: Option<bool>,
        /// Keep messages of broadcast lists.
        #[arg(long)]
        broadcasts: Option<bool>,
        /// Keep status posts.
        #[arg(long)]
        status: Option<bool>,
    },
    /// Show a tenant's newest administrative acts.
    Audit {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// Most acts to show.
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
}

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
        #[arg(long)]
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
    #[arg(long, conflicts_with_all = ["reason", "older_than", "newer_than"])]
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

/// Brings the schema up to date. Returns what to print.
///
/// # Errors
/// When the settings are wrong or the database refuses.
pub async fn migrate(settings: MigrateSettings) -> anyhow::Result<serde_json::Value> {
    let names = SchemaNames::of_service(crate::SCHEMA);
    let ran = database::migrate(&settings.admin, &settings.service, &names, crate::MIGRATIONS).await?;
    Ok(serde_json::json!({"schema": crate::SCHEMA, "migrations_run": ran}))
}

/// Runs a command about accounts. Returns what to print.
///
/// # Errors
/// When the settings are wrong, a secret is missing, or the name belongs to somebody else.
pub async fn account(settings: ChoreSettings, command: AccountCommand) -> anyhow::Result<serde_json::Value> {
    let AccountCommand::Create(arguments) = command;
    let mut reader = SettingsReader::from_process();
    let token: Option<SecretString> = reader.required("SESSION_TOKEN", "The session's token");
    let webhook_key: Option<SecretString> = reader.optional("HMAC_KEY", "Signs the session's webhooks");
    let (token, webhook_key) = reader.finish_part(|| Some((token?, webhook_key)))?;

    let db = Database::new(
        &settings.database,
        SchemaNames::of_service(crate::SCHEMA),
        settings.pool,
    )?;
    let redis = RedisLink::new(&settings.redis, &settings.redis_prefix).context("REDIS_URL")?;
    let routes = AccountRoutes::new(db.clone(), redis);
    let new = NewAccount {
        tenant: arguments.tenant.clone(),
        instance_name: arguments.instance,
        session_id: arguments.session_id,
        token,
        webhook_key,
    };
    let id = register(&db, &routes, &settings.keys, new).await?;
    Ok(serde_json::json!({"tenant_id": arguments.tenant, "account_id": id}))
}

/// Runs a command about tenants. Returns what to print.
///
/// # Errors
/// When the settings are wrong, or there is no such tenant.
pub async fn tenant(settings: ChoreSettings, command: TenantCommand) -> anyhow::Result<serde_json::Value> {
    let db = Database::new(
        &settings.database,
        SchemaNames::of_service(crate::SCHEMA),
        settings.pool,
    )?;
    let actor = Actor::operator();
    match command {
        TenantCommand::Create { tenant, name } => {
            let scope = TenantScope::named_by_operator(tenant);
            let created = flows::tenant::create(&db, &scope, name.as_deref(), &actor).await?;
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "created": created}))
        }
        TenantCommand::List { after, limit } => {
            let tenants = flows::tenant::list(&db, after.as_deref(), limit.into()).await?;
            Ok(serde_json::json!({"tenants": tenants}))
        }
        TenantCommand::Suspend { tenant } => set_status(&db, tenant, TenantStatus::Suspended, &actor).await,
        TenantCommand::Resume { tenant } => set_status(&db, tenant, TenantStatus::Active, &actor).await,
        TenantCommand::Keep {
            tenant,
            groups,
            broadcasts,
            status,
        } => {
            let redis = RedisLink::new(&settings.redis, &settings.redis_prefix).context("REDIS_URL")?;
            let routes = AccountRoutes::new(db.clone(), redis);
            let scope = TenantScope::named_by_operator(tenant);
            let change = KeptPlacesChange {
                groups,
                broadcasts,
                status,
            };
            let found = flows::tenant::set_kept_places(&db, &routes, &scope, change, &actor).await?;
            anyhow::ensure!(found, "there is no tenant {}", scope.tenant());
            Ok(serde_json::json!({
                "tenant_id": scope.tenant(),
                "changed": {"groups": groups, "broadcasts": broadcasts, "status": status},
            }))
        }
        TenantCommand::Audit { tenant, limit } => {
            let scope = TenantScope::named_by_operator(tenant);
            let mut tx = TenantTransaction::begin(&db, &scope, "show audit log").await?;
            let acts = store::audit::newest(&mut tx, limit.into()).await?;
            tx.commit().await?;
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "acts": acts}))
        }
    }
}

async fn set_status(
    db: &Database,
    tenant: TenantId,
    status: TenantStatus,
    actor: &Actor,
) -> anyhow::Result<serde_json::Value> {
    let scope = TenantScope::named_by_operator(tenant);
    let found = flows::tenant::set_status(db, &scope, status, actor).await?;
    anyhow::ensure!(found, "there is no tenant {}", scope.tenant());
    Ok(serde_json::json!({"tenant_id": scope.tenant(), "status": status}))
}

/// Runs a command about messages that were put aside. Returns what to print.
///
/// # Errors
/// When the settings are wrong, or there is no such dead letter.
pub async fn dead_letters(
    settings: ChoreSettings,
    command: DeadLetterCommand,
) -> anyhow::Result<serde_json::Value> {
    let db = Database::new(
        &settings.database,
        SchemaNames::of_service(crate::SCHEMA),
        settings.pool,
    )?;
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
                Some(id) => {
                    let queued = dead_letter::replay(&db, wake, &scope, id, &actor).await?;
                    anyhow::ensure!(queued, "tenant {} has no such message put aside", scope.tenant());
                    vec![id]
                }
                None => dead_letter::replay_all(&db, wake, &scope, &filter.into(), &actor).await?,
            };
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "replayed": replayed}))
        }
    }
}
