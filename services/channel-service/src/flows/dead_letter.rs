//! Messages that were put aside: looked at, and tried again from their old place in their chat.

use chrono::Utc;
use database::{Database, DatabaseError};
use domain::delivery::DeliveryStatus;
use domain::ids::MessageId;
use messaging::lanes;
use messaging::outbox::Signal;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::announce_status::announce;
use super::tenant::Actor;
use crate::store::cloud_status::{self, StatusDetails};
use crate::store::dead_letter::{self, AttemptRow, DeadLetterFilter, DeadLetterRow, DeadLetterWords};
use crate::store::{audit, message, message_chat, message_status, tenant_move};

/// Most dead letters that one call lists or replays.
pub const MOST: i64 = 1_000;

/// The tenant's dead letters, those first that have lain longest. Without their words.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    db: &Database,
    scope: &TenantScope,
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetterRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list dead letters").await?;
    let rows = dead_letter::list(&mut tx, filter).await?;
    tx.commit().await?;
    Ok(rows)
}

/// Everybody's dead letters, for whoever works for all tenants.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list_all(db: &Database, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterRow>, DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("list dead letters")).await?;
    let rows = dead_letter::list_all(&mut tx, filter).await?;
    tx.commit().await?;
    Ok(rows)
}

/// A dead letter with what it says and what was tried.
pub struct DeadLetter {
    /// What anybody may see who works for the tenant.
    pub row: DeadLetterRow,
    /// What it says. For the tenant itself only.
    pub words: DeadLetterWords,
    /// What was tried, oldest first.
    pub attempts: Vec<AttemptRow>,
    /// What the provider reported of it.
    pub reported: Option<StatusDetails>,
}

/// One dead letter. `None`: the tenant has no such message put aside. That somebody read it is noted.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show(
    db: &Database,
    scope: &TenantScope,
    id: MessageId,
    actor: &Actor,
) -> Result<Option<DeadLetter>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "show dead letter").await?;
    let Some((row, words, attempts)) = dead_letter::find(&mut tx, id).await? else {
        return Ok(None);
    };
    let reported = cloud_status::details_of(&mut tx, id).await?;
    audit::note(&mut tx, &actor.act("dead_letter.show", Some(id.to_string()))).await?;
    tx.commit().await?;
    Ok(Some(DeadLetter {
        row,
        words,
        attempts,
        reported,
    }))
}

/// What became of the wish to queue a dead letter again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It is queued.
    Queued,
    /// It is not put aside, or not this tenant's.
    NotThere,
    /// It turned out meanwhile that it went out.
    WentOut,
    /// Its tenant has left the endpoint through which it may have gone out.
    MayBeOutElsewhere,
}

/// Queues a dead letter again, in its old place in its chat.
///
/// A message whose outcome is unknown may be repeated too: whoever asks has looked at the phone. Where the provider
/// takes our id, the person sees it once in any case. Not so when its account has moved to another endpoint since, for
/// which it would be another message.
///
/// # Errors
/// [`DatabaseError`]; nothing is changed then.
pub async fn replay(
    db: &Database,
    wake: Wake<'_>,
    scope: &TenantScope,
    id: MessageId,
    actor: &Actor,
) -> Result<Replayed, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "replay message").await?;
    let replayed = replay_in(&mut tx, id, actor).await?;
    if replayed == Replayed::Queued {
        tx.commit().await?;
        wake.ring();
    }
    Ok(replayed)
}

/// As [`replay`], in a transaction that is committed only when the message is queued.
pub(super) async fn replay_in(
    tx: &mut TenantTransaction,
    id: MessageId,
    actor: &Actor,
) -> Result<Replayed, DatabaseError> {
    message_chat::lock(tx, id).await?;
    message::lock(tx, id).await?;
    if has_gone_out(tx, id).await? {
        return Ok(Replayed::WentOut);
    }
    if !lanes::replay(tx, id.as_uuid()).await? {
        return Ok(Replayed::NotThere);
    }
    if tenant_move::may_be_out_elsewhere(tx, id).await? {
        return Ok(Replayed::MayBeOutElsewhere);
    }
    let moved = message_status::advance(tx, id, DeliveryStatus::Queued, None).await?;
    let moved = moved.into_iter().collect();
    announce(tx, moved, DeliveryStatus::Queued, None, Utc::now()).await?;
    audit::note(tx, &actor.act("dead_letter.replay", Some(id.to_string()))).await?;
    metrics::counter!("kanal_dead_letters_replayed_total").increment(1);
    Ok(Replayed::Queued)
}

async fn has_gone_out(tx: &mut TenantTransaction, id: MessageId) -> Result<bool, DatabaseError> {
    let standing = message_status::standing(tx, id).await?;
    let status = standing.and_then(|row| row.status.parse().ok());
    Ok(matches!(
        status,
        Some(DeliveryStatus::Sent | DeliveryStatus::Delivered | DeliveryStatus::Read)
    ))
}

/// Somebody has looked at the phone and seen that a message went out of which nobody knew it: it counts as sent and is never
/// sent again. False when the tenant has no such message put aside.
///
/// # Errors
/// [`DatabaseError`]; nothing is changed then.
pub async fn settle_as_sent(
    db: &Database,
    wake: Wake<'_>,
    scope: &TenantScope,
    id: MessageId,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "settle message").await?;
    message_chat::lock(&mut tx, id).await?;
    message::lock(&mut tx, id).await?;
    let standing = message_status::standing(&mut tx, id).await?;
    let is_unknown = standing.is_some_and(|row| row.status == DeliveryStatus::Unknown.as_str());
    if !is_unknown || !lanes::discard_parked(&mut tx, id.as_uuid()).await? {
        return Ok(false);
    }
    let moved = message_status::advance(&mut tx, id, DeliveryStatus::Sent, None).await?;
    let moved = moved.into_iter().collect();
    announce(&mut tx, moved, DeliveryStatus::Sent, None, Utc::now()).await?;
    audit::note(&mut tx, &actor.act("dead_letter.settle", Some(id.to_string()))).await?;
    tx.commit().await?;
    wake.ring();
    Ok(true)
}

/// Queues every dead letter that the filter means and that may be queued, each in a transaction of its own. Returns
/// which ones.
///
/// # Errors
/// [`DatabaseError`]; those before it are queued all the same, and are not meant by the filter any more.
pub async fn replay_all(
    db: &Database,
    wake: Wake<'_>,
    scope: &TenantScope,
    filter: &DeadLetterFilter,
    actor: &Actor,
) -> Result<Vec<MessageId>, DatabaseError> {
    let mut replayed = Vec::new();
    for row in list(db, scope, filter).await? {
        let id = MessageId::from_uuid(row.message_id);
        if replay(db, wake, scope, id, actor).await? == Replayed::Queued {
            replayed.push(id);
        }
    }
    Ok(replayed)
}

/// Who has to know that there is work.
#[derive(Debug, Clone, Copy)]
pub struct Wake<'a> {
    /// Publishes events.
    pub relay: &'a Signal,
    /// Send messages.
    pub senders: &'a Signal,
}

impl Wake<'_> {
    /// There is work for both.
    pub(super) fn ring(self) {
        self.relay.ring();
        self.senders.ring();
    }
}
