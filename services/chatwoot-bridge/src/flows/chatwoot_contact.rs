//! The person in Chatwoot and the conversation with them, found or made (contract 3.2 and 3.3).
//!
//! Everything here may be done again after a lost answer: what is unique in Chatwoot is looked for before it is made,
//! and a conversation is only opened when there is none to go on with. Whoever works here holds the person's lock, see
//! [`place`](super::place).

use messaging::events::message_received::ChatPartner;

use super::NotDone;
use super::place::Guard;
use crate::chatwoot::{ChatwootApi, ChatwootError, Contact, ContactChange, Conversation, NewContact};
use crate::store::contacts::{ContactLink, Person};
use crate::store::inbound_rules::ConversationPolicy;

const RESOLVED: &str = "resolved";
const PENDING: &str = "pending";
/// Indonesia's code, and what stands for it inside the country.
const COUNTRY: &str = "62";
const INLAND: &str = "0";

/// Who the message is from, as our tables know people.
#[must_use]
pub fn person(partner: &ChatPartner) -> Person<'_> {
    Person {
        address: &partner.address,
        canonical: partner.phone.as_deref().unwrap_or(&partner.address),
    }
}

/// The name that the person gave themselves, if it is one.
pub(super) fn push_name(partner: &ChatPartner) -> Option<String> {
    let name = partner.name.as_deref()?.replace('\0', "");
    (!name.trim().is_empty()).then_some(name)
}

/// A contact and a conversation about to be found or made.
pub(super) struct Making<'a> {
    pub(super) api: ChatwootApi<'a>,
    pub(super) partner: &'a ChatPartner,
    pub(super) policy: ConversationPolicy,
    /// Asked before anything is made.
    pub(super) guard: &'a Guard<'a>,
    /// What we knew of the person until now.
    pub(super) before: Option<&'a ContactLink>,
}

/// A contact, its place in the inbox, and the name that is ours.
struct Found {
    contact: i64,
    source_id: String,
    name_by_us: Option<String>,
}

