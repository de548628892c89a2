//! From a vCard to the contact of a message.

use domain::message::ContactCard;
use domain::text::Text;
use serde_json::{Map, Value, json};

/// Most numbers and addresses taken of one card.
const MOST: usize = 10;

/// `formatted_name` and one more part of a name are required; the rest is what the card holds.
#[must_use]
pub fn contact(card: &ContactCard) -> Value {
    let vcard = card.vcard.as_ref().map(Text::as_str).unwrap_or_default();
    let name = match card.display_name.as_str().trim() {
        "" => property(vcard, "FN").next().map_or("Contact", |(_, value)| value),
        name => name,
    };
    let mut contact = Map::new();
    contact.insert(
        "name".to_owned(),
        json!({"formatted_name": name, "first_name": name}),
    );
    let phones: Vec<Value> = property(vcard, "TEL").filter_map(phone).take(MOST).collect();
    if !phones.is_empty() {
        contact.insert("phones".to_owned(), Value::Array(phones));
    }
    let emails: Vec<Value> = property(vcard, "EMAIL")
        .map(|(_, value)| json!({"email": value}))
        .take(MOST)
        .collect();
    if !emails.is_empty() {
        contact.insert("emails".to_owned(), Value::Array(emails));
    }
    if let Some((_, company)) = property(vcard, "ORG").next() {
        let company = company.trim_end_matches(';');
        contact.insert("org".to_owned(), json!({"company": company}));
    }
    Value::Object(contact)
}

/// The lines of a property, with what stands before their colon.
fn property<'a>(vcard: &'a str, wanted: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
    vcard
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(head, value)| (head, value.trim()))
        .filter(move |(head, value)| {
            let name = head.split(';').next().unwrap_or_default();
            let name = name.rsplit('.').next().unwrap_or_default();
            name.trim().eq_ignore_ascii_case(wanted) && !value.is_empty()
        })
}

fn phone((head, value): (&str, &str)) -> Option<Value> {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let shown = value.strip_prefix("tel:").unwrap_or(value);
    if digits(shown).is_empty() {
        return None;
    }
    let mut phone = Map::new();
    phone.insert("phone".to_owned(), json!(shown));
    for parameter in head.split(';').skip(1) {
        match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("waid") => {
                phone.insert("wa_id".to_owned(), json!(digits(value)));
            }
            Some((name, value)) if name.eq_ignore_ascii_case("type") => {
                let first = value.split(',').next().unwrap_or_default();
                phone.insert("type".to_owned(), json!(first.to_ascii_uppercase()));
            }
            _ => {}
        }
    }
    Some(Value::Object(phone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_becomes_a_contact() {
        let card = ContactCard {
            display_name: Text::from("Budi Santoso"),
            vcard: Some(Text::from(
                "BEGIN:VCARD\nFN:Budi\nitem1.TEL;type=work;waid=628110000002:+62 811-0000-002\nTEL:n/a\n\
                 EMAIL:budi@example.test\nORG:Kantor;\nEND:VCARD",
            )),
        };
        assert_eq!(
            contact(&card),
            json!({
                "name": {"formatted_name": "Budi Santoso", "first_name": "Budi Santoso"},
                "phones": [{"phone": "+62 811-0000-002", "type": "WORK", "wa_id": "628110000002"}],
                "emails": [{"email": "budi@example.test"}],
                "org": {"company": "Kantor"},
            })
        );
        let bare = ContactCard {
            display_name: Text::from(" "),
            vcard: None,
        };
        assert_eq!(
            contact(&bare),
            json!({"name": {"formatted_name": "Contact", "first_name": "Contact"}})
        );
    }
}
