//! A message of any kind is ordered: checked against what its account's provider can say, the approved templates and the
//! person's window, then placed in its chat's lane like every other message.

use chrono::{DateTime, TimeDelta, Utc};
use database::DatabaseError;
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus;
use domain::endpoint::Provider;
use domain::ids::{AccountId, ChatId, MessageId, PhoneNumberId, ProviderMessageId};
use domain::message::{
    Direction, InvalidContent, MessageContent, MessageKind, MessageSource, TemplateMessage,
};
use messaging::lanes::{self, NewTask};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;
use whatsapp::cloud::{Template, check as fits_template};

use super::announce_status::announce;
use super::chat::{ChatError, known_tenant, meant, new_chat};
use super::learn_lid;
use super::queue_message::{SEND_TEXT, SendTask};
use super::sayable;
use super::send_text::{IdempotencyKey, KEYS, Ordered, Outcome, Texts};
use crate::endpoints::Endpoints;
use crate::store::account::{self, AccountRow};
use crate::store::chat::{self, ChatUpdate};
use crate::store::message::{self, NewMessage};
use crate::store::message_status::Moved;
use crate::store::{channel_account, cloud_number, cloud_sending, cloud_template, send_request, takeover};

/// For so long after a person wrote Meta lets anything be sent to them.
const WINDOW: TimeDelta = TimeDelta::hours(24);

/// Which of the tenant's accounts sends.
#[derive(Debug, Clone)]
pub enum Through {
    /// The one that the chat is on, else the first.
    Usual,
    /// This one.
    Device(AccountId),
    /// The one with this number of the Cloud API.
    Number(PhoneNumberId),
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct MessageOrder {
    /// To whom.
    pub to: ChatAddress,
    /// Through which account.
    pub through: Through,
    /// What it says.
    pub content: MessageContent,
    /// The message it answers.
    pub answers: Option<ProviderMessageId>,
    /// Who wrote it.
    pub source: MessageSource,
    /// Repeated in every status of the message.
    pub reference: Option<String>,
    /// Also when the person's window is known to be closed.
    pub try_anyway: bool,
    /// The caller waits for what becomes of it.
    pub wait: bool,
    /// The caller's key.
    pub key: Option<IdempotencyKey>,
}

/// Why an order is not taken. Nothing is placed then.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// As with texts.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The tenant has no such device.
    #[error("the tenant has no such device")]
    NoSuchDevice,
    /// The account's provider cannot say it.
    #[error("it cannot be said through the account's provider: {0}")]
    Unsayable(InvalidContent),
    /// It does not fill in what the template wants, or there is no such template.
    #[error("it does not fit the template: {0}")]
    Template(InvalidContent),
    /// The chat has no message to react to under this id.
    #[error("the chat has no such message")]
    NoTarget,
    /// The person wrote too long ago, or never.
    #[error("the person's window is closed")]
    WindowClosed(Option<DateTime<Utc>>),
}

impl From<DatabaseError> for OrderError {
    fn from(error: DatabaseError) -> Self {
        Self::Chat(error.into())
    }
}

/// A message that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// What became of it.
    pub ordered: Ordered,
    /// Our id.
    pub id: MessageId,
}

enum Placed {
    Now(Ordered),
    Before(MessageId),
}

impl MessageOrder {
    /// What is ordered, to recognise another order under the same key.
    fn digest(&self) -> Result<Uuid, DatabaseError> {
        let content =
            serde_json::to_string(&self.content).map_err(|error| DatabaseError::Refused(error.into()))?;
        let answers = self.answers.as_ref().map(ProviderMessageId::as_str);
        let order = format!(
            "message\0{}\0{}\0{:?}\0{}\0{content}",
            self.source,
            self.to,
            self.through,
            answers.unwrap_or_default()
        );
        Ok(Uuid::new_v5(&KEYS, order.as_bytes()))
    }
}

impl Texts {
    /// Takes an order, and waits for what becomes of it where that is wanted.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn order(&self, scope: &TenantScope, order: MessageOrder) -> Result<Taken, OrderError> {
        let id = MessageId::generate();
        let waiting = self.outcomes.wait_for(id.as_uuid());
        match self.place_order(scope, &order, id).await? {
            Placed::Now(ordered) => {
                self.relay.ring();
                self.workers.ring();
                if !order.wait {
                    return Ok(Taken { ordered, id });
                }
                let ordered = self.outcome(scope, id, waiting, Some(ordered)).await?;
                Ok(Taken { ordered, id })
            }
            Placed::Before(id) => {
                let waiting = order.wait.then(|| self.outcomes.wait_for(id.as_uuid())).flatten();
                let ordered = self.outcome(scope, id, waiting, None).await?;
                Ok(Taken { ordered, id })
            }
        }
    }

    async fn place_order(
        &self,
        scope: &TenantScope,
        order: &MessageOrder,
        id: MessageId,
    ) -> Result<Placed, OrderError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "place message").await?;
        if !known_tenant(&mut tx).await?.is_active() {
            return Err(ChatError::Suspended.into());
        }
        if let Some(before) = taken_before(&mut tx, order, id).await? {
            tx.commit().await?;
            return Ok(Placed::Before(before));
        }
        if !channel_account::whatsapp_is_on(&mut tx).await? {
            return Err(ChatError::ChannelOff.into());
        }
        let (account, chat) = chat_of(&mut tx, &self.endpoints, order).await?;
        let provider: Option<Provider> = account.provider.parse().ok();
        let provider = provider.unwrap_or(Provider::Genfity);
        sayable::check_recipient(provider, &chat.address).map_err(OrderError::Unsayable)?;
        sayable::check(provider, &order.content, &self.own_files).map_err(OrderError::Unsayable)?;
        let ordered = put(&mut tx, order, id, chat, provider).await?;
        tx.commit().await?;
        Ok(Placed::Now(ordered))
    }
}

