//! Where a person's messages go: the conversation they have, or one that is found or made for them.
//!
//! Two workers that make the same person at once would make two. Lanes keep messages of one chat apart, and yet a person
//! may have two chats, a job may import what a lane delivers, and a worker may have lost its lane without knowing. So
//! whoever makes something holds a lock on the person in this inbox, and looks once more before each thing that is made.

use std::time::Duration;

use messaging::events::message_received::ChatPartner;
use messaging::lanes::Lease;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use super::chatwoot_contact::{
    Making, is_put_away, is_resolved, make_pending, nobody_chose, person, push_name,
};
use super::render::Way;
use super::{NotDone, Tools};
use crate::chatwoot::{ChatwootApi, ChatwootError, ContactChange};
use crate::store::contacts::{self, ContactLink};
use crate::store::inbound_rules::ConversationPolicy;
use crate::store::inboxes::Inbox;
use crate::store::place_locks;

/// Whose place is looked for, and for whom.
#[derive(Clone, Copy)]
pub(super) struct PlaceFinder<'a> {
    pub(super) tools: &'a Tools,
    pub(super) lease: &'a Lease,
    pub(super) inbox: &'a Inbox,
    pub(super) policy: ConversationPolicy,
    pub(super) api: ChatwootApi<'a>,
    pub(super) partner: &'a ChatPartner,
    pub(super) way: Way,
}

