//! A tenant's chats as people and other services look at them: list, history, unread counter, profile, deletion.

use chrono::Utc;
use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::ids::{AccountId, ChatId};
use domain::text::Text;
use messaging::lanes;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::gate::deliver::lane as gate_lane;
use super::hand_over;
use super::learn_lid;
use super::tenant::Actor;
use super::tenant_config::ensure_primary;
use crate::endpoints::Endpoints;
use crate::store::audit::{self, Act};
use crate::store::chat::{self, ChatRow, ChatUpdate};
use crate::store::message::{self, HistoryRow};
use crate::store::takeover::{self, TakeoverRow};
use crate::store::tenant::{self, TenantRow};

/// Why nothing was done with a chat.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// Nobody is registered under the tenant's id.
    #[error("there is no such tenant")]
    UnknownTenant,
    /// The tenant is suspended: nothing is sent for it.
    #[error("the tenant is suspended")]
    Suspended,
    /// The tenant has switched WhatsApp off.
    #[error("WhatsApp is switched off")]
    ChannelOff,
    /// The key was used for another order.
    #[error("the idempotency key was used before")]
    KeyUsed,
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// The tenant of the transaction, which must be there.
pub(super) async fn known_tenant(tx: &mut TenantTransaction) -> Result<TenantRow, ChatError> {
    tenant::find(tx).await?.ok_or(ChatError::UnknownTenant)
}

/// The chats' ids, for queries.
pub(super) fn ids(chats: &[ChatRow]) -> Vec<Uuid> {
    chats.iter().map(|chat| chat.id).collect()
}

/// A chat with this person that has no message yet, on this account.
pub(super) fn new_chat(scope: &TenantScope, account: AccountId, address: ChatAddress) -> ChatUpdate {
    ChatUpdate {
        tenant: scope.tenant().clone(),
        account,
        phone: address.phone().map(|phone| phone.as_str().to_owned()),
        lid: address.lid().map(|lid| lid.as_str().to_owned()),
        address,
        name: None,
        last_message_at: Utc::now(),
        last_text: String::new(),
        unread: 0,
        last_inbound_at: None,
    }
}

/// The chat that a caller means by an address: the newest with this person, else a new one over the tenant's first
/// account. As an update that changes nothing yet.
///
/// # Errors
/// [`DatabaseError`].
pub(super) async fn meant(
    tx: &mut TenantTransaction,
    endpoints: &Endpoints,
    address: &ChatAddress,
) -> Result<ChatUpdate, DatabaseError> {
    let scope = tx.scope().clone();
    let known = chat::of_person(tx, address).await?.into_iter().next();
    let (account, address) = match known {
        // A person is written to where the person writes from, whichever name the caller used.
        Some(row) => (
            AccountId::from_uuid(row.account_id),
            ChatAddress::parse(&row.address).map_err(|error| DatabaseError::Refused(Box::new(error)))?,
        ),
        None => (ensure_primary(tx, endpoints).await?, address.clone()),
    };
    // Also where a chat is known: it may have become the number's since it was looked up.
    let (address, _) = learn_lid::chat_address(tx, account, address).await?;
    Ok(new_chat(&scope, account, address))
}

/// The tenant's chats, newest first, at most `most`; with `taken_over`, those that are or are not.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    db: &Database,
    scope: &TenantScope,
    taken_over: Option<bool>,
    most: i64,
) -> Result<Vec<ChatRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list chats").await?;
    let rows = chat::list(&mut tx, taken_over, most).await?;
    tx.commit().await?;
    Ok(rows)
}

/// One person's chat, opened.
#[derive(Default)]
pub struct OpenChat {
    /// The chat; none when the person never wrote.
    pub chat: Option<ChatRow>,
    /// Its newest messages, oldest first.
    pub messages: Vec<HistoryRow>,
    /// Who has taken it over.
    pub takeover: Option<TakeoverRow>,
}

/// Opens a person's chat with its newest `most` messages. With `read`, nothing in it is unread afterwards.
///
/// # Errors
/// [`DatabaseError`].
pub async fn open(
    db: &Database,
    scope: &TenantScope,
    person: &ChatAddress,
    most: i64,
    read: bool,
) -> Result<OpenChat, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "open chat").await?;
    let mut chats = chat::of_person(&mut tx, person).await?;
    let ids = ids(&chats);
    if read && chats.iter().any(|chat| chat.unread != 0) {
        chat::lock(&mut tx, &ids).await?;
        chat::mark_read(&mut tx, &ids).await?;
        chats.iter_mut().for_each(|chat| chat.unread = 0);
    }
    let messages = message::history(&mut tx, &ids, most, true).await?;
    let takeover = takeover::active_of(&mut tx, &ids).await?;
    tx.commit().await?;
    Ok(OpenChat {
        chat: chats.into_iter().next(),
        messages,
        takeover,
    })
}

