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

impl Channel {
    /// The channel of a chat partner.
    #[must_use]
    pub const fn of(address: &ChatAddress) -> Self {
        match address {
            ChatAddress::Visitor(_) => Self::Webchat,
            ChatAddress::Phone(_) | ChatAddress::Lid(_) | ChatAddress::Group(_) | ChatAddress::Other(_) => {
                Self::WhatsApp
            }
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
    fn names_survive_a_round_trip() {
        for &channel in Channel::ALL {
            assert_eq!(Channel::from_wire(channel.wire()), Some(channel));
            assert_eq!(channel.as_str().parse(), Ok(channel));
        }
        assert_eq!(Channel::from_wire("webchat"), Some(Channel::Webchat));
        assert_eq!(Channel::from_wire("sms"), None);
    }
}
