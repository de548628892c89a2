//! Somebody asks the AI for another try at the message it did not answer (channel-service contract 1.6).

use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::ids::{ChatId, MessageId, ProviderMessageId};
use messaging::events::govconnect::{MessageRetry, WhatsappMessage};
use messaging::outbox::Signal;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::hand_over::publish;
use super::identifier::write_identifier;
use super::tenant::Actor;
use crate::store::{ai_chat, ai_message, ai_reply, audit, pending_message};

/// Hands the chat's unanswered message over once more. False: there is none.
///
/// # Errors
/// [`DatabaseError`].
pub async fn retry(
    db: &Database,
    relay: &Signal,
    scope: &TenantScope,
    person: &ChatAddress,
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "retry AI answer").await?;
    for row in ai_chat::find(&mut tx, person, None).await? {
        let pending = row
            .pending_message_id
            .and_then(|id| ProviderMessageId::parse(id).ok());
        let Some(pending) = pending else {
            continue;
        };
        let chat = ChatId::from_uuid(row.id);
        if !ai_chat::lock(&mut tx, chat).await? {
            continue;
        }
        let Some(message) = ai_message::find_in_chat(&mut tx, chat, &pending).await? else {
            continue;
        };
        // An answer that was found and did not go out must not stand in the way of the next one.
        ai_reply::release(&mut tx, pending.as_str()).await?;
        pending_message::begin(&mut tx, MessageId::from_uuid(message.id), pending.as_str()).await?;
        ai_chat::processing(&mut tx, chat, pending.as_str()).await?;
        let event = WhatsappMessage::Retry(MessageRetry {
            wa_user_id: write_identifier(&message.address, message.phone.as_deref()).to_owned(),
            village_id: scope.tenant().as_str().to_owned(),
            message: message.body,
            message_id: message.provider_message_id,
            is_retry: true,
            channel: row.channel,
        });
        publish(&mut tx, chat, &event).await?;
        audit::note(&mut tx, &actor.act("ai.retry", Some(chat.to_string()))).await?;
        tx.commit().await?;
        relay.ring();
        return Ok(true);
    }
    Ok(false)
}
