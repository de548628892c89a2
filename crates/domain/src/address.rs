//! Who a chat is with: phone numbers, hidden ids (LIDs), Meta's user ids, and WhatsApp's addresses (JIDs).
//!
//! A number is taken as WhatsApp writes it. No country code is ever invented and a LID is never treated as a number:
//! both would write to a stranger (channel-service contract 9.C15).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const PHONE_SERVER: &str = "s.whatsapp.net";
const LEGACY_PHONE_SERVER: &str = "c.us";
const LID_SERVER: &str = "lid";
const GROUP_SERVER: &str = "g.us";
/// Ours, not WhatsApp's: under it a user id of Meta's stands where every chat has an address.
const USER_SERVER: &str = "bsuid";

const PHONE_SUFFIX: &str = "@s.whatsapp.net";
const LID_SUFFIX: &str = "@lid";
const USER_SUFFIX: &str = "@bsuid";

/// Why a text is no address. Never holds the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// A phone number has 5 to 20 digits and nothing else.
    #[error("a phone number has 5 to 20 digits")]
    Phone,
    /// A LID has 5 to 20 digits and nothing else.
    #[error("a LID has 5 to 20 digits")]
    Lid,
    /// A user id has 1 to 160 letters, digits, '.', '_' or '-' and nothing else.
    #[error("a user id has 1 to 160 letters, digits, '.', '_' or '-'")]
    UserId,
    /// There is no `user@server`.
    #[error("an address has the form user@server")]
    Form,
    /// The part before the `@` is empty, too long or has characters outside the set.
    #[error("the user part of an address has 1 to 64 letters, digits, '.', '_' or '-'")]
    User,
    /// The part after the `@` is empty, too long or has characters outside the set.
    #[error("the server part of an address has 1 to 64 letters, digits, '.' or '-'")]
    Server,
    /// The device is no number below 65,536.
    #[error("the device of an address is a number below 65536")]
    Device,
    /// A webchat visitor is `web_` and 1 to 96 letters, digits or `_`.
    #[error("a webchat visitor is web_ and 1 to 96 letters, digits or _")]
    Visitor,
}

/// Digits only, within WhatsApp's lengths.
fn is_number(text: &str) -> bool {
    (5..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A phone number with its country code, digits only: `6281200000001`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber {
    // The address form; the digits are its beginning. One allocation serves both views.
    jid: String,
}

impl PhoneNumber {
    /// Reads 5 to 20 digits.
    ///
    /// # Errors
    /// [`InvalidAddress::Phone`] for anything else, a leading `+` or `0812 …` with blanks included.
    pub fn parse(digits: &str) -> Result<Self, InvalidAddress> {
        if is_number(digits) {
            Ok(Self {
                jid: format!("{digits}{PHONE_SUFFIX}"),
            })
        } else {
            Err(InvalidAddress::Phone)
        }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.jid.strip_suffix(PHONE_SUFFIX).unwrap_or(&self.jid)
    }

    /// The address: `6281200000001@s.whatsapp.net`.
    #[must_use]
    pub fn as_jid(&self) -> &str {
        &self.jid
    }
}

/// WhatsApp's hidden id of a person, digits only. **Not** a phone number.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lid {
    jid: String,
}

impl Lid {
    /// Reads 5 to 20 digits.
    ///
    /// # Errors
    /// [`InvalidAddress::Lid`] for anything else.
    pub fn parse(digits: &str) -> Result<Self, InvalidAddress> {
        if is_number(digits) {
            Ok(Self {
                jid: format!("{digits}{LID_SUFFIX}"),
            })
        } else {
            Err(InvalidAddress::Lid)
        }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.jid.strip_suffix(LID_SUFFIX).unwrap_or(&self.jid)
    }

    /// The address: `190000000000001@lid`.
    #[must_use]
    pub fn as_jid(&self) -> &str {
        &self.jid
    }
}

/// Meta's business-scoped id of a person: `ID.90812345670000000001`, `US.ENT.…`, `user.…`.
///
/// One person has another one for every business portfolio, and a new one after changing numbers. Never taken apart,
/// never a phone number and never dialled as one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId {
    // The address form, as with a phone number.
    jid: String,
}

