//! channel-service: `serve` (default), `migrate`, `healthcheck`, `config` and the operator's commands.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use audit_log::AuditCommand;
use channel_service::app::Application;
use channel_service::aws_secrets;
use channel_service::cli::{
    self, AccountCommand, DeadLetterCommand, GateCommand, TenantCommand, UserCommand,
};
use channel_service::config::{ChoreSettings, MigrateSettings, Settings, reference};
use channel_service::endpoints::reload::Hangups;
use channel_service::routes;
use clap::{Parser, Subcommand};
use runtime::config::{InvalidSettings, SettingsReader};
use runtime::process::{self, EXIT_CONFIG, ProcessSettings, print};

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
    /// Bring the database schema up to date; needs MIGRATE_DATABASE_URL, a role that may create roles and schemas.
    Migrate,
    /// Ask the running service on PORT whether it is ready; exit code 0 if it is.
    Healthcheck,
    /// Print the OpenAPI document of every route.
    Openapi,
    /// Print every environment variable with its default and meaning.
    Config,
    /// Register tenants, suspend them, look at what was done to them.
    #[command(subcommand)]
    Tenant(TenantCommand),
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
        Command::Migrate => print(&cli::migrate(MigrateSettings::read(reader)?).await?),
        Command::Tenant(command) => print(&cli::tenant(ChoreSettings::read(reader)?, command).await?),
        Command::User(command) => print(&cli::user(ChoreSettings::read(reader)?, command).await?),
        Command::Account(command) => print(&cli::account(ChoreSettings::read(reader)?, command).await?),
        Command::Deadletter(command) => {
            print(&cli::dead_letters(ChoreSettings::read(reader)?, command).await?);
        }
        Command::Gate(command) => print(&cli::gate(ChoreSettings::read(reader)?, command).await?),
        Command::Audit(command) => {
            let owner = command
                .needs_owner()
                .then(|| MigrateSettings::read(SettingsReader::from_process()))
                .transpose()?;
            let owner = owner.as_ref().map(|settings| &settings.admin);
            return cli::audit(ChoreSettings::read(reader)?, owner, command).await;
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
    Ok(if served.is_ok() && finished {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[expect(clippy::print_stderr, reason = "the failure of a command")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("{SERVICE}: {error:#}");
    ExitCode::FAILURE
}
