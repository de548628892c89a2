//! One update on its own: its key, and a whole body with nothing but it.

use chrono::{DateTime, Utc};
use domain::ids::{PhoneNumberId, WabaId};
use domain::text::Text;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Found, Item, scalar, wire};
use crate::cloud::{GraphError, Update, What};
use crate::error::Unusable;
use crate::event::UnknownEvent;

/// What stands beside an item and belongs to it.
#[derive(Default)]
pub(super) struct Beside<'a> {
    pub(super) contact: Option<&'a RawValue>,
    pub(super) errors: Option<&'a RawValue>,
}

/// Makes updates out of what one change holds.
pub(super) struct Units<'a> {
    id: Option<&'a RawValue>,
    time: Option<&'a RawValue>,
    field: &'a RawValue,
    metadata: Option<&'a RawValue>,
    waba: Option<WabaId>,
    number: Option<PhoneNumberId>,
    display_number: Option<Text>,
}

impl<'a> Units<'a> {
    pub(super) fn new(entry: &wire::Entry<'a>, field: &'a RawValue) -> Self {
        Self {
            id: entry.id,
            time: entry.time,
            field,
            metadata: None,
            waba: waba(entry.id),
            number: None,
            display_number: None,
        }
    }

    /// Everything that follows is about this number.
    pub(super) fn about(&mut self, metadata: Option<&'a RawValue>) {
        let read: wire::Metadata<'_> = scalar::part(metadata);
        self.metadata = metadata;
        self.number =
            scalar::text(&read.phone_number_id).and_then(|id| PhoneNumberId::parse(id.into_owned()).ok());
        self.display_number = display(&read.display_phone_number);
    }

    /// What follows is about this business account, where it says so, and not about the one that it came under.
    pub(super) fn of_waba(&mut self, named: Option<WabaId>) {
        if named.is_some() {
            self.waba = named;
        }
    }

    /// One item of a list.
    pub(super) fn item(&self, list: &str, item: &RawValue, beside: &Beside<'_>, read: Item) -> Update {
        let raw = self.body_with(list, item.get(), beside, true);
        match read {
            Ok((key, found)) => {
                let what = match found {
                    Found::What(what) => what,
                    Found::Unread(name) => unread(&name, &raw),
                };
                self.update(key, Ok(what), raw)
            }
            Err(unusable) => self.update(unusable_key(item), Err(unusable), raw),
        }
    }

    /// Errors that are about no message. They have neither id nor time: the same ones within an hour are one notice.
    pub(super) fn notice(&self, errors: &RawValue, now: DateTime<Utc>) -> Update {
        let raw = self.body_with("errors", errors.get(), &Beside::default(), false);
        let hour = now.timestamp() / 3600;
        let list = GraphError::read_list(errors.get());
        if list.is_empty() {
            return self.update(unusable_key(errors), Err(Unusable::Shape), raw);
        }
        let key = key("notice", &[&hour.to_string(), &hash(errors)]);
        self.update(key, Ok(What::Notice(list)), raw)
    }

    /// A part of a value that is not read.
    pub(super) fn unread(&self, name: &str, part: &RawValue) -> Update {
        let raw = self.body_with(name, part.get(), &Beside::default(), false);
        let what = unread(name, &raw);
        self.update(key(name, &[&hash(part)]), Ok(what), raw)
    }

    /// What stands in a list's place and is none.
    pub(super) fn no_list(&self, name: &str, part: &RawValue) -> Update {
        let raw = self.body_with(name, part.get(), &Beside::default(), false);
        self.update(unusable_key(part), Err(Unusable::Shape), raw)
    }

    /// A whole value: news about an account or a template, or a field that is not read (`Ok(None)`).
    pub(super) fn managed(
        mut self,
        value: &RawValue,
        display_number: Option<Text>,
        what: Result<Option<What>, Unusable>,
    ) -> Update {
        let raw = self.body(value.get());
        let name = scalar::of(self.field);
        let name = name.text().unwrap_or_default();
        let time = self.time.map(RawValue::get).unwrap_or_default();
        self.display_number = self.display_number.or(display_number);
        match what {
            Ok(what) => {
                let what = what.unwrap_or_else(|| unread(name, &raw));
                self.update(key(name, &[time, &hash(value)]), Ok(what), raw)
            }
            Err(unusable) => self.update(unusable_key(value), Err(unusable), raw),
        }
    }

    fn update(&self, key: String, what: Result<What, Unusable>, raw: Box<RawValue>) -> Update {
        Update {
            waba: self.waba.clone(),
            number: self.number.clone(),
            display_number: self.display_number.clone(),
            key,
            field: field(self.field),
            what,
            raw,
        }
    }

