//! The phones at the far end: what a human would see on them.

use std::collections::{HashMap, HashSet, VecDeque};

use super::state::PhoneMessage;

/// Messages kept per phone; the oldest fall out.
const MESSAGES_PER_PHONE: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Phones {
    phones: HashMap<String, Phone>,
    /// Hidden ids (LIDs) and the numbers behind them, learnt from inbound messages.
    numbers_by_lid: HashMap<String, String>,
}

#[derive(Debug, Default)]
struct Phone {
    push_name: Option<String>,
    picture: Option<Picture>,
    /// Own messages that the session has marked as read.
    blue_ticked: HashSet<String>,
    messages: VecDeque<PhoneMessage>,
    forgotten: usize,
    places: HashMap<(String, String), usize>,
}

/// What somebody shows of themselves.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    /// Another picture has another one.
    pub(super) id: String,
    /// Where it is said to lie, if not on this server.
    pub(super) elsewhere: Option<String>,
    pub(super) bytes: Vec<u8>,
}

/// A WhatsApp address: `user@server`, or bare digits meaning `@s.whatsapp.net`. One leading plus is dropped (§1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Jid {
    pub(super) user: String,
    pub(super) server: String,
}

impl Jid {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let (user, server) = text.split_once('@').unwrap_or((text, "s.whatsapp.net"));
        let user = user.split_once(':').map_or(user, |(user, _device)| user);
        if user.is_empty() || server.is_empty() {
            return None;
        }
        Some(Self {
            user: user.to_owned(),
            server: server.to_owned(),
        })
    }
}

impl std::fmt::Display for Jid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.user, self.server)
    }
}

impl Phones {
    /// The name a phone is kept and read back under: the number, also behind a known LID; the whole address otherwise.
    pub(super) fn key(&self, jid: &Jid) -> String {
        match jid.server.as_str() {
            "s.whatsapp.net" => jid.user.clone(),
            "lid" => match self.numbers_by_lid.get(&jid.user) {
                Some(number) => number.clone(),
                None => jid.to_string(),
            },
            _ => jid.to_string(),
        }
    }

    pub(super) fn learn(&mut self, number: &str, lid: Option<&str>, push_name: &str) {
        if let Some(lid) = lid {
            self.numbers_by_lid.insert(lid.to_owned(), number.to_owned());
        }
        let phone = self.phones.entry(number.to_owned()).or_default();
        phone.push_name = Some(push_name.to_owned());
    }

    /// Shows another picture, or none any more.
    pub(super) fn set_picture(&mut self, number: &str, picture: Option<Picture>) {
        self.phones.entry(number.to_owned()).or_default().picture = picture;
    }

    pub(super) fn picture(&self, key: &str) -> Option<&Picture> {
        self.phones.get(key)?.picture.as_ref()
    }

    pub(super) fn picture_of_id(&self, id: &str) -> Option<&Picture> {
        let mut pictures = self.phones.values().filter_map(|phone| phone.picture.as_ref());
        pictures.find(|picture| picture.id == id)
    }

    pub(super) fn lid_of(&self, number: &str) -> Option<&str> {
        self.numbers_by_lid
            .iter()
            .find(|(_, known)| known.as_str() == number)
            .map(|(lid, _)| lid.as_str())
    }

    /// Numbers that have written at least once, with the name they go by.
    pub(super) fn contacts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.phones
            .iter()
            .filter_map(|(number, phone)| Some((number.as_str(), phone.push_name.as_deref()?)))
    }

    /// Shows the message unless one with the same sender and id is there already; then only counts the arrival.
    pub(super) fn show(&mut self, key: &str, message: PhoneMessage) {
        let phone = self.phones.entry(key.to_owned()).or_default();
        if let Some(known) = phone.find(&message.session, &message.id) {
            known.arrivals += 1;
            return;
        }
        let place = phone.forgotten + phone.messages.len();
        phone
            .places
            .insert((message.session.clone(), message.id.clone()), place);
        phone.messages.push_back(message);
        if phone.messages.len() > MESSAGES_PER_PHONE
            && let Some(oldest) = phone.messages.pop_front()
        {
            phone.places.remove(&(oldest.session, oldest.id));
            phone.forgotten += 1;
        }
    }

    pub(super) fn message(&mut self, key: &str, session: &str, id: &str) -> Option<&mut PhoneMessage> {
        self.phones.get_mut(key)?.find(session, id)
    }

    pub(super) fn count(&self, key: &str) -> usize {
        self.phones.get(key).map_or(0, |phone| phone.messages.len())
    }

    pub(super) fn messages(&self, key: &str) -> Vec<PhoneMessage> {
        self.phones
            .get(key)
            .map(|phone| phone.messages.iter().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn mark_read(&mut self, key: &str, ids: &[String]) {
        let phone = self.phones.entry(key.to_owned()).or_default();
        if phone.blue_ticked.len() < MESSAGES_PER_PHONE {
            phone.blue_ticked.extend(ids.iter().cloned());
        }
    }

    /// Own messages of that phone which the session has marked as read.
    pub(super) fn read_by_session(&self, key: &str) -> Vec<String> {
        let mut ids: Vec<String> = self
            .phones
            .get(key)
            .map(|phone| phone.blue_ticked.iter().cloned().collect())
            .unwrap_or_default();
        ids.sort();
        ids
    }
}

impl Phone {
    fn find(&mut self, session: &str, id: &str) -> Option<&mut PhoneMessage> {
        let place = *self.places.get(&(session.to_owned(), id.to_owned()))?;
        self.messages.get_mut(place.checked_sub(self.forgotten)?)
    }
}