impl Making<'_> {
    /// Finds or makes the contact, its place in the inbox and a conversation.
    ///
    /// # Errors
    /// [`NotDone`].
    pub(super) async fn run(&self) -> Result<ContactLink, NotDone> {
        match self.once().await {
            // Somebody deleted the contact that was just found.
            Err(NotDone::Chatwoot(ChatwootError::NotFound)) => self.once().await,
            outcome => outcome,
        }
    }

    async fn once(&self) -> Result<ContactLink, NotDone> {
        if let Some(contact) = self.find().await? {
            let found = self.settle(contact).await?;
            return self.converse(found, true).await;
        }
        match self.create(true).await {
            // Nobody can have begun a conversation with somebody who did not exist.
            Ok(made) => self.converse(made, false).await,
            Err(NotDone::Chatwoot(ChatwootError::Taken)) => {
                // Somebody was faster, or the source id belongs to a contact with another identifier and phone.
                let found = match self.find().await? {
                    Some(contact) => self.settle(contact).await?,
                    None => {
                        let made = self.create(false).await?;
                        let source_id = self.place(made.contact, None).await?;
                        Found { source_id, ..made }
                    }
                };
                self.converse(found, true).await
            }
            Err(error) => Err(error),
        }
    }

    /// The person's contact, under whatever form of the number it was made.
    async fn find(&self) -> Result<Option<Contact>, NotDone> {
        let address = self.partner.address.as_str();
        let forms = forms(self.partner);
        let mut any_of = vec![("identifier", address)];
        any_of.extend(forms.iter().map(|form| ("identifier", form.as_str())));
        any_of.extend(forms.iter().map(|form| ("phone_number", form.as_str())));
        let found = self.api.find_contacts(&any_of).await?;
        let inbox = self.api.inbox_id();
        Ok(found
            .into_iter()
            .filter(|contact| is_of(contact, self.partner))
            .min_by_key(|contact| {
                let identifier = contact.identifier.as_deref();
                let rank = if contact.has_source(inbox, address) {
                    0
                } else if identifier == Some(address) {
                    1
                } else if contact.is_in(inbox) {
                    2
                } else {
                    3
                };
                (rank, contact.id)
            }))
    }

    async fn create(&self, in_inbox: bool) -> Result<Found, NotDone> {
        let (address, phone) = (&self.partner.address, phone(self.partner));
        let name = push_name(self.partner)
            .unwrap_or_else(|| phone.map_or_else(|| address.clone(), |digits| format!("+{digits}")));
        let new = NewContact {
            name: &name,
            address,
            phone,
            in_inbox,
        };
        self.guard.about_to_create().await?;
        let made = match self.api.create_contact(new).await {
            // A number that Chatwoot does not believe in must not stop the message (contract 6, 13).
            Err(ChatwootError::Refused { status: 422 }) if phone.is_some() => {
                self.api.create_contact(NewContact { phone: None, ..new }).await?
            }
            created => created?,
        };
        Ok(Found {
            contact: made.id,
            source_id: address.clone(),
            name_by_us: Some(name),
        })
    }

    /// A contact that was there: its place in the inbox, and its name where nobody gave it one.
    async fn settle(&self, contact: Contact) -> Result<Found, NotDone> {
        let source_id = self.place(contact.id, Some(&contact)).await?;
        let before = self
            .before
            .filter(|before| before.chatwoot_contact_id == contact.id);
        let name_by_us = match before {
            Some(before) => before.name_by_us.clone(),
            None => self.name(&contact).await,
        };
        Ok(Found {
            contact: contact.id,
            source_id,
            name_by_us,
        })
    }

    /// Only a name that nobody chose is replaced (contract 6, 22). Names are not worth a failure.
    async fn name(&self, contact: &Contact) -> Option<String> {
        let current = contact.name.as_deref().unwrap_or_default();
        if !nobody_chose(current, self.partner) {
            return None;
        }
        let Some(name) = push_name(self.partner) else {
            return Some(current.to_owned());
        };
        let change = ContactChange {
            name: Some(&name),
            ..ContactChange::default()
        };
        match self.api.change_contact(contact.id, change).await {
            Ok(()) => Some(name),
            Err(_) => Some(current.to_owned()),
        }
    }

    /// Makes sure that the contact is in the inbox and says under which source id. The address, so that replies come
    /// back with it, unless another contact holds that.
    async fn place(&self, id: i64, contact: Option<&Contact>) -> Result<String, NotDone> {
        let address = self.partner.address.as_str();
        if contact.is_some_and(|contact| contact.has_source(self.api.inbox_id(), address)) {
            return Ok(address.to_owned());
        }
        self.guard.about_to_create().await?;
        match self.api.link_contact(id, Some(address)).await {
            Ok(_) => Ok(address.to_owned()),
            Err(ChatwootError::Taken) => {
                metrics::counter!("kanal_bridge_source_ids_taken_total").increment(1);
                // Not one more with each conversation.
                let before = self.before.filter(|before| before.chatwoot_contact_id == id);
                if let Some(before) = before {
                    return Ok(before.source_id.clone());
                }
                let given = contact.and_then(|contact| contact.source_in(self.api.inbox_id()));
                if let Some(given) = given {
                    return Ok(given.to_owned());
                }
                let chosen = self.api.link_contact(id, None).await?;
                let unreadable = ChatwootError::NoAnswer {
                    what: "unreadable",
                    settled_in: None,
                    outage: false,
                };
                Ok(chosen.ok_or(unreadable)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn converse(&self, found: Found, look_first: bool) -> Result<ContactLink, NotDone> {
        let going_on = if look_first {
            self.going_on(self.api.conversations_of(found.contact).await?)
        } else {
            None
        };
        let conversation = match going_on {
            Some(conversation) => conversation,
            None => {
                self.guard.about_to_create().await?;
                let status = (self.policy == ConversationPolicy::Pending).then_some(PENDING);
                self.api
                    .create_conversation(found.contact, &found.source_id, status)
                    .await?
            }
        };
        Ok(ContactLink {
            chatwoot_contact_id: found.contact,
            chatwoot_conversation_id: conversation.id,
            source_id: found.source_id,
            name_by_us: found.name_by_us,
        })
    }

    /// The newest that is not resolved always wins (contract 6, 10).
    fn going_on(&self, all: Vec<Conversation>) -> Option<Conversation> {
        let ours = all
            .into_iter()
            .filter(|conversation| conversation.inbox_id == Some(self.api.inbox_id()));
        let (resolved, open): (Vec<_>, Vec<_>) = ours.partition(is_resolved);
        let newest = |conversations: Vec<Conversation>| {
            conversations
                .into_iter()
                .max_by_key(|conversation| conversation.id)
        };
        let single = self.policy == ConversationPolicy::Single;
        newest(open).or_else(|| newest(resolved).filter(|_| single))
    }
}

/// Did somebody close it?
pub(super) fn is_resolved(conversation: &Conversation) -> bool {
    conversation.status.as_deref() == Some(RESOLVED)
}

/// Would a message open it again?
pub(super) fn is_put_away(conversation: &Conversation) -> bool {
    matches!(conversation.status.as_deref(), Some(RESOLVED | "snoozed"))
}

/// Gives a conversation that is put away to whoever looks at pending ones first.
pub(super) async fn make_pending(api: ChatwootApi<'_>, conversation: i64) -> Result<(), ChatwootError> {
    api.set_conversation_status(conversation, PENDING).await
}

/// Is this a name that stands there only because no other was known?
pub(super) fn nobody_chose(name: &str, partner: &ChatPartner) -> bool {
    let name = name.trim();
    name.is_empty() || name == partner.address || same_number(name, partner)
}

/// The digits, if Chatwoot can take them for a number (E.164).
fn phone(partner: &ChatPartner) -> Option<&str> {
    partner.phone.as_deref().filter(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

/// How people and other programs write the number down (contract 6, 12). WhatsApp's own digits are what we write.
fn forms(partner: &ChatPartner) -> Vec<String> {
    let Some(digits) = phone(partner) else {
        return Vec::new();
    };
    let mut forms = vec![digits.to_owned(), format!("+{digits}")];
    if let Some(rest) = digits.strip_prefix(COUNTRY) {
        forms.push(format!("{INLAND}{rest}"));
    }
    forms
}

/// Is it the same number, whatever stands between its digits?
fn same_number(text: &str, partner: &ChatPartner) -> bool {
    let Some(digits) = phone(partner) else {
        return false;
    };
    let number = |c: char| c.is_ascii_digit() || c.is_whitespace() || "+-.()".contains(c);
    if !text.chars().all(number) {
        return false;
    }
    let written: String = text.chars().filter(char::is_ascii_digit).collect();
    written == digits
        || matches!(
            (written.strip_prefix(INLAND), digits.strip_prefix(COUNTRY)),
            (Some(written), Some(rest)) if written == rest
        )
}

/// A version that does not know a filter's key answers with everybody.
fn is_of(contact: &Contact, partner: &ChatPartner) -> bool {
    let identifier = contact.identifier.as_deref();
    let same = |text: Option<&str>| text.is_some_and(|text| same_number(text, partner));
    identifier == Some(partner.address.as_str()) || same(identifier) || same(contact.phone_number.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partner(phone: Option<&str>) -> ChatPartner {
        ChatPartner {
            address: "628123450001@s.whatsapp.net".into(),
            phone: phone.map(str::to_owned),
            name: None,
        }
    }

    #[test]
    fn the_forms_of_a_number_are_one() {
        let ours = partner(Some("628123450001"));
        for same in [
            "628123450001",
            "+628123450001",
            "08123450001",
            "+62 812-345-0001",
            "(0812) 345.0001",
        ] {
            assert!(same_number(same, &ours), "{same}");
        }
        for other in [
            "628123450002",
            "8123450001",
            "0628123450001",
            "",
            "Sari 08123450001",
        ] {
            assert!(!same_number(other, &ours), "{other}");
        }
        assert_eq!(forms(&ours), ["628123450001", "+628123450001", "08123450001"]);
        // A zero stands for a country in one's own country only.
        let abroad = partner(Some("4915112345678"));
        assert!(!same_number("015112345678", &abroad));
        assert_eq!(forms(&abroad), ["4915112345678", "+4915112345678"]);
        assert!(forms(&partner(None)).is_empty() && forms(&partner(Some("0812"))).is_empty());
    }

    #[test]
    fn names_that_only_say_the_number_are_nobodys_choice() {
        let ours = partner(Some("628123450001"));
        for free in [
            "",
            " ",
            "+628123450001",
            "08123450001",
            "628123450001@s.whatsapp.net",
        ] {
            assert!(nobody_chose(free, &ours), "{free}");
        }
        assert!(!nobody_chose("Sari", &ours));
    }
}
