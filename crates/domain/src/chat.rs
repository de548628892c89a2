//! Chats: the conversation of one account with one person, and over which channel it runs.

use crate::address::ChatAddress;
use crate::words::words;

words! {
    /// Over what a chat runs.
    Channel, "channel" {
        /// WhatsApp.
        WhatsApp = "whatsapp",
        /// The chat window of the tenant's web page: stored here, fetched by the page, never dialled.
        Webchat = "webchat",
    }
}

words! {
    /// Where a chat of several people takes place. A chat with one person has none.
    Place, "place" {
        /// A group.
        Group = "group",
        /// A broadcast list.
        Broadcast = "broadcast",
        /// Status posts.
        Status = "status",
    }
}

impl Place {
    /// The place behind an address; none for one person.
    #[must_use]
    pub fn of(address: &ChatAddress) -> Option<Self> {
        match address {
            ChatAddress::Group(_) => Some(Self::Group),
            ChatAddress::Other(_) if address.as_str() == "status@broadcast" => Some(Self::Status),
            ChatAddress::Other(_) if address.as_str().ends_with("@broadcast") => Some(Self::Broadcast),
            ChatAddress::Other(_)
            | ChatAddress::Phone(_)
            | ChatAddress::Lid(_)
            | ChatAddress::User(_)
            | ChatAddress::Visitor(_) => None,
        }
    }
}

impl Channel {
    /// The channel of a chat partner.
    #[must_use]
    pub const fn of(address: &ChatAddress) -> Self {
        match address {
            ChatAddress::Visitor(_) => Self::Webchat,
            ChatAddress::Phone(_)
            | ChatAddress::Lid(_)
            | ChatAddress::User(_)
            | ChatAddress::Group(_)
            | ChatAddress::Other(_) => Self::WhatsApp,
        }
    }

    /// The name on GovConnect's wire (channel-service contract, words): `WHATSAPP`, `WEBCHAT`.
    #[must_use]
    pub const fn wire(self) -> &'static str {
        match self {
            Self::WhatsApp => "WHATSAPP",
            Self::Webchat => "WEBCHAT",
        }
    }

    /// Reads the name on GovConnect's wire, in any case of letters.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|channel| channel.wire().eq_ignore_ascii_case(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_its_channel() {
        let visitor = ChatAddress::parse("web_abc").unwrap();
        let person = ChatAddress::parse("6281200000001@s.whatsapp.net").unwrap();
        assert_eq!(Channel::of(&visitor), Channel::Webchat);
        assert_eq!(Channel::of(&person), Channel::WhatsApp);
    }

    #[test]
    fn an_address_tells_its_place() {
        for (address, place) in [
            ("120363040000000001@g.us", Some(Place::Group)),
            ("1700000000@broadcast", Some(Place::Broadcast)),
            ("status@broadcast", Some(Place::Status)),
            ("6281200000001@s.whatsapp.net", None),
            ("190000000000001@lid", None),
            ("120363000000000001@newsletter", None),
            ("web_abc", None),
        ] {
            assert_eq!(
                Place::of(&ChatAddress::parse(address).unwrap()),
                place,
                "{address}"
            );
        }
        for &place in Place::ALL {
            assert_eq!(place.as_str().parse(), Ok(place));
        }
    }

    #[test]
    fn names_survive_a_round_trip() {
        for &channel in Channel::ALL {
            assert_eq!(Channel::from_wire(channel.wire()), Some(channel));
            assert_eq!(channel.as_str().parse(), Ok(channel));
        }
        assert_eq!(Channel::from_wire("webchat"), Some(Channel::Webchat));
        assert_eq!(Channel::from_wire("sms"), None);
    }
}
