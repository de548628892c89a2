//! Connects an inbox without anybody clicking in Chatwoot: the token is checked, the inbox found or made, its webhook and
//! its secret set, the route stored, and both ways tested. May be repeated: what an earlier run made is found again.

use std::fmt;

use database::DatabaseError;
use domain::ids::AccountId;
use runtime::encryption::EncryptionError;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::connect_inbox::{Connection, MOST_SECRETS, NotConnected, connect_inbox};
use super::drift::{leads_here, point_here, webhook_url};
use super::self_test::{self, Tested, Warning};
use super::target_url::shown_of;
use super::{NotDone, Tools};
use crate::channel::{ChannelAccount, ChannelError, ChannelService};
use crate::chatwoot::inboxes::{AccountFound, InboxFound};
use crate::chatwoot::probe::TokenRefusal;
use crate::chatwoot::{ChatwootError, InboxAddress};
use crate::store::audit_log::{self, Actor};
use crate::store::inbound_rules::{self, ConversationPolicy, InboundRules};
use crate::store::inboxes::{self, Inbox, InboxKey};
use crate::store::routes::{self, Route};
use crate::webhooks::chatwoot::DEFAULT_INSTALLATION;

/// What is wanted.
#[derive(Clone)]
pub struct Wanted {
    /// The tenant's sender.
    pub account: AccountId,
    /// Base URL of Chatwoot, without a slash at the end.
    pub chatwoot_url: String,
    /// An administrator's `api_access_token`.
    pub api_token: SecretString,
    /// Our name for the Chatwoot server.
    pub installation: String,
    /// Chatwoot's account; without one, the only one that the token is good for.
    pub chatwoot_account: Option<i64>,
    /// The inbox.
    pub inbox: WantedInbox,
    /// In which conversation people's messages go; as it is, or as usual, where nobody says.
    pub policy: Option<ConversationPolicy>,
    /// How long the test's webhook is waited for.
    pub patience: std::time::Duration,
}

/// Which inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedInbox {
    /// The one with this id.
    Id(i64),
    /// The one that sends its events here already, else a new one of this name.
    Ours {
        /// What agents see.
        name: String,
    },
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("account", &self.account)
            .field("installation", &self.installation)
            .field("inbox", &self.inbox)
            .finish_non_exhaustive()
    }
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetUp {
    /// The route's number.
    pub route_id: i64,
    /// Our id of the connection.
    pub inbox_link_id: Uuid,
    /// Our name for the Chatwoot server.
    pub installation: String,
    /// Chatwoot's account.
    pub account_id: i64,
    /// Chatwoot's inbox.
    pub inbox_id: i64,
    /// Was the inbox made?
    pub inbox_created: bool,
    /// Where its events go now.
    pub webhook_url: String,
    /// Where they went before, if elsewhere, without what is secret in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_was: Option<String>,
    /// Is a secret stored, so that only signed webhooks are believed?
    pub signed: bool,
    /// What the test says.
    pub test: Tested,
    /// What may not work.
    pub warnings: Vec<Warning>,
}

