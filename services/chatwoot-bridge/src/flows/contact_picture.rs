//! The picture that a person shows of themselves becomes the contact's, once for each that is another one.
//!
//! It has a lane of its own: no message waits for it, nor for the server that failed it, and when it cannot be shown, it is
//! given up and nobody is called. The next look at the person's picture brings it again. A picture that somebody chose in Chatwoot stays.

use std::time::Duration;

use chrono::Utc;
use messaging::events::chat_profile::{ChatProfile, ProfilePicture};
use messaging::lanes::{Lease, Task};
use tenant_isolation::TenantTransaction;

use super::chatwoot_contact::person;
use super::{NotDone, Tools};
use crate::channel_files::{Fetched, OpenFile};
use crate::chatwoot::{ChatwootApi, ChatwootError, MessageFile};
use crate::store::contact_pictures::ContactPicture;
use crate::store::inboxes::Inbox;
use crate::store::{contact_pictures, contacts, inbound_rules, inboxes};

/// How long the message with which the person came may take to make the contact.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);
/// The first pause; each is as long as all before it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// What Chatwoot is given.
const KINDS: [&str; 3] = ["image/jpeg", "image/png", "image/webp"];

/// A contact whose picture may change.
struct Showing<'a> {
    tools: &'a Tools,
    lease: &'a Lease,
    task: &'a Task,
    inbox: &'a Inbox,
    contact: i64,
    ours: Option<ContactPicture>,
}

/// Shows the picture, if it is another one than before, and ends the task.
///
/// # Errors
/// [`NotDone`]: nothing about the task was written.
pub async fn show_picture(
    tools: &Tools,
    lease: &Lease,
    task: &Task,
    profile: &ChatProfile,
) -> Result<(), NotDone> {
    let outcome = show(tools, lease, task, profile).await?;
    metrics::counter!("kanal_bridge_pictures_total", "outcome" => outcome).increment(1);
    Ok(())
}

async fn show(
    tools: &Tools,
    lease: &Lease,
    task: &Task,
    profile: &ChatProfile,
) -> Result<&'static str, NotDone> {
    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "find contact of picture").await?;
    let Some(inbox) = inboxes::find_by_account(&mut tx, profile.account_id).await? else {
        return end(tx, lease, task, "no_inbox").await;
    };
    let rules = inbound_rules::find(&mut tx, inbox.id).await?;
    let partner = &profile.partner;
    if rules.ignores(&partner.address, partner.phone.as_deref()) {
        return end(tx, lease, task, "ignored").await;
    }
    let Some(link) = contacts::find(&mut tx, inbox.id, person(partner)).await? else {
        let age = (Utc::now() - task.created_at).to_std().unwrap_or_default();
        if age >= LONGEST_WAIT {
            return end(tx, lease, task, "no_contact").await;
        }
        return Err(NotDone::ContactNotYet {
            wait: age.max(FIRST_PAUSE),
        });
    };
    let contact = link.chatwoot_contact_id;
    let ours = contact_pictures::find(&mut tx, inbox.id, contact).await?;
    let known = ours.as_ref().and_then(|ours| ours.sha256.as_deref());
    match (&profile.picture, &ours) {
        (Some(picture), _) if known == Some(picture.sha256.as_str()) => {
            return end(tx, lease, task, "same").await;
        }
        (None, None) => return end(tx, lease, task, "none").await,
        _ => tx.commit().await?,
    }
    let showing = Showing {
        tools,
        lease,
        task,
        inbox: &inbox,
        contact,
        ours,
    };
    let at = tools.address(lease.scope(), &inbox)?;
    let _place = tools.chatwoot.place(&at).await?;
    let api = tools.chatwoot.at_leisure(&at).as_trifle();
    match &profile.picture {
        Some(picture) => showing.put_up(api, picture).await,
        None => showing.take_down(api).await,
    }
}

impl Showing<'_> {
    async fn put_up(&self, api: ChatwootApi<'_>, picture: &ProfilePicture) -> Result<&'static str, NotDone> {
        if self.ours.is_none() {
            match api.contact(self.contact).await {
                Ok(stored) if stored.has_picture() => return self.done("chosen_by_somebody", None).await,
                Ok(_) => {}
                Err(ChatwootError::NotFound) => return self.done("contact_gone", None).await,
                Err(error) => return Err(error.into()),
            }
        }
        let open = match self.tools.files.open(&picture.media.url).await {
            Fetched::Open(open) => open,
            // Another one has followed it, or channel-service is away: either way it is told again.
            Fetched::NotThere => return self.done("not_there", None).await,
            Fetched::TooLarge { .. } => return self.done("too_large", None).await,
            Fetched::Foreign => return self.done("foreign", None).await,
        };
        if !KINDS.contains(&open.mime_type.as_str()) {
            return self.done("no_picture", None).await;
        }
        // Noted first: after a lost answer it is ours all the same.
        let mut tx = self.begin("about to show picture").await?;
        contact_pictures::put(&mut tx, self.inbox.id, self.contact, None).await?;
        tx.commit().await?;
        match api.set_picture(self.contact, file(*open)).await {
            Ok(()) => self.done("shown", Some(&picture.sha256)).await,
            Err(ChatwootError::NotFound) => self.forgotten("contact_gone").await,
            Err(ChatwootError::Refused { .. }) if self.ours.is_none() => self.forgotten("refused").await,
            Err(ChatwootError::Refused { .. }) => self.done("refused", None).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn take_down(&self, api: ChatwootApi<'_>) -> Result<&'static str, NotDone> {
        match api.remove_picture(self.contact).await {
            Ok(()) => self.forgotten("taken_down").await,
            Err(ChatwootError::NotFound | ChatwootError::Refused { .. }) => {
                self.forgotten("not_taken_down").await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn begin(&self, name: &'static str) -> Result<TenantTransaction, NotDone> {
        let mut tx = TenantTransaction::begin(&self.tools.db, self.lease.scope(), name).await?;
        self.lease.guard(&mut tx).await?;
        Ok(tx)
    }

    async fn done(&self, outcome: &'static str, shown: Option<&str>) -> Result<&'static str, NotDone> {
        let mut tx = self.begin("picture done").await?;
        if shown.is_some() {
            contact_pictures::put(&mut tx, self.inbox.id, self.contact, shown).await?;
        }
        end(tx, self.lease, self.task, outcome).await
    }

    async fn forgotten(&self, outcome: &'static str) -> Result<&'static str, NotDone> {
        let mut tx = self.begin("picture forgotten").await?;
        contact_pictures::forget(&mut tx, self.inbox.id, self.contact).await?;
        end(tx, self.lease, self.task, outcome).await
    }
}

async fn end(
    mut tx: TenantTransaction,
    lease: &Lease,
    task: &Task,
    outcome: &'static str,
) -> Result<&'static str, NotDone> {
    lease.done(&mut tx, task).await?;
    tx.commit().await?;
    Ok(outcome)
}

fn file(open: OpenFile) -> MessageFile {
    let ending = open.mime_type.strip_prefix("image/").unwrap_or("jpeg");
    MessageFile {
        name: format!("picture.{ending}"),
        mime_type: open.mime_type,
        size: open.size,
        body: reqwest::Body::from(open.body),
    }
}
