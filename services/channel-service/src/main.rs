//! channel-service: `serve` (default), `migrate`, `healthcheck`, `config` and the operator's commands.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use audit_log::AuditCommand;
use channel_service::app::Application;
use channel_service::aws_secrets;
use channel_service::cli::{
    self, AccountCommand, DeadLetterCommand, GateCommand, PersonCommand, TenantCommand, UserCommand,
};
use channel_service::config::{ChoreSettings, Known, Settings, migration_access, reference};
use channel_service::endpoints::reload::Hangups;
use channel_service::{SCHEMA, doctor, routes};
use chores::key::KeyCommand;
use chores::outbox::OutboxCommand;
use chores::trace::TraceCommand;
use clap::{Parser, Subcommand};
use database::{MigrateCommand, SchemaNames};
use runtime::config::{InvalidSettings, SettingsReader};
use runtime::process::{self, EXIT_CONFIG, EXIT_SCHEMA, ProcessSettings, print};
use tenant_isolation::policy::PolicyError;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Name in logs and in the report of wrong settings.
const SERVICE: &str = "channel-service";

/// The one webhook receiver for all tenants, their chats and messages, and sending.
#[derive(Debug, Parser)]
#[command(name = "channel-service", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (the default).
    Serve,
    /// Bring the database schema up to date, as its owner or an administrator in MIGRATE_DATABASE_URL.
    Migrate(MigrateCommand),
    /// Ask the running service on PORT whether it is ready; exit code 0 if it is.
    Healthcheck,
    /// Look at everything the service depends on, and say what is wrong and what helps. Changes nothing. Exit code 0: nothing
    /// is wrong; 1: something is; 78: the settings are.
    Doctor {
        /// One JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Print the OpenAPI document of every route.
    Openapi,
    /// Print every environment variable with its default and meaning.
    Config,
    /// Register tenants, suspend them, look at what was done to them.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Give out or erase everything a tenant has of one person.
    #[command(subcommand)]
    Person(PersonCommand),
    /// Make the people who use the dashboard, keep them out, let them in.
    #[command(subcommand)]
    User(UserCommand),
    /// Register tenants' WhatsApp sessions.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Say who may use the gate in the shape of Meta's Cloud API, and look at what it could not tell.
    #[command(subcommand)]
    Gate(GateCommand),
    /// Verify, read and prune the log of administrative acts.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Look at messages that were put aside, and try them again.
    #[command(subcommand)]
    Deadletter(DeadLetterCommand),
    /// Follow a message over the three services, from any of its ids; the others are asked where their addresses and keys
    /// are set. Never shows its words or numbers.
    Trace(TraceCommand),
    /// Look at events that the broker has not taken yet, and have them tried again that were put aside.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Chores about encryption keys.
    #[command(subcommand)]
    Key(KeyCommand),
}

#[tokio::main]
async fn main() -> ExitCode {
    runtime::tls::install_crypto_provider();
    match run(Arguments::parse().command.unwrap_or(Command::Serve)).await {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<InvalidSettings>() {
            Some(invalid) => {
                process::report(SERVICE, invalid);
                ExitCode::from(EXIT_CONFIG)
            }
            None => fail(&error),
        },
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let reader = SettingsReader::from_process();
    match command {
        Command::Serve => {
            // From the first moment: uncaught it would end the process.
            let hangups = Hangups::catch()?;
            let secrets = aws_secrets::fetch_for(&reader).await;
            return serve(Settings::read_with(reader, &secrets)?, hangups).await;
        }
        Command::Migrate(command) => print(&cli::migrate(migration_access(reader)?, command).await?),
        Command::Tenant(command) => print(&cli::tenant(ChoreSettings::read(reader)?, command).await?),
        Command::Person(command) => print(&cli::person(ChoreSettings::read(reader)?, command).await?),
        Command::User(command) => print(&cli::user(ChoreSettings::read(reader)?, command).await?),
        Command::Account(command) => print(&cli::account(ChoreSettings::read(reader)?, command).await?),
        Command::Deadletter(command) => {
            print(&cli::dead_letters(ChoreSettings::read(reader)?, command).await?);
        }
        Command::Trace(command) => {
            print(
                &cli::trace(ChoreSettings::read(reader)?, command)
                    .await?
                    .trim_end(),
            );
        }
        Command::Outbox(command) => print(&cli::outbox(ChoreSettings::read(reader)?, command).await?),
        Command::Key(command) => cli::key(ChoreSettings::read(reader)?, command).await?,
        Command::Gate(command) => print(&cli::gate(ChoreSettings::read(reader)?, command).await?),
        Command::Audit(command) => {
            let owner = command
                .needs_owner()
                .then(|| migration_access(SettingsReader::from_process()))
                .transpose()?;
            let owner = owner.as_ref().map(|access| &access.migrating);
            return cli::audit(ChoreSettings::read(reader)?, owner, command).await;
        }
        Command::Doctor { json } => {
            let secrets = aws_secrets::fetch_for(&reader).await;
            let known = Known::read(SettingsReader::from_process(), &secrets);
            let settings = Settings::read_with(reader, &secrets).map(drop);
            let report = doctor::examine(
                settings.as_ref().copied(),
                &known,
                SchemaNames::of_service(SCHEMA),
            )
            .await;
            report.print(json);
            return Ok(ExitCode::from(report.exit_code()));
        }
        Command::Openapi => print(&routes::openapi()),
        Command::Config => print(&reference().trim_end()),
        Command::Healthcheck => {
            let mut reader = reader;
            let settings = ProcessSettings::read(&mut reader, "3001");
            web::healthcheck::run(reader.finish_part(|| settings)?.address).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(settings: Settings, hangups: Hangups) -> anyhow::Result<ExitCode> {
    let listener = web::bind(settings.process.address)
        .with_context(|| format!("cannot listen on {}", settings.process.address))?;
    let shutdown = process::start(SERVICE, &settings.process)?;
    let served = Application::build(settings, listener)?
        .rereading(hangups, Arc::new(SettingsReader::from_process))
        .run_until_stopped(shutdown.clone())
        .await;
    if let Err(error) = &served {
        tracing::error!(error = format!("{error:#}"), "the service ends");
    }
    let finished = process::finish(SERVICE, &shutdown).await;
    Ok(match served {
        Ok(()) if finished => ExitCode::SUCCESS,
        Err(error) if is_about_schema(&error) => {
            fail(&error);
            ExitCode::from(EXIT_SCHEMA)
        }
        Ok(()) | Err(_) => ExitCode::FAILURE,
    })
}

/// Nothing but another schema, or another release, would help.
fn is_about_schema(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(PolicyError::Schema(_)))
}

#[expect(clippy::print_stderr, reason = "the failure of a command")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("{SERVICE}: {error:#}");
    ExitCode::FAILURE
}
