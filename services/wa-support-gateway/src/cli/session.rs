//! Chores about sessions.

use clap::{Args, Subcommand};
use database::{Database, SchemaNames};
use domain::ids::TenantId;
use runtime::config::SettingsReader;
use runtime::telemetry::start_logs;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tenant_isolation::TenantScope;
use url::Url;

use super::CommandError;
use crate::SCHEMA;
use crate::config::ChoreSettings;
use crate::flows::provision_session::{SessionName, Wanted, provision};
use crate::wa_server::{WaServer, WaServerAdmin};

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// Create a customer's session, or repair the one of this name; prints it as one JSON object
    Create(Create),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The customer's user id
    #[arg(long)]
    customer: TenantId,
    /// Name of the session, unique over all customers; webhooks carry it as instanceName
    #[arg(long)]
    name: SessionName,
    /// Where the WA server sends the session's events
    #[arg(long, value_parser = webhook_url)]
    webhook_url: Option<Url>,
    /// Which service the customer belongs to, if it is new
    #[arg(long, default_value = "operator")]
    source: String,
    /// How many sessions the customer may have [a new subscription allows 1]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    max_sessions: Option<i32>,
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("must be an http:// or https:// URL")]
struct InvalidWebhookUrl;

fn webhook_url(text: &str) -> Result<Url, InvalidWebhookUrl> {
    let url = Url::parse(text).map_err(|_| InvalidWebhookUrl)?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(InvalidWebhookUrl)
    }
}

pub(super) async fn run(command: SessionCommand) -> Result<(), CommandError> {
    let SessionCommand::Create(create) = command;
    let settings = ChoreSettings::from_reader(SettingsReader::from_process())?;
    start_logs(&settings.process.log_level, settings.process.log_format);
    let db = Database::new(
        &settings.database.url,
        SchemaNames::of_service(SCHEMA),
        settings.database.pool,
    )?;
    let server = WaServerAdmin::new(WaServer::new(&settings.wa_server)?, settings.admin_token);
    let wanted = Wanted {
        scope: TenantScope::named_by_operator(create.customer),
        name: create.name,
        webhook_url: create.webhook_url,
        source: create.source,
        max_sessions: create.max_sessions,
    };
    let session = provision(&db, &settings.keys, &server, &wanted).await?;
    let answer = json!({
        "customer": wanted.scope.tenant(),
        "session_id": session.session_id,
        "session_name": wanted.name.as_str(),
        "session_token": session.token.expose_secret(),
        "hmac_key": session.hmac_key.expose_secret(),
        "created": session.created,
    });
    runtime::process::print(&answer);
    Ok(())
}