    /// A body with one item, and what stands beside it.
    fn body_with(&self, list: &str, item: &str, beside: &Beside<'_>, listed: bool) -> Box<RawValue> {
        let mut value = String::with_capacity(item.len() + 512);
        value.push_str("{\"messaging_product\":\"whatsapp\"");
        if let Some(metadata) = self.metadata {
            value.push_str(",\"metadata\":");
            value.push_str(metadata.get());
        }
        if let Some(contact) = beside.contact {
            value.push_str(",\"contacts\":[");
            value.push_str(contact.get());
            value.push(']');
        }
        value.push_str(",\"");
        value.push_str(list);
        value.push_str(if listed { "\":[" } else { "\":" });
        value.push_str(item);
        if listed {
            value.push(']');
        }
        if let Some(errors) = beside.errors {
            value.push_str(",\"errors\":");
            value.push_str(errors.get());
        }
        value.push('}');
        self.body(&value)
    }

    fn body(&self, value: &str) -> Box<RawValue> {
        body(self.id, self.time, &change(self.field.get(), value))
    }
}

/// An entry that is none, or one without changes.
pub(super) fn unreadable_entry(raw: &RawValue) -> Update {
    nobodys(raw, None, raw_json(format!("{BEFORE}{}{AFTER}", raw.get())))
}

/// A change that is none.
pub(super) fn unreadable_change(entry: &wire::Entry<'_>, raw: &RawValue) -> Update {
    nobodys(raw, waba(entry.id), body(entry.id, entry.time, raw.get()))
}

fn nobodys(part: &RawValue, waba: Option<WabaId>, raw: Box<RawValue>) -> Update {
    Update {
        waba,
        number: None,
        display_number: None,
        key: unusable_key(part),
        field: Text::default(),
        what: Err(Unusable::Shape),
        raw,
    }
}

const BEFORE: &str = "{\"object\":\"whatsapp_business_account\",\"entry\":[";
const AFTER: &str = "]}";

fn change(field: &str, value: &str) -> String {
    format!("{{\"field\":{field},\"value\":{value}}}")
}

fn body(id: Option<&RawValue>, time: Option<&RawValue>, change: &str) -> Box<RawValue> {
    let id = id.map_or("null", RawValue::get);
    let time = time.map_or_else(String::new, |time| format!("\"time\":{},", time.get()));
    raw_json(format!(
        "{BEFORE}{{\"id\":{id},{time}\"changes\":[{change}]}}{AFTER}"
    ))
}

/// Put together from pieces that were JSON, so it is JSON.
fn raw_json(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn waba(id: Option<&RawValue>) -> Option<WabaId> {
    let id = scalar::of_some(id);
    WabaId::parse(scalar::text(&id)?.into_owned()).ok()
}

fn field(raw: &RawValue) -> Text {
    let name = scalar::of(raw);
    name.filled()
        .and_then(|name| Text::label(name, Update::MAX_FIELD))
        .unwrap_or_default()
}

pub(super) fn display(number: &wire::Loose<'_>) -> Option<Text> {
    Text::label(&scalar::text(number)?, 32)
}

fn unread(name: &str, raw: &RawValue) -> What {
    What::Unknown(UnknownEvent {
        type_name: Text::label(name, Update::MAX_FIELD).unwrap_or_default(),
        raw: raw.to_owned(),
    })
}

fn hash(raw: &RawValue) -> String {
    hex::encode(Sha256::digest(raw.get().as_bytes()))
}

/// What cannot be used has no key that says anything. Once it can be, its key is another one.
fn unusable_key(raw: &RawValue) -> String {
    key("unusable", &[&hash(raw)])
}

/// A key of parts. Printable, bounded, and never the same for different parts: what is too long, or could be cut at
/// another place, is hashed.
pub(super) fn key(kind: &str, parts: &[&str]) -> String {
    let plain = |part: &&str| part.bytes().all(|b| b.is_ascii_graphic() && b != b'|');
    let length: usize = kind.len() + parts.iter().map(|part| part.len() + 1).sum::<usize>();
    if length <= Update::MAX_KEY && plain(&kind) && parts.iter().all(plain) {
        return [&[kind], parts].concat().join("|");
    }
    let mut hasher = Sha256::new();
    for part in [&[kind], parts].concat() {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part.as_bytes());
    }
    format!("#{}", hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_printable_and_one_for_each() {
        assert_eq!(
            key("status", &["wamid.A==", "read", ""]),
            "status|wamid.A==|read|"
        );
        let keys = [
            key("a", &["b|c"]),
            key("a", &["b", "c"]),
            key("a|b", &["c"]),
            key("a", &["b c"]),
            key("a", &[&"x".repeat(300)]),
            key("a", &[&"x".repeat(301)]),
            key("", &[]),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(key.len() <= Update::MAX_KEY && key.bytes().all(|b| b.is_ascii_graphic()));
            assert!(!keys[..at].contains(key), "{key}");
        }
    }
}
