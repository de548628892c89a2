//! Two chats turned out to be one person: agents go on in the conversation that the person has already.

use domain::address::ChatAddress;
use messaging::events::chat_merged::ChatMerged;
use messaging::lanes::{Lease, Task};
use tenant_isolation::TenantTransaction;

use super::{NotDone, Tools};
use crate::chatwoot::{ChatwootError, ContactChange};
use crate::store::contacts::{ContactLink, Person};
use crate::store::inboxes::Inbox;
use crate::store::{contacts, inboxes};

/// Moves the conversation of the address that is gone to the surviving one, unless that has one of its own, tells
/// Chatwoot whose number the contact has, and ends the task. Replies in the older conversation go to the surviving
/// address either way. Done again, it changes nothing.
///
/// # Errors
/// [`NotDone`]: nothing was written.
pub async fn merge_contact(
    tools: &Tools,
    lease: &Lease,
    task: &Task,
    merged: &ChatMerged,
) -> Result<(), NotDone> {
    let into = ChatAddress::parse(&merged.address).ok();
    let digits = into
        .as_ref()
        .and_then(ChatAddress::phone)
        .map(|phone| phone.as_str());
    let into = Person {
        address: &merged.address,
        canonical: digits.unwrap_or(&merged.address),
    };
    let gone = Person {
        address: &merged.merged_address,
        canonical: &merged.merged_address,
    };
    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "look for merged contacts").await?;
    let inbox = inboxes::find_by_account(&mut tx, merged.account_id).await?;
    let (older, own) = match &inbox {
        Some(inbox) => (
            contacts::find(&mut tx, inbox.id, gone).await?,
            contacts::find(&mut tx, inbox.id, into).await?,
        ),
        None => (None, None),
    };
    tx.commit().await?;
    if let (Some(inbox), Some(older), None) = (&inbox, &older, &own) {
        number(tools, lease, inbox, older, into, digits).await?;
    }

    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "merge contact").await?;
    lease.guard(&mut tx).await?;
    if let Some(inbox) = inbox {
        let known = contacts::merge(&mut tx, inbox.id, &merged.merged_address, into).await?;
        let outcome = if known { "merged" } else { "unknown" };
        metrics::counter!("kanal_bridge_chats_merged_total", "outcome" => outcome).increment(1);
    }
    lease.done(&mut tx, task).await?;
    Ok(tx.commit().await?)
}

/// Gives the contact its number, so that whoever looks for it finds this one. Where another contact has the number
/// already, both stay: joining them is for people, because it cannot be undone.
async fn number(
    tools: &Tools,
    lease: &Lease,
    inbox: &Inbox,
    older: &ContactLink,
    into: Person<'_>,
    digits: Option<&str>,
) -> Result<(), NotDone> {
    let at = tools.address(lease.scope(), inbox)?;
    let _place = tools.chatwoot.place(&at).await?;
    let api = tools.chatwoot.at(&at);
    let change = ContactChange {
        identifier: Some(into.address),
        phone: digits,
        name: None,
    };
    let outcome = match api.change_contact(older.chatwoot_contact_id, change).await {
        Ok(()) => "numbered",
        Err(ChatwootError::Taken) => "number_taken",
        // Deleted, or a number that Chatwoot does not believe in.
        Err(ChatwootError::NotFound | ChatwootError::Refused { .. }) => "not_numbered",
        Err(error) => return Err(error.into()),
    };
    metrics::counter!("kanal_bridge_contacts_numbered_total", "outcome" => outcome).increment(1);
    Ok(())
}
