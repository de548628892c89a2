//! Chores about sessions.

use std::time::Duration;

use clap::{Args, Subcommand};
use domain::ids::TenantId;
use runtime::config::SettingsReader;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tenant_isolation::TenantScope;
use url::Url;

use super::known::Known;
use super::{CommandError, open};
use crate::config::ChoreSettings;
use crate::flows::provision_session::{Wanted, provision};
use crate::flows::session_audit::SessionActor;
use crate::flows::session_name::SessionName;
use crate::flows::session_reconcile::{Overview, Repair};
use crate::flows::sessions::Sessions;
use crate::wa_server::WaCalls;

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// Create a customer's session, or repair the one of this name; prints it as one JSON object
    Create(Create),
    /// List sessions, one JSON object a line, without their tokens
    List {
        /// Only this customer's
        #[arg(long)]
        customer: Option<TenantId>,
    },
    /// Finish what was left behind, and compare our sessions with the WA server's users; prints a report
    Reconcile(Reconcile),
}

#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// Only report
    #[arg(long)]
    dry_run: bool,
    /// Remove the WA server's users that have a token of our making and no session here. Another gateway's sessions on
    /// the same server would be among them
    #[arg(long)]
    remove_orphans: bool,
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
    let settings = ChoreSettings::from_reader(SettingsReader::from_process())?;
    let db = open(&settings.process, &settings.database)?;
    let calls = WaCalls::new(&settings.wa_server, &settings.sessions, settings.admin_token)?;
    let (keys, relay) = (settings.keys.clone(), settings.relay);
    let sessions = Sessions::new(db.clone(), keys, calls, relay, &settings.sessions);
    if let SessionCommand::List { customer } = &command {
        return list(&sessions, customer.as_ref()).await;
    }
    let known = Known::to_processes(settings.redis.as_ref(), &db, &settings.keys)?;
    let sessions = match &known {
        Some(known) => known.tell_of(sessions),
        None => sessions,
    };
    let done = match command {
        SessionCommand::Create(wanted) => create(&sessions, known.as_ref(), wanted).await,
        SessionCommand::Reconcile(how) => reconcile(&sessions, how, settings.sessions.unfinished_after).await,
        SessionCommand::List { .. } => Ok(()),
    };
    // Also after half of it.
    if let Some(known) = known {
        known.settled().await;
    }
    done
}

async fn create(sessions: &Sessions, known: Option<&Known>, create: Create) -> Result<(), CommandError> {
    let wanted = Wanted {
        scope: TenantScope::named_by_operator(create.customer),
        name: create.name,
        webhook_url: create.webhook_url,
        source: create.source,
        max_sessions: create.max_sessions,
    };
    let provisioned = provision(sessions, &wanted).await;
    // The customer may be another one also where its session is not made.
    if let Some(known) = known {
        known.forget(&wanted.scope).await;
    }
    let session = provisioned?;
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

async fn list(sessions: &Sessions, customer: Option<&TenantId>) -> Result<(), CommandError> {
    let each = |session: Overview| runtime::process::print(&json!(session));
    Ok(sessions.overview(customer.map(TenantId::as_str), each).await?)
}

async fn reconcile(sessions: &Sessions, how: Reconcile, left_behind: Duration) -> Result<(), CommandError> {
    if !how.dry_run {
        sessions.sweep(left_behind).await?;
    }
    let repair = Repair {
        mend: !how.dry_run,
        remove_orphans: how.remove_orphans && !how.dry_run,
    };
    let sessions = sessions.clone().acting_for(SessionActor::Operator);
    let report = sessions.reconcile(left_behind, repair).await?;
    runtime::process::print(&json!(report));
    match report.failed {
        0 => Ok(()),
        failed => Err(CommandError::OutOfOrder(failed)),
    }
}