/// The message that the order's key stands for already.
async fn taken_before(
    tx: &mut TenantTransaction,
    order: &MessageOrder,
    id: MessageId,
) -> Result<Option<MessageId>, OrderError> {
    let Some(key) = &order.key else { return Ok(None) };
    let (request, digest) = (key.request_id(tx.scope()), order.digest()?);
    if send_request::note_keyed(tx, request, id, digest).await? {
        return Ok(None);
    }
    let known = send_request::find(tx, request).await?;
    if known.digest == Some(digest) {
        Ok(Some(MessageId::from_uuid(known.message_id)))
    } else {
        Err(ChatError::KeyUsed.into())
    }
}

/// Who sends, and in which chat.
async fn chat_of(
    tx: &mut TenantTransaction,
    endpoints: &Endpoints,
    order: &MessageOrder,
) -> Result<(AccountRow, ChatUpdate), OrderError> {
    let no_such = |error| match error {
        DatabaseError::NotFound => OrderError::NoSuchDevice,
        other => other.into(),
    };
    let account = match &order.through {
        Through::Usual => {
            let chat = meant(tx, endpoints, &order.to).await?;
            let account = account::find(tx, chat.account).await?;
            return Ok((account, chat));
        }
        Through::Device(id) => account::find(tx, *id).await.map_err(no_such)?,
        Through::Number(number) => account::find_by_instance(tx, number.as_str())
            .await?
            .filter(|row| row.provider == Provider::Cloud.as_str() && row.token_sealed.is_some())
            .ok_or(OrderError::NoSuchDevice)?,
    };
    let id = AccountId::from_uuid(account.id);
    let (address, _) = learn_lid::chat_address(tx, id, order.to.clone()).await?;
    let chat = new_chat(&tx.scope().clone(), id, address);
    Ok((account, chat))
}

async fn put(
    tx: &mut TenantTransaction,
    order: &MessageOrder,
    id: MessageId,
    mut chat: ChatUpdate,
    provider: Provider,
) -> Result<Ordered, OrderError> {
    let (now, account) = (Utc::now(), chat.account);
    let body = order.content.text_for_humans().into_string();
    if let (Provider::Cloud, MessageContent::Template { template }) = (provider, &order.content) {
        check_template(tx, account, template).await?;
    }
    let is_direct = chat.address.is_direct();
    chat.last_text.clone_from(&body);
    chat.last_message_at = now;
    let chat_id = chat::upsert_one(tx, &chat).await?;
    if provider == Provider::Cloud && is_direct && !order.try_anyway {
        check_window(tx, chat_id, &order.content, now).await?;
    }
    if let Some(target) = order.content.target() {
        let other = message::find_in_chat(tx, account, chat_id, target).await?;
        other.ok_or(OrderError::NoTarget)?;
    }
    let refused = |error: serde_json::Error| DatabaseError::Refused(error.into());
    let row = NewMessage {
        tenant: tx.scope().tenant().clone(),
        id,
        account,
        chat: chat_id,
        direction: Direction::Outbound,
        source: order.source.as_str(),
        provider_message_id: ProviderMessageId::generate(),
        kind: order.content.kind(),
        body,
        content: serde_json::to_string(&order.content).map_err(refused)?,
        quoted: order.answers.clone(),
        target: order.content.target().cloned(),
        sender: None,
        sender_name: None,
        sent_at: now,
        status: DeliveryStatus::Queued,
        reference: order.reference.clone(),
    };
    message::insert_one(tx, &row).await?;
    let task = SendTask {
        message_id: id,
        request_id: messaging::cause::request_id(),
        traceparent: trace_context::current(),
    };
    let task = NewTask {
        lane: chat_id.to_string(),
        id: id.as_uuid(),
        kind: SEND_TEXT,
        payload: serde_json::to_string(&task).map_err(refused)?,
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
        reference: row.reference,
    };
    announce(tx, vec![queued], DeliveryStatus::Queued, None, now).await?;
    Ok(ordered)
}

/// Does it fill in what the template wants? Where the templates are not known, Meta decides.
async fn check_template(
    tx: &mut TenantTransaction,
    account: AccountId,
    message: &TemplateMessage,
) -> Result<(), OrderError> {
    let number = cloud_number::of_account(tx, account).await?;
    let Some(waba) = number.and_then(|number| number.waba_id) else {
        return Ok(());
    };
    let (name, language) = (message.name.as_str(), message.language.code.as_str());
    let Some(row) = cloud_template::find(tx, &waba, name, language).await? else {
        if cloud_template::is_whole(tx, &waba).await? {
            return Err(OrderError::Template(InvalidContent::new(
                "template.name",
                "is none of the business account's templates in this language; after a change, have them listed anew",
            )));
        }
        return Ok(());
    };
    let raw: serde_json::Value = serde_json::from_str(&row.raw).unwrap_or_default();
    let Some(mut template) = Template::read(&raw) else {
        return Ok(());
    };
    // What was told since the list counts.
    template.status = row.status.as_str().into();
    fits_template(message, &template).map_err(|error| OrderError::Template(error.within("template")))
}

/// Would Meta send it now, as far as can be known?
async fn check_window(
    tx: &mut TenantTransaction,
    chat: ChatId,
    content: &MessageContent,
    now: DateTime<Utc>,
) -> Result<(), OrderError> {
    if content.kind() == MessageKind::Template {
        return Ok(());
    }
    let last = cloud_sending::last_inbound(tx, chat).await?;
    if last.is_some_and(|last| now - last < WINDOW) {
        Ok(())
    } else {
        Err(OrderError::WindowClosed(last))
    }
}
