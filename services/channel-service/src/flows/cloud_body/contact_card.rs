//! Contact cards as the Cloud API writes them, kept as vCards.

use domain::message::{ContactCard, InvalidContent, MessageContent};
use domain::text::Text;
use serde_json::{Map, Value};

use super::{LONGEST_NAME, LONGEST_TEXT, Read, broken, filled, words};

/// Most contacts of one message.
const MOST_CONTACTS: usize = 257;
/// Most numbers, addresses and the like of one contact, of each.
const MOST_OF_A_CONTACT: usize = 20;

/// The cards of a message, 1 to 257.
pub(super) fn cards(contacts: &[Value]) -> Read<MessageContent> {
    if contacts.is_empty() || contacts.len() > MOST_CONTACTS {
        return Err(broken("contacts", "must have 1 to 257 entries"));
    }
    let cards: Read<Vec<ContactCard>> = contacts
        .iter()
        .enumerate()
        .map(|(position, contact)| {
            card(contact).map_err(|error| error.within(&format!("contacts[{position}]")))
        })
        .collect();
    Ok(MessageContent::Contacts { contacts: cards? })
}

/// As a vCard, which every provider takes or can be written back from.
fn card(contact: &Value) -> Read<ContactCard> {
    let empty = Map::new();
    let name = contact.get("name").and_then(Value::as_object).unwrap_or(&empty);
    let display_name = words(name, "formatted_name", LONGEST_NAME)?
        .ok_or_else(|| InvalidContent::missing("name.formatted_name"))?;
    let of = |part: &Map<String, Value>, field: &str| escaped(filled(part, field).unwrap_or_default());
    let parts = ["last_name", "first_name", "middle_name", "prefix", "suffix"].map(|field| of(name, field));
    let mut lines = vec![
        "BEGIN:VCARD".to_owned(),
        "VERSION:3.0".to_owned(),
        format!("N:{}", parts.join(";")),
        format!("FN:{}", escaped(display_name.as_str())),
    ];
    if let Some(Value::Object(org)) = contact.get("org") {
        lines.push(format!("ORG:{};{}", of(org, "company"), of(org, "department")));
        lines.push(format!("TITLE:{}", of(org, "title")));
    }
    for phone in entries(contact, "phones")? {
        let waid = filled(phone, "wa_id").filter(is_word);
        let number = filled(phone, "phone").map(escaped);
        let Some(number) = number.or_else(|| Some(format!("+{}", waid?))) else {
            continue;
        };
        let waid = waid.map(|waid| format!(";waid={waid}")).unwrap_or_default();
        lines.push(format!("TEL{}{waid}:{number}", type_of(phone)));
    }
    for (list, property, field) in [("emails", "EMAIL", "email"), ("urls", "URL", "url")] {
        for entry in entries(contact, list)? {
            lines.push(format!("{property}{}:{}", type_of(entry), of(entry, field)));
        }
    }
    for address in entries(contact, "addresses")? {
        let parts = ["street", "city", "state", "zip", "country"].map(|field| of(address, field));
        lines.push(format!("ADR{}:;;{}", type_of(address), parts.join(";")));
    }
    if let Some(birthday) = contact.get("birthday").and_then(Value::as_str) {
        lines.push(format!("BDAY:{}", escaped(birthday)));
    }
    lines.push("END:VCARD".to_owned());
    Ok(ContactCard {
        display_name,
        vcard: Some(Text::from(lines.join("\n"))),
    })
}

/// The objects of a contact's list.
fn entries<'a>(contact: &'a Value, list: &'static str) -> Read<Vec<&'a Map<String, Value>>> {
    let entries = contact.get(list).and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .take(MOST_OF_A_CONTACT)
        .map(|entry| {
            entry
                .as_object()
                .ok_or_else(|| broken(list, "must be a list of objects"))
        })
        .collect()
}

fn type_of(entry: &Map<String, Value>) -> String {
    let kind = filled(entry, "type").filter(is_word);
    kind.map(|kind| format!(";type={kind}")).unwrap_or_default()
}

fn is_word(word: &&str) -> bool {
    word.len() <= 32 && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A value of a vCard: it ends neither its line nor its field.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().take(LONGEST_TEXT) {
        match c {
            '\n' => escaped.push_str("\\n"),
            ',' | ';' | '\\' => escaped.extend(['\\', c]),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}
