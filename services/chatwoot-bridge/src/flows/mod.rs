//! What should happen. No actix and no AMQP here; no transaction is open while Chatwoot is asked.

pub mod accept_reply;
pub mod agent_event;
pub mod agent_files;
pub mod agent_parts;
mod agent_template;
pub mod agent_text;
pub mod chatwoot_contact;
pub mod connect_inbox;
pub mod contact_picture;
pub mod delete_reply;
pub mod deliver_message;
pub mod drift;
pub mod edit_route;
pub mod erase_person;
pub mod erase_tenant;
mod erased;
pub mod export_person;
pub mod export_tenant;
pub mod find;
pub mod forward;
pub mod history;
pub mod import_routes;
mod incoming_file;
pub mod late_file;
mod look_back;
mod markdown;
pub mod merge_contact;
pub mod notices;
pub mod order_replies;
pub mod parked_tasks;
pub mod person;
mod place;
pub mod reconcile;
pub mod reference;
pub mod reflect_status;
pub mod render;
pub mod replays;
pub mod retry_reply;
pub mod self_test;
pub mod set_up;
pub mod take_event;
pub mod target_url;
pub mod test_route;
pub mod trace;
mod whole_message;
pub mod work;

use std::time::Duration;

use cache::RedisLink;
use database::{Database, DatabaseError};
use messaging::lanes::LaneError;
use runtime::config::BaseUrl;
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};

use self::agent_files::FileLinks;
use crate::channel_files::ChannelFiles;
use crate::chatwoot::{Chatwoot, ChatwootError, Downloads, InboxAddress, Wait};
use crate::store::inboxes;
use crate::store::inboxes::Inbox;
use crate::store::installations::{self, Installation};
use crate::store::routes::Route;

/// The pause before a person's place is tried again that somebody else has.
const PLACE_HELD: Duration = Duration::from_millis(300);

/// What the flows work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Our tables.
    pub db: Database,
    /// The way out.
    pub chatwoot: Chatwoot,
    /// People's files.
    pub files: ChannelFiles,
    /// What opens stored secrets.
    pub keys: KeyRing,
    /// What several processes share, where there is a Redis.
    pub redis: Option<RedisLink>,
    /// Where Chatwoot reaches us, where that is known.
    pub public_url: Option<BaseUrl>,
    /// What makes links to agents' files, where our own address is known.
    pub file_links: Option<FileLinks>,
    /// The way to agents' files.
    pub downloads: Downloads,
}

impl Tools {
    /// The same for those who do the same few things all day ([`Database::keeping_plans`]).
    #[must_use]
    pub fn keeping_plans(&self) -> Self {
        Self {
            db: self.db.keeping_plans(),
            ..self.clone()
        }
    }

    fn address(&self, scope: &TenantScope, inbox: &Inbox) -> Result<InboxAddress, EncryptionError> {
        let place = Inbox::token_place(scope.tenant().as_str(), inbox.id);
        Ok(InboxAddress {
            url: inbox.chatwoot_url.clone(),
            account_id: inbox.chatwoot_account_id,
            inbox_id: inbox.chatwoot_inbox_id,
            token: self.keys.open(&inbox.api_token_sealed, &place)?,
        })
    }

    /// Every secret that may have signed a route's events: the inbox's webhook has one, the account's another, and each may
    /// be changing. `link` is the connected inbox behind the route.
    ///
    /// # Errors
    /// [`EncryptionError`] for one that does not open.
    pub fn webhook_secrets(
        &self,
        scope: &TenantScope,
        route: &Route,
        link: Option<&Inbox>,
    ) -> Result<Vec<SecretString>, EncryptionError> {
        let tenant = scope.tenant().as_str();
        let of_link = link.iter().flat_map(|inbox| {
            let place = Inbox::secret_place(tenant, inbox.id);
            inbox
                .webhook_secrets_sealed
                .iter()
                .map(move |it| (it, place.clone()))
        });
        let of_inbox = route
            .inbox_secrets_sealed
            .iter()
            .map(|it| (it, Route::inbox_secret_place(tenant, route.id)));
        let of_account = route
            .account_secrets_sealed
            .iter()
            .map(|it| (it, Route::account_secret_place(tenant, route.id)));
        of_link
            .chain(of_inbox)
            .chain(of_account)
            .map(|(sealed, place)| self.keys.open(sealed, &place))
            .collect()
    }

