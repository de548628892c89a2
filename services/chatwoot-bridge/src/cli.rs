//! The command line: serve, or do one chore.

mod connect;
mod deadletter;
mod history;
mod import;
mod tenant;

use std::process::ExitCode;

use anyhow::Context as _;
use chores::key::KeyCommand;
use chores::outbox::OutboxCommand;
use chores::peers::Service;
use chores::trace::TraceCommand;
use clap::{Args, Parser, Subcommand};
use database::{MigrateCommand, SchemaNames};
use domain::ids::{AccountId, TenantId};
use runtime::config::{InvalidSettings, SettingsReader, markdown_table};
use runtime::process::{self, EXIT_CONFIG, EXIT_SCHEMA};
use secrecy::SecretString;
use tenant_isolation::TenantScope;
use tenant_isolation::policy::PolicyError;
use url::Url;
use uuid::Uuid;

use crate::app::{Application, RunError, tools};
use crate::config::{Known, SCHEMA, SERVICE, Settings, StorageSettings, migration_access, process_settings};
use crate::flows::connect_inbox::{Connection, connect_inbox};
use crate::flows::parked_tasks;
use crate::forward_chores::{self, ForwardCommand};
use crate::store::{self, inboxes::InboxKey};
use crate::webhooks::chatwoot::DEFAULT_INSTALLATION;

/// Joins Chatwoot and WhatsApp.
#[derive(Parser)]
#[command(name = SERVICE)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve webhooks and work (the default)
    Serve,
    /// Bring the schema up to date, as its owner or an administrator in MIGRATE_DATABASE_URL
    Migrate(MigrateCommand),
    /// Ask the running service whether it is ready
    Healthcheck,
    /// Look at everything the service depends on, and say what is wrong and what helps; changes nothing. Exit code 0: nothing
    /// is wrong, 1: something is, 78: the settings are
    Doctor {
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Print the table of settings
    Config,
    /// Print the OpenAPI document
    Openapi,
    /// Connect an inbox: check the token, find or make the inbox, set its webhook and its secret, test both ways
    Connect(connect::ConnectCommand),
    /// Take over the routes of the predecessor; may be repeated, prints a report as one JSON object
    Import(import::ImportCommand),
    /// Bring what an account's chats held before its inbox was connected to Chatwoot
    History(history::HistoryCommand),
    /// Chatwoot inboxes
    #[command(subcommand)]
    Inbox(InboxCommand),
    /// Give out and erase everything a tenant has here
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Give out and erase everything a tenant has here of one person
    #[command(subcommand)]
    Person(tenant::PersonCommand),
    /// Verify, read and prune the log of administrative acts
    #[command(subcommand)]
    Audit(audit_log::AuditCommand),
    /// Look at work that was put aside, and do it again
    #[command(subcommand)]
    Task(TaskCommand),
    /// Look at events that could not be passed on to the URL of a route, and pass them on again
    #[command(subcommand)]
    Forward(ForwardCommand),
    /// Look at all that was put aside, whether it was for Chatwoot or for the URL of a route, and take it up again
    #[command(subcommand)]
    Deadletter(deadletter::DeadLetterCommand),
    /// Follow a message over the three services, from any of its ids; the others are asked where their addresses and keys
    /// are set. Never shows its words or numbers
    Trace(TraceCommand),
    /// Look at events that the broker has not taken yet, and have them tried again that were put aside
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Chores about encryption keys
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Subcommand)]
enum TaskCommand {
    /// List a tenant's tasks that were put aside, oldest first, with their reasons and without people's words
    Parked {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// Most tasks to list
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Take one of them up again in its old place, or all of them
    #[command(group = clap::ArgGroup::new("which").required(true).args(["task", "all"]))]
    Replay {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// The task's id
        #[arg(long)]
        task: Option<Uuid>,
        /// Every task of the tenant that is put aside
        #[arg(long)]
        all: bool,
    },
}

#[derive(Subcommand)]
enum InboxCommand {
    /// Connect a Chatwoot inbox to a tenant's account; CHATWOOT_API_TOKEN and CHATWOOT_WEBHOOK_SECRET hold the secrets
    Connect(Connect),
}

#[derive(Args)]
struct Connect {
    /// The tenant
    #[arg(long)]
    tenant: TenantId,
    /// The tenant's account in channel-service, as `account create` printed it; it cannot be checked from here
    #[arg(long)]
    account: AccountId,
    /// Base URL of Chatwoot
    #[arg(long)]
    chatwoot_url: Url,
    /// Chatwoot's account id
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    chatwoot_account: i64,
    /// Chatwoot's inbox id
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    inbox: i64,
    /// Our name for the Chatwoot server; its webhooks go to /webhook/<name>
    #[arg(long, default_value = DEFAULT_INSTALLATION)]
    installation: String,
    /// Accept unsigned webhooks again
    #[arg(long)]
    without_webhook_secret: bool,
}

/// Does what the command line asks for.
pub async fn run() -> ExitCode {
    match Cli::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => serve().await,
        Command::Migrate(command) => migrate(command).await,
        Command::Healthcheck => healthcheck().await,
        Command::Doctor { json } => doctor(json).await,
        Command::Config => {
            process::print(&markdown_table(&Settings::variables()).trim_end());
            ExitCode::SUCCESS
        }
        Command::Openapi => {
            process::print(&crate::routes::openapi());
            ExitCode::SUCCESS
        }
        Command::Connect(command) => chore(async |settings| connect::run(settings, command).await).await,
        Command::History(command) => chore(async |settings| history::run(settings, command).await).await,
        Command::Import(command) => chore(async |settings| import::run(settings, command).await).await,
        Command::Inbox(InboxCommand::Connect(connect)) => {
            chore(async |settings| connect_inbox_by_hand(settings, connect).await).await
        }
        Command::Forward(command) => {
            chore(async |settings| {
                process::print(&forward_chores::run(&tools(settings)?.db, command).await?);
                Ok(())
            })
            .await
        }
        Command::Tenant(command) => {
            chore(async |settings| {
                process::print(&tenant::tenant(settings, command).await?);
                Ok(())
            })
            .await
        }
        Command::Person(command) => {
            chore(async |settings| {
                process::print(&tenant::person(settings, command).await?);
                Ok(())
            })
            .await
        }
        Command::Audit(command) => chore(async |settings| audit(settings, command).await).await,
        Command::Task(command) => chore(async |settings| task(settings, command).await).await,
        Command::Deadletter(command) => {
            chore(async |settings| {
                process::print(&deadletter::run(&tools(settings)?.db, command).await?);
                Ok(())
            })
            .await
        }
        Command::Trace(command) => chore(async |settings| trace(settings, &command).await).await,
        Command::Outbox(command) => {
            chore(async |settings| {
                process::print(&chores::outbox::run(&tools(settings)?.db, command).await?);
                Ok(())
            })
            .await
        }
        Command::Key(command) => {
            chore(async |settings| {
                let tools = tools(settings)?;
                Ok(chores::key::run(&tools.db, &tools.keys, store::sealed::TABLES, command).await?)
            })
            .await
        }
    }
}