impl UserId {
    /// Longest accepted id, in characters.
    pub const MAX_LENGTH: usize = 160;

    /// Reads 1 to 160 ASCII letters, digits, `.`, `_` or `-`.
    ///
    /// # Errors
    /// [`InvalidAddress::UserId`] for anything else.
    pub fn parse(id: &str) -> Result<Self, InvalidAddress> {
        let fits = (1..=Self::MAX_LENGTH).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits {
            Ok(Self {
                jid: format!("{id}{USER_SUFFIX}"),
            })
        } else {
            Err(InvalidAddress::UserId)
        }
    }

    /// The id as Meta writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.jid.strip_suffix(USER_SUFFIX).unwrap_or(&self.jid)
    }

    /// The address: `ID.90812345670000000001@bsuid`.
    #[must_use]
    pub fn as_jid(&self) -> &str {
        &self.jid
    }
}

/// A WhatsApp address as it comes over the wire: `user:device@server`.
///
/// User and server are ASCII without blanks, slashes or controls, so that an address is safe in keys and logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Jid {
    user: String,
    device: Option<u16>,
    server: String,
}

impl Jid {
    /// Longest accepted user or server part, in characters.
    pub const MAX_PART: usize = 64;

    /// Reads `user@server` or `user:device@server`; an agent (`user.0:device@server`) is dropped.
    ///
    /// # Errors
    /// [`InvalidAddress`] names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let (left, server) = text.split_once('@').ok_or(InvalidAddress::Form)?;
        let (user, device) = match left.split_once(':') {
            Some((user, device)) => (user, Some(parse_device(device)?)),
            None => (left, None),
        };
        if !is_part(server, b".-") {
            return Err(InvalidAddress::Server);
        }
        if !is_part(user, b"._-") {
            return Err(InvalidAddress::User);
        }
        // Only numbers of people carry an agent; a dot in another kind of user is part of its name.
        let user = match (server, user.split_once('.')) {
            (PHONE_SERVER | LEGACY_PHONE_SERVER | LID_SERVER, Some((number, agent)))
                if !agent.is_empty() && agent.bytes().all(|b| b.is_ascii_digit()) =>
            {
                number
            }
            _ => user,
        };
        Ok(Self {
            user: user.to_owned(),
            device,
            server: server.to_owned(),
        })
    }

    /// The part before the device.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Which of the person's devices, where given.
    #[must_use]
    pub const fn device(&self) -> Option<u16> {
        self.device
    }

    /// The part after the `@`.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.device {
            Some(device) => write!(f, "{}:{device}@{}", self.user, self.server),
            None => write!(f, "{}@{}", self.user, self.server),
        }
    }
}

fn parse_device(text: &str) -> Result<u16, InvalidAddress> {
    // `str::parse` alone would take a leading plus.
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
    .ok_or(InvalidAddress::Device)
}

fn is_part(text: &str, marks: &[u8]) -> bool {
    (1..=Jid::MAX_PART).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || marks.contains(&b))
}

/// The canonical identity of a chat partner: the same person always has the same address, whatever device wrote.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ChatAddress {
    /// A person known by phone number.
    Phone(PhoneNumber),
    /// A person known by hidden id only. Answered at this address, never dialled as a number.
    Lid(Lid),
    /// A person known by Meta's user id only. Answered under this id, never dialled as a number.
    User(UserId),
    /// A group: the whole address, `…@g.us`.
    Group(GroupAddress),
    /// Anything else WhatsApp has: status posts, newsletters, bots.
    Other(OtherAddress),
    /// A visitor of the tenant's web page. Not on WhatsApp: nothing is ever dialled for it.
    Visitor(VisitorId),
}

/// The session of a webchat visitor: `web_…`. Made by [`ChatAddress::parse`] or [`VisitorId::parse`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VisitorId(String);

impl VisitorId {
    /// What every visitor's id begins with, in any case of letters.
    pub const PREFIX: &str = "web_";
    /// Longest accepted rest, in characters.
    pub const MAX_REST: usize = 96;

