//! Chatwoot tells of a reply once and never again (contract 2.4): what it told while nobody listened would be lost. So every
//! inbox is looked through now and then, and what its agents wrote and nobody heard of goes the way of every webhook.
//!
//! That way bears a second telling for as long as the first is remembered, so nothing here need be exact about what was
//! heard. It must be exact about where looking begins: what was written before the inbox was connected, while its route was
//! off or led elsewhere, or so long ago that we may have forgotten it, is none of ours and would go out once more.

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use database::DatabaseError;
use domain::delivery::DeliveryStatus;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};

use super::accept_reply::{Acceptance, Signals};
use super::{NotDone, Tools, agent_event};
use crate::chatwoot::{ChatwootApi, ShownConversation, ShownMessage};
use crate::store::agent_messages::Shown;
use crate::store::inboxes::Inbox;
use crate::store::reconcile_marks::SLACK;
use crate::store::{agent_messages, message_links, reconcile_marks, routes};
use crate::webhooks::book::{KnownRoute, RouteBook};
use crate::webhooks::event::{Event, Incoming, OUR_MARK};

/// A webhook may still be under way for so long.
const UNDER_WAY: TimeDelta = TimeDelta::minutes(1);
/// Nothing older is looked for. What we know of messages is kept for a week at least (`MESSAGE_LINKS_KEPT_DAYS`).
const LONGEST_BACK: TimeDelta = TimeDelta::days(2);
/// Conversations in which something happened since the mark: pages of 25.
const MOST_PAGES: usize = 40;
/// Messages of one conversation that are looked through: pages of about 20.
const MOST_MESSAGE_PAGES: usize = 20;

/// What looks for what nobody told.
#[derive(Debug, Clone)]
pub struct Reconciler {
    /// Tables and the way to Chatwoot.
    pub tools: Tools,
    /// Routes at hand.
    pub book: RouteBook,
    /// The bells to ring.
    pub signals: Signals,
    /// Webhooks of messages younger than that may still come. Tests are not that patient.
    pub under_way: TimeDelta,
}

impl Reconciler {
    /// As the service does it.
    #[must_use]
    pub const fn new(tools: Tools, book: RouteBook, signals: Signals) -> Self {
        Self {
            tools,
            book,
            signals,
            under_way: UNDER_WAY,
        }
    }

    /// Looks through all connected inboxes. One that cannot be is left for the next time. Returns how many replies were
    /// found.
    ///
    /// # Errors
    /// [`DatabaseError`]: the inboxes cannot be told.
    pub async fn round(&self) -> Result<usize, DatabaseError> {
        self.book.refresh().await?;
        let platform = PlatformScope::for_purpose("look through the inboxes");
        let mut tx = PlatformTransaction::begin(&self.tools.db, platform).await?;
        let routes = routes::registered(&mut tx).await?;
        tx.commit().await?;
        let mut found = 0;
        for owned in routes {
            let Some(known) = self
                .book
                .by_id(owned.route.id)
                .filter(|known| known.route.enabled)
            else {
                continue;
            };
            let Some(inbox) = &known.link else {
                continue;
            };
            match self.look_through(&known, inbox).await {
                Ok(more) => found += more,
                Err(error) => {
                    tracing::warn!(inbox = %inbox.id, %error, "an inbox cannot be looked through");
                }
            }
        }
        Ok(found)
    }

    /// Looks through one inbox. Returns how many replies were found that nobody had told of.
    ///
    /// # Errors
    /// [`NotDone`]: it is looked through again from where it was before.
    pub async fn look_through(&self, known: &KnownRoute, inbox: &Inbox) -> Result<usize, NotDone> {
        let began = Utc::now();
        let mut tx = TenantTransaction::begin(&self.tools.db, &known.scope, "find reconcile mark").await?;
        let Some(mark) = reconcile_marks::find(&mut tx, inbox.id).await? else {
            tx.commit().await?;
            return Ok(0);
        };
        let Some(seen_until) = mark.seen_until else {
            // Nobody knows since when its agents write to WhatsApp by us: since now, at the latest.
            reconcile_marks::begin(&mut tx, inbox.id).await?;
            tx.commit().await?;
            return Ok(0);
        };
        tx.commit().await?;
        let from = (seen_until - SLACK)
            .max(mark.connected_at)
            .max(known.route.created_at)
            .max(began - LONGEST_BACK)
            // Chatwoot tells whole seconds.
            .trunc_subsecs(0);

        let at = self.tools.address(&known.scope, inbox)?;
        let _place = self.tools.chatwoot.place(&at).await?;
        let api = self.tools.chatwoot.at(&at);
        let mut found = 0;
        let mut is_whole = false;
        for page in 1..=MOST_PAGES {
            let conversations = api.conversations_by_activity(page).await?;
            // Chatwoot's clock is not ours, and a conversation without a time may be any.
            let is_new = |conversation: &ShownConversation| {
                conversation
                    .last_activity_at()
                    .is_none_or(|at| at >= from - SLACK)
            };
            is_whole = conversations.is_empty() || !conversations.iter().any(is_new);
            for conversation in conversations.into_iter().filter(is_new) {
                let through = Through {
                    api,
                    known,
                    inbox,
                    from,
                    until: began - self.under_way,
                };
                found += self.conversation(&through, conversation).await?;
            }
            if is_whole {
                break;
            }
        }
        if is_whole {
            let mut tx =
                TenantTransaction::begin(&self.tools.db, &known.scope, "move reconcile mark").await?;
            reconcile_marks::put(&mut tx, inbox.id, began).await?;
            tx.commit().await?;
        } else {
            tracing::warn!(inbox = %inbox.id, "an inbox has more conversations than are looked through at once");
        }
        Ok(found)
    }

