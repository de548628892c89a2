//! Everything here that is one person's, found from one of their names.
//!
//! A body or a payload in which a name stands may be somebody else's, who wrote of them or sent their card: that is the
//! other's and stays. So what Postgres finds is read, and only fields that say whose it is count.

use std::collections::BTreeSet;

use chores::person::{Names, typed_number};
use database::DatabaseError;
use domain::address::ChatAddress;
use messaging::Envelope;
use messaging::events::send_requested::SendRequested;
use serde_json::Value;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::work::{conversation_lane, read_stored};
use crate::store::forward_events::{self, Naming};
use crate::store::people::{self, InInbox, Work, Written};

/// How often names lead to further names. Two are usual: a number to a hidden id, and that one to an older number.
const ROUNDS: usize = 8;
/// Tasks read at once.
const TASKS: i64 = 500;
/// Bodies read at once; each may have a megabyte.
const BODIES: i64 = 20;
/// How deep a body is looked into.
const DEEPEST: usize = 16;

/// Nobody can be meant by this. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name the person by number (628…, +62 8…, 08…) or WhatsApp address (…@lid)")]
pub struct NobodyMeant;

/// Whom somebody means who erases or gives out a person: a number in any spelling, or an address.
///
/// # Errors
/// [`NobodyMeant`].
pub fn read_person(typed: &str) -> Result<ChatAddress, NobodyMeant> {
    if let Some(number) = typed_number(typed) {
        return Ok(ChatAddress::Phone(number));
    }
    ChatAddress::parse(typed.trim())
        .ok()
        .filter(ChatAddress::is_direct)
        .ok_or(NobodyMeant)
}

/// A contact in Chatwoot that was the person's. Chatwoot goes on having it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct LeftContact {
    /// Our name for the server.
    pub installation: String,
    /// Chatwoot's account.
    pub account_id: i64,
    /// Chatwoot's contact.
    pub contact_id: i64,
}

/// A person: every name, and what is found by the names.
#[derive(Clone)]
pub struct Person {
    /// The names.
    pub names: Names,
    /// Contacts in Chatwoot.
    pub contacts: BTreeSet<InInbox>,
    /// Conversations with them there.
    pub conversations: BTreeSet<InInbox>,
    /// Lanes on which their work stands.
    pub lanes: BTreeSet<String>,
    /// The contacts, as people find them in Chatwoot.
    pub in_chatwoot: BTreeSet<LeftContact>,
}

/// Everything that is known of a person: names lead to further names until there are no more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, first: &ChatAddress) -> Result<Person, DatabaseError> {
    let mut person = Person {
        names: Names::of(first),
        contacts: BTreeSet::new(),
        conversations: BTreeSet::new(),
        lanes: BTreeSet::new(),
        in_chatwoot: BTreeSet::new(),
    };
    for _ in 0..ROUNDS {
        let known = person.names.count();
        for contact in people::contacts(tx, &person.names).await? {
            let named = [contact.canonical, contact.merged_into];
            person.learn(&contact.address);
            named.iter().flatten().for_each(|name| person.learn(name));
            person
                .contacts
                .insert((contact.inbox_id, contact.chatwoot_contact_id));
            person
                .conversations
                .insert((contact.inbox_id, contact.chatwoot_conversation_id));
            if let (Some(installation), Some(account_id)) =
                (contact.installation, contact.chatwoot_account_id)
            {
                person.in_chatwoot.insert(LeftContact {
                    installation,
                    account_id,
                    contact_id: contact.chatwoot_contact_id,
                });
            }
        }
        person.read_tasks(tx).await?;
        if person.names.count() == known {
            break;
        }
    }
    person
        .conversations
        .extend(people::conversations(tx, &person.names).await?);
    let lanes = person.conversations.iter();
    person
        .lanes
        .extend(lanes.map(|(inbox, conversation)| conversation_lane(*inbox, *conversation)));
    Ok(person)
}

impl Person {
    /// The conversations, for a query.
    #[must_use]
    pub fn conversations(&self) -> Vec<InInbox> {
        self.conversations.iter().copied().collect()
    }