/// Why nothing is connected.
#[derive(Debug, thiserror::Error)]
pub enum NotSetUp {
    /// Nobody here knows where Chatwoot can reach this service.
    #[error("PUBLIC_BRIDGE_URL is not set: where is Chatwoot to send its webhooks?")]
    NoPublicUrl,
    /// Chatwoot refuses the token.
    #[error("{}", .0.advice())]
    Token(TokenRefusal),
    /// The token is good for several accounts of Chatwoot's, or for none.
    #[error("the token is good for {} accounts of Chatwoot's; name one: {}", .0.len(), accounts_in(.0))]
    WhichAccount(Vec<AccountFound>),
    /// Nobody named the tenant's account, and it has none or several, or nobody can be asked.
    #[error("name the tenant's account on WhatsApp; {}", senders_in(.0))]
    WhichSender(Vec<ChannelAccount>),
    /// channel-service did not say which accounts there are.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// There is no such inbox.
    #[error("Chatwoot's account has no inbox {0}, or the token may not see it")]
    NoInbox(i64),
    /// It is for another channel.
    #[error("inbox {0} is no API inbox")]
    NotApi(i64),
    /// Several inboxes send their events here, and nobody said which one is meant.
    #[error("several inboxes send their events here and are not connected; name one by its id: {}", inboxes_in(.0))]
    WhichInbox(Vec<InboxFound>),
    /// Chatwoot did not do what it was asked.
    #[error("Chatwoot: {0}")]
    Chatwoot(#[from] ChatwootError),
    /// It cannot be connected here.
    #[error(transparent)]
    Connect(#[from] NotConnected),
    /// The database.
    #[error("the database cannot be used")]
    Database(#[from] DatabaseError),
    /// The cipher.
    #[error("a stored secret cannot be opened")]
    Encryption(#[from] EncryptionError),
    /// Our own side failed while Chatwoot was told.
    #[error("the webhook could not be set")]
    NotDone(NotDone),
}

impl From<NotDone> for NotSetUp {
    fn from(error: NotDone) -> Self {
        match error {
            // It was good for looking.
            NotDone::Chatwoot(ChatwootError::TokenRefused) => Self::Token(TokenRefusal::NoRight),
            NotDone::Chatwoot(error) => Self::Chatwoot(error),
            NotDone::Secret(error) => Self::Encryption(error),
            error => Self::NotDone(error),
        }
    }
}

impl NotSetUp {
    /// The stable word for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPublicUrl => "bridge_url_unknown",
            Self::Token(TokenRefusal::NotSeen) => "token_not_seen",
            Self::Token(TokenRefusal::NoRight) => "token_without_right",
            Self::Token(TokenRefusal::Wrong | TokenRefusal::Unclear) => "token_refused",
            Self::WhichAccount(_) => "which_account",
            Self::WhichSender(_) => "which_whatsapp_account",
            Self::Channel(_) => "channel_service",
            Self::NoInbox(_) => "no_such_inbox",
            Self::NotApi(_) => "not_an_api_inbox",
            Self::WhichInbox(_) => "which_inbox",
            Self::Chatwoot(_) => "chatwoot",
            Self::Connect(NotConnected::Taken) => "inbox_taken",
            Self::Connect(_) => "not_connected",
            Self::Database(_) | Self::NotDone(_) => "database",
            Self::Encryption(_) => "encryption",
        }
    }
}

fn accounts_in(accounts: &[AccountFound]) -> String {
    let named = accounts.iter().map(|account| {
        format!(
            "{} ({})",
            account.id,
            account.name.as_deref().unwrap_or("no name")
        )
    });
    named.collect::<Vec<_>>().join(", ")
}

fn senders_in(accounts: &[ChannelAccount]) -> String {
    if accounts.is_empty() {
        return "none is known of it, or CHANNEL_SERVICE_URL is not set".to_owned();
    }
    let named = accounts.iter().map(|account| {
        format!(
            "{} ({})",
            account.id,
            account.name.as_deref().unwrap_or("no name")
        )
    });
    format!("it has {}", named.collect::<Vec<_>>().join(", "))
}

/// The account that was named, else the only one that the tenant has.
///
/// # Errors
/// [`NotSetUp::WhichSender`], [`NotSetUp::Channel`].
pub async fn sender(
    channel: Option<&ChannelService>,
    scope: &TenantScope,
    named: Option<AccountId>,
) -> Result<AccountId, NotSetUp> {
    if let Some(named) = named {
        return Ok(named);
    }
    let mut accounts = match channel {
        Some(channel) => channel.accounts(scope.tenant()).await?,
        None => Vec::new(),
    };
    match accounts.pop() {
        Some(only) if accounts.is_empty() => Ok(only.id),
        last => {
            accounts.extend(last);
            Err(NotSetUp::WhichSender(accounts))
        }
    }
}

fn inboxes_in(inboxes: &[InboxFound]) -> String {
    let named = inboxes
        .iter()
        .map(|inbox| format!("{} ({})", inbox.id, inbox.name.as_deref().unwrap_or("no name")));
    named.collect::<Vec<_>>().join(", ")
}

/// Does all of it.
///
/// # Errors
/// [`NotSetUp`]. What was made in Chatwoot until then stays, and is found again by the next run.
pub async fn set_up(
    tools: &Tools,
    scope: &TenantScope,
    wanted: &Wanted,
    actor: &Actor,
) -> Result<SetUp, NotSetUp> {
    let public_url = tools.public_url.as_ref().ok_or(NotSetUp::NoPublicUrl)?;
    let ours = webhook_url(public_url, &wanted.installation);
    let mut at = InboxAddress {
        url: wanted.chatwoot_url.clone(),
        account_id: wanted.chatwoot_account.unwrap_or_default(),
        inbox_id: 0,
        token: wanted.api_token.clone(),
    };
    if wanted.chatwoot_account.is_none() {
        at.account_id = only_account(tools, &at).await?;
    }
    let found = explained(tools, &at, tools.chatwoot.at(&at).inboxes().await).await?;
    let known = known_inbox(tools, scope, wanted.account).await?;
    let (inbox, inbox_created) = choose(tools, wanted, &at, &ours, found, known.as_ref()).await?;
    at.inbox_id = inbox.id;
    let key = InboxKey {
        installation: wanted.installation.clone(),
        account_id: at.account_id,
        inbox_id: inbox.id,
    };
    if is_anothers(tools, scope, &key).await? {
        return Err(NotConnected::Taken.into());
    }
    let known = known.filter(|known| known.key() == key);
    let secrets = secrets(tools, scope, &at, &inbox, known).await?;
    let signed = secrets.as_ref().is_none_or(|secrets| !secrets.is_empty());
    let connection = Connection {
        account: wanted.account,
        chatwoot_url: wanted.chatwoot_url.clone(),
        key: key.clone(),
        api_token: wanted.api_token.clone(),
        webhook_secrets: secrets,
    };
    // The route first: a webhook that comes before it would be nobody's.
    let link = connect_inbox(tools, scope, &connection).await?;
    let route = note(tools, scope, link, &key, actor).await?;
    if let Some(policy) = wanted.policy {
        let mut tx = TenantTransaction::begin(&tools.db, scope, "choose policy").await?;
        let rules = inbound_rules::find(&mut tx, link).await?;
        inbound_rules::put(&mut tx, link, &InboundRules { policy, ..rules }).await?;
        tx.commit().await?;
    }
    let is_right = |url: &str| leads_here(url, &ours, &route);
    let webhook_was = inbox.webhook_url().filter(|url| !is_right(url)).map(shown_of);
    if !inbox.webhook_url().is_some_and(is_right) {
        point_here(tools, scope, &route, &at, &ours, actor).await?;
    }
    let test = self_test::both_ways(tools, scope, route.id, &at, wanted.patience).await?;
    let mut warnings = self_test::warnings(Some(public_url), None).await;
    if !signed {
        warnings.push(Warning {
            code: "unsigned",
            text: "Chatwoot shows no signing secret to the API, so webhooks are believed without a signature until it is \
                   pasted: from the inbox's settings into webhookSecrets.inbox of the route"
                .to_owned(),
        });
    }
    Ok(SetUp {
        route_id: route.number,
        inbox_link_id: link,
        installation: key.installation,
        account_id: key.account_id,
        inbox_id: key.inbox_id,
        inbox_created,
        webhook_url: ours,
        webhook_was,
        signed,
        test,
        warnings,
    })
}

/// Says why a token is refused, where that is what happened.
async fn explained<T>(
    tools: &Tools,
    at: &InboxAddress,
    answered: Result<T, ChatwootError>,
) -> Result<T, NotSetUp> {
    match answered {
        Err(ChatwootError::TokenRefused) => {
            let why = tools.chatwoot.at(at).token_refusal().await?;
            Err(NotSetUp::Token(why.unwrap_or(TokenRefusal::NoRight)))
        }
        answered => Ok(answered?),
    }
}

/// The accounts that a token is good for; none where this version, or the token, does not tell.
///
/// # Errors
/// [`NotSetUp`].
pub async fn accounts_of(tools: &Tools, at: &InboxAddress) -> Result<Vec<AccountFound>, NotSetUp> {
    match tools.chatwoot.at(at).accounts().await {
        Ok(accounts) => Ok(accounts),
        Err(ChatwootError::TokenRefused) => {
            let why = tools.chatwoot.at(at).token_refusal().await?;
            Err(NotSetUp::Token(why.unwrap_or(TokenRefusal::Unclear)))
        }
        Err(ChatwootError::NotFound) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// The inboxes of an account that can be connected, and whether their events come here already.
///
/// # Errors
/// [`NotSetUp`].
pub async fn inboxes_of(
    tools: &Tools,
    at: &InboxAddress,
    installation: &str,
) -> Result<Vec<(InboxFound, bool)>, NotSetUp> {
    let public_url = tools.public_url.as_ref().ok_or(NotSetUp::NoPublicUrl)?;
    let installation = Some(installation).filter(|name| !name.is_empty());
    let ours = webhook_url(public_url, installation.unwrap_or(DEFAULT_INSTALLATION));
    let found = explained(tools, at, tools.chatwoot.at(at).inboxes().await).await?;
    let of_api = found.into_iter().filter(InboxFound::is_api);
    Ok(of_api
        .map(|inbox| {
            let leads_here = inbox.webhook_url().is_some_and(|url| is_at(url, &ours));
            (inbox, leads_here)
        })
        .collect())
}

async fn only_account(tools: &Tools, at: &InboxAddress) -> Result<i64, NotSetUp> {
    let accounts = accounts_of(tools, at).await?;
    let administered: Vec<&AccountFound> = accounts
        .iter()
        .filter(|account| account.role.as_deref() != Some("agent"))
        .collect();
    match administered.as_slice() {
        [only] => Ok(only.id),
        _ => Err(NotSetUp::WhichAccount(accounts)),
    }
}

async fn known_inbox(
    tools: &Tools,
    scope: &TenantScope,
    account: AccountId,
) -> Result<Option<Inbox>, DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "find inbox of account").await?;
    let known = inboxes::find_by_account(&mut tx, account).await?;
    tx.commit().await?;
    Ok(known)
}

/// By id, be it the one that was named or the one that we know; then by our own address; never by name (contract 5.1).
async fn choose(
    tools: &Tools,
    wanted: &Wanted,
    at: &InboxAddress,
    ours: &str,
    found: Vec<InboxFound>,
    known: Option<&Inbox>,
) -> Result<(InboxFound, bool), NotSetUp> {
    let name = match &wanted.inbox {
        WantedInbox::Id(id) => {
            let named = found.into_iter().find(|inbox| inbox.id == *id);
            let named = named.ok_or(NotSetUp::NoInbox(*id))?;
            return if named.is_api() {
                Ok((named, false))
            } else {
                Err(NotSetUp::NotApi(*id))
            };
        }
        WantedInbox::Ours { name } => name,
    };
    let is_known = |inbox: &InboxFound| {
        known.is_some_and(|known| {
            known.installation == wanted.installation
                && known.chatwoot_account_id == at.account_id
                && known.chatwoot_inbox_id == inbox.id
        })
    };
    if let Some(inbox) = found.iter().find(|inbox| is_known(inbox)) {
        return Ok((inbox.clone(), false));
    }
    let mut free = Vec::new();
    for inbox in found {
        let sends_here = inbox.webhook_url().is_some_and(|url| is_at(url, ours));
        let key = InboxKey {
            installation: wanted.installation.clone(),
            account_id: at.account_id,
            inbox_id: inbox.id,
        };
        if inbox.is_api() && sends_here && !is_routed(tools, &key).await? {
            free.push(inbox);
        }
    }
    match free.len() {
        0 => {
            let made = tools.chatwoot.at(at).create_inbox(name, ours).await;
            Ok((explained(tools, at, made).await?, true))
        }
        1 => Ok((free.remove(0), false)),
        _ => Err(NotSetUp::WhichInbox(free)),
    }
}

/// Is this our address, whatever token stands behind it?
fn is_at(found: &str, ours: &str) -> bool {
    let bare = found.trim().split(['?', '#']).next().unwrap_or_default();
    bare.trim_end_matches('/') == ours
}

/// Has somebody else a route there? Their secret must not be reset, nor their webhook moved.
async fn is_anothers(tools: &Tools, scope: &TenantScope, key: &InboxKey) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "is inbox ours").await?;
    let own = routes::find_at(&mut tx, &key.installation, Some(key.account_id), key.inbox_id).await?;
    tx.commit().await?;
    Ok(own.is_none() && is_routed(tools, key).await?)
}

