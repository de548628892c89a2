//! Ids that the provider makes. A message of ours then goes by the id in the provider's answer, and a receipt for it may be
//! faster than that answer: it is kept until the message is known, and applied then.
//!
//! Receipt and answer meet on the receipt's row: whoever is second waits for the first one's commit and sees what it did.

use database::{Database, DatabaseError};
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, MessageId, ProviderMessageId};
use messaging::outbox::Signal;
use tenant_isolation::{TenantScope, TenantTransaction};
use whatsapp::event::{Receipt, ReceiptKind};

use super::announce_status::{Told, announce, announce_one};
use crate::store::early_receipt::EarlyReceipt;
use crate::store::{cloud_status, early_receipt, message_chat, message_status};

/// Messages of ours reached a phone, or were read; those that are not known yet may be in a moment. Returns how many moved.
///
/// # Errors
/// [`DatabaseError`].
pub async fn receipt(
    db: &Database,
    signal: &Signal,
    scope: &TenantScope,
    account: AccountId,
    receipt: &Receipt,
) -> Result<usize, DatabaseError> {
    let status = match receipt.kind {
        ReceiptKind::Delivered => DeliveryStatus::Delivered,
        ReceiptKind::Read | ReceiptKind::Played => DeliveryStatus::Read,
        ReceiptKind::ReadSelf => return Ok(0),
    };
    if receipt.from_me {
        return Ok(0);
    }
    let mut tx = TenantTransaction::begin(db, scope, "advance messages").await?;
    early_receipt::keep(&mut tx, account, &receipt.ids, status, receipt.at).await?;
    message_chat::lock_by_provider_id(&mut tx, account, &receipt.ids, status).await?;
    let moved = message_status::advance_by_provider_id(&mut tx, account, &receipt.ids, status).await?;
    let count = moved.len();
    announce(&mut tx, moved, status, None, receipt.at).await?;
    early_receipt::forget_known(&mut tx, account, &receipt.ids).await?;
    tx.commit().await?;
    if count > 0 {
        signal.ring();
    }
    Ok(count)
}

/// The provider's id of a message of ours that went out, before it is the message's.
pub(super) struct Learned<'a> {
    id: &'a ProviderMessageId,
    /// It is no other message's.
    free: bool,
    /// What phones have confirmed of it already.
    confirmed: Option<EarlyReceipt>,
}

/// First half of taking the provider's id over; to be called before anything of the message is held, for the ledger comes
/// first.
///
/// # Errors
/// [`DatabaseError`].
pub(super) async fn learn<'a>(
    tx: &mut TenantTransaction,
    account: AccountId,
    message: MessageId,
    id: &'a ProviderMessageId,
) -> Result<Learned<'a>, DatabaseError> {
    let confirmed = early_receipt::claim(tx, account, id).await?;
    let free = early_receipt::note_id(tx, account, id, message).await?;
    Ok(Learned { id, free, confirmed })
}

impl Learned<'_> {
    /// Second half, with the chat held and before the message moves: it goes by this id from now on.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) async fn adopt(
        &self,
        tx: &mut TenantTransaction,
        message: MessageId,
    ) -> Result<(), DatabaseError> {
        if self.free {
            return early_receipt::set_id(tx, message, self.id).await;
        }
        // The provider has told of it as of a message that was typed on the phone. That one gets the receipts.
        metrics::counter!("kanal_sent_ids_taken_total").increment(1);
        tracing::warn!(%message, "the id of a message that went out is another message's");
        Ok(())
    }

    /// Last, when the message is on its way: what phones have confirmed meanwhile. Returns where it stands for that.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub(super) async fn confirm(
        &self,
        tx: &mut TenantTransaction,
        message: MessageId,
    ) -> Result<Option<DeliveryStatus>, DatabaseError> {
        let Some(EarlyReceipt { status, at, reason }) = &self.confirmed else {
            return Ok(None);
        };
        let reason = reason.as_deref();
        let moved = message_status::advance(tx, message, *status, reason).await?;
        let Some(moved) = moved else { return Ok(None) };
        let detail = match status {
            DeliveryStatus::Failed => cloud_status::details_of(tx, message).await?,
            _ => None,
        };
        let told = Told {
            moved,
            status: *status,
            reason,
            detail: detail.and_then(|known| known.error_details.or(known.error_title)),
            at: *at,
        };
        announce_one(tx, told).await?;
        Ok(Some(*status))
    }
}
