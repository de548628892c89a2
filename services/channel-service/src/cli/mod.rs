//! The commands an operator runs beside the service. Each prints one JSON object; secrets come by environment, never
//! on the command line, where every user of the machine could read them.

mod dead_letters;
mod gate;
mod person;
mod trace;

use std::str::FromStr;

use std::process::ExitCode;

use anyhow::Context as _;
use audit_log::{AuditCommand, Finding};
use cache::RedisLink;
use chores::key::KeyCommand;
use clap::{Args, Subcommand};
use database::{Database, DatabaseUrl, MigrateCommand, MigrationAccess, SchemaNames};
use domain::ids::TenantId;
use domain::tenant::TenantStatus;
use domain::user::{EmailAddress, Role};
use runtime::config::SettingsReader;
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};

pub use dead_letters::{DeadLetterCommand, dead_letters};
pub use gate::{GateCommand, gate};
pub use person::{PersonCommand, person};
pub use trace::{outbox, trace};

use crate::config::ChoreSettings;
use crate::flows::register_account::{NewAccount, register};
use crate::flows::retention::{DaysChange, MOST_DAYS};
use crate::flows::route_account::AccountRoutes;
use crate::flows::tenant::{Actor, KeptPlacesChange};
use crate::wiring::endpoints_of_environment;
use crate::{flows, store};

/// Commands about accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Register a tenant's WhatsApp session, or replace its session id and credentials. Reads SESSION_TOKEN and,
    /// for signed webhooks, HMAC_KEY from the environment; without HMAC_KEY the key that is stored stays.
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
    /// Forget the stored HMAC key and accept the session's webhooks unsigned.
    #[arg(long)]
    unsigned: bool,
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
    /// Send nothing for a tenant and hand nothing over to its AI, until it is resumed. What arrives is kept, and what
    /// waits to be sent goes out afterwards.
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
    /// Print everything a tenant has, a line of JSON for each row.
    Export {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
    },
    /// Erase everything a tenant has. Only its administrative acts stay. Delete its sessions first: the WhatsApp server
    /// knows nothing of this.
    Erase {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// The tenant's id once more.
        #[arg(long)]
        i_know_that_everything_will_be_gone: TenantId,
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
    /// Show or set for how many days a tenant keeps words, files, and what providers told as it came. Each is a number of
    /// days, or `default` for what the service is configured with.
    Retention {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// Words of messages.
        #[arg(long)]
        texts: Option<KeptDays>,
        /// Files of messages.
        #[arg(long)]
        media: Option<KeptDays>,
        /// Events as providers told them.
        #[arg(long)]
        raw: Option<KeptDays>,
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

/// Days, or `default`.
#[derive(Debug, Clone, Copy)]
pub struct KeptDays(Option<i32>);

impl FromStr for KeptDays {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "default" {
            return Ok(Self(None));
        }
        let days = text.parse().ok().filter(|days| (1..=MOST_DAYS).contains(days));
        let wrong = || format!("give a number of days between 1 and {MOST_DAYS}, or default");
        days.map(|days| Self(Some(days))).ok_or_else(wrong)
    }
}

/// Commands about people who use the dashboard.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user. Reads USER_PASSWORD from the environment; without it a password is made and printed, once.
    Create {
        /// What they sign in with.
        #[arg(long)]
        email: EmailAddress,
        /// What they are called.
        #[arg(long)]
        name: Option<String>,
        /// `superadmin` or `tenant_admin`.
        #[arg(long)]
        role: Role,
        /// The one tenant of a tenant admin.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// List users.
    List,
    /// Keep a user out; every session of theirs ends.
    Disable {
        /// Who.
        #[arg(long)]
        email: EmailAddress,
    },
    /// Let a user in again.
    Enable {
        /// Who.
        #[arg(long)]
        email: EmailAddress,
    },
    /// Give a user another password, as `create` does; every session of theirs ends.
    SetPassword {
        /// Who.
        #[arg(long)]
        email: EmailAddress,
    },
}

/// Brings the schema up to date, or back. Returns what to print.
///
/// # Errors
/// When the settings are wrong or the database refuses.
pub async fn migrate(access: MigrationAccess, command: MigrateCommand) -> anyhow::Result<serde_json::Value> {
    let names = SchemaNames::of_service(crate::SCHEMA);
    Ok(command.run(&access, &names, crate::MIGRATIONS).await?)
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
    anyhow::ensure!(
        webhook_key.is_none() || !arguments.unsigned,
        "HMAC_KEY and --unsigned contradict each other"
    );

    let db = database(&settings)?;
    let redis = RedisLink::new(&settings.redis, &settings.redis_prefix).context("REDIS_URL")?;
    let routes = AccountRoutes::new(db.clone(), redis);
    let endpoints = endpoints_of_environment().await?;
    let new = NewAccount {
        tenant: arguments.tenant.clone(),
        instance_name: arguments.instance,
        session_id: arguments.session_id,
        token,
        webhook_key,
        unsigned: arguments.unsigned,
    };
    let id = register(&db, &routes, &settings.keys, &endpoints, new).await?;
    // Some of what makes the change known comes a moment later, and this process would be gone by then.
    routes.settled().await;
    Ok(serde_json::json!({"tenant_id": arguments.tenant, "account_id": id}))
}

/// Runs a command about tenants. Returns what to print.
///
/// # Errors
/// When the settings are wrong, or there is no such tenant.
pub async fn tenant(settings: ChoreSettings, command: TenantCommand) -> anyhow::Result<serde_json::Value> {
    let db = database(&settings)?;
    let actor = Actor::operator();
    match command {
        TenantCommand::Create { tenant, name } => {
            let scope = TenantScope::named_by_operator(tenant);
            let endpoints = endpoints_of_environment().await?;
            let created = flows::tenant::create(&db, &endpoints, &scope, name.as_deref(), &actor).await?;
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "created": created}))
        }
        TenantCommand::List { after, limit } => {
            let tenants = flows::tenant::list(&db, after.as_deref(), limit.into()).await?;
            Ok(serde_json::json!({"tenants": tenants}))
        }
        TenantCommand::Suspend { tenant } => set_status(&db, tenant, TenantStatus::Suspended, &actor).await,
        TenantCommand::Resume { tenant } => set_status(&db, tenant, TenantStatus::Active, &actor).await,
        TenantCommand::Export { tenant } => {
            let scope = TenantScope::named_by_operator(tenant);
            flows::export_tenant::announce(&db, &scope, &actor).await?;
            let (lines, printing) = chores::export::print();
            let exported = flows::export_tenant::export(&db, &scope, &lines).await;
            drop(lines);
            printing.await?;
            exported?;
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "complete": true}))
        }
        TenantCommand::Erase {
            tenant,
            i_know_that_everything_will_be_gone,
        } => {
            anyhow::ensure!(
                tenant == i_know_that_everything_will_be_gone,
                "the two ids differ; nothing was erased"
            );
            let scope = TenantScope::named_by_operator(tenant);
            let redis = RedisLink::new(&settings.redis, &settings.redis_prefix).context("REDIS_URL")?;
            let routes = AccountRoutes::new(db.clone(), redis.clone());
            // Files may lie on the service's own disk: its sweep deletes them.
            let rows = flows::erase_tenant::erase(&db, &settings.keys, &redis, &routes, None, &scope, &actor)
                .await?;
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "rows_erased": rows}))
        }
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
        TenantCommand::Retention {
            tenant,
            texts,
            media,
            raw,
        } => {
            let scope = TenantScope::named_by_operator(tenant);
            let change = DaysChange {
                text_days: texts.map(|days| days.0),
                media_days: media.map(|days| days.0),
                raw_days: raw.map(|days| days.0),
            };
            let is_change = texts.or(media).or(raw).is_some();
            let days = match is_change {
                true => flows::retention::set(&db, &scope, change, &actor).await?,
                false => flows::retention::find(&db, &scope).await?,
            };
            let days = days.with_context(|| format!("there is no tenant {}", scope.tenant()))?;
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "days": days}))
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

