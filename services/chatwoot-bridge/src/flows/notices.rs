//! Agents hear of it when their number is logged out: nothing comes in and nothing goes out then, and Chatwoot shows
//! neither (contract 6, 31). They are told once, by a private note in a conversation of its own, and again only after the
//! number was back.

use std::collections::BTreeMap;

use database::DatabaseError;
use domain::account::AccountStatus;
use domain::ids::{AccountId, TenantId};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::{NotDone, Tools};
use crate::channel::{ChannelAccount, ChannelService};
use crate::chatwoot::ChatwootApi;
use crate::store::inboxes::{self, Inbox};
use crate::store::{notices, routes};

const LOGGED_OUT: &str = "logged_out";
/// Pages of the notices' conversation that are looked through for one of them.
const MOST_PAGES: usize = 10;

/// What tells agents about their numbers.
#[derive(Debug, Clone)]
pub struct Notices {
    /// Tables and the way to Chatwoot.
    pub tools: Tools,
    /// Who knows how the numbers are.
    pub channel: ChannelService,
}

impl Notices {
    /// Looks after all connected inboxes. What cannot be told now is told the next time. Returns how many notes were
    /// written.
    ///
    /// # Errors
    /// [`DatabaseError`]: the inboxes cannot be told.
    pub async fn round(&self) -> Result<usize, DatabaseError> {
        let platform = PlatformScope::for_purpose("look after the numbers");
        let mut tx = PlatformTransaction::begin(&self.tools.db, platform).await?;
        let routes = routes::registered(&mut tx).await?;
        tx.commit().await?;
        let mut links: BTreeMap<TenantId, Vec<uuid::Uuid>> = BTreeMap::new();
        for owned in routes.iter().filter(|owned| owned.route.enabled) {
            if let Some(link) = owned.route.link() {
                links.entry(owned.tenant.clone()).or_default().push(link);
            }
        }
        let mut told = 0;
        for (tenant, links) in links {
            match self.tenant(tenant, &links).await {
                Ok(more) => told += more,
                Err(error) => tracing::warn!(%error, "agents cannot be told about their numbers"),
            }
        }
        Ok(told)
    }

    async fn tenant(&self, tenant: TenantId, links: &[uuid::Uuid]) -> Result<usize, NotTold> {
        let accounts = self.channel.accounts(&tenant).await?;
        let scope = TenantScope::of_own_event(tenant);
        let mut told = 0;
        for link in links {
            let mut tx = TenantTransaction::begin(&self.tools.db, &scope, "find inbox").await?;
            let inbox = inboxes::find(&mut tx, *link).await?;
            tx.commit().await?;
            let Some(inbox) = inbox else { continue };
            let account = AccountId::from_uuid(inbox.account_id);
            if let Some(account) = accounts.iter().find(|known| known.id == account) {
                told += usize::from(self.inbox(&scope, &inbox, account).await?);
            }
        }
        Ok(told)
    }

    async fn inbox(
        &self,
        scope: &TenantScope,
        inbox: &Inbox,
        account: &ChannelAccount,
    ) -> Result<bool, NotTold> {
        match account.status.parse() {
            Ok(AccountStatus::LoggedOut) => Ok(self.tell(scope, inbox, account).await?),
            Ok(AccountStatus::Connected) => {
                let mut tx = TenantTransaction::begin(&self.tools.db, scope, "number is back").await?;
                notices::over(&mut tx, inbox.id, LOGGED_OUT).await?;
                tx.commit().await?;
                Ok(false)
            }
            // Neither one nor the other for now.
            _ => Ok(false),
        }
    }

    async fn tell(
        &self,
        scope: &TenantScope,
        inbox: &Inbox,
        account: &ChannelAccount,
    ) -> Result<bool, NotDone> {
        let mut tx = TenantTransaction::begin(&self.tools.db, scope, "intend notice").await?;
        let notice = notices::intend(&mut tx, inbox.id, LOGGED_OUT).await?;
        tx.commit().await?;
        if notice.told_at.is_some() {
            return Ok(false);
        }
        let at = self.tools.address(scope, inbox)?;
        let _place = self.tools.chatwoot.place(&at).await?;
        let api = self.tools.chatwoot.at(&at);
        let conversation = api.notices_conversation().await?;
        let mark = format!("kanal-notice:{}", notice.id);
        // The answer to an earlier try may have been lost.
        if !is_there(api, conversation, &mark).await? {
            api.create_notice(conversation, &words(account), &mark).await?;
        }
        let mut tx = TenantTransaction::begin(&self.tools.db, scope, "notice told").await?;
        notices::told(&mut tx, inbox.id, LOGGED_OUT).await?;
        tx.commit().await?;
        metrics::counter!("kanal_bridge_notices_total").increment(1);
        Ok(true)
    }
}

/// Why a tenant's agents were not told.
#[derive(Debug, thiserror::Error)]
enum NotTold {
    #[error(transparent)]
    Channel(#[from] crate::channel::ChannelError),
    #[error(transparent)]
    NotDone(#[from] NotDone),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

async fn is_there(api: ChatwootApi<'_>, conversation: i64, mark: &str) -> Result<bool, NotDone> {
    let mut before = None;
    for _ in 0..MOST_PAGES {
        let page = api.shown_messages(conversation, before).await?;
        if page.iter().any(|message| message.source_id() == mark) {
            return Ok(true);
        }
        let Some(oldest) = page.iter().filter_map(crate::chatwoot::ShownMessage::id).min() else {
            break;
        };
        before = Some(oldest);
    }
    Ok(false)
}

/// What agents read. The number is theirs, and they are the ones to pair it again.
fn words(account: &ChannelAccount) -> String {
    let number = match (&account.phone, &account.name) {
        (Some(phone), _) => format!("WhatsApp +{phone}"),
        (None, Some(name)) => format!("WhatsApp ({name})"),
        (None, None) => "WhatsApp".to_owned(),
    };
    format!(
        "{number} is logged out: no messages come in and none go out until the number is paired again.\n\
         {number} keluar dari WhatsApp: tidak ada pesan masuk atau keluar sampai nomor dihubungkan kembali."
    )
}
