//! From a signed body to updates.
//!
//! Entry by entry, change by change, item by item: each is read on its own, so that what is wrong with one is told of
//! that one alone.

mod account;
mod contact_card;
mod content;
mod message;
mod people;
mod scalar;
mod status;
mod template;
mod unit;

use chrono::{DateTime, Utc};
use domain::message::believable_sent_at;
use serde_json::value::RawValue;

use super::{Signed, Update, What, wire};
use crate::error::{MalformedWebhook, Unusable};
use crate::event::Keep;
use people::People;
use unit::{Beside, Units};

/// Most updates of one body. Meta sends a thousand at most; more would be memory for nothing.
const MAX_UPDATES: usize = 10_000;
/// Most bytes of all their bodies together. What stands beside many items is in each of theirs.
const MAX_BYTES: usize = 64 * 1024 * 1024;

impl Signed {
    /// Cuts the body into its updates, in its order, with messages of conversations with one person only. `now` stands in
    /// for times that are missing or cannot be.
    ///
    /// # Errors
    /// [`MalformedWebhook`] when it is no webhook about WhatsApp at all: nothing in it can be told apart. What is wrong
    /// with one update is in that update.
    pub fn updates(&self, now: DateTime<Utc>) -> Result<Vec<Update>, MalformedWebhook> {
        self.updates_with(now, Keep::default())
    }

    /// As [`Self::updates`], with messages from the places that are wanted. Where tenants want different ones, all are
    /// asked for, and [`Update::place`] is looked at when the tenant is known.
    ///
    /// # Errors
    /// As [`Self::updates`].
    pub fn updates_with(&self, now: DateTime<Utc>, keep: Keep) -> Result<Vec<Update>, MalformedWebhook> {
        if self.body.is_empty() {
            return Err(MalformedWebhook::EmptyBody);
        }
        let text = std::str::from_utf8(&self.body).map_err(|_| MalformedWebhook::NotUtf8)?;
        let envelope: wire::Envelope<'_> = wire::object(text).ok_or(MalformedWebhook::NotJson)?;
        if envelope.object.text() != Some(wire::OBJECT) {
            return Err(MalformedWebhook::OtherProduct);
        }
        let entries = envelope.entry.ok_or(MalformedWebhook::NotJson)?;
        let entries = wire::list(entries.get()).ok_or(MalformedWebhook::NotJson)?;
        let mut reader = Reader {
            now,
            keep,
            updates: Vec::new(),
            bytes: 0,
        };
        for raw in entries {
            reader.entry(raw)?;
        }
        Ok(reader.updates)
    }
}

struct Reader {
    now: DateTime<Utc>,
    keep: Keep,
    updates: Vec<Update>,
    /// All their bodies together.
    bytes: usize,
}

type Read = Result<(), MalformedWebhook>;

impl Reader {
    fn take(&mut self, update: Update) -> Read {
        self.bytes += update.raw.get().len();
        if self.updates.len() >= MAX_UPDATES || self.bytes > MAX_BYTES {
            return Err(MalformedWebhook::TooManyUpdates);
        }
        self.updates.push(update);
        Ok(())
    }

