//! The people beside a list of messages: what they call themselves, and the other of a person's two ids.

use std::collections::HashMap;

use domain::address::{PhoneNumber, UserId};
use domain::message::InboundMessage;
use domain::text::Text;
use serde_json::value::RawValue;

use super::{scalar, wire};

pub(super) struct Person<'a> {
    pub(super) phone: Option<PhoneNumber>,
    pub(super) user: Option<UserId>,
    pub(super) name: Option<Text>,
    pub(super) raw: &'a RawValue,
}

/// Everybody by every id. A thousand messages of a thousand people must not be a million comparisons.
#[derive(Default)]
pub(super) struct People<'a> {
    people: Vec<Person<'a>>,
    by_id: HashMap<String, usize>,
}

/// The ids of the one an item is from or for.
#[derive(serde::Deserialize)]
struct Ids<'a> {
    #[serde(borrow, default)]
    from: wire::Loose<'a>,
    #[serde(borrow, default)]
    from_user_id: wire::Loose<'a>,
    #[serde(borrow, default)]
    to: wire::Loose<'a>,
    #[serde(borrow, default)]
    to_user_id: wire::Loose<'a>,
    #[serde(borrow, default)]
    recipient_id: wire::Loose<'a>,
    #[serde(borrow, default)]
    recipient_user_id: wire::Loose<'a>,
}

impl<'a> People<'a> {
    pub(super) fn read(raw: Option<&'a RawValue>) -> Self {
        let mut known = Self::default();
        let contacts = raw.and_then(|raw| wire::list(raw.get())).unwrap_or_default();
        for raw in contacts {
            let Some(contact) = wire::object::<wire::Contact<'_>>(raw.get()) else {
                continue;
            };
            let profile: wire::Profile<'_> = scalar::part(contact.profile);
            let place = known.people.len();
            let (phone, user) = (scalar::phone(&contact.wa_id), scalar::user(&contact.user_id));
            let ids = [
                phone.as_ref().map(PhoneNumber::as_str),
                user.as_ref().map(UserId::as_str),
            ];
            for id in ids.into_iter().flatten() {
                // The first of two with one id stays: nobody takes another's name by coming later.
                known.by_id.entry(id.to_owned()).or_insert(place);
            }
            let name = profile.name.filled().or(profile.username.filled());
            known.people.push(Person {
                phone,
                user,
                name: name.and_then(|name| Text::label(name, InboundMessage::MAX_PUSH_NAME)),
                raw,
            });
        }
        known
    }

    /// Who wrote a message, one of so many.
    pub(super) fn writer(&self, item: &RawValue, of: usize) -> Option<&Person<'a>> {
        let ids: Ids<'_> = wire::object(item.get())?;
        self.find(&ids.from, &ids.from_user_id, of)
    }

    /// To whom an echo went, one of so many.
    pub(super) fn addressee(&self, item: &RawValue, of: usize) -> Option<&Person<'a>> {
        let ids: Ids<'_> = wire::object(item.get())?;
        self.find(&ids.to, &ids.to_user_id, of)
    }

    /// To whom a message of ours went. Nobody is guessed.
    pub(super) fn recipient(&self, item: &RawValue) -> Option<&Person<'a>> {
        let ids: Ids<'_> = wire::object(item.get())?;
        self.known(&ids.recipient_id, &ids.recipient_user_id)
    }

    fn find(&self, phone: &wire::Loose<'_>, user: &wire::Loose<'_>, of: usize) -> Option<&Person<'a>> {
        self.known(phone, user).or_else(|| match self.people.as_slice() {
            // One message and one person, each known by an id that the other one lacks.
            [only] if of == 1 => Some(only).filter(|only| !contradicts(only, phone, user)),
            _ => None,
        })
    }

    fn known(&self, phone: &wire::Loose<'_>, user: &wire::Loose<'_>) -> Option<&Person<'a>> {
        let user = scalar::user(user);
        let by_user = user.as_ref().and_then(|user| self.by_id.get(user.as_str()));
        let place = by_user.or_else(|| self.by_id.get(scalar::phone(phone)?.as_str()))?;
        self.people
            .get(*place)
            // A number that went to another person: the ids differ, and the newer kind of id is right.
            .filter(|person| user.is_none() || person.user.is_none() || person.user == user)
    }
}

/// Does an id say that this is somebody else? A wrong guess would make one conversation of two people's.
fn contradicts(person: &Person<'_>, phone: &wire::Loose<'_>, user: &wire::Loose<'_>) -> bool {
    let other_user = scalar::user(user).zip(person.user.as_ref());
    let other_phone = scalar::phone(phone).zip(person.phone.as_ref());
    other_user.is_some_and(|(told, known)| told != *known)
        || other_phone.is_some_and(|(told, known)| told != *known)
}
