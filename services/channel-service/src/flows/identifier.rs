//! Whom a caller means by an identifier: `628…`, an address, or a webchat visitor (channel-service contract, words).

use domain::address::{ChatAddress, PhoneNumber, VisitorId};
use domain::chat::Channel;

/// A text that means nobody. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the identifier is neither a phone number, nor a WhatsApp address, nor a webchat session")]
pub struct UnknownIdentifier;

/// May this address be dialled, or stored for?
#[must_use]
pub fn can_be_written_to(person: &ChatAddress) -> bool {
    match person {
        ChatAddress::Phone(phone) => !phone.as_str().starts_with('0'),
        ChatAddress::Lid(_) | ChatAddress::User(_) | ChatAddress::Group(_) | ChatAddress::Visitor(_) => true,
        ChatAddress::Other(_) => false,
    }
}

/// Reads an identifier. `web_…` is a visitor whatever channel is named, because it can be nothing else; digits are a
/// number as WhatsApp writes it, with an optional leading `+`; anything with an `@` is an address. No country code is
/// ever put in front.
///
/// # Errors
/// [`UnknownIdentifier`].
pub fn read_identifier(text: &str) -> Result<ChatAddress, UnknownIdentifier> {
    let text = text.trim();
    if text.contains('@') || VisitorId::is_meant_by(text) {
        return ChatAddress::parse(text).map_err(|_| UnknownIdentifier);
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    PhoneNumber::parse(digits)
        .map(ChatAddress::Phone)
        .map_err(|_| UnknownIdentifier)
}

/// How callers know a chat partner: the digits where the number is known, the visitor's session, else the address.
#[must_use]
pub fn write_identifier<'a>(address: &'a str, phone: Option<&'a str>) -> &'a str {
    phone.unwrap_or_else(|| match address.split_once('@') {
        Some((digits, "s.whatsapp.net")) => digits,
        _ => address,
    })
}

/// `wa_user_id` of a row: the identifier on WhatsApp, nothing for webchat (contract 4).
#[must_use]
pub fn wa_user_id(channel: Channel, identifier: &str) -> Option<&str> {
    (channel == Channel::WhatsApp).then_some(identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_person_is_one_address() {
        for spelling in [
            "6281290000011",
            "+6281290000011",
            " 6281290000011 ",
            "6281290000011@s.whatsapp.net",
            "6281290000011:24@s.whatsapp.net",
            "6281290000011@c.us",
        ] {
            let address = read_identifier(spelling).unwrap();
            assert_eq!(address.as_str(), "6281290000011@s.whatsapp.net", "{spelling}");
        }
        assert_eq!(
            read_identifier("204466881133557@lid").unwrap().as_str(),
            "204466881133557@lid"
        );
        assert_eq!(read_identifier("web_k3j9").unwrap().as_str(), "web_k3j9");
    }

    #[test]
    fn nothing_is_guessed() {
        for wrong in ["", "0812-9000", "abc", "web_", "+", "62 812", "a@b@c", "1234"] {
            assert_eq!(read_identifier(wrong), Err(UnknownIdentifier), "{wrong:?}");
        }
        // A foreign number stays foreign, and a national one is not completed.
        assert_eq!(
            read_identifier("4915112345678").unwrap().as_str(),
            "4915112345678@s.whatsapp.net"
        );
        assert_eq!(
            read_identifier("081290000011").unwrap().as_str(),
            "081290000011@s.whatsapp.net"
        );
    }

    #[test]
    fn the_number_is_the_name_where_it_is_known() {
        assert_eq!(
            write_identifier("2044@lid", Some("6281290000011")),
            "6281290000011"
        );
        assert_eq!(
            write_identifier("6281290000011@s.whatsapp.net", None),
            "6281290000011"
        );
        assert_eq!(
            write_identifier("204466881133557@lid", None),
            "204466881133557@lid"
        );
        assert_eq!(write_identifier("web_k3j9", None), "web_k3j9");
        assert_eq!(wa_user_id(Channel::Webchat, "web_k3j9"), None);
    }
}
