//! What a webhook tells besides messages: receipts, echoes of our own sends, the session's state, the unknown.

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use domain::account::AccountStatus;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ProviderMessageId};
use messaging::outbox::Signal;
use tenant_isolation::{TenantScope, TenantTransaction};
use whatsapp::event::{Receipt, ReceiptKind, SentEcho, SessionEvent, UnknownEvent};

use super::announce_status::announce;
use crate::store::provider_event::{self, KeptEvent};
use crate::store::{account, channel_account, message_chat, message_status};

/// Messages of ours reached a phone, or were read. Returns how many moved.
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
        // The tenant read a person's message: nothing of ours moved.
        ReceiptKind::ReadSelf => return Ok(0),
    };
    if receipt.from_me {
        return Ok(0);
    }
    advance(db, signal, scope, account, &receipt.ids, status, receipt.at).await
}

/// The provider's API confirms a send; settles one whose answer was lost.
///
/// # Errors
/// [`DatabaseError`].
pub async fn sent_echo(
    db: &Database,
    signal: &Signal,
    scope: &TenantScope,
    account: AccountId,
    echo: &SentEcho,
) -> Result<usize, DatabaseError> {
    advance(
        db,
        signal,
        scope,
        account,
        std::slice::from_ref(&echo.id),
        DeliveryStatus::Sent,
        echo.at,
    )
    .await
}

async fn advance(
    db: &Database,
    signal: &Signal,
    scope: &TenantScope,
    account: AccountId,
    ids: &[ProviderMessageId],
    status: DeliveryStatus,
    at: DateTime<Utc>,
) -> Result<usize, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "advance messages").await?;
    message_chat::lock_by_provider_id(&mut tx, account, ids, status).await?;
    let moved = message_status::advance_by_provider_id(&mut tx, account, ids, status).await?;
    let count = moved.len();
    announce(&mut tx, moved, status, None, at).await?;
    tx.commit().await?;
    if count > 0 {
        signal.ring();
    }
    Ok(count)
}

/// The account's own connection changed.
///
/// # Errors
/// [`DatabaseError`].
pub async fn session(
    db: &Database,
    scope: &TenantScope,
    id: AccountId,
    event: &SessionEvent,
) -> Result<(), DatabaseError> {
    let (status, phone) = match event {
        SessionEvent::Connected => (AccountStatus::Connected, None),
        SessionEvent::PairSuccess { phone, .. } => (AccountStatus::Connected, phone.as_ref()),
        SessionEvent::Disconnected | SessionEvent::ConnectFailure { .. } | SessionEvent::QrTimeout => {
            (AccountStatus::Disconnected, None)
        }
        SessionEvent::LoggedOut { .. } => (AccountStatus::LoggedOut, None),
        SessionEvent::Qr => (AccountStatus::QrWaiting, None),
    };
    let mut tx = TenantTransaction::begin(db, scope, "record session event").await?;
    account::set_status(
        &mut tx,
        id,
        status,
        phone.map(domain::address::PhoneNumber::as_str),
    )
    .await?;
    if let Some(phone) = phone {
        channel_account::show_number(&mut tx, id, phone.as_str()).await?;
    }
    tx.commit().await?;
    tracing::info!(account = %id, event = event.as_str(), "the account's session changed");
    Ok(())
}

/// An event of a kind we do not know: kept as it came. False when the tenant has as many as it may have.
///
/// # Errors
/// [`DatabaseError`].
pub async fn unknown(
    db: &Database,
    scope: &TenantScope,
    account: AccountId,
    event: &UnknownEvent,
) -> Result<bool, DatabaseError> {
    let kept = KeptEvent {
        account,
        type_name: event.type_name.as_str(),
        reason: None,
        payload: event.raw.get(),
    };
    keep(db, scope, &kept).await
}

/// An event of a known account that cannot be used, kept with the reason. False when the tenant has as many as it may
/// have: then the provider has to bring it again.
///
/// # Errors
/// [`DatabaseError`].
pub async fn keep(db: &Database, scope: &TenantScope, event: &KeptEvent<'_>) -> Result<bool, DatabaseError> {
    let reason = event.reason.unwrap_or("unknown_kind");
    metrics::counter!("kanal_provider_events_kept_total", "reason" => reason).increment(1);
    let mut tx = TenantTransaction::begin(db, scope, "keep provider event").await?;
    let kept = provider_event::insert(&mut tx, event).await?;
    tx.commit().await?;
    if !kept {
        metrics::counter!("kanal_provider_events_full_total").increment(1);
        tracing::error!(
            reason,
            "the tenant has too many unusable events, one was not kept"
        );
    }
    Ok(kept)
}
