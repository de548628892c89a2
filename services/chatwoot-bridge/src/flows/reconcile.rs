//! Chatwoot tells of a reply once and never again (contract 2.4): what it told while nobody listened would be lost. So every
//! inbox is looked through now and then, and what its agents wrote and nobody heard of goes the way of every webhook.
//!
//! That way bears a second telling for as long as the first is remembered, so nothing here need be exact about what was
//! heard. It must be exact about where looking begins: what was written before the inbox was connected, while its route was
//! off or led elsewhere, or so long ago that we may have forgotten it, is none of ours and would go out once more.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use database::DatabaseError;
use domain::delivery::DeliveryStatus;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};

use super::accept_reply::{Acceptance, Signals};
use super::{NotDone, Tools, agent_event};
use crate::chatwoot::{ChatwootApi, ChatwootError, InboxAddress, ShownConversation, ShownMessage, Wait};
use crate::store::agent_messages::{Shown, Standing};
use crate::store::inboxes::Inbox;
use crate::store::reconcile_marks::SLACK;
use crate::store::{agent_messages, message_links, reconcile_marks, routes};
use crate::webhooks::book::{KnownRoute, RouteBook};
use crate::webhooks::event::{Event, Incoming, OUR_MARK};

/// A webhook may still be under way for so long.
const UNDER_WAY: TimeDelta = TimeDelta::minutes(1);
/// Nothing older is looked for. What we know of messages is kept for a week at least (`MESSAGE_LINKS_KEPT_DAYS`).
const LONGEST_BACK: TimeDelta = TimeDelta::days(2);
/// Conversations that are looked through at once, in pages of 25; the others wait for the next time.
const MOST_PAGES: i64 = 20;
/// Messages of one conversation that are looked through: pages of about 20.
const MOST_MESSAGE_PAGES: usize = 20;
/// How often a call waits for its turn, and how long at most.
const MOST_WAITS: usize = 10;
const LONGEST_WAIT: Duration = Duration::from_secs(5);

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
    /// Pages of conversations at once.
    pub most_pages: i64,
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
            most_pages: MOST_PAGES,
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

    /// Looks through one inbox, or goes on with it. Returns how many replies were found that nobody had told of.
    ///
    /// Conversations come in pages, those first in which something happened last. One of a later page in which something
    /// happens meanwhile goes to the front, and is seen by the next look; the others only move down, so a look may pause
    /// between pages for as long as it likes.
    ///
    /// # Errors
    /// [`NotDone`]: it is looked through again from the page where it was.
    pub async fn look_through(&self, known: &KnownRoute, inbox: &Inbox) -> Result<usize, NotDone> {
        let now = Utc::now();
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
            .max(now - LONGEST_BACK)
            // Chatwoot tells whole seconds.
            .trunc_subsecs(0);
        let at = self.tools.address(&known.scope, inbox)?;
        let through = Through {
            api: self.tools.chatwoot.at_leisure(&at),
            at: &at,
            known,
            inbox,
            from,
            until: now - self.under_way,
        };
        let began = mark.look_began.unwrap_or(now);
        let mut found = 0;
        // The last page once more: a conversation that is gone moves all behind it up.
        for page in mark.look_pages.max(1)..=mark.look_pages + self.most_pages {
            let (more, is_last) = self.page(&through, page).await?;
            found += more;
            let mut tx =
                TenantTransaction::begin(&self.tools.db, &known.scope, "move reconcile mark").await?;
            if is_last {
                reconcile_marks::put(&mut tx, inbox.id, began).await?;
                tx.commit().await?;
                return Ok(found);
            }
            reconcile_marks::pause(&mut tx, inbox.id, began, page).await?;
            tx.commit().await?;
        }
        tracing::info!(inbox = %inbox.id, "an inbox is looked through in several rounds");
        Ok(found)
    }

    /// Looks through a page of conversations. True: there is nothing new on the pages after it.
    async fn page(&self, through: &Through<'_>, page: i64) -> Result<(usize, bool), NotDone> {
        let api = through.api;
        let list = || api.conversations_by_activity(page);
        let conversations = self.ask(through.at, list).await?;
        // Chatwoot's clock is not ours, and a conversation without a time may be any.
        let is_new = |conversation: &ShownConversation| {
            conversation
                .last_activity_at()
                .is_none_or(|at| at >= through.from - SLACK)
        };
        let is_last = !conversations.iter().any(is_new);
        let mut found = 0;
        for conversation in conversations.into_iter().filter(is_new) {
            let id = conversation.id();
            match self.conversation(through, conversation).await {
                Ok(more) => found += more,
                // One that is odd holds up no other.
                Err(NotDone::Chatwoot(error)) if is_of_the_conversation(&error) => {
                    let inbox = through.inbox.id;
                    tracing::warn!(%inbox, conversation = id, %error, "a conversation cannot be looked through");
                }
                Err(error) => return Err(error),
            }
        }
        Ok((found, is_last))
    }

    /// One call, with a place at the server for no longer than that. It waits for its turn; people do not wait for it.
    async fn ask<T, F>(&self, at: &InboxAddress, call: impl Fn() -> F) -> Result<T, ChatwootError>
    where
        F: Future<Output = Result<T, ChatwootError>>,
    {
        let mut waits = 0;
        loop {
            let answer = match self.tools.chatwoot.place(at).await {
                Ok(_place) => call().await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error @ (ChatwootError::Busy | ChatwootError::Paced { .. })) if waits < MOST_WAITS => {
                    waits += 1;
                    if let Some(Wait::Brief(wait)) = error.wait() {
                        tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
                    }
                }
                answer => return answer,
            }
        }
    }

    async fn conversation(
        &self,
        through: &Through<'_>,
        mut conversation: ShownConversation,
    ) -> Result<usize, NotDone> {
        let Some(id) = conversation.id() else {
            return Ok(0);
        };
        let (known, inbox, api) = (through.known, through.inbox, through.api);
        let mut untold = Vec::new();
        let mut before = None;
        for _ in 0..MOST_MESSAGE_PAGES {
            let page = self.ask(through.at, || api.shown_messages(id, before)).await?;
            let oldest = page.iter().filter_map(ShownMessage::id).min();
            let is_past =
                |message: &ShownMessage| message.created_at().is_some_and(|at| at < through.from - SLACK);
            let ends = page.iter().any(is_past);
            untold.extend(self.untold(through, page).await?);
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

    /// Of which of these messages an event is missing, and which.
    async fn untold(
        &self,
        through: &Through<'_>,
        page: Vec<ShownMessage>,
    ) -> Result<Vec<(&'static str, ShownMessage)>, DatabaseError> {
        let is_agents = |message: &ShownMessage| {
            message.outgoing().is_some()
                && !message.source_id().starts_with(OUR_MARK)
                && message.created_at().is_some_and(|at| at <= through.until)
        };
        let page: Vec<_> = page.into_iter().filter(is_agents).collect();
        let ids: Vec<i64> = page.iter().filter_map(ShownMessage::id).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let name = "compare with what was told";
        let mut tx = TenantTransaction::begin(&self.tools.db, &through.known.scope, name).await?;
        let standings = agent_messages::find_all(&mut tx, through.inbox.id, &ids).await?;
        let ours = message_links::ours_of(&mut tx, through.inbox.id, &ids).await?;
        tx.commit().await?;
        let missing = |message: ShownMessage| {
            let id = message.id()?;
            let event = missing_of(&message, standings.get(&id), ours.contains(&id), through.from)?;
            Some((event, message))
        };
        Ok(page.into_iter().filter_map(missing).collect())
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

/// Which event is missing about an agent's message, if any.
fn missing_of(
    message: &ShownMessage,
    standing: Option<&Standing>,
    is_ours: bool,
    from: DateTime<Utc>,
) -> Option<&'static str> {
    let Some(standing) = standing else {
        // That we know nothing of an older one says nothing: it was another's to send, or we have forgotten it.
        let is_new = message.created_at().is_some_and(|at| at >= from);
        return (is_new && !is_ours && !message.is_deleted()).then_some("message_created");
    };
    if standing.deleted {
        return None;
    }
    // Or a press of the retry button.
    let is_pressed = standing.marked_failed && is_failed(&standing.shown) && message.is_sent();
    (message.is_deleted() || is_pressed).then_some("message_updated")
}

/// It is the conversation that cannot be read, and not its server.
fn is_of_the_conversation(error: &ChatwootError) -> bool {
    match error {
        ChatwootError::NotFound | ChatwootError::Refused { .. } => true,
        ChatwootError::NoAnswer { what, outage, .. } => {
            !outage && ["unreadable", "too_long", "status_5xx"].contains(what)
        }
        _ => false,
    }
}

/// An agent was shown a red mark.
fn is_failed(shown: &Shown) -> bool {
    matches!(shown.status, DeliveryStatus::Failed | DeliveryStatus::Parked) || shown.put_aside
}

/// An inbox that is looked through.
struct Through<'a> {
    api: ChatwootApi<'a>,
    at: &'a InboxAddress,
    known: &'a KnownRoute,
    inbox: &'a Inbox,
    /// What is older was told or is none of ours.
    from: DateTime<Utc>,
    /// Nothing younger.
    until: DateTime<Utc>,
}
