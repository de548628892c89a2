//! A text is sent and its outcome waited for: placed in its chat's lane like every other message, so that it is
//! durable and in order, and then watched for a while.
//!
//! | what became of it | the caller hears |
//! |---|---|
//! | the provider took it | sent |
//! | it is still being tried when the wait is over, or nobody knows | queued: it goes out without the caller |
//! | refused for good, or put aside | failed, with the reason |
//! | a webchat visitor's | sent: it is stored, the page fetches it |

use std::time::{Duration, Instant};

use chrono::Utc;
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::chat::Channel;
use domain::delivery::DeliveryStatus;
use domain::ids::{ChatId, MessageId, ProviderMessageId};
use domain::message::{Direction, MessageContent, MessageSource};
use domain::text::Text;
use messaging::lanes::{self, NewTask};
use messaging::outbox::Signal;
use tenant_isolation::{TenantScope, TenantTransaction};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::announce_status::announce;
use super::chat::{ChatError, known_tenant, meant};
use super::keep_message::{Told, local_id, put};
use super::outcomes::{Outcomes, Waiting};
use super::queue_message::{SEND_TEXT, SendTask};
use crate::endpoints::Endpoints;
use crate::store::chat::{self, ChatUpdate};
use crate::store::message::{self, NewMessage};
use crate::store::message_status::{self, Moved, StandingRow};
use crate::store::{channel_account, send_request, takeover};

/// How often to look without being told: for a sender in another process.
const LOOK: Duration = Duration::from_millis(500);

/// The names of keys among all UUIDs.
pub(super) const KEYS: Uuid = Uuid::from_u128(0x6b61_6e61_6c2d_4964_8d70_6f74_656e_6379);

/// A key that a caller chose for an order, so that repeating the order sends nothing twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Longest accepted key, in characters.
    pub const MAX_LENGTH: usize = 255;

    /// Reads 1 to 255 printable ASCII characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        fits.then(|| Self(text.to_owned()))
    }

    /// The key itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key that stands for several things together.
    #[must_use]
    pub fn of_digest(digest: [u8; 32]) -> Self {
        Self(hex::encode(digest))
    }

    pub(super) fn request_id(&self, scope: &TenantScope) -> Uuid {
        let name = format!("{}\0{}", scope.tenant(), self.0);
        Uuid::new_v5(&KEYS, name.as_bytes())
    }
}

/// A text to be sent.
#[derive(Clone)]
pub struct TextOrder {
    /// To whom.
    pub person: ChatAddress,
    /// The words.
    pub text: Text,
    /// Who wrote them.
    pub source: MessageSource,
    /// It is an answer in the chat: it becomes the chat's last message, and what was unread is read. A notification
    /// leaves the chat as it is.
    pub is_answer: bool,
    /// The caller's key.
    pub key: Option<IdempotencyKey>,
}

impl TextOrder {
    /// What is ordered, to recognise another order under the same key.
    fn digest(&self) -> Uuid {
        let order = format!("{}\0{}\0{}", self.source, self.person, self.text.as_str());
        Uuid::new_v5(&KEYS, order.as_bytes())
    }
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It went out, or is stored for a page that fetches it.
    Sent,
    /// It is kept and goes out as soon as it can.
    Queued,
    /// It will not go out by itself. The reason is a stable code.
    Failed(String),
}

/// A text that was ordered.
#[derive(Debug, Clone)]
pub struct Ordered {
    /// The id under which receipts come.
    pub message_id: String,
    /// The chat it is in.
    pub chat: ChatId,
    /// A person has the chat.
    pub is_takeover: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// Sends texts and waits. Cheap to clone.
#[derive(Clone)]
pub struct Texts {
    /// The tables.
    pub db: Database,
    /// Where tenants without an account get one.
    pub endpoints: Endpoints,
    /// Wakes the relay.
    pub relay: Signal,
    /// Wakes the senders.
    pub workers: Signal,
    /// Tells what the senders of this process did.
    pub outcomes: Outcomes,
    /// How links to our own files begin (`MEDIA_PUBLIC_URL` and a slash): Meta may fetch those, wherever that is.
    pub own_files: String,
    /// Longest wait for an outcome.
    pub patience: Duration,
    /// The process ends: nobody is kept waiting.
    pub stopping: CancellationToken,
}

/// Where an order stands when its transaction is over.
enum Placed {
    /// It is in its lane now, and goes out whatever happens to the caller.
    InLane(Ordered),
    /// It is stored, and that is all there is to do.
    Stored(Ordered),
    /// It was placed before under the same key.
    Before(MessageId),
}

impl Texts {
    /// Sends a text.
    ///
    /// # Errors
    /// [`ChatError`]: nothing was placed then.
    pub async fn send(&self, scope: &TenantScope, order: TextOrder) -> Result<Ordered, ChatError> {
        let id = MessageId::generate();
        // Before the senders can know of it, so that no outcome is missed.
        let waiting = self.outcomes.wait_for(id.as_uuid());
        match self.place(scope, &order, id).await? {
            Placed::InLane(ordered) => {
                self.relay.ring();
                self.workers.ring();
                self.outcome(scope, id, waiting, Some(ordered)).await
            }
            Placed::Stored(ordered) => Ok(ordered),
            Placed::Before(id) => {
                let waiting = self.outcomes.wait_for(id.as_uuid());
                self.outcome(scope, id, waiting, None).await
            }
        }
    }

