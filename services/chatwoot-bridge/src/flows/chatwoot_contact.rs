//! The person in Chatwoot and the conversation with them, found or made (contract 3.2 and 3.3).
//!
//! Everything here may be done again after a lost answer: what is unique in Chatwoot is looked for before it is made,
//! and a conversation is only opened when there is none to go on with.

use messaging::events::message_received::ChatPartner;

use crate::chatwoot::{ChatwootApi, ChatwootError, Contact, NewContact};
use crate::store::contacts::ContactLink;

/// Finds or makes the contact, its place in the inbox and a conversation.
///
/// # Errors
/// [`ChatwootError`].
pub async fn establish(api: ChatwootApi<'_>, partner: &ChatPartner) -> Result<ContactLink, ChatwootError> {
    let address = partner.address.as_str();
    if let Some(contact) = find(api, partner).await? {
        let source_id = place(api, &contact, address).await?;
        return converse(api, contact.id, source_id, true).await;
    }
    match create(api, partner, true).await {
        // Nobody can have begun a conversation with somebody who did not exist.
        Ok(contact) => converse(api, contact.id, address.to_owned(), false).await,
        Err(ChatwootError::Taken) => {
            // Somebody was faster, or the source id belongs to a contact with another identifier and phone.
            let contact = match find(api, partner).await? {
                Some(contact) => contact,
                None => create(api, partner, false).await?,
            };
            let source_id = place(api, &contact, address).await?;
            converse(api, contact.id, source_id, true).await
        }
        Err(error) => Err(error),
    }
}

async fn find(api: ChatwootApi<'_>, partner: &ChatPartner) -> Result<Option<Contact>, ChatwootError> {
    let address = partner.address.as_str();
    let found = api.find_contacts("identifier", address).await?;
    if let Some(contact) = found
        .into_iter()
        .find(|contact| contact.identifier.as_deref() == Some(address))
    {
        return Ok(Some(contact));
    }
    let Some(phone) = phone(partner) else {
        return Ok(None);
    };
    Ok(api.find_contacts("phone_number", phone).await?.into_iter().next())
}

async fn create(
    api: ChatwootApi<'_>,
    partner: &ChatPartner,
    in_inbox: bool,
) -> Result<Contact, ChatwootError> {
    let phone = phone(partner);
    let name = partner
        .name
        .as_deref()
        .map(|name| name.replace('\0', ""))
        .filter(|name| !name.trim().is_empty());
    let name =
        name.unwrap_or_else(|| phone.map_or_else(|| partner.address.clone(), |digits| format!("+{digits}")));
    let new = NewContact {
        name: &name,
        address: &partner.address,
        phone,
        in_inbox,
    };
    match api.create_contact(new).await {
        // A number that Chatwoot does not believe in must not stop the message (contract 6, 13).
        Err(ChatwootError::Refused { status: 422 }) if phone.is_some() => {
            api.create_contact(NewContact { phone: None, ..new }).await
        }
        created => created,
    }
}

/// Makes sure that the contact is in the inbox and says under which source id. The address, so that replies come
/// back with it, unless another contact holds that.
async fn place(api: ChatwootApi<'_>, contact: &Contact, address: &str) -> Result<String, ChatwootError> {
    if contact.has_source(api.inbox_id(), address) {
        return Ok(address.to_owned());
    }
    match api.link_contact(contact.id, Some(address)).await {
        Ok(_) => Ok(address.to_owned()),
        Err(ChatwootError::Taken) => {
            metrics::counter!("kanal_bridge_source_ids_taken_total").increment(1);
            let chosen = api.link_contact(contact.id, None).await?;
            chosen.ok_or(ChatwootError::NoAnswer {
                what: "unreadable",
                settled_in: None,
                outage: false,
            })
        }
        Err(error) => Err(error),
    }
}

async fn converse(
    api: ChatwootApi<'_>,
    contact: i64,
    source_id: String,
    look_first: bool,
) -> Result<ContactLink, ChatwootError> {
    let going_on = if look_first {
        let all = api.conversations_of(contact).await?;
        all.into_iter()
            .filter(|conversation| conversation.inbox_id == Some(api.inbox_id()))
            .filter(|conversation| conversation.status.as_deref() != Some("resolved"))
            .max_by_key(|conversation| conversation.id)
    } else {
        None
    };
    let conversation = match going_on {
        Some(conversation) => conversation,
        None => api.create_conversation(contact, &source_id).await?,
    };
    Ok(ContactLink {
        chatwoot_contact_id: contact,
        chatwoot_conversation_id: conversation.id,
        source_id,
    })
}

/// The digits, if Chatwoot can take them for a number (E.164).
fn phone(partner: &ChatPartner) -> Option<&str> {
    partner.phone.as_deref().filter(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}
