//! `connect`: from a token to messages in both directions, without anybody clicking in Chatwoot.

use anyhow::Context as _;
use clap::Args;
use domain::ids::{AccountId, TenantId};
use runtime::process;
use secrecy::SecretString;
use serde_json::json;
use tenant_isolation::TenantScope;
use url::Url;

use super::secret;
use crate::api::setup::INBOX_NAME;
use crate::app::{channel_service, tools};
use crate::config::StorageSettings;
use crate::flows::self_test::PATIENCE;
use crate::flows::set_up::{Wanted, WantedInbox, sender, set_up};
use crate::store::audit_log::Actor;
use crate::store::inbound_rules::ConversationPolicy;
use crate::store::inboxes::InboxKey;
use crate::webhooks::chatwoot::DEFAULT_INSTALLATION;

#[derive(Debug, Args)]
pub(super) struct ConnectCommand {
    /// Base URL of Chatwoot
    #[arg(long)]
    url: Url,
    /// Access token of an administrator; better given in CHATWOOT_API_TOKEN, where no list of processes shows it
    #[arg(long)]
    token: Option<String>,
    /// The tenant
    #[arg(long)]
    tenant: TenantId,
    /// The tenant's account in channel-service; without it, the only one, where CHANNEL_SERVICE_URL is set
    #[arg(long)]
    account: Option<AccountId>,
    /// In which conversation people's messages go: reopen, new, pending or single
    #[arg(long)]
    policy: Option<ConversationPolicy>,
    /// Our name for the Chatwoot server; its webhooks go to /webhook/<name>
    #[arg(long, default_value = DEFAULT_INSTALLATION)]
    installation: String,
    /// Account id in Chatwoot; without it, the only one that the token is good for
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    chatwoot_account: Option<i64>,
    /// Inbox id; without it, the inbox that sends its events here already, else a new one
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    inbox: Option<i64>,
    /// Name of a new inbox
    #[arg(long, default_value = INBOX_NAME, conflicts_with = "inbox")]
    inbox_name: String,
}

pub(super) async fn run(settings: &StorageSettings, command: ConnectCommand) -> anyhow::Result<()> {
    anyhow::ensure!(
        InboxKey::is_installation(&command.installation),
        "the installation's name has 1 to 64 letters, digits, '.', '_' or '-'"
    );
    settings.outbound.check(&command.url).context("--url")?;
    let token = command.token.map(SecretString::from);
    let api_token = token
        .or_else(|| secret("CHATWOOT_API_TOKEN"))
        .context("neither --token nor CHATWOOT_API_TOKEN is given")?;
    let scope = TenantScope::named_by_operator(command.tenant);
    let channel = channel_service(settings)?;
    let wanted = Wanted {
        account: sender(channel.as_ref(), &scope, command.account).await?,
        chatwoot_url: command.url.as_str().trim_end_matches('/').to_owned(),
        api_token,
        installation: command.installation,
        chatwoot_account: command.chatwoot_account,
        inbox: match command.inbox {
            Some(id) => WantedInbox::Id(id),
            None => WantedInbox::Ours {
                name: command.inbox_name,
            },
        },
        policy: command.policy,
        patience: PATIENCE,
    };
    let done = set_up(&tools(settings)?, &scope, &wanted, &Actor::operator()).await?;
    process::print(&json!(done));
    anyhow::ensure!(
        done.test.works(),
        "the inbox is connected, but the test failed; is the bridge running, and can Chatwoot reach it?"
    );
    Ok(())
}
