//! From the stored message to what a provider sends.

use database::DatabaseError;
use domain::address::{ChatAddress, PhoneNumber};
use domain::chat::Place;
use domain::delivery::DeliveryStatus;
use domain::ids::{AccountId, ChatId, ProviderMessageId};
use domain::message::{Direction, Media, MessageContent, MessageKind};
use domain::text::Text;
use tenant_isolation::TenantTransaction;
use whatsapp::port::{MessageReference, OutboundContent, OutboundMedia, OutboundMessage, OutboundQuote};

use super::load_media::LoadedFile;
use crate::store::message::{self, OtherRow, OutboundRow};
use crate::store::message_change::MessageChange;

/// A message of which only a file may be missing.
pub(super) struct Draft {
    id: ProviderMessageId,
    pub(super) to: ChatAddress,
    quoted: Option<OutboundQuote>,
    said: Said,
}

enum Said {
    Whole(OutboundContent),
    File(Media),
}

/// What stands in the way of sending a message.
pub(super) enum Obstacle {
    /// It cannot be read, or is of a kind that is never sent.
    Unreadable,
    /// The message it is about did not go out, so nobody has it.
    TargetNotSent,
}

/// Reads a stored message. The inner result tells what stands in its way. What it is about is what that is known by now: of
/// an earlier message of ours in the same chat everything is known that will be, for it stood before this one in the lane.
pub(super) async fn draft(
    tx: &mut TenantTransaction,
    row: &OutboundRow,
    is_cloud: bool,
) -> Result<Result<Draft, Obstacle>, DatabaseError> {
    let account = AccountId::from_uuid(row.account_id);
    let chat = ChatId::from_uuid(row.chat_id);
    let parts = (
        ProviderMessageId::parse(row.provider_message_id.as_str()),
        ChatAddress::parse(&row.address),
        serde_json::from_str::<MessageContent>(&row.content),
    );
    let (Ok(id), Ok(to), Ok(content)) = parts else {
        return Ok(Err(Obstacle::Unreadable));
    };
    let mut target = None;
    if let Some(about) = content.target() {
        let Some(other) = message::find_in_chat(tx, account, chat, about).await? else {
            return Ok(Err(Obstacle::TargetNotSent));
        };
        if !is_there(&other, is_cloud) {
            return Ok(Err(Obstacle::TargetNotSent));
        }
        target = Some(other);
    }
    let quoted = match row
        .quoted
        .as_ref()
        .map(|id| ProviderMessageId::parse(id.as_str()))
    {
        Some(Ok(id)) => message::find_in_chat(tx, account, chat, &id)
            .await?
            // The person cannot look up what they do not have.
            .filter(|other| is_there(other, is_cloud))
            .and_then(|other| quote(&other, &to, row.own_phone.as_deref())),
        // A quote that cannot be read costs the quote, never the message.
        Some(Err(_)) | None => None,
    };
    Ok(said(content, target.as_ref(), &to)
        .map(|said| Draft { id, to, quoted, said })
        .ok_or(Obstacle::Unreadable))
}

/// Has the person this message? What came from outside, or has left us. Meta gives a message its id when it takes it: one
/// of which nobody knows whether it did has none that Meta knows.
fn is_there(other: &OtherRow, is_cloud: bool) -> bool {
    other.direction == Direction::Inbound.as_str()
        || match other.status.parse() {
            Ok(DeliveryStatus::Sent | DeliveryStatus::Delivered | DeliveryStatus::Read) => true,
            Ok(DeliveryStatus::Unknown) => !is_cloud,
            Ok(DeliveryStatus::Queued | DeliveryStatus::Failed | DeliveryStatus::Parked) | Err(_) => false,
        }
}

fn quote(other: &OtherRow, chat: &ChatAddress, own_phone: Option<&str>) -> Option<OutboundQuote> {
    let participant = if other.direction == Direction::Outbound.as_str() {
        let own = own_phone.and_then(|phone| PhoneNumber::parse(phone).ok());
        own.map(ChatAddress::Phone)
    } else {
        Some(writer(other).unwrap_or_else(|| chat.clone()))
    };
    Some(OutboundQuote {
        id: known_as(other)?,
        participant,
        text: Some(Text::new(&other.body)),
    })
}

