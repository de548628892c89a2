//! Where a message was written: with whom a conversation is, and which places are no conversation with one person.

use domain::address::{ChatAddress, InvalidAddress, Jid, Lid, PhoneNumber};

use crate::error::Unusable;
use crate::event::SkipReason;

/// Channel-service contract 2.3, steps 5 to 7, and the places that were added to WhatsApp since.
pub(crate) fn skip_reason(chat: &Jid, is_group: bool) -> Option<SkipReason> {
    match (chat.server(), chat.user()) {
        ("broadcast", "status") => Some(SkipReason::Status),
        ("broadcast", _) => Some(SkipReason::Broadcast),
        ("newsletter", _) => Some(SkipReason::Newsletter),
        ("bot", _) => Some(SkipReason::Bot),
        ("g.us", _) => Some(SkipReason::Group),
        _ if is_group => Some(SkipReason::Group),
        _ => None,
    }
}

/// With whom a direct conversation is, under every address the event gives (wa-server contract 13).
pub(crate) struct Partner {
    pub(crate) chat: ChatAddress,
    pub(crate) phone: Option<PhoneNumber>,
    pub(crate) lid: Option<Lid>,
}

impl Partner {
    pub(crate) fn new(chat: &Jid, alternative: Option<ChatAddress>) -> Result<Self, Unusable> {
        let (phone, lid) = match (ChatAddress::from_jid(chat), alternative) {
            (Ok(ChatAddress::Phone(phone)), Some(ChatAddress::Lid(lid)))
            | (Ok(ChatAddress::Lid(lid)), Some(ChatAddress::Phone(phone))) => (Some(phone), Some(lid)),
            (Ok(ChatAddress::Phone(phone)), _) => (Some(phone), None),
            (Ok(ChatAddress::Lid(lid)), _) => (None, Some(lid)),
            (
                Ok(
                    ChatAddress::User(_)
                    | ChatAddress::Group(_)
                    | ChatAddress::Other(_)
                    | ChatAddress::Visitor(_),
                ),
                _,
            ) => {
                return Err(Unusable::UnservedChat);
            }
            (Err(InvalidAddress::Phone | InvalidAddress::Lid | InvalidAddress::UserId), _) | (Err(_), _) => {
                return Err(Unusable::Chat);
            }
        };
        // The number wins, so that one person is one chat whichever way WhatsApp addressed them today. A LID alone
        // stays a LID: it is no number and must never be dialled as one.
        let chat = match (&phone, &lid) {
            (Some(phone), _) => ChatAddress::Phone(phone.clone()),
            (None, Some(lid)) => ChatAddress::Lid(lid.clone()),
            (None, None) => return Err(Unusable::Chat),
        };
        Ok(Self { chat, phone, lid })
    }

    /// A group, a broadcast list or the status posts: a chat of its own, which is no person.
    pub(crate) fn place(chat: &Jid) -> Result<Self, Unusable> {
        match ChatAddress::from_jid(chat) {
            Ok(chat @ (ChatAddress::Group(_) | ChatAddress::Other(_))) => Ok(Self {
                chat,
                phone: None,
                lid: None,
            }),
            Ok(
                ChatAddress::Phone(_) | ChatAddress::Lid(_) | ChatAddress::User(_) | ChatAddress::Visitor(_),
            )
            | Err(_) => Err(Unusable::Chat),
        }
    }
}
