//! Two tellings of one event are known by what they tell (contract 2.2): an inbox's webhook and an account's have other
//! delivery ids and other secrets, and Chatwoot tells some events twice by itself. Never by words alone: agents do write
//! "ok" twice.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::event::{Event, Fields};

/// What tellings of the event have in common, within one installation and route.
pub(super) fn key(event: &Event, top: &Fields<'_>, body: &[u8], now: DateTime<Utc>) -> Option<[u8; 32]> {
    let mut key = Key::of(&event.name);
    match event.name.as_str() {
        "message_created" => {
            key.number(event.message_id?);
        }
        "message_updated" => {
            key.number(event.message_id?);
            key.canonical(top, "content");
            key.canonical(top, "content_attributes");
            key.part(attachment_ids(top).as_bytes());
        }
        // Somebody who goes on typing is told again and again, for as long as they type.
        "conversation_typing_on" | "conversation_typing_off" => {
            key.number(event.account_id.unwrap_or_default());
            key.number(event.conversation_id?);
            key.part(typing(top).as_bytes());
            key.number(now.timestamp());
        }
        name if name.starts_with("conversation_") && top.raw("updated_at").is_some() => {
            key.number(event.account_id.unwrap_or_default());
            key.number(event.conversation_id?);
            key.canonical(top, "updated_at");
            key.canonical(top, "changed_attributes");
        }
        _ => key.part(body),
    }
    Some(key.finish())
}

fn attachment_ids(top: &Fields<'_>) -> String {
    let list: Vec<Value> = top.value("attachments").unwrap_or_default();
    let mut ids: Vec<String> = list
        .iter()
        .filter_map(|attachment| attachment.get("id"))
        .map(ToString::to_string)
        .collect();
    ids.sort_unstable();
    ids.join(",")
}

fn typing(top: &Fields<'_>) -> String {
    let user = top.fields("user");
    let part = |key: &str| user.raw(key).unwrap_or_default();
    format!("{}/{}", part("type"), part("id"))
}

/// Parts that cannot run into each other.
struct Key(Sha256);

impl Key {
    fn of(name: &str) -> Self {
        let mut key = Self(Sha256::new());
        key.part(name.as_bytes());
        key
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn number(&mut self, number: i64) {
        self.part(&number.to_be_bytes());
    }

    /// A field by what it says: blanks and the order of keys are not part of it.
    fn canonical(&mut self, top: &Fields<'_>, field: &str) {
        let value: Value = top.value(field).unwrap_or_default();
        self.part(value.to_string().as_bytes());
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
