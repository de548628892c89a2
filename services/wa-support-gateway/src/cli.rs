//! The command line. Answers go to standard output, logs to standard error.

mod customer;
mod hook;
mod import;
mod key;
mod known;
mod session;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use database::{Database, SchemaNames};
use runtime::config::{InvalidSettings, SettingsReader, markdown_table};
use runtime::process::{self, EXIT_CONFIG, ProcessSettings};
use runtime::telemetry::start_logs;

use crate::app::{Application, ApplicationError};
use crate::config::{self, DatabaseSettings, HealthcheckSettings, MigrateSettings, Settings};
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
    /// Create the schema and roles, and bring the tables up to date
    Migrate,
    /// Ask the running service whether it is ready
    Healthcheck,
    /// Print every environment variable as a Markdown table
    Config,
    /// Print the OpenAPI document
    Openapi,
    /// Chores about customers
    #[command(subcommand)]
    Customer(customer::CustomerCommand),
    /// Take over the customers of the original service; may be repeated, prints a report as one JSON object
    Import(import::ImportCommand),
    /// Chores about sessions
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Look at webhooks that could not be delivered, and try them again
    #[command(subcommand)]
    Hook(hook::HookCommand),
    /// Verify, read and prune the log of administrative acts
    #[command(subcommand)]
    Audit(audit_log::AuditCommand),
    /// Chores about encryption keys
    #[command(subcommand)]
    Key(key::KeyCommand),
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
    Migration(#[from] database::MigrationError),
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
    Audit(#[from] audit_log::ChoreError),
    #[error("the audit log is not what was written; see the lines above")]
    BrokenLog,
    #[error("{0} session(s) could not be put in order")]
    OutOfOrder(usize),
    #[error("{0} session(s) have a secret that does not open; keep the old keys")]
    Unreadable(u64),
    #[error(
        "{0} session(s) were changed each time they were to be sealed anew; run it again before an old key goes"
    )]
    Unsealed(u64),
    #[error("work was still in hand when the grace period ended")]
    Unfinished,
}

/// Does what the command line asks for.
pub async fn run() -> ExitCode {
    let done = match Arguments::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => serve().await,
        Command::Migrate => migrate().await,
        Command::Healthcheck => healthcheck().await,
        Command::Config => {
            process::print(&markdown_table(&config::variables()).trim_end());
            Ok(())
        }
        Command::Openapi => {
            process::print(&crate::routes::openapi());
            Ok(())
        }
        Command::Customer(command) => customer::run(command).await,
        Command::Import(command) => import::run(command).await,
        Command::Session(command) => session::run(command).await,
        Command::Hook(command) => hook::run(command).await,
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

async fn migrate() -> Result<(), CommandError> {
    let settings = MigrateSettings::from_reader(SettingsReader::from_process())?;
    start_logs(&settings.process.log_level, settings.process.log_format);
    let names = SchemaNames::of_service(SCHEMA);
    let ran = database::migrate(&settings.admin, &settings.service, &names, MIGRATIONS).await?;
    process::print(&serde_json::json!({"schema": SCHEMA, "migrations_run": ran}));
    Ok(())
}

async fn audit(command: audit_log::AuditCommand) -> Result<(), CommandError> {
    let settings = config::StoreSettings::from_reader(SettingsReader::from_process())?;
    let owner = command
        .needs_owner()
        .then(|| MigrateSettings::from_reader(SettingsReader::from_process()))
        .transpose()?;
    let owner = owner.as_ref().map(|settings| &settings.admin);
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
