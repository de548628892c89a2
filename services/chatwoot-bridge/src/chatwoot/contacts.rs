//! Contacts and their places in inboxes (contract 3.2).

use reqwest::Method;
use reqwest::multipart::{Form, Part};

use super::client::{ChatwootApi, NOTHING};
use super::error::ChatwootError;
use super::messages::MessageFile;
use super::wire::{
    Contact, ContactBody, ContactChangeBody, ContactCreated, ContactInbox, ContactInboxBody, FilterBody,
    FilterCondition, Listed, Payload,
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

/// What is to change about a contact; the rest stays.
#[derive(Clone, Copy, Default)]
pub struct ContactChange<'a> {
    /// What agents see.
    pub name: Option<&'a str>,
    /// External identifier.
    pub identifier: Option<&'a str>,
    /// Digits with country code.
    pub phone: Option<&'a str>,
}

impl ChatwootApi<'_> {
    /// Contacts of which any of these attributes (`identifier`, `phone_number`) has this value: the first page.
    pub async fn find_contacts(
        &self,
        any_of: &[(&'static str, &str)],
    ) -> Result<Vec<Contact>, ChatwootError> {
        let last = any_of.len().saturating_sub(1);
        let conditions = any_of.iter().enumerate();
        let body = FilterBody {
            payload: conditions
                .map(|(at, (attribute, value))| FilterCondition {
                    attribute_key: attribute,
                    filter_operator: "equal_to",
                    values: [value],
                    query_operator: (at < last).then_some("OR"),
                })
                .collect(),
        };
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

    /// A contact as it is now.
    pub async fn contact(&self, id: i64) -> Result<Contact, ChatwootError> {
        let path = format!("/contacts/{id}");
        let found: Payload<Contact> = self.call("show_contact", Method::GET, &path, NOTHING).await?;
        Ok(found.payload)
    }

    /// Changes a contact. The same again changes nothing.
    pub async fn change_contact(&self, id: i64, change: ContactChange<'_>) -> Result<(), ChatwootError> {
        let body = ContactChangeBody {
            name: change.name,
            identifier: change.identifier,
            phone_number: change.phone.map(|digits| format!("+{digits}")),
        };
        let path = format!("/contacts/{id}");
        let _answer: serde_json::Value = self
            .call("change_contact", Method::PUT, &path, Some(&body))
            .await?;
        Ok(())
    }

    /// Puts a picture up in the place of the one there was. The same again changes nothing.
    pub async fn set_picture(&self, id: i64, picture: MessageFile) -> Result<(), ChatwootError> {
        let size = picture.size;
        let part = Part::stream_with_length(picture.body, size)
            .file_name(picture.name)
            .mime_str(&picture.mime_type)
            .map_err(|_| ChatwootError::Refused { status: 415 })?;
        let form = Form::new().part("avatar", part);
        let (path, time) = (format!("/contacts/{id}"), self.time_for(size));
        let _answer: serde_json::Value = self
            .call_form("set_picture", Method::PUT, &path, form, time)
            .await?;
        Ok(())
    }

    /// Takes the picture down. Without one nothing changes.
    pub async fn remove_picture(&self, id: i64) -> Result<(), ChatwootError> {
        let path = format!("/contacts/{id}/avatar");
        let _answer: serde_json::Value = self
            .call("remove_picture", Method::DELETE, &path, NOTHING)
            .await?;
        Ok(())
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
