//! Ids as clients of the gate see them. Each can be turned back, so none of them has to be kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::address::ChatAddress;
use domain::ids::{ChatId, MessageId};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// How ids of messages begin.
const WAMID: &str = "wamid.";
/// How an id begins, decoded, that names a message we do not have by what the provider calls it.
const FOREIGN: &[u8] = b"p:";
/// The country of people whom Meta has given no id: one that is nobody's (ISO 3166 leaves `ZZ` to users).
const NOBODYS: &str = "ZZ.";

/// A message as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// One of ours.
    Ours(MessageId),
    /// By the provider's id.
    ByProvider(String),
}

/// What a message of ours is called.
#[must_use]
pub fn wamid(message: MessageId) -> String {
    format!("{WAMID}{}", BASE64.encode(message.as_uuid().as_bytes()))
}

/// What a message is called that we do not have.
#[must_use]
pub fn foreign_wamid(provider_id: &str) -> String {
    format!(
        "{WAMID}{}",
        BASE64.encode([FOREIGN, provider_id.as_bytes()].concat())
    )
}

/// Which message is meant. What is none of ours may be the provider's own id, as numbers of Meta's have.
#[must_use]
pub fn meant(id: &str) -> Meant {
    let decoded = id.strip_prefix(WAMID).and_then(|text| BASE64.decode(text).ok());
    if let Some(bytes) = decoded {
        if let Ok(uuid) = Uuid::from_slice(&bytes) {
            return Meant::Ours(MessageId::from_uuid(uuid));
        }
        let foreign = bytes.strip_prefix(FOREIGN).map(<[u8]>::to_vec);
        if let Some(text) = foreign.and_then(|text| String::from_utf8(text).ok()) {
            return Meant::ByProvider(text);
        }
    }
    Meant::ByProvider(id.to_owned())
}

/// What a file is called: its uuid in decimal.
#[must_use]
pub fn media_id(id: Uuid) -> String {
    id.as_u128().to_string()
}

/// Which file is meant.
#[must_use]
pub fn media(id: &str) -> Option<Uuid> {
    digits(id).map(Uuid::from_u128)
}

/// What the person of a chat is called whom Meta has given no id.
#[must_use]
pub fn user_id(chat: ChatId) -> String {
    format!("{NOBODYS}{}", chat.as_uuid().as_u128())
}

/// What somebody in a group is called. Leads to no chat: whoever writes to it is told that nobody is known by it.
#[must_use]
pub fn writer_id(address: &ChatAddress) -> String {
    let digest: [u8; 32] = Sha256::digest(address.as_str().as_bytes()).into();
    let (half, _) = digest.split_at(16);
    let number = half
        .iter()
        .fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    format!("{NOBODYS}{}", number.max(1))
}

/// Whose chat is meant, where the id is one of ours.
#[must_use]
pub fn chat_of_user(id: &str) -> Option<ChatId> {
    let number = digits(id.strip_prefix(NOBODYS)?)?;
    Some(ChatId::from_uuid(Uuid::from_u128(number)))
}

fn digits(text: &str) -> Option<u128> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_can_be_turned_back() {
        let (message, chat) = (MessageId::generate(), ChatId::generate());
        let wamid = wamid(message);
        assert_eq!((wamid.len(), meant(&wamid)), (30, Meant::Ours(message)));
        assert_eq!(
            meant(&foreign_wamid("3EB0AB")),
            Meant::ByProvider("3EB0AB".into())
        );
        assert_eq!(
            meant("wamid.HBgM01textReply=="),
            Meant::ByProvider("wamid.HBgM01textReply==".into())
        );
        let file = message.as_uuid();
        assert!(media_id(file).bytes().all(|b| b.is_ascii_digit()));
        assert_eq!(media(&media_id(file)), Some(file));
        assert_eq!(chat_of_user(&user_id(chat)), Some(chat));
    }

    #[test]
    fn people_of_one_group_are_not_each_other() {
        let of = |number: &str| writer_id(&ChatAddress::parse(&format!("{number}@s.whatsapp.net")).unwrap());
        assert_ne!(of("6281200000001"), of("6281200000002"));
        assert!(
            chat_of_user(&of("6281200000001")).is_some(),
            "of our own making, and nobody's"
        );
    }

    #[test]
    fn what_is_no_id_means_nothing() {
        for wrong in ["", "0", "-1", "+1", " 1", "1x", "01", &"9".repeat(40)] {
            assert_eq!(media(wrong), None, "{wrong}");
            assert_eq!(chat_of_user(&format!("ZZ.{wrong}")), None, "{wrong}");
        }
        assert_eq!(chat_of_user("ID.90812345670000000001"), None);
    }
}
