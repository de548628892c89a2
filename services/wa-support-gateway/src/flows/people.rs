//! A person leaves and nothing of theirs stays with the customer: contacts, webhooks that wait or were put aside, read
//! marks.
//!
//! The gateway keeps no list of whose hidden id is whose number; messages that wait here tell it. A webhook is a person's
//! when it names them, be it in words of somebody else: it goes as a whole and counts as dropped. Those from which a name was
//! learned go last, so that an erasure that was interrupted finds the same person when it is begun again. What comes
//! afterwards is new: the address book of the session's phone still has the person, and the next sync of contacts brings
//! them back. The audit log has a keyed hash instead of a number.

use std::collections::BTreeSet;
use std::str::FromStr;

use bytes::Bytes;
use chores::person::{Names, pseudonym, typed_number};
use chrono::Utc;
use database::{Database, DatabaseError};
use domain::address::{ChatAddress, Lid, PhoneNumber};
use domain::message::InboundMessage;
use runtime::encryption::KeyRing;
use serde::Serialize;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;
use whatsapp::event::InboundEvent;
use whatsapp::genfity::Unverified;

use super::customers::Actor;
use crate::error::Error;
use crate::store::hook_events::{self, Whole};
use crate::store::{audit, ownership, person};

/// Rows of one transaction.
const BATCH: i64 = 500;
/// How often names lead to further names: a number to a hidden id, and that one to an older number.
const ROUNDS: usize = 4;

/// A text that means nobody. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the person is named by number (628…, +62 8…, 08…) or by hidden id (…@lid)")]
pub(crate) struct UnknownPerson;

/// One name of a person, as whoever gives out or erases them types it. No `Debug`: it stays out of logs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PersonName {
    Phone(PhoneNumber),
    Hidden(Lid),
}

impl FromStr for PersonName {
    type Err = UnknownPerson;

    /// A number in the spellings that people use, or an address. A number without its country is one of Indonesia's.
    fn from_str(typed: &str) -> Result<Self, UnknownPerson> {
        let typed = typed.trim();
        if typed.contains('@') {
            return match ChatAddress::parse(typed) {
                Ok(ChatAddress::Phone(phone)) => Ok(Self::Phone(phone)),
                Ok(ChatAddress::Lid(lid)) => Ok(Self::Hidden(lid)),
                _ => Err(UnknownPerson),
            };
        }
        let phone = typed_number(typed).ok_or(UnknownPerson)?;
        Ok(Self::Phone(phone))
    }
}

impl PersonName {
    fn address(&self) -> ChatAddress {
        match self {
            Self::Phone(phone) => ChatAddress::Phone(phone.clone()),
            Self::Hidden(lid) => ChatAddress::Lid(lid.clone()),
        }
    }

    /// What stands for the person in the audit log: the same for the same name, and nobody finds the number by trying all.
    pub(crate) fn pseudonym(&self, keys: &KeyRing, scope: &TenantScope) -> String {
        pseudonym(keys, scope, &self.address())
    }
}

/// A person: every name, and the webhooks that told them.
pub(crate) struct Found {
    pub(crate) names: Names,
    links: BTreeSet<Uuid>,
}

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Erased {
    /// Contacts, of all sessions.
    pub(crate) contacts: usize,
    /// Webhooks that were not delivered yet.
    pub(crate) webhooks: usize,
    /// Read marks that waited.
    pub(crate) read_marks: usize,
}

/// Erases the person.
///
/// # Errors
/// [`Error::NotItsCustomer`], [`Error::NoCustomer`], [`Error::OwnNumber`], [`Error::Database`]; beginning again is safe.
pub(crate) async fn erase(
    db: &Database,
    keys: &KeyRing,
    by: &Actor,
    scope: &TenantScope,
    name: &PersonName,
) -> Result<Erased, Error> {
    let mut tx = TenantTransaction::begin(db, scope, "may a person be erased").await?;
    by.owned(ownership::find(&mut tx).await?)?;
    tx.commit().await?;
    let Found { names, links } = find(db, scope, name).await?;
    let subject = name.pseudonym(keys, scope);
    let mut tx = TenantTransaction::begin(db, scope, "begin erasing a person").await?;
    by.owned(ownership::lock(&mut tx).await?)?;
    if person::names_a_session(&mut tx, &names).await? {
        return Err(Error::OwnNumber);
    }
    let mut act = by.act("person.erase", None);
    act.subject = Some(subject.clone());
    audit::note(&mut tx, &act).await?;
    tx.commit().await?;

    let mut erased = Erased {
        contacts: erase_contacts(db, scope, &names).await?,
        ..Erased::default()
    };
    let mut tx = TenantTransaction::begin(db, scope, "erase a person's read marks").await?;
    erased.read_marks = person::delete_read_marks(&mut tx, &names).await?;
    tx.commit().await?;
    erased.webhooks = erase_webhooks(db, scope, &names, &links).await?;

    let mut tx = TenantTransaction::begin(db, scope, "end erasing a person").await?;
    let links: Vec<Uuid> = links.into_iter().collect();
    erased.webhooks += hook_events::delete(&mut tx, &links).await?;
    let detail = format!(
        "{} contact(s), {} webhook(s), {} read mark(s)",
        erased.contacts, erased.webhooks, erased.read_marks
    );
    let mut act = by.act("person.erased", Some(detail));
    act.subject = Some(subject);
    audit::note(&mut tx, &act).await?;
    tx.commit().await?;
    tracing::info!(tenant = %scope.tenant(), contacts = erased.contacts, webhooks = erased.webhooks, "a person was erased");
    Ok(erased)
}