    /// Does this text mean a visitor, rightly written or not?
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.get(..Self::PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(Self::PREFIX))
    }

    /// Reads `web_` and 1 to 96 ASCII letters, digits or `_` (channel-service contract 1.4).
    ///
    /// # Errors
    /// [`InvalidAddress::Visitor`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let rest = text.get(Self::PREFIX.len()..).unwrap_or_default();
        let fits = Self::is_meant_by(text)
            && (1..=Self::MAX_REST).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidAddress::Visitor)
        }
    }

    /// The id as the web page knows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A group's address. Made by [`ChatAddress::parse`] only.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupAddress(String);

/// The address of something that is neither person nor group. Made by [`ChatAddress::parse`] only.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OtherAddress(String);

impl ChatAddress {
    /// Reads an address; a device is dropped and `c.us` becomes `s.whatsapp.net`. `web_…` is a webchat visitor.
    ///
    /// # Errors
    /// [`InvalidAddress`] names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        if !text.contains('@') && VisitorId::is_meant_by(text) {
            return VisitorId::parse(text).map(Self::Visitor);
        }
        // Longer than WhatsApp's own addresses may be.
        if let Some(id) = text.strip_suffix(USER_SUFFIX) {
            return UserId::parse(id).map(Self::User);
        }
        Self::from_jid(&Jid::parse(text)?)
    }

    /// The chat partner behind an address that was read already.
    ///
    /// # Errors
    /// [`InvalidAddress`] when a phone's or LID's user part is no number, or a user id is none.
    pub fn from_jid(jid: &Jid) -> Result<Self, InvalidAddress> {
        let Jid {
            user,
            server,
            device: _,
        } = jid;
        Ok(match server.as_str() {
            PHONE_SERVER | LEGACY_PHONE_SERVER => Self::Phone(PhoneNumber::parse(user)?),
            LID_SERVER => Self::Lid(Lid::parse(user)?),
            USER_SERVER => Self::User(UserId::parse(user)?),
            GROUP_SERVER => Self::Group(GroupAddress(format!("{user}@{server}"))),
            _ => Self::Other(OtherAddress(format!("{user}@{server}"))),
        })
    }

    /// The canonical text: `628…@s.whatsapp.net`, `…@lid`, `…@bsuid`, `…@g.us`. [`ChatAddress::parse`] reads it back.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Phone(phone) => phone.as_jid(),
            Self::Lid(lid) => lid.as_jid(),
            Self::User(user) => user.as_jid(),
            Self::Group(GroupAddress(text))
            | Self::Other(OtherAddress(text))
            | Self::Visitor(VisitorId(text)) => text,
        }
    }

    /// Is this one person?
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        matches!(self, Self::Phone(_) | Self::Lid(_) | Self::User(_))
    }

    /// The phone number, where known.
    #[must_use]
    pub const fn phone(&self) -> Option<&PhoneNumber> {
        match self {
            Self::Phone(phone) => Some(phone),
            Self::Lid(_) | Self::User(_) | Self::Group(_) | Self::Other(_) | Self::Visitor(_) => None,
        }
    }

    /// The hidden id, when that is all there is.
    #[must_use]
    pub const fn lid(&self) -> Option<&Lid> {
        match self {
            Self::Lid(lid) => Some(lid),
            Self::Phone(_) | Self::User(_) | Self::Group(_) | Self::Other(_) | Self::Visitor(_) => None,
        }
    }

    /// Meta's user id, when that is all there is.
    #[must_use]
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Phone(_) | Self::Lid(_) | Self::Group(_) | Self::Other(_) | Self::Visitor(_) => None,
        }
    }
}

macro_rules! address_text {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = InvalidAddress;

            fn from_str(text: &str) -> Result<Self, InvalidAddress> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidAddress;

            fn try_from(text: String) -> Result<Self, InvalidAddress> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(address: $name) -> Self {
                address.as_str().to_owned()
            }
        }
    )+};
}

address_text!(PhoneNumber, Lid, UserId, ChatAddress);

impl From<PhoneNumber> for ChatAddress {
    fn from(phone: PhoneNumber) -> Self {
        Self::Phone(phone)
    }
}

impl From<Lid> for ChatAddress {
    fn from(lid: Lid) -> Self {
        Self::Lid(lid)
    }
}

