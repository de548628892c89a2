//! The server's form mode: three urlencoded fields, one of them the event as JSON.

use std::borrow::Cow;

use crate::error::MalformedWebhook;

/// The fields of a form that we know. A legacy `token` and anything else is passed over.
#[derive(Default)]
pub(super) struct Form<'a> {
    pub(super) json_data: Option<Cow<'a, str>>,
    pub(super) instance_name: Option<Cow<'a, str>>,
    pub(super) user_id: Option<Cow<'a, str>>,
}

impl<'a> Form<'a> {
    /// Reads a urlencoded body strictly: a field of ours that comes twice could be understood in two ways, so it is
    /// an error, and so is text that is no UTF-8 (a lenient decoder would change what was said).
    pub(super) fn read(body: &'a str) -> Result<Self, MalformedWebhook> {
        let mut form = Self::default();
        for pair in body.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let field = match &*decode(name)? {
                "jsonData" => &mut form.json_data,
                "instanceName" => &mut form.instance_name,
                "userID" => &mut form.user_id,
                _ => continue,
            };
            if field.is_some() {
                return Err(MalformedWebhook::DuplicateField);
            }
            *field = Some(decode(value)?);
        }
        Ok(form)
    }
}

/// `+` is a blank, `%xx` a byte; a `%` that starts no escape stands for itself, as in every browser.
fn decode(text: &str) -> Result<Cow<'_, str>, MalformedWebhook> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (b'%', tail),
            },
            (byte, _) => (*byte, tail),
        };
        decoded.push(byte);
        rest = after;
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| MalformedWebhook::NotUtf8)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_strangers_passed_over() {
        let form = Form::read(
            "token=x&token=y&instanceName=desa+contoh&jsonData=%7B%22a%22%3A%22100%25+%C3%A9%22%7D&z",
        )
        .unwrap();
        assert_eq!(form.instance_name.as_deref(), Some("desa contoh"));
        assert_eq!(form.json_data.as_deref(), Some("{\"a\":\"100% é\"}"));
        assert_eq!(form.user_id, None);
    }

    #[test]
    fn a_percent_that_starts_no_escape_stands_for_itself() {
        for (text, decoded) in [
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%4", "%4"),
            ("%41%", "A%"),
            ("%%41", "%A"),
        ] {
            assert_eq!(decode(text).unwrap(), decoded);
        }
    }

    #[test]
    fn doubles_and_broken_utf8_are_refused() {
        assert_eq!(
            Form::read("userID=a&userID=a").err(),
            Some(MalformedWebhook::DuplicateField)
        );
        // The name may be hidden behind an escape.
        assert_eq!(
            Form::read("userID=a&user%49D=b").err(),
            Some(MalformedWebhook::DuplicateField)
        );
        assert_eq!(Form::read("jsonData=%FF").err(), Some(MalformedWebhook::NotUtf8));
    }
}