/// Everything the customer's webhooks know the person by: names lead to further names until there are no more.
///
/// # Errors
/// [`DatabaseError`].
pub(crate) async fn find(
    db: &Database,
    scope: &TenantScope,
    first: &PersonName,
) -> Result<Found, DatabaseError> {
    let mut found = Found {
        names: Names::of(&first.address()),
        links: BTreeSet::new(),
    };
    let mut seen = BTreeSet::new();
    for _ in 0..ROUNDS {
        let known = found.names.clone();
        let mut after = Uuid::nil();
        loop {
            let events = naming(db, scope, &known, after).await?;
            let Some(last) = events.last() else {
                break;
            };
            after = *last;
            for event in events {
                if seen.insert(event) && learn(db, scope, event, &mut found.names).await? {
                    found.links.insert(event);
                }
            }
        }
        if found.names.count() == known.count() {
            break;
        }
    }
    Ok(found)
}

async fn naming(
    db: &Database,
    scope: &TenantScope,
    names: &Names,
    after: Uuid,
) -> Result<Vec<Uuid>, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "find a person's webhooks").await?;
    let events = hook_events::naming(&mut tx, names, after, BATCH).await?;
    tx.commit().await?;
    Ok(events)
}

/// True: the event told a name that was not known.
async fn learn(
    db: &Database,
    scope: &TenantScope,
    event: Uuid,
    names: &mut Names,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "read a person's webhook").await?;
    let whole = hook_events::whole(&mut tx, event).await?;
    tx.commit().await?;
    let Some((phone, lid)) = whole.and_then(message).and_then(both_names) else {
        return Ok(false);
    };
    let known = names.count();
    let told = [ChatAddress::Phone(phone), ChatAddress::Lid(lid)];
    // Else it names the person in its words only.
    if told.iter().any(|address| names.has(address.as_str())) {
        told.iter()
            .for_each(|address| names.add_address(address.as_str()));
    }
    Ok(names.count() > known)
}

/// What an event says, if it is a message. Its signature was checked before it was stored.
fn message(event: Whole) -> Option<InboundMessage> {
    let unverified = Unverified::read(event.content_type.as_deref(), Bytes::from(event.body)).ok()?;
    match unverified.verify(None, &[]).ok()?.parse(Utc::now()).ok()? {
        InboundEvent::Message(message) => Some(*message),
        _ => None,
    }
}

/// The number and the hidden id of whom a conversation is with, where both are told.
fn both_names(message: InboundMessage) -> Option<(PhoneNumber, Lid)> {
    Some((message.chat_phone?, message.chat_lid?))
}

async fn erase_contacts(db: &Database, scope: &TenantScope, names: &Names) -> Result<usize, DatabaseError> {
    let mut all = 0;
    loop {
        let mut tx = TenantTransaction::begin(db, scope, "erase a person's contacts").await?;
        let gone = person::delete_contacts(&mut tx, names, BATCH).await?;
        tx.commit().await?;
        all += gone;
        if gone == 0 {
            return Ok(all);
        }
    }
}

/// Erases the webhooks that name the person, but for those by which the names were found.
async fn erase_webhooks(
    db: &Database,
    scope: &TenantScope,
    names: &Names,
    links: &BTreeSet<Uuid>,
) -> Result<usize, DatabaseError> {
    let (mut all, mut after) = (0, Uuid::nil());
    loop {
        let mut events = naming(db, scope, names, after).await?;
        let Some(last) = events.last() else {
            return Ok(all);
        };
        after = *last;
        events.retain(|event| !links.contains(event));
        let mut tx = TenantTransaction::begin(db, scope, "erase a person's webhooks").await?;
        all += hook_events::delete(&mut tx, &events).await?;
        tx.commit().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_number_means_the_same_person() {
        for spelling in [
            "6281290000011",
            "+62 812-9000-0011",
            "081290000011",
            " 0812 9000 0011 ",
            "6281290000011@s.whatsapp.net",
            "6281290000011:7@s.whatsapp.net",
        ] {
            let name: PersonName = spelling.parse().ok().unwrap();
            assert_eq!(
                name.address().as_str(),
                "6281290000011@s.whatsapp.net",
                "{spelling}"
            );
        }
        let hidden: PersonName = "204466881133557@lid".parse().ok().unwrap();
        assert_eq!(hidden.address().as_str(), "204466881133557@lid");
    }

    #[test]
    fn nobody_else_is_meant() {
        for wrong in [
            "",
            "+",
            "12",
            "2044@lid",
            "120363@g.us",
            "status@broadcast",
            "halo",
            "web_a",
        ] {
            assert_eq!(
                wrong.parse::<PersonName>().err(),
                Some(UnknownPerson),
                "{wrong:?}"
            );
        }
    }
}