impl PlaceFinder<'_> {
    /// The place to go on in.
    ///
    /// # Errors
    /// [`NotDone`].
    pub(super) async fn find(&self, known: Option<ContactLink>) -> Result<ContactLink, NotDone> {
        match known {
            Some(known) if self.is_usable(&known).await? => Ok(known),
            known => self.another(known.as_ref()).await,
        }
    }

    /// Another place than this one, which is gone or not to be used any more.
    ///
    /// # Errors
    /// [`NotDone`].
    pub(super) async fn another(&self, than: Option<&ContactLink>) -> Result<ContactLink, NotDone> {
        let guard = Guard::take(self).await?;
        let outcome = self.make(&guard, than).await;
        guard.end(&outcome).await;
        outcome
    }

    async fn make(&self, guard: &Guard<'_>, than: Option<&ContactLink>) -> Result<ContactLink, NotDone> {
        let who = person(self.partner);
        let mut tx = TenantTransaction::begin(&self.tools.db, self.lease.scope(), "look for place").await?;
        let stored = contacts::find(&mut tx, self.inbox.id, who).await?;
        tx.commit().await?;
        // Made by whoever had the lock before.
        if let Some(stored) = stored
            && than.is_none_or(|than| than.chatwoot_conversation_id != stored.chatwoot_conversation_id)
            && self.is_usable(&stored).await?
        {
            return Ok(stored);
        }
        let making = Making {
            api: self.api,
            partner: self.partner,
            policy: self.policy,
            guard,
            before: than,
        };
        let made = making.run().await?;
        let mut tx = self.begin("remember place").await?;
        contacts::put(&mut tx, self.inbox.id, who, &made).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Does the inbox's policy go on in this conversation? What the tenant typed opens nothing, so it goes where the
    /// last message went.
    async fn is_usable(&self, place: &ContactLink) -> Result<bool, NotDone> {
        if self.way == Way::FromPhone {
            return Ok(true);
        }
        let conversation = place.chatwoot_conversation_id;
        match self.policy {
            ConversationPolicy::Reopen | ConversationPolicy::Single => Ok(true),
            ConversationPolicy::New => match self.api.conversation(conversation).await {
                Ok(found) => Ok(!is_resolved(&found)),
                Err(ChatwootError::NotFound) => Ok(false),
                Err(error) => Err(error.into()),
            },
            ConversationPolicy::Pending => match self.api.conversation(conversation).await {
                Ok(found) => {
                    if is_put_away(&found) {
                        make_pending(self.api, conversation).await?;
                    }
                    Ok(true)
                }
                Err(ChatwootError::NotFound) => Ok(false),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Follows a person who calls themselves something else now, as long as the name in Chatwoot is still ours
    /// (contract 6, 22). Names are not worth a failure.
    pub(super) async fn refresh_name(&self, place: &ContactLink) -> Result<(), NotDone> {
        let (Some(ours), Some(name)) = (&place.name_by_us, push_name(self.partner)) else {
            return Ok(());
        };
        if *ours == name || self.way == Way::FromPhone {
            return Ok(());
        }
        let contact = place.chatwoot_contact_id;
        let Ok(stored) = self.api.contact(contact).await else {
            return Ok(());
        };
        let current = stored.name.as_deref().unwrap_or_default();
        let name_by_us = if current == name {
            // Ours already: the answer was lost when it was given.
            Some(name)
        } else if current == ours || nobody_chose(current, self.partner) {
            let change = ContactChange {
                name: Some(&name),
                ..ContactChange::default()
            };
            if self.api.change_contact(contact, change).await.is_err() {
                return Ok(());
            }
            Some(name)
        } else {
            None
        };
        let mut tx = self.begin("contact named").await?;
        contacts::named(&mut tx, self.inbox.id, contact, name_by_us.as_deref()).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn begin(&self, name: &'static str) -> Result<TenantTransaction, NotDone> {
        let mut tx = TenantTransaction::begin(&self.tools.db, self.lease.scope(), name).await?;
        self.lease.guard(&mut tx).await?;
        Ok(tx)
    }
}

/// The right to make a person's contact and conversation.
pub(super) struct Guard<'a> {
    finder: PlaceFinder<'a>,
    place: place_locks::Place,
    /// Of this attempt: a worker that lost its lane without knowing is somebody else.
    holder: Uuid,
    length: Duration,
}

impl<'a> Guard<'a> {
    async fn take(finder: &PlaceFinder<'a>) -> Result<Self, NotDone> {
        let canonical = person(finder.partner).canonical;
        let guard = Self {
            finder: *finder,
            place: place_locks::Place::of(finder.lease.scope(), finder.inbox.id, canonical),
            holder: Uuid::now_v7(),
            // A worker that dies leaves a call behind, which must be settled before anybody else looks.
            length: finder.lease.length() + finder.tools.chatwoot.settles_in(),
        };
        guard.hold(guard.length).await?;
        Ok(guard)
    }

    /// Makes sure, right before something is made, that lane and lock are still ours, and lengthens both.
    pub(super) async fn about_to_create(&self) -> Result<(), NotDone> {
        self.finder.begin("about to create").await?.commit().await?;
        self.hold(self.length).await
    }

    async fn hold(&self, length: Duration) -> Result<(), NotDone> {
        let mut tx = self.begin().await?;
        let held = place_locks::hold(&mut tx, &self.place, self.holder, length).await?;
        tx.commit().await?;
        if held {
            return Ok(());
        }
        metrics::counter!("kanal_bridge_places_held_total").increment(1);
        Err(NotDone::PlaceHeld)
    }

    /// Lets go; where Chatwoot may still be at work, only when that is over. A lock that cannot be let go of ends by
    /// itself.
    async fn end(self, outcome: &Result<ContactLink, NotDone>) {
        let unsettled = match outcome {
            Err(NotDone::Chatwoot(ChatwootError::NoAnswer { settled_in, .. })) => *settled_in,
            Ok(_) | Err(_) => None,
        };
        let ended = match unsettled {
            Some(time) => self.hold(time).await,
            None => self.release().await,
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "the lock on a person's place ends by itself");
        }
    }

    async fn release(&self) -> Result<(), NotDone> {
        let mut tx = self.begin().await?;
        place_locks::release(&mut tx, &self.place, self.holder).await?;
        Ok(tx.commit().await?)
    }

    async fn begin(&self) -> Result<PlatformTransaction, NotDone> {
        let purpose = PlatformScope::for_purpose("lock place");
        Ok(PlatformTransaction::begin(&self.finder.tools.db, purpose).await?)
    }
}