/// Runs a command about the audit log, which prints by itself. A broken chain is code 1.
///
/// # Errors
/// When the settings are wrong, or the database refuses.
pub async fn audit(
    settings: ChoreSettings,
    owner: Option<&DatabaseUrl>,
    command: AuditCommand,
) -> anyhow::Result<ExitCode> {
    let db = database(&settings)?;
    let found = audit_log::run(&db, owner, command, runtime::process::print).await?;
    Ok(match found {
        Finding::Well => ExitCode::SUCCESS,
        Finding::Broken => ExitCode::FAILURE,
    })
}

/// Runs a command about encryption keys, which prints by itself.
///
/// # Errors
/// When the settings are wrong, or older keys have to stay.
pub async fn key(settings: ChoreSettings, command: KeyCommand) -> anyhow::Result<()> {
    let db = database(&settings)?;
    Ok(chores::key::run(&db, &settings.keys, store::sealed::TABLES, command).await?)
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

/// Runs a command about users. Returns what to print.
///
/// # Errors
/// When the settings are wrong, or the user is not what the command needs.
pub async fn user(settings: ChoreSettings, command: UserCommand) -> anyhow::Result<serde_json::Value> {
    let db = database(&settings)?;
    match command {
        UserCommand::Create {
            email,
            name,
            role,
            tenant,
        } => {
            let (password, made) = password_from_environment()?;
            let id = flows::user::create(&db, &email, name.as_deref(), role, tenant, &password).await?;
            Ok(serde_json::json!({"user_id": id, "email": email.as_str(), "role": role, "password": made}))
        }
        UserCommand::List => {
            let users: Vec<serde_json::Value> = flows::user::list(&db)
                .await?
                .into_iter()
                .map(|user| {
                    serde_json::json!({"user_id": user.id, "email": user.email, "name": user.name, "role": user.role,
                        "tenant_id": user.works_for, "disabled": user.disabled, "created_at": user.created_at})
                })
                .collect();
            Ok(serde_json::json!({"users": users}))
        }
        UserCommand::Disable { email } => {
            flows::user::set_disabled(&db, &email, true).await?;
            Ok(serde_json::json!({"email": email.as_str(), "disabled": true}))
        }
        UserCommand::Enable { email } => {
            flows::user::set_disabled(&db, &email, false).await?;
            Ok(serde_json::json!({"email": email.as_str(), "disabled": false}))
        }
        UserCommand::SetPassword { email } => {
            let (password, made) = password_from_environment()?;
            flows::user::set_password(&db, &email, &password).await?;
            Ok(serde_json::json!({"email": email.as_str(), "password": made}))
        }
    }
}

/// The password of `USER_PASSWORD`, or a new one, which then has to be shown.
fn password_from_environment() -> anyhow::Result<(SecretString, Option<String>)> {
    let mut reader = SettingsReader::from_process();
    let given: Option<SecretString> = reader.optional("USER_PASSWORD", "The user's password");
    let given = reader.finish_part(|| Some(given))?;
    Ok(match given {
        Some(password) => (password, None),
        None => {
            let made = flows::user::made_password();
            (SecretString::from(made.as_str()), Some(made))
        }
    })
}

fn database(settings: &ChoreSettings) -> anyhow::Result<Database> {
    let names = SchemaNames::of_service(crate::SCHEMA);
    Ok(Database::new(&settings.database, names, settings.pool)?)
}