    fn learn(&mut self, name: &str) {
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            self.names.phones.insert(name.to_owned());
        } else {
            self.names.add_address(name);
        }
    }

    /// The lanes of tasks that are theirs, and names that only these tell.
    async fn read_tasks(&mut self, tx: &mut TenantTransaction) -> Result<(), DatabaseError> {
        let mut after = 0;
        loop {
            let tasks = people::naming(tx, Work::Tasks, &self.names, after, TASKS).await?;
            let Some(last) = tasks.last() else {
                return Ok(());
            };
            after = last.seq;
            for task in tasks {
                self.read_task(task);
            }
        }
    }

    fn read_task(&mut self, task: Written) {
        let Ok(errand) = read_stored(&task.kind, &task.text) else {
            // Nobody can make anything of it, and the name stands in it.
            self.lanes.insert(task.lane);
            return;
        };
        let names = errand.work.names();
        if names.iter().any(|name| self.names.has(name)) {
            names.into_iter().for_each(|name| self.learn(name));
            self.lanes.insert(task.lane);
        }
    }

    /// The places of orders to them that the broker has not taken yet.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn orders(&self, tx: &mut TenantTransaction) -> Result<Vec<i64>, DatabaseError> {
        let (mut places, mut after) = (Vec::new(), 0);
        loop {
            let orders = people::naming(tx, Work::Orders, &self.names, after, TASKS).await?;
            let Some(last) = orders.last() else {
                return Ok(places);
            };
            after = last.seq;
            let theirs = orders.iter().filter(|order| self.is_to_them(order));
            places.extend(theirs.map(|order| order.seq));
        }
    }

    fn is_to_them(&self, order: &Written) -> bool {
        let order =
            Envelope::read(order.text.as_bytes()).and_then(|envelope| envelope.event::<SendRequested>());
        matches!(order, Ok(Some(order)) if self.names.has(&order.to))
    }
}

/// Events for the URLs of routes that are the person's.
#[derive(Debug, Default)]
pub struct TheirEvents {
    /// Of no conversation: themselves.
    pub events: Vec<Uuid>,
    /// Of a conversation: all of it, as a route has it.
    pub conversations: Vec<(Uuid, i64)>,
    /// Where the next ones begin; none at the end.
    pub next: Option<i64>,
}

/// The next of the person's events.
///
/// # Errors
/// [`DatabaseError`].
pub async fn events(
    tx: &mut TenantTransaction,
    names: &Names,
    after: i64,
) -> Result<TheirEvents, DatabaseError> {
    let naming = forward_events::naming(tx, &names.pattern(), after, BODIES).await?;
    let next = naming.last().map(|event| event.seq);
    let mut conversations = BTreeSet::new();
    let mut events = Vec::new();
    for event in naming.iter().filter(|event| is_theirs(event, names)) {
        if event.conversation == 0 {
            events.push(event.id);
        } else {
            conversations.insert((event.route_id, event.conversation));
        }
    }
    Ok(TheirEvents {
        events,
        conversations: conversations.into_iter().collect(),
        next,
    })
}

/// What is no JSON is nobody's words in particular.
fn is_theirs(event: &Naming, names: &Names) -> bool {
    serde_json::from_slice(&event.body).map_or(true, |body: Value| is_about(&body, names, DEEPEST))
}

/// Does a contact in it have one of the names? Free text and what people put into attributes says nothing of that.
fn is_about(value: &Value, names: &Names, deep: usize) -> bool {
    let Some(deep) = deep.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| match key.as_str() {
            "phone_number" | "identifier" | "source_id" => value.as_str().is_some_and(|text| names.has(text)),
            "content_attributes" | "custom_attributes" | "additional_attributes" | "attachments" => false,
            _ => is_about(value, names, deep),
        }),
        Value::Array(values) => values.iter().any(|value| is_about(value, names, deep)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_of_the_person_whom_its_contact_is() {
        let names = Names::of(&read_person("0812-9000-0011").unwrap());
        let of = |value: Value| is_about(&value, &names, DEEPEST);
        for theirs in [
            json!({"conversation": {"meta": {"sender": {"phone_number": "+6281290000011"}}}}),
            json!({"contact_inbox": {"source_id": "6281290000011@s.whatsapp.net"}}),
            json!({"messages": [{"sender": {"identifier": "6281290000011@s.whatsapp.net"}}]}),
            json!({"phone_number": "+62 812-9000-0011"}),
        ] {
            assert!(of(theirs.clone()), "{theirs}");
        }
        for others in [
            json!({"content": "telepon 6281290000011"}),
            json!({"attachments": [{"phone_number": "+6281290000011"}]}),
            json!({"custom_attributes": {"phone_number": "+6281290000011"}}),
            json!({"phone_number": "+62812900000112"}),
            json!({"phone_number": null}),
        ] {
            assert!(!of(others.clone()), "{others}");
        }
    }

    #[test]
    fn nobody_else_can_be_meant() {
        for (typed, meant) in [
            ("+62 812-9000-0011", "6281290000011@s.whatsapp.net"),
            ("6281290000011@s.whatsapp.net", "6281290000011@s.whatsapp.net"),
            (" 204466881133557@lid ", "204466881133557@lid"),
        ] {
            assert_eq!(read_person(typed).unwrap().as_str(), meant);
        }
        for wrong in ["", "12", "halo", "120363000000007777@g.us", "status@broadcast"] {
            assert_eq!(read_person(wrong), Err(NobodyMeant), "{wrong:?}");
        }
    }
}