async fn chore(work: impl AsyncFnOnce(&StorageSettings) -> anyhow::Result<()>) -> ExitCode {
    match StorageSettings::read(SettingsReader::from_process()) {
        Ok(settings) => ended(work(&settings).await),
        Err(error) => misconfigured(&error),
    }
}

async fn serve() -> ExitCode {
    let settings = match Settings::read(SettingsReader::from_process()) {
        Ok(settings) => settings,
        Err(error) => return misconfigured(&error),
    };
    let run = async {
        let listener = web::bind(settings.process.address)
            .with_context(|| format!("cannot listen on {}", settings.process.address))?;
        let shutdown = process::start(SERVICE, &settings.process)?;
        let served = Application::build(settings, listener)?
            .run_until_stopped(shutdown.clone())
            .await;
        let finished = process::finish(SERVICE, &shutdown).await;
        served?;
        anyhow::ensure!(finished, "some work was not finished in time");
        Ok(())
    };
    ended(run.await)
}

async fn migrate(command: MigrateCommand) -> ExitCode {
    let access = match migration_access(SettingsReader::from_process()) {
        Ok(access) => access,
        Err(error) => return misconfigured(&error),
    };
    let names = SchemaNames::of_service(SCHEMA);
    match command.run(&access, &names, crate::MIGRATIONS).await {
        Ok(done) => {
            process::print(&done);
            ExitCode::SUCCESS
        }
        Err(error) => ended(Err(error.into())),
    }
}

async fn healthcheck() -> ExitCode {
    let settings = match process_settings(SettingsReader::from_process()) {
        Ok(settings) => settings,
        Err(error) => return misconfigured(&error),
    };
    ended(web::healthcheck::run(settings.address).await.map_err(Into::into))
}

async fn doctor(json: bool) -> ExitCode {
    let settings = Settings::read(SettingsReader::from_process()).map(drop);
    let known = Known::read(SettingsReader::from_process());
    let report = crate::doctor::examine(settings.as_ref().copied(), &known).await;
    report.print(json);
    ExitCode::from(report.exit_code())
}

