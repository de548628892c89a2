//! Contacts and their places in inboxes (contract 3.2).

use reqwest::Method;

use super::client::ChatwootApi;
use super::error::ChatwootError;
use super::wire::{
    Contact, ContactBody, ContactCreated, ContactInbox, ContactInboxBody, FilterBody, FilterCondition, Listed,
};

/// A contact to be made.
#[derive(Clone, Copy)]
pub struct NewContact<'a> {
    /// What agents see.
    pub name: &'a str,
    /// Our canonical address: identifier and source id alike.
    pub address: &'a str,
    /// Digits with country code.
    pub phone: Option<&'a str>,
    /// Give it a place in the inbox at once, with the address as source id.
    pub in_inbox: bool,
}

impl ChatwootApi<'_> {
    /// Contacts whose `attribute` (`identifier` or `phone_number`) is `value`.
    pub async fn find_contacts(
        &self,
        attribute: &'static str,
        value: &str,
    ) -> Result<Vec<Contact>, ChatwootError> {
        let condition = FilterCondition {
            attribute_key: attribute,
            filter_operator: "equal_to",
            values: [value],
            query_operator: None,
        };
        let body = FilterBody { payload: [condition] };
        let listed: Listed<Contact> = self
            .call("find_contact", Method::POST, "/contacts/filter", Some(&body))
            .await?;
        Ok(listed.payload)
    }

    /// Makes a contact.
    pub async fn create_contact(&self, contact: NewContact<'_>) -> Result<Contact, ChatwootError> {
        let body = ContactBody {
            inbox_id: contact.in_inbox.then_some(self.inbox_id()),
            name: contact.name,
            identifier: contact.address,
            source_id: contact.in_inbox.then_some(contact.address),
            phone_number: contact.phone.map(|digits| format!("+{digits}")),
        };
        let made: ContactCreated = self
            .call("create_contact", Method::POST, "/contacts", Some(&body))
            .await?;
        Ok(made.payload.contact)
    }

    /// Gives a contact a place in the inbox; without a source id Chatwoot chooses one, which it returns.
    pub async fn link_contact(
        &self,
        contact: i64,
        source_id: Option<&str>,
    ) -> Result<Option<String>, ChatwootError> {
        let body = ContactInboxBody {
            inbox_id: self.inbox_id(),
            source_id,
        };
        let path = format!("/contacts/{contact}/contact_inboxes");
        let place: ContactInbox = self
            .call("link_contact", Method::POST, &path, Some(&body))
            .await?;
        Ok(place.source_id)
    }
}