/// What the provider knows a message by, whichever id it was ordered under.
fn known_as(other: &OtherRow) -> Option<ProviderMessageId> {
    ProviderMessageId::parse(other.provider_message_id.as_str()).ok()
}

/// Who of several people wrote a message.
fn writer(other: &OtherRow) -> Option<ChatAddress> {
    ChatAddress::parse(other.sender.as_deref()?).ok()
}

fn said(content: MessageContent, target: Option<&OtherRow>, to: &ChatAddress) -> Option<Said> {
    let content = match content {
        MessageContent::Text { text } => OutboundContent::Text(text),
        MessageContent::Media(media) => return Some(Said::File(media)),
        MessageContent::Location {
            latitude,
            longitude,
            name,
            address,
            live: false,
        } => OutboundContent::Location {
            latitude,
            longitude,
            name,
            address,
        },
        MessageContent::Contacts { contacts } => OutboundContent::Contacts(contacts),
        MessageContent::Reaction { target: _, emoji } => {
            let other = target?;
            OutboundContent::Reaction {
                target: MessageReference {
                    id: known_as(other)?,
                    ours: other.direction == Direction::Outbound.as_str(),
                    participant: Place::of(to).and_then(|_| writer(other)),
                },
                emoji,
            }
        }
        MessageContent::Edit { target: _, content } => match *content {
            MessageContent::Text { text } => OutboundContent::Edit {
                target: known_as(target?)?,
                text,
            },
            _ => return None,
        },
        MessageContent::Revoke { target: _ } => OutboundContent::Revoke {
            target: known_as(target?)?,
        },
        MessageContent::Template { template } => OutboundContent::Template(template),
        MessageContent::Interactive { interactive } => OutboundContent::Interactive(interactive),
        MessageContent::Location { live: true, .. }
        | MessageContent::Poll { .. }
        | MessageContent::PollVote { .. }
        | MessageContent::InteractiveReply { .. }
        | MessageContent::Unsupported { .. } => return None,
    };
    Some(Said::Whole(content))
}

/// What a message of ours does to an earlier one of ours, once it went out.
pub(super) fn change(
    tenant: &domain::ids::TenantId,
    row: &OutboundRow,
    at: chrono::DateTime<chrono::Utc>,
) -> Option<MessageChange> {
    let content: MessageContent = serde_json::from_str(&row.content).ok()?;
    let (target, revoked) = MessageChange::of(&content)?;
    Some(MessageChange {
        tenant: tenant.clone(),
        account: AccountId::from_uuid(row.account_id),
        chat: ChatId::from_uuid(row.chat_id),
        target: target.clone(),
        direction: Direction::Outbound,
        sender: None,
        at,
        revoked,
        body: content.text_for_humans().into_string(),
    })
}

impl Draft {
    /// What sort of message it is.
    pub(super) const fn kind(&self) -> MessageKind {
        match &self.said {
            Said::Whole(content) => content.kind(),
            Said::File(media) => media.media_kind.message_kind(),
        }
    }

    /// The file it still needs.
    pub(super) const fn file(&self) -> Option<&Media> {
        match &self.said {
            Said::File(media) => Some(media),
            Said::Whole(_) => None,
        }
    }

    /// The message, with its file. `None`: the file is missing.
    pub(super) fn complete(self, loaded: Option<LoadedFile>) -> Option<OutboundMessage> {
        let content = match self.said {
            Said::Whole(content) => content,
            Said::File(media) => {
                let loaded = loaded?;
                OutboundContent::Media(OutboundMedia {
                    kind: media.media_kind,
                    file: loaded.file,
                    mime_type: loaded.mime_type.or(media.mime_type),
                    caption: media.caption,
                    file_name: media.file_name,
                    seconds: media.seconds,
                })
            }
        };
        Some(OutboundMessage {
            id: self.id,
            to: self.to,
            content,
            quoted: self.quoted,
        })
    }
}