/// Has the inbox a route, whoever's?
async fn is_routed(tools: &Tools, key: &InboxKey) -> Result<bool, DatabaseError> {
    let platform = PlatformScope::for_purpose("is inbox routed");
    let mut tx = PlatformTransaction::begin(&tools.db, platform).await?;
    let routed = routes::is_taken(&mut tx, key).await?;
    tx.commit().await?;
    Ok(routed)
}

/// What signs the inbox's webhooks: `None` keeps what is stored, none of them is a Chatwoot that signs nothing or does
/// not say with what.
async fn secrets(
    tools: &Tools,
    scope: &TenantScope,
    at: &InboxAddress,
    inbox: &InboxFound,
    known: Option<Inbox>,
) -> Result<Option<Vec<SecretString>>, NotSetUp> {
    let place = |id| Inbox::secret_place(scope.tenant().as_str(), id);
    let stored: Vec<SecretString> = match &known {
        Some(known) => known
            .webhook_secrets_sealed
            .iter()
            .map(|sealed| tools.keys.open(sealed, &place(known.id)))
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let shown = match inbox.secret() {
        Some(secret) => secret.to_owned(),
        None if !stored.is_empty() => return Ok(None),
        // Older versions have no secret to reset, and some show none.
        None => match tools.chatwoot.at(at).reset_secret(inbox.id).await {
            Ok(reset) => match reset.secret() {
                Some(secret) => secret.to_owned(),
                None => return Ok(Some(Vec::new())),
            },
            Err(ChatwootError::NotFound | ChatwootError::Refused { .. } | ChatwootError::TokenRefused) => {
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(error.into()),
        },
    };
    let others = stored
        .into_iter()
        .filter(|secret| secret.expose_secret() != shown.as_str());
    let all = std::iter::once(SecretString::from(shown.as_str())).chain(others);
    Ok(Some(all.take(MOST_SECRETS).collect()))
}

async fn note(
    tools: &Tools,
    scope: &TenantScope,
    link: Uuid,
    key: &InboxKey,
    actor: &Actor,
) -> Result<Route, NotSetUp> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "note set-up").await?;
    let route = routes::find_by_link(&mut tx, link).await?;
    let route = route.ok_or(DatabaseError::NotFound)?;
    let act = actor.act("inbox.connect", Some(route.number.to_string()));
    let act = act.saying(format!(
        "{}/{}/{}",
        key.installation, key.account_id, key.inbox_id
    ));
    audit_log::note(&mut tx, &act).await?;
    tx.commit().await?;
    Ok(route)
}