    fn entry(&mut self, raw: &RawValue) -> Read {
        let Some(entry) = wire::object::<wire::Entry<'_>>(raw.get()) else {
            return self.take(unit::unreadable_entry(raw));
        };
        let Some(changes) = entry.changes.and_then(|raw| wire::list(raw.get())) else {
            return self.take(unit::unreadable_entry(raw));
        };
        for raw in changes {
            self.change(&entry, raw)?;
        }
        Ok(())
    }

    fn change(&mut self, entry: &wire::Entry<'_>, raw: &RawValue) -> Read {
        let change = wire::object::<wire::Change<'_>>(raw.get());
        let Some((field, value)) = change.and_then(|change| change.field.zip(change.value)) else {
            return self.take(unit::unreadable_change(entry, raw));
        };
        let mut units = Units::new(entry, field);
        match scalar::of(field).text().unwrap_or_default() {
            "messages" => self.messages(units, value),
            "smb_message_echoes" => self.echoes(units, value),
            "user_preferences" => self.preferences(units, value),
            name => {
                units.of_waba(account::named_waba(name, value));
                let time = scalar::of_some(entry.time);
                let time = scalar::time(&time);
                let (display, what) = account::read(name, value, time)
                    .or_else(|| template::read(name, value, time))
                    .unwrap_or((None, Ok(None)));
                self.take(units.managed(value, display, what))
            }
        }
    }

    /// Messages, statuses, and errors that are about neither. Each may be there or not.
    fn messages<'a>(&mut self, mut units: Units<'a>, raw: &'a RawValue) -> Read {
        let Some(value) = wire::object::<wire::Value<'_>>(raw.get()) else {
            return self.take(units.managed(raw, None, Err(Unusable::Shape)));
        };
        units.about(value.metadata);
        let before = self.updates.len();
        let people = People::read(value.contacts);

        let messages = self.items(&units, "messages", value.messages)?;
        // Beside a message they are the reason why it says nothing, and stay with it.
        let reasons = value.errors.filter(|_| !messages.is_empty());
        for item in &messages {
            let writer = people.writer(item, messages.len());
            let beside = Beside {
                contact: writer.map(|person| person.raw),
                errors: reasons,
            };
            let what = message::read(item, writer, reasons, self.now, self.keep);
            self.take(units.item("messages", item, &beside, what))?;
        }

        for item in self.items(&units, "statuses", value.statuses)? {
            let beside = Beside {
                contact: people.recipient(item).map(|person| person.raw),
                errors: None,
            };
            self.take(units.item("statuses", item, &beside, status::read(item, self.now)))?;
        }

        if let Some(errors) = value.errors.filter(|_| messages.is_empty()) {
            self.take(units.notice(errors, self.now))?;
        }
        if let Some(actions) = value.user_actions {
            self.take(units.unread("user_actions", actions))?;
        }
        if self.updates.len() == before {
            // Nothing that we know. Whatever it is, it is kept.
            return self.take(units.managed(raw, None, Ok(None)));
        }
        Ok(())
    }

    /// What the tenant wrote by hand in the Business app.
    fn echoes<'a>(&mut self, mut units: Units<'a>, raw: &'a RawValue) -> Read {
        let Some(value) = wire::object::<wire::Value<'_>>(raw.get()) else {
            return self.take(units.managed(raw, None, Err(Unusable::Shape)));
        };
        units.about(value.metadata);
        let before = self.updates.len();
        let people = People::read(value.contacts);
        let echoes = self.items(&units, "message_echoes", value.message_echoes)?;
        for item in &echoes {
            let partner = people.addressee(item, echoes.len());
            let beside = Beside {
                contact: partner.map(|person| person.raw),
                errors: None,
            };
            let what = message::read_echo(item, partner, self.now, self.keep);
            self.take(units.item("message_echoes", item, &beside, what))?;
        }
        if self.updates.len() == before {
            return self.take(units.managed(raw, None, Ok(None)));
        }
        Ok(())
    }

    fn preferences<'a>(&mut self, mut units: Units<'a>, raw: &'a RawValue) -> Read {
        let Some(value) = wire::object::<wire::Value<'_>>(raw.get()) else {
            return self.take(units.managed(raw, None, Err(Unusable::Shape)));
        };
        units.about(value.metadata);
        let before = self.updates.len();
        for item in self.items(&units, "user_preferences", value.user_preferences)? {
            let what = account::preference(item, self.now);
            self.take(units.item("user_preferences", item, &Beside::default(), what))?;
        }
        if self.updates.len() == before {
            return self.take(units.managed(raw, None, Ok(None)));
        }
        Ok(())
    }

    /// The items of a list. What stands in a list's place and is none is one update that cannot be used.
    fn items<'a>(
        &mut self,
        units: &Units<'_>,
        list: &'static str,
        raw: Option<&'a RawValue>,
    ) -> Result<Vec<&'a RawValue>, MalformedWebhook> {
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
            return Ok(Vec::new());
        };
        match wire::list(raw.get()) {
            Some(items) => Ok(items),
            None => {
                self.take(units.no_list(list, raw))?;
                Ok(Vec::new())
            }
        }
    }
}

/// What reading one item gave: a key that every delivery of it shares, and what it says. `None`: a kind that is not read.
type Item = Result<(String, Found), Unusable>;

enum Found {
    What(What),
    /// Kept under this name.
    Unread(String),
}

/// When something happened, as far as that can be believed.
fn happened(claimed: &wire::Loose<'_>, now: DateTime<Utc>) -> DateTime<Utc> {
    believable_sent_at(scalar::time(claimed), now)
}