    async fn place(
        &self,
        scope: &TenantScope,
        order: &TextOrder,
        id: MessageId,
    ) -> Result<Placed, ChatError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "place text").await?;
        if !known_tenant(&mut tx).await?.is_active() {
            return Err(ChatError::Suspended);
        }
        if let Some(before) = taken_before(&mut tx, order, id).await? {
            tx.commit().await?;
            return Ok(Placed::Before(before));
        }
        let chat = meant(&mut tx, &self.endpoints, &order.person).await?;
        if Channel::of(&chat.address) == Channel::Webchat {
            let ordered = store(&mut tx, order, id, chat).await?;
            tx.commit().await?;
            return Ok(Placed::Stored(ordered));
        }
        if !channel_account::whatsapp_is_on(&mut tx).await? {
            return Err(ChatError::ChannelOff);
        }
        let ordered = put_in_lane(&mut tx, order, id, chat).await?;
        tx.commit().await?;
        Ok(Placed::InLane(ordered))
    }

    /// Waits until the message is settled, as long as patience lasts. `placed` is what is known of a message that was
    /// placed just now: it is never an error that nothing more can be learned of it, for a caller who hears of an error
    /// orders it again.
    pub(super) async fn outcome(
        &self,
        scope: &TenantScope,
        id: MessageId,
        mut waiting: Option<Waiting>,
        placed: Option<Ordered>,
    ) -> Result<Ordered, ChatError> {
        let started = Instant::now();
        loop {
            let left = self.patience.saturating_sub(started.elapsed());
            let over = left.is_zero() || self.stopping.is_cancelled() || waiting.is_none();
            match (self.look(scope, id).await, &placed) {
                (Ok(Some(ordered)), _) if over || ordered.outcome != Outcome::Queued => return Ok(ordered),
                // Deleted together with its chat. A key that led here cannot be answered for again.
                (Ok(None), None) => return Err(ChatError::KeyUsed),
                (Ok(None), Some(placed)) => {
                    let outcome = Outcome::Failed("deleted".to_owned());
                    return Ok(Ordered {
                        outcome,
                        ..placed.clone()
                    });
                }
                (Err(error), None) => return Err(error.into()),
                (Err(_), Some(placed)) if over => return Ok(placed.clone()),
                (Ok(Some(_)) | Err(_), _) => {}
            }
            let changed = async {
                match &mut waiting {
                    Some(waiting) => waiting.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(left.min(LOOK)) => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    /// Where a message stands. `None`: it is not there any more.
    async fn look(&self, scope: &TenantScope, id: MessageId) -> Result<Option<Ordered>, DatabaseError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "look at message").await?;
        let Some(standing) = message_status::standing(&mut tx, id).await? else {
            return Ok(None);
        };
        let chat = ChatId::from_uuid(standing.chat_id);
        let is_takeover = takeover::active(&mut tx, chat).await?.is_some();
        tx.commit().await?;
        Ok(Some(Ordered {
            outcome: outcome_of(&standing),
            message_id: standing.provider_message_id,
            chat,
            is_takeover,
        }))
    }
}

/// What a status means for one who waits.
fn outcome_of(row: &StandingRow) -> Outcome {
    match row.status.parse() {
        Ok(DeliveryStatus::Sent | DeliveryStatus::Delivered | DeliveryStatus::Read) => Outcome::Sent,
        Ok(DeliveryStatus::Failed | DeliveryStatus::Parked) => {
            Outcome::Failed(row.reason.clone().unwrap_or_else(|| "refused".to_owned()))
        }
        Ok(DeliveryStatus::Queued | DeliveryStatus::Unknown) | Err(_) => Outcome::Queued,
    }
}

/// The message that the order's key stands for already.
async fn taken_before(
    tx: &mut TenantTransaction,
    order: &TextOrder,
    id: MessageId,
) -> Result<Option<MessageId>, ChatError> {
    let Some(key) = &order.key else { return Ok(None) };
    let request = key.request_id(tx.scope());
    if send_request::note_keyed(tx, request, id, order.digest()).await? {
        return Ok(None);
    }
    let known = send_request::find(tx, request).await?;
    if known.digest == Some(order.digest()) {
        Ok(Some(MessageId::from_uuid(known.message_id)))
    } else {
        Err(ChatError::KeyUsed)
    }
}

/// A webchat visitor's: stored for the page, never dialled.
async fn store(
    tx: &mut TenantTransaction,
    order: &TextOrder,
    id: MessageId,
    chat: ChatUpdate,
) -> Result<Ordered, ChatError> {
    let told = Told {
        person: chat.address.clone(),
        direction: Direction::Outbound,
        source: order.source,
        id: local_id(order.source.as_str()),
        text: order.text.clone(),
    };
    let kept = put(tx, chat, &told, id).await?;
    if !kept {
        return Err(DatabaseError::Contended.into());
    }
    let row = message_status::standing(tx, id)
        .await?
        .ok_or(DatabaseError::NotFound)?;
    if order.is_answer {
        chat::mark_read(tx, &[row.chat_id]).await?;
    }
    let chat = ChatId::from_uuid(row.chat_id);
    Ok(Ordered {
        message_id: told.id.into(),
        chat,
        is_takeover: takeover::active(tx, chat).await?.is_some(),
        outcome: Outcome::Sent,
    })
}

async fn put_in_lane(
    tx: &mut TenantTransaction,
    order: &TextOrder,
    id: MessageId,
    mut chat: ChatUpdate,
) -> Result<Ordered, DatabaseError> {
    let now = Utc::now();
    chat.last_text = order.text.as_str().to_owned();
    chat.last_message_at = now;
    let account = chat.account;
    let chat_id = if order.is_answer {
        let chat_id = chat::upsert_one(tx, &chat).await?;
        chat::mark_read(tx, &[chat_id.as_uuid()]).await?;
        chat_id
    } else {
        chat::ensure(tx, &chat).await?
    };
    let content = MessageContent::Text {
        text: order.text.clone(),
    };
    let refused = |error: serde_json::Error| DatabaseError::Refused(error.into());
    let row = NewMessage {
        tenant: tx.scope().tenant().clone(),
        id,
        account,
        chat: chat_id,
        direction: Direction::Outbound,
        source: order.source.as_str(),
        provider_message_id: ProviderMessageId::generate(),
        kind: content.kind(),
        body: order.text.as_str().to_owned(),
        content: serde_json::to_string(&content).map_err(refused)?,
        quoted: None,
        target: None,
        sender: None,
        sender_name: None,
        sent_at: now,
        status: DeliveryStatus::Queued,
        reference: None,
    };
    message::insert_one(tx, &row).await?;
    let task = NewTask {
        lane: chat_id.to_string(),
        id: id.as_uuid(),
        kind: SEND_TEXT,
        payload: serde_json::to_string(&SendTask {
            message_id: id,
            request_id: messaging::cause::request_id(),
            traceparent: trace_context::current(),
        })
        .map_err(refused)?,
    };
    lanes::enqueue(tx, &task).await?;
    let ordered = Ordered {
        message_id: row.provider_message_id.as_str().to_owned(),
        chat: chat_id,
        is_takeover: takeover::active(tx, chat_id).await?.is_some(),
        outcome: Outcome::Queued,
    };
    let queued = Moved {
        id: id.as_uuid(),
        account_id: account.as_uuid(),
        chat_id: chat_id.as_uuid(),
        provider_message_id: row.provider_message_id.into(),
        reference: None,
    };
    announce(tx, vec![queued], DeliveryStatus::Queued, None, now).await?;
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use domain::ids::TenantId;

    use super::*;

    fn order(person: &str, text: &str) -> TextOrder {
        TextOrder {
            person: ChatAddress::parse(person).unwrap(),
            text: Text::new(text),
            source: MessageSource::System,
            is_answer: false,
            key: None,
        }
    }

    #[test]
    fn a_key_is_bounded_and_means_another_order_at_every_tenant() {
        for wrong in ["", " ", "a\nb", "é", &"x".repeat(256)] {
            assert_eq!(IdempotencyKey::parse(wrong), None, "{wrong:?}");
        }
        let key = IdempotencyKey::parse("case 7/created").unwrap();
        let scope = |id: &str| TenantScope::named_by_operator(TenantId::parse(id).unwrap());
        assert_ne!(
            key.request_id(&scope("desa-satu")),
            key.request_id(&scope("desa-dua"))
        );
    }

    #[test]
    fn another_order_has_another_digest() {
        let first = order("6281290000011@s.whatsapp.net", "halo").digest();
        assert_eq!(first, order("6281290000011@s.whatsapp.net", "halo").digest());
        assert_ne!(first, order("6281290000011@s.whatsapp.net", "Halo").digest());
        assert_ne!(first, order("6281290000012@s.whatsapp.net", "halo").digest());
    }
}