/// What was said with a person: the newest `most` messages, oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn history(
    db: &Database,
    scope: &TenantScope,
    person: &ChatAddress,
    most: i64,
) -> Result<Vec<HistoryRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "read history").await?;
    let ids = ids(&chat::of_person(&mut tx, person).await?);
    let messages = message::history(&mut tx, &ids, most, false).await?;
    tx.commit().await?;
    Ok(messages)
}

/// Somebody has read what this person wrote.
///
/// # Errors
/// [`ChatError`].
pub async fn mark_read(db: &Database, scope: &TenantScope, person: &ChatAddress) -> Result<(), ChatError> {
    let mut tx = TenantTransaction::begin(db, scope, "mark chat read").await?;
    known_tenant(&mut tx).await?;
    let ids = ids(&chat::of_person(&mut tx, person).await?);
    chat::lock(&mut tx, &ids).await?;
    chat::mark_read(&mut tx, &ids).await?;
    tx.commit().await?;
    Ok(())
}

/// What a person said about themselves, cleaned.
#[derive(Default)]
pub struct Profile {
    /// The name.
    pub name: Option<Text>,
    /// The number, as it was typed: never dialled.
    pub phone: Option<Text>,
}

/// Notes it in the person's chats; somebody without one is not noted.
///
/// # Errors
/// [`ChatError`].
pub async fn set_profile(
    db: &Database,
    scope: &TenantScope,
    person: &ChatAddress,
    profile: &Profile,
) -> Result<(), ChatError> {
    let mut tx = TenantTransaction::begin(db, scope, "set profile").await?;
    known_tenant(&mut tx).await?;
    let ids = ids(&chat::of_person(&mut tx, person).await?);
    chat::lock(&mut tx, &ids).await?;
    let (name, phone) = (&profile.name, &profile.phone);
    chat::set_profile(
        &mut tx,
        &ids,
        name.as_ref().map(Text::as_str),
        phone.as_ref().map(Text::as_str),
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes everything that was said with a person: messages, attempts, what still waits to go out, takeovers, the
/// chat. The dedup ledger stays, so that a webhook that is repeated later brings nothing back. Returns how many chats
/// there were.
///
/// # Errors
/// [`ChatError`]; nothing is deleted then.
pub async fn delete(
    db: &Database,
    scope: &TenantScope,
    person: &ChatAddress,
    actor: &Actor,
) -> Result<usize, ChatError> {
    let mut tx = TenantTransaction::begin(db, scope, "delete chat").await?;
    known_tenant(&mut tx).await?;
    let chats = chat::of_person(&mut tx, person).await?;
    // Whoever writes to a chat holds its row: from here on nothing new comes in. The order of what follows is the
    // order in which senders take their locks.
    let locked = chat::lock(&mut tx, &ids(&chats)).await?;
    let mut acts = Vec::new();
    for id in &locked {
        acts.push(delete_one(&mut tx, *id, actor).await?);
    }
    // Last: whoever notes waits for others who note, and holds them up.
    for act in acts {
        audit::note(&mut tx, &act).await?;
    }
    tx.commit().await?;
    Ok(locked.len())
}

/// Returns the act, which is not noted yet.
async fn delete_one<'a>(
    tx: &mut TenantTransaction,
    id: ChatId,
    actor: &'a Actor,
) -> Result<Act<'a>, DatabaseError> {
    takeover::delete_of_chat(tx, id).await?;
    let messages = message::delete_of_chat(tx, id).await?;
    let waiting = lanes::discard(tx, &id.to_string()).await?;
    lanes::discard(tx, &hand_over::lane(id)).await?;
    lanes::discard(tx, &gate_lane(id)).await?;
    chat::delete(tx, &[id.as_uuid()]).await?;
    let act = actor.act("conversation.delete", Some(id.to_string()));
    Ok(act.saying(format!("{messages} messages, {waiting} not yet sent")))
}
