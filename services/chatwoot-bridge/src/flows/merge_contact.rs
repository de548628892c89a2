//! Two chats turned out to be one person: agents go on in the conversation that the person has already.

use database::Database;
use messaging::events::chat_merged::ChatMerged;
use messaging::lanes::{Lease, Task};
use tenant_isolation::TenantTransaction;

use super::NotDone;
use crate::store::{contacts, inboxes};

/// Moves the conversation of the address that is gone to the surviving one, unless that has one of its own, and ends the
/// task. Replies in the older conversation go to the surviving address either way. Done again, it changes nothing.
///
/// # Errors
/// [`NotDone`]: nothing was written.
pub async fn merge_contact(
    db: &Database,
    lease: &Lease,
    task: &Task,
    merged: &ChatMerged,
) -> Result<(), NotDone> {
    let mut tx = TenantTransaction::begin(db, lease.scope(), "merge contact").await?;
    lease.guard(&mut tx).await?;
    if let Some(inbox) = inboxes::find_by_account(&mut tx, merged.account_id).await? {
        let known = contacts::merge(&mut tx, inbox.id, &merged.merged_address, &merged.address).await?;
        let outcome = if known { "merged" } else { "unknown" };
        metrics::counter!("kanal_bridge_chats_merged_total", "outcome" => outcome).increment(1);
    }
    lease.done(&mut tx, task).await?;
    Ok(tx.commit().await?)
}
