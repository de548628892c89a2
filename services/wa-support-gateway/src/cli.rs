//! The command line. Answers go to standard output, logs to standard error.

mod customer;
mod customer_leaves;
mod hook;
mod import;
mod key;
mod known;
mod person;
mod session;
mod trace;

use std::process::ExitCode;

use chores::key::KeyCommand;
use chores::outbox::OutboxCommand;
use chores::trace::TraceCommand;
use clap::{Parser, Subcommand};
use database::{Database, MigrateCommand, SchemaNames};
use runtime::config::{InvalidSettings, SettingsReader, markdown_table};
use runtime::encryption::KeyRing;
use runtime::process::{self, EXIT_CONFIG, EXIT_SCHEMA, ProcessSettings};
use runtime::telemetry::start_logs;
use serde_json::json;
use tenant_isolation::TenantScope;
use tenant_isolation::policy::PolicyError;
use tokio::runtime::Handle;

use crate::app::{Application, ApplicationError};
use crate::config::{self, DatabaseSettings, HealthcheckSettings, MigrateSettings, Settings};
use crate::flows::customers::Actor;
use crate::flows::export::{self, Of};
use crate::{MIGRATIONS, SCHEMA, SERVICE};

#[derive(Debug, Parser)]
#[command(name = SERVICE, about = "Customers, subscriptions and the token proxy in front of the WA server")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP until SIGTERM (the default)
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
    /// Print every environment variable as a Markdown table
    Config,
    /// Print the OpenAPI document
    Openapi,
    /// Chores about customers
    #[command(subcommand)]
    Customer(customer::CustomerCommand),
    /// Give out or erase what a customer has of one person
    #[command(subcommand)]
    Person(person::PersonCommand),
    /// Take over the customers of the original service; may be repeated, prints a report as one JSON object
    Import(import::ImportCommand),
    /// Chores about sessions
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Look at webhooks that could not be delivered, and try them again
    #[command(subcommand, visible_alias = "deadletter")]
    Hook(hook::HookCommand),
    /// Follow a message over the three services, from any of its ids; the others are asked where their addresses and keys
    /// are set. Never shows its words or numbers
    Trace(TraceCommand),
    /// Look at events that the broker has not taken yet, and have them tried again that were put aside
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Verify, read and prune the log of administrative acts
    #[command(subcommand)]
    Audit(audit_log::AuditCommand),
    /// Chores about encryption keys
    #[command(subcommand)]
    Key(KeyCommand),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    #[error("{0}")]
    Start(#[from] std::io::Error),
    #[error("cannot listen on {address}")]
    Listen {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Application(#[from] ApplicationError),
    #[error(transparent)]
    Database(#[from] database::DatabaseError),
    #[error(transparent)]
    Migration(#[from] database::MigrateCommandError),
    #[error(transparent)]
    NotReady(#[from] web::healthcheck::NotReady),
    #[error(transparent)]
    Provision(#[from] crate::flows::provision_session::ProvisionError),
    #[error(transparent)]
    Import(#[from] crate::flows::import::ImportError),
    #[error("say where the original's tables are: IMPORT_DATABASE_URL or --from")]
    ImportFromWhere,
    #[error("REDIS_URL: {0}")]
    Redis(#[from] cache::InvalidRedisUrl),
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[from] reqwest::Error),
    #[error("the customer has no such webhook, or it is not put aside")]
    NoSuchWebhook,
    #[error("WA_SERVER_URL: {0}")]
    WaServer(#[from] whatsapp::genfity::InvalidEndpoint),
    #[error(transparent)]
    Work(#[from] crate::error::Error),
    #[error(transparent)]
    Person(#[from] crate::flows::people::UnknownPerson),
    #[error("what was named twice differs; nothing was erased")]
    Unconfirmed,
    #[error(transparent)]
    Export(#[from] chores::export::ExportError),
    #[error(transparent)]
    Audit(#[from] audit_log::ChoreError),
    #[error("the audit log is not what was written; see the lines above")]
    BrokenLog,
    #[error("{0} session(s) could not be put in order")]
    OutOfOrder(usize),
    #[error(transparent)]
    Key(#[from] chores::key::KeyError),
    #[error(transparent)]
    Outbox(#[from] chores::outbox::OutboxError),
    #[error(transparent)]
    Trace(#[from] chores::trace::TraceError<database::DatabaseError>),
    #[error("work was still in hand when the grace period ended")]
    Unfinished,
}

/// Does what the command line asks for.
pub async fn run() -> ExitCode {
    let done = match Arguments::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => serve().await,
        Command::Migrate(command) => migrate(command).await,
        Command::Healthcheck => healthcheck().await,
        Command::Doctor { json } => return doctor(json).await,
        Command::Config => {
            process::print(&markdown_table(&config::variables()).trim_end());
            Ok(())
        }
        Command::Openapi => {
            process::print(&crate::routes::openapi());
            Ok(())
        }
        Command::Customer(command) => customer::run(command).await,
        Command::Person(command) => person::run(command).await,
        Command::Import(command) => import::run(command).await,
        Command::Session(command) => session::run(command).await,
        Command::Hook(command) => hook::run(command).await,
        Command::Trace(command) => trace::trace(command).await,
        Command::Outbox(command) => trace::outbox(command).await,
        Command::Audit(command) => audit(command).await,
        Command::Key(command) => key::run(command).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError::Settings(error)) => {
            process::report(SERVICE, &error);
            ExitCode::from(EXIT_CONFIG)
        }
        Err(error) => {
            complain(&error);
            if let CommandError::Application(ApplicationError::Policies(PolicyError::Schema(_))) = error {
                return ExitCode::from(EXIT_SCHEMA);
            }
            ExitCode::FAILURE
        }
    }
}

/// What a chore begins with: logs, and our own rows.
fn open(process: &ProcessSettings, database: &DatabaseSettings) -> Result<Database, CommandError> {
    start_logs(&process.log_level, process.log_format);
    Ok(Database::new(
        &database.url,
        SchemaNames::of_service(SCHEMA),
        database.pool,
    )?)
}

/// Prints an export, and at its end that it is whole.
async fn give_out(db: &Database, keys: &KeyRing, scope: &TenantScope, of: Of) -> Result<(), CommandError> {
    export::announce(db, keys, &Actor::Operator, scope, &of).await?;
    let mut lines = export::begin(&Handle::current(), db.clone(), scope.clone(), of);
    while let Some(line) = lines.recv().await {
        process::print(&line?.trim_end());
    }
    process::print(&json!({"user_id": scope.tenant(), "complete": true}));
    Ok(())
}

async fn serve() -> Result<(), CommandError> {
    let settings = Settings::from_reader(SettingsReader::from_process())?;
    let shutdown = process::start(SERVICE, &settings.process)?;
    let db = Database::new(
        &settings.database.url,
        SchemaNames::of_service(SCHEMA),
        settings.database.pool,
    )?;
    let address = settings.process.address;
    let listener = web::bind(address).map_err(|source| CommandError::Listen { address, source })?;
    let served = Application::build(&settings, db, listener)?
        .run_until_stopped(shutdown.clone())
        .await;
    let finished = process::finish(SERVICE, &shutdown).await;
    served?;
    if finished {
        Ok(())
    } else {
        Err(CommandError::Unfinished)
    }
}

async fn migrate(command: MigrateCommand) -> Result<(), CommandError> {
    let settings = MigrateSettings::from_reader(SettingsReader::from_process())?;
    start_logs(&settings.process.log_level, settings.process.log_format);
    let names = SchemaNames::of_service(SCHEMA);
    process::print(&command.run(&settings.access, &names, MIGRATIONS).await?);
    Ok(())
}

async fn audit(command: audit_log::AuditCommand) -> Result<(), CommandError> {
    let settings = config::StoreSettings::from_reader(SettingsReader::from_process())?;
    let owner = command
        .needs_owner()
        .then(|| MigrateSettings::from_reader(SettingsReader::from_process()))
        .transpose()?;
    let owner = owner.as_ref().map(|settings| &settings.access.migrating);
    let db = open(&settings.process, &settings.database)?;
    match audit_log::run(&db, owner, command, process::print).await? {
        audit_log::Finding::Well => Ok(()),
        audit_log::Finding::Broken => Err(CommandError::BrokenLog),
    }
}

async fn healthcheck() -> Result<(), CommandError> {
    let settings = HealthcheckSettings::from_reader(SettingsReader::from_process())?;
    Ok(web::healthcheck::run(settings.process.address).await?)
}

async fn doctor(json: bool) -> ExitCode {
    let settings = Settings::from_reader(SettingsReader::from_process()).map(drop);
    let known = config::Known::read(SettingsReader::from_process());
    let names = SchemaNames::of_service(SCHEMA);
    let report = crate::doctor::examine(settings.as_ref().copied(), &known, names).await;
    report.print(json);
    ExitCode::from(report.exit_code())
}

/// Says what failed and why. Causes hold addresses at most; whoever runs a command knows them.
#[expect(
    clippy::print_stderr,
    reason = "whoever typed a command reads why it failed, whatever the log level is"
)]
fn complain(error: &CommandError) {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let reason = error.to_string();
        // Some errors repeat their cause in their own words.
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    eprintln!("{SERVICE}: {text}");
}