    async fn conversation(
        &self,
        through: &Through<'_>,
        mut conversation: ShownConversation,
    ) -> Result<usize, NotDone> {
        let Some(id) = conversation.id() else {
            return Ok(0);
        };
        let (known, inbox) = (through.known, through.inbox);
        let mut untold = Vec::new();
        let mut before = None;
        for _ in 0..MOST_MESSAGE_PAGES {
            let page = through.api.shown_messages(id, before).await?;
            let oldest = page.iter().filter_map(ShownMessage::id).min();
            let is_past =
                |message: &ShownMessage| message.created_at().is_some_and(|at| at < through.from - SLACK);
            let ends = page.iter().any(is_past);
            for message in page {
                if let Some(event) = self.untold(through, &message).await? {
                    untold.push((event, message));
                }
            }
            let Some(oldest) = oldest.filter(|_| !ends) else {
                break;
            };
            before = Some(oldest);
        }
        if untold.is_empty() {
            return Ok(0);
        }
        let mut tx = TenantTransaction::begin(&self.tools.db, &known.scope, "find address").await?;
        let address = reconcile_marks::address_of(&mut tx, inbox.id, id).await?;
        tx.commit().await?;
        if let Some(address) = address {
            conversation.with_source(&address);
        }
        untold.sort_by_key(|(_, message)| message.id());
        let mut found = 0;
        for (event, message) in untold {
            let body = message.as_event(event, inbox.chatwoot_account_id, &conversation);
            found += usize::from(self.tell(known, body.to_string().into()).await?);
        }
        Ok(found)
    }

    /// Which event is missing about this message, if any.
    async fn untold(
        &self,
        through: &Through<'_>,
        message: &ShownMessage,
    ) -> Result<Option<&'static str>, DatabaseError> {
        let (Some(id), Some(_)) = (message.id(), message.outgoing()) else {
            return Ok(None);
        };
        let at = message.created_at();
        if at.is_none_or(|at| at > through.until) || message.source_id().starts_with(OUR_MARK) {
            return Ok(None);
        }
        let name = "compare with what was told";
        let mut tx = TenantTransaction::begin(&self.tools.db, &through.known.scope, name).await?;
        let standing = agent_messages::find(&mut tx, through.inbox.id, id).await?;
        let is_ours = message_links::is_ours(&mut tx, through.inbox.id, id).await?;
        tx.commit().await?;
        Ok(match standing {
            None if is_ours || message.is_deleted() => None,
            // That we know nothing of it says nothing: it was another's to send, or we have forgotten it.
            None if at.is_none_or(|at| at < through.from) => None,
            None => Some("message_created"),
            // A press of the retry button.
            Some(standing) if standing.deleted => None,
            Some(_) if message.is_deleted() => Some("message_updated"),
            Some(standing) if standing.marked_failed && is_failed(&standing.shown) && message.is_sent() => {
                Some("message_updated")
            }
            Some(_) => None,
        })
    }

    /// Takes a webhook that never came. True when something came of it.
    async fn tell(&self, known: &KnownRoute, body: Bytes) -> Result<bool, DatabaseError> {
        let Ok(event) = Event::read(&body, Utc::now()) else {
            return Ok(false);
        };
        let told = Incoming {
            event,
            body,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            request_id: None,
        };
        let accepted = agent_event::take(&self.tools, known, &told, &self.signals).await?;
        let found = matches!(accepted, Acceptance::Forwarded);
        if found {
            metrics::counter!("kanal_bridge_reconciled_total").increment(1);
        }
        Ok(found)
    }
}

/// An agent was shown a red mark.
fn is_failed(shown: &Shown) -> bool {
    matches!(shown.status, DeliveryStatus::Failed | DeliveryStatus::Parked) || shown.put_aside
}

/// An inbox that is looked through.
struct Through<'a> {
    api: ChatwootApi<'a>,
    known: &'a KnownRoute,
    inbox: &'a Inbox,
    /// Nothing older.
    from: DateTime<Utc>,
    /// Nothing younger.
    until: DateTime<Utc>,
}