async fn connect_inbox_by_hand(settings: &StorageSettings, connect: Connect) -> anyhow::Result<()> {
    anyhow::ensure!(
        InboxKey::is_installation(&connect.installation),
        "the installation's name has 1 to 64 letters, digits, '.', '_' or '-'"
    );
    settings
        .outbound
        .check(&connect.chatwoot_url)
        .context("--chatwoot-url")?;
    let api_token = secret("CHATWOOT_API_TOKEN").context("CHATWOOT_API_TOKEN is not set")?;
    let webhook_secrets = match (
        connect.without_webhook_secret,
        secret_list("CHATWOOT_WEBHOOK_SECRET"),
    ) {
        (true, _) => Some(Vec::new()),
        (false, secrets) => secrets,
    };
    let new = Connection {
        account: connect.account,
        chatwoot_url: connect.chatwoot_url.as_str().trim_end_matches('/').to_owned(),
        key: InboxKey {
            installation: connect.installation,
            account_id: connect.chatwoot_account,
            inbox_id: connect.inbox,
        },
        api_token,
        webhook_secrets,
    };
    let scope = TenantScope::named_by_operator(connect.tenant);
    let id = connect_inbox(&tools(settings)?, &scope, &new).await?;
    process::print(&serde_json::json!({"inbox_link_id": id, "tenant_id": scope.tenant()}));
    Ok(())
}

async fn audit(settings: &StorageSettings, command: audit_log::AuditCommand) -> anyhow::Result<()> {
    let owner = command
        .needs_owner()
        .then(|| migration_access(SettingsReader::from_process()))
        .transpose()?;
    let owner = owner.as_ref().map(|access| &access.migrating);
    let db = tools(settings)?.db;
    let found = audit_log::run(&db, owner, command, process::print).await?;
    anyhow::ensure!(
        found == audit_log::Finding::Well,
        "the audit log is not what was written; see the lines above"
    );
    Ok(())
}

async fn task(settings: &StorageSettings, command: TaskCommand) -> anyhow::Result<()> {
    let db = tools(settings)?.db;
    let answer = match command {
        TaskCommand::Parked { tenant, limit } => {
            let scope = TenantScope::named_by_operator(tenant);
            let parked = parked_tasks::parked(&db, &scope, limit.into()).await?;
            serde_json::json!({"tenant_id": scope.tenant(), "parked": parked})
        }
        TaskCommand::Replay { tenant, task, .. } => {
            let scope = TenantScope::named_by_operator(tenant);
            let replayed = match task {
                Some(id) => {
                    let found = parked_tasks::replay(&db, &scope, id).await?;
                    anyhow::ensure!(found, "tenant {} has no such task put aside", scope.tenant());
                    1
                }
                None => parked_tasks::replay_all(&db, &scope).await?,
            };
            serde_json::json!({"tenant_id": scope.tenant(), "replayed": replayed})
        }
    };
    process::print(&answer);
    Ok(())
}

async fn trace(settings: &StorageSettings, command: &TraceCommand) -> anyhow::Result<()> {
    let db = tools(settings)?.db;
    let mut reader = SettingsReader::from_process();
    let others = [
        Service::Gateway.read(&mut reader),
        Service::Channel.read(&mut reader),
    ];
    let others = reader.finish_part(|| Some(others))?;
    let own = async |id: &str| crate::flows::trace::trace(&db, id).await;
    let told = chores::trace::run(command, Service::Bridge, &others, own).await?;
    process::print(&told.trim_end());
    Ok(())
}

fn secret(name: &str) -> Option<SecretString> {
    std::env::var(name)
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .map(SecretString::from)
}

/// One secret, or two separated by a comma: the inbox's and the account's, or the new one and the old one.
fn secret_list(name: &str) -> Option<Vec<SecretString>> {
    let text = std::env::var(name).ok()?;
    let secrets = text
        .split(',')
        .map(str::trim)
        .filter(|secret| !secret.is_empty())
        .map(SecretString::from);
    Some(secrets.collect()).filter(|secrets: &Vec<SecretString>| !secrets.is_empty())
}

fn misconfigured(error: &InvalidSettings) -> ExitCode {
    process::report(SERVICE, error);
    ExitCode::from(EXIT_CONFIG)
}

#[expect(
    clippy::print_stderr,
    reason = "a chore has no log, and a failed start may not have one yet"
)]
fn ended(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{SERVICE}: {error:#}");
            // Nothing but another schema, or another release, would help.
            let about_schema = matches!(error.downcast_ref(), Some(RunError::Unsafe(why)) if matches!(**why, PolicyError::Schema(_)));
            ExitCode::from(if about_schema { EXIT_SCHEMA } else { 1 })
        }
    }
}
