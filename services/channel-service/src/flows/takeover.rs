//! A person takes a chat over from the AI, and gives it back. At most one has it at a time.

use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::ids::ChatId;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::chat::{ChatError, ids, known_tenant, meant};
use super::tenant::Actor;
use crate::endpoints::Endpoints;
use crate::store::takeover::{NewTakeover, TakenChatRow, TakeoverRow};
use crate::store::{audit, chat, takeover};

/// Gives a person's chat to somebody; whoever had it before has it no longer. A person who never wrote gets a chat.
///
/// # Errors
/// [`ChatError`]; nothing is changed then.
pub async fn start(
    db: &Database,
    endpoints: &Endpoints,
    scope: &TenantScope,
    person: &ChatAddress,
    new: &NewTakeover,
    actor: &Actor,
) -> Result<TakenChatRow, ChatError> {
    let mut tx = TenantTransaction::begin(db, scope, "start takeover").await?;
    known_tenant(&mut tx).await?;
    let meant = meant(&mut tx, endpoints, person).await?;
    // Holds the chat's row: who comes at the same moment waits here, and then ends what was begun meanwhile.
    let id = chat::ensure(&mut tx, &meant).await?;
    let row = begin(&mut tx, id, new, actor).await?;
    let chat = chat::find(&mut tx, ChatId::from_uuid(row.chat_id)).await?;
    tx.commit().await?;
    Ok(TakenChatRow {
        takeover: row,
        address: chat.address,
        phone: chat.phone,
        channel: chat.channel,
    })
}

/// Begins the takeover of a chat that the transaction holds.
async fn begin(
    tx: &mut TenantTransaction,
    id: ChatId,
    new: &NewTakeover,
    actor: &Actor,
) -> Result<TakeoverRow, DatabaseError> {
    let before = takeover::end(tx, &[id.as_uuid()]).await?;
    let row = takeover::begin(tx, id, new).await?;
    let mut act = actor.act("takeover.start", Some(id.to_string()));
    act.detail = (before > 0).then(|| "from somebody else".to_owned());
    audit::note(tx, &act).await?;
    Ok(row)
}

/// As [`start`], of one chat and no other with the same person. False when there is no such chat.
///
/// # Errors
/// [`ChatError`]; nothing is changed then.
pub async fn start_in(
    db: &Database,
    scope: &TenantScope,
    chat: ChatId,
    new: &NewTakeover,
    actor: &Actor,
) -> Result<bool, ChatError> {
    let mut tx = TenantTransaction::begin(db, scope, "start takeover of chat").await?;
    known_tenant(&mut tx).await?;
    let is_there = !chat::lock(&mut tx, &[chat.as_uuid()]).await?.is_empty();
    if is_there {
        begin(&mut tx, chat, new, actor).await?;
    }
    tx.commit().await?;
    Ok(is_there)
}

/// As [`end`], of one chat and no other with the same person.
///
/// # Errors
/// [`ChatError`]; nothing is changed then.
pub async fn end_in(
    db: &Database,
    scope: &TenantScope,
    chat: ChatId,
    actor: &Actor,
) -> Result<bool, ChatError> {
    let mut tx = TenantTransaction::begin(db, scope, "end takeover of chat").await?;
    known_tenant(&mut tx).await?;
    chat::lock(&mut tx, &[chat.as_uuid()]).await?;
    let ended = takeover::end(&mut tx, &[chat.as_uuid()]).await? > 0;
    if ended {
        audit::note(&mut tx, &actor.act("takeover.end", Some(chat.to_string()))).await?;
    }
    tx.commit().await?;
    Ok(ended)
}

/// Gives a person's chat back to the AI. False when nobody had it.
///
/// # Errors
/// [`ChatError`]; nothing is changed then.
pub async fn end(
    db: &Database,
    scope: &TenantScope,
    person: &ChatAddress,
    actor: &Actor,
) -> Result<bool, ChatError> {
    let mut tx = TenantTransaction::begin(db, scope, "end takeover").await?;
    known_tenant(&mut tx).await?;
    let chats = chat::of_person(&mut tx, person).await?;
    chat::lock(&mut tx, &ids(&chats)).await?;
    let ended = takeover::end(&mut tx, &ids(&chats)).await? > 0;
    if ended {
        let subject = chats.first().map(|chat| chat.id.to_string());
        audit::note(&mut tx, &actor.act("takeover.end", subject)).await?;
    }
    tx.commit().await?;
    Ok(ended)
}

/// Who has a person's chat now, with the chat. `None`: the AI.
///
/// # Errors
/// [`DatabaseError`].
pub async fn status(
    db: &Database,
    scope: &TenantScope,
    person: &ChatAddress,
) -> Result<Option<TakenChatRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "takeover status").await?;
    let chats = chat::of_person(&mut tx, person).await?;
    let active: Option<TakeoverRow> = takeover::active_of(&mut tx, &ids(&chats)).await?;
    tx.commit().await?;
    Ok(active.and_then(|takeover| {
        let chat = chats.into_iter().find(|chat| chat.id == takeover.chat_id)?;
        Some(TakenChatRow {
            takeover,
            address: chat.address,
            phone: chat.phone,
            channel: chat.channel,
        })
    }))
}

/// The tenant's active takeovers, newest first, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(db: &Database, scope: &TenantScope, most: i64) -> Result<Vec<TakenChatRow>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "list takeovers").await?;
    let rows = takeover::list_active(&mut tx, most).await?;
    tx.commit().await?;
    Ok(rows)
}