impl From<UserId> for ChatAddress {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_came() {
        for text in [
            "6281100000009:12@s.whatsapp.net",
            "190000000000001@lid",
            "status@broadcast",
        ] {
            assert_eq!(Jid::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn every_spelling_of_a_person_is_one_address() {
        let long = format!("{}@bsuid", "A".repeat(UserId::MAX_LENGTH));
        for (spelling, canonical) in [
            ("6281200000001@s.whatsapp.net", "6281200000001@s.whatsapp.net"),
            ("6281200000001:24@s.whatsapp.net", "6281200000001@s.whatsapp.net"),
            (
                "6281200000001.0:24@s.whatsapp.net",
                "6281200000001@s.whatsapp.net",
            ),
            ("6281200000001@c.us", "6281200000001@s.whatsapp.net"),
            ("190000000000001:3@lid", "190000000000001@lid"),
            ("120363040000000001@g.us", "120363040000000001@g.us"),
            ("628120000-1400000000@g.us", "628120000-1400000000@g.us"),
            ("status@broadcast", "status@broadcast"),
            ("120363000000000001@newsletter", "120363000000000001@newsletter"),
            ("web_k3J9_x", "web_k3J9_x"),
            ("ID.90812345670000000001@bsuid", "ID.90812345670000000001@bsuid"),
            (long.as_str(), long.as_str()),
        ] {
            let address = ChatAddress::parse(spelling).unwrap();
            assert_eq!(address.as_str(), canonical);
            assert_eq!(ChatAddress::parse(canonical), Ok(address.clone()));
            let json = serde_json::to_string(&address).unwrap();
            assert_eq!(serde_json::from_str::<ChatAddress>(&json).unwrap(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (wrong, why) in [
            ("", InvalidAddress::Form),
            ("6281200000001", InvalidAddress::Form),
            ("@s.whatsapp.net", InvalidAddress::User),
            ("6281200000001@", InvalidAddress::Server),
            ("62812:a@s.whatsapp.net", InvalidAddress::Device),
            ("62812:@s.whatsapp.net", InvalidAddress::Device),
            ("62812:70000@s.whatsapp.net", InvalidAddress::Device),
            ("62812:+1@s.whatsapp.net", InvalidAddress::Device),
            ("+6281200000001@s.whatsapp.net", InvalidAddress::User),
            ("abc@s.whatsapp.net", InvalidAddress::Phone),
            ("1234@s.whatsapp.net", InvalidAddress::Phone),
            ("abc@lid", InvalidAddress::Lid),
            ("@bsuid", InvalidAddress::UserId),
            ("ID 1@bsuid", InvalidAddress::UserId),
            ("ID.1:2@bsuid", InvalidAddress::UserId),
            ("../../etc@g.us", InvalidAddress::User),
            ("a\0b@g.us", InvalidAddress::User),
            ("a@b@g.us", InvalidAddress::Server),
            ("１２３４５６@s.whatsapp.net", InvalidAddress::User),
            ("web_", InvalidAddress::Visitor),
            ("web_a b", InvalidAddress::Visitor),
            ("WEB_../etc", InvalidAddress::Visitor),
        ] {
            assert_eq!(ChatAddress::parse(wrong), Err(why), "{wrong:?}");
        }
        assert!(ChatAddress::parse(&format!("{}@g.us", "1".repeat(65))).is_err());
        assert!(PhoneNumber::parse(&"1".repeat(21)).is_err());
    }

    #[test]
    fn a_lid_is_never_a_phone_number() {
        let chat = ChatAddress::parse("190000000000001@lid").unwrap();
        assert!(chat.is_direct());
        assert_eq!(chat.phone(), None);
        assert_eq!(chat.lid().map(Lid::as_str), Some("190000000000001"));
    }

    #[test]
    fn a_device_is_read_and_an_overlong_chain_of_marks_is_not() {
        let jid = Jid::parse("6281100000009:12@s.whatsapp.net").unwrap();
        assert_eq!(
            (jid.user(), jid.device(), jid.server()),
            ("6281100000009", Some(12), "s.whatsapp.net")
        );
        assert!(Jid::parse("1:2:3@s.whatsapp.net").is_err());
    }
}