    /// Where the API behind a route is, as far as one of `account` is known: by the account's own token, else by that of
    /// the connected inbox.
    ///
    /// # Errors
    /// [`NotDone::Lane`] for the database, [`NotDone::Secret`] for a token that does not open.
    pub async fn address_of(
        &self,
        scope: &TenantScope,
        route: &Route,
        account: i64,
    ) -> Result<Option<InboxAddress>, NotDone> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find token").await?;
        let installation = installations::find(&mut tx, &route.installation, account).await?;
        let inbox = match (&installation, route.link()) {
            (None, Some(link)) => inboxes::find(&mut tx, link).await?,
            _ => None,
        };
        tx.commit().await?;
        if let Some(row) = installation {
            let tenant = scope.tenant().as_str();
            let place = Installation::token_place(tenant, &row.installation, account);
            return Ok(Some(InboxAddress {
                token: self.keys.open(&row.api_token_sealed, &place)?,
                url: row.chatwoot_url,
                account_id: account,
                inbox_id: route.inbox_id,
            }));
        }
        match inbox.filter(|inbox| inbox.chatwoot_account_id == account) {
            Some(inbox) => Ok(Some(self.address(scope, &inbox)?)),
            None => Ok(None),
        }
    }
}

/// Why a task is not done.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// Chatwoot did not do it, or nobody knows.
    #[error(transparent)]
    Chatwoot(#[from] ChatwootError),
    /// The inbox's token does not open: a key is missing.
    #[error(transparent)]
    Secret(#[from] EncryptionError),
    /// There were more messages to look through than anybody should.
    #[error("the conversation is too busy to look back in")]
    TooBusy,
    /// Whoever asked last may still be at it.
    #[error("what Chatwoot was asked last may still be under way")]
    Unsettled {
        /// Until it is settled.
        wait: Duration,
    },
    /// Somebody else finds or makes the person's contact and conversation just now.
    #[error("somebody else is at this person's place")]
    PlaceHeld,
    /// The message's file is not there yet.
    #[error("the file is not there yet")]
    FileNotYet {
        /// When to look again.
        wait: Duration,
    },
    /// The person's contact is not made yet.
    #[error("the contact is not there yet")]
    ContactNotYet {
        /// When to look again.
        wait: Duration,
    },
    /// The file was waited for as long as anybody should.
    #[error("the file never came")]
    FileNeverCame,
    /// The lease is gone or the database away: nothing can be written now.
    #[error(transparent)]
    Lane(#[from] LaneError),
}

impl From<DatabaseError> for NotDone {
    fn from(error: DatabaseError) -> Self {
        Self::Lane(error.into())
    }
}

impl NotDone {
    /// May it be tried again by itself?
    #[must_use]
    pub const fn wait(&self) -> Option<Wait> {
        match self {
            Self::Chatwoot(error) => error.wait(),
            // A missing key is an operator's mistake that is mended while messages wait.
            Self::Secret(_) => Some(Wait::Failed(None)),
            Self::PlaceHeld => Some(Wait::Brief(PLACE_HELD)),
            Self::FileNotYet { wait } | Self::ContactNotYet { wait } | Self::Unsettled { wait } => {
                Some(Wait::Brief(*wait))
            }
            Self::TooBusy | Self::FileNeverCame | Self::Lane(_) => None,
        }
    }

    /// The stable word for it.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Chatwoot(error) => error.reason(),
            Self::Secret(EncryptionError::UnknownKey) => "api_token_key_unknown".to_owned(),
            Self::Secret(EncryptionError::DoesNotOpen) => "api_token_does_not_open".to_owned(),
            Self::TooBusy => "conversation_too_busy".to_owned(),
            Self::Unsettled { .. } => "unsettled".to_owned(),
            Self::PlaceHeld => "place_held".to_owned(),
            Self::FileNotYet { .. } => "file_not_there_yet".to_owned(),
            Self::ContactNotYet { .. } => "contact_not_there_yet".to_owned(),
            Self::FileNeverCame => "file_never_came".to_owned(),
            Self::Lane(_) => "lane".to_owned(),
        }
    }
}
