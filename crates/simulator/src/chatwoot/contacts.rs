//! Contacts and their links to inboxes (contract 3.2).

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::Utc;
use serde_json::{Map, Value, json};

use super::state::{ChatwootState, ContactView};
use super::{
    Handled, Request, attributes, files, flag, invalid, missing, number, ok, payload, text, unprocessable,
    webhook,
};
use crate::http::Answer;
use crate::hub::Hub;
use crate::journal::JOURNAL_LIMIT;
use crate::multipart;

const PAGE: usize = 15;

/// What must be unique per account, and the word its 422 starts with.
const UNIQUE: [(&str, &str); 3] = [
    ("phone_number", "Phone number"),
    ("identifier", "Identifier"),
    ("email", "Email"),
];

pub(super) fn list(state: &ChatwootState, request: &Request<'_>) -> Handled {
    page(state, request, |_| true)
}

/// Substring match on name, e-mail, phone and identifier.
pub(super) fn search(state: &ChatwootState, request: &Request<'_>) -> Handled {
    let Some(wanted) = request.call.query("q").filter(|q| !q.trim().is_empty()) else {
        return Err(unprocessable("Specify search string with parameter q"));
    };
    let wanted = wanted.trim().to_lowercase();
    page(state, request, |contact| {
        [
            Some(contact.name.as_str()),
            contact.email.as_deref(),
            contact.phone_number.as_deref(),
            contact.identifier.as_deref(),
        ]
        .into_iter()
        .flatten()
        .any(|value| value.to_lowercase().contains(&wanted))
    })
}

pub(super) fn filter(state: &ChatwootState, request: &Request<'_>) -> Handled {
    let members = request.members()?;
    let Some(Value::Array(conditions)) = members.get("payload") else {
        return Err(unprocessable("Invalid payload"));
    };
    // The common question, any of some equalities on unique attributes, has an index: with many contacts it must not be
    // slow.
    if let Some(found) = by_index(state, request.account, conditions) {
        return page_of(
            state,
            request,
            found.iter().filter_map(|id| state.contacts.get(id)),
        );
    }
    page(state, request, |contact| {
        let mut matched = None;
        let mut operator = "and".to_owned();
        for condition in conditions {
            let this = condition_holds(contact, condition);
            matched = Some(match (matched, operator.as_str()) {
                (None, _) => this,
                (Some(before), "or") => before || this,
                (Some(before), _) => before && this,
            });
            operator = condition["query_operator"]
                .as_str()
                .unwrap_or("and")
                .to_lowercase();
        }
        matched.unwrap_or(true)
    })
}

/// Who has any of these unique values. `None`: something else is asked.
fn by_index(state: &ChatwootState, account: u64, conditions: &[Value]) -> Option<BTreeSet<u64>> {
    let (last, others) = conditions.split_last()?;
    let or = |condition: &Value| {
        let operator = condition["query_operator"].as_str();
        operator.is_some_and(|operator| operator.eq_ignore_ascii_case("or"))
    };
    if !others.iter().all(or) {
        return None;
    }
    let mut found = BTreeSet::new();
    for condition in others.iter().chain([last]) {
        let (key, _) = UNIQUE
            .iter()
            .find(|(key, _)| condition["attribute_key"] == *key)?;
        if condition["filter_operator"] != "equal_to" {
            return None;
        }
        let value = first_value(condition)?;
        found.extend(state.taken.get(&(account, *key, value)));
    }
    Some(found)
}

/// The value asked for, in lower case. Phones are asked for with or without their plus.
fn first_value(condition: &Value) -> Option<String> {
    let value = condition["values"][0].as_str()?.to_lowercase();
    if condition["attribute_key"] == "phone_number" {
        return Some(format!("+{}", value.trim().trim_start_matches('+')));
    }
    Some(value)
}

fn condition_holds(contact: &ContactView, condition: &Value) -> bool {
    let actual = match condition["attribute_key"].as_str() {
        Some("phone_number") => contact.phone_number.clone(),
        Some("identifier") => contact.identifier.clone(),
        Some("email") => contact.email.clone(),
        Some("name") => Some(contact.name.clone()),
        _ => None,
    };
    let actual = actual.unwrap_or_default().to_lowercase();
    let wanted = first_value(condition).unwrap_or_default();
    match condition["filter_operator"].as_str() {
        Some("equal_to") => actual == wanted,
        Some("not_equal_to") => actual != wanted,
        Some("contains") => actual.contains(wanted.trim_start_matches('+')),
        Some("is_present") => !actual.is_empty(),
        Some("is_not_present") => actual.is_empty(),
        _ => false,
    }
}

pub(super) fn create(state: &mut ChatwootState, request: &Request<'_>) -> Handled {
    let (members, files) = request.form()?;
    let contact = ContactView {
        id: 0,
        account_id: request.account,
        name: text(&members, "name").unwrap_or_default(),
        phone_number: text(&members, "phone_number"),
        identifier: text(&members, "identifier"),
        email: text(&members, "email"),
        custom_attributes: attributes(&members, "custom_attributes"),
        additional_attributes: attributes(&members, "additional_attributes"),
        blocked: flag(&members, "blocked"),
        thumbnail: text(&members, "avatar_url").unwrap_or_default(),
        created_at: Utc::now().timestamp(),
    };
    check(state, &contact, None)?;
    let inbox = match number(&members, "inbox_id") {
        Some(id) => Some(state.inbox(request.account, id).ok_or_else(missing)?.id),
        None => None,
    };
    let source_id = text(&members, "source_id");
    if let (Some(inbox), Some(source_id)) = (inbox, &source_id)
        && state.links.contains_key(&(inbox, source_id.clone()))
    {
        // The original rolls the contact back, too.
        return Err(unprocessable("source_id should be unique"));
    }
    let mut contact = ContactView {
        id: state.next_id(),
        ..contact
    };
    keep_avatar(state, &mut contact, files);
    remember_unique(state, &contact);
    state.contacts.insert(contact.id, contact.clone());
    if state.contacts.len() > JOURNAL_LIMIT
        && let Some((id, oldest)) = state.contacts.pop_first()
    {
        forget_unique(state, &oldest);
        state.forget_contact(oldest.account_id, id);
    }
    let link = inbox.and_then(|inbox| state.link(contact.id, inbox, source_id));
    let link = match &link {
        Some(link) => payload::contact_inbox_summary(state, link),
        None => json!({"inbox": null, "source_id": null}),
    };
    webhook::contact_event(request.hub, state, &contact, "contact_created", None);
    ok(&json!({"payload": {"contact": payload::contact(state, &contact), "contact_inbox": link}}))
}

/// `/contacts/{id}` and what is below it.
pub(super) fn one(state: &mut ChatwootState, request: &Request<'_>, id: u64, path: &[&str]) -> Handled {
    let contact = state.contact(request.account, id).ok_or_else(missing)?.clone();
    match (request.call.method.as_str(), path) {
        ("GET", []) => ok(&json!({"payload": payload::contact(state, &contact)})),
        ("PUT" | "PATCH", []) => update(state, request, contact),
        ("DELETE", []) => {
            delete(state, &contact);
            Ok(Answer::json(200, &json!({})))
        }
        ("DELETE", ["avatar"]) => {
            let without = ContactView {
                thumbnail: String::new(),
                ..contact
            };
            state.contacts.insert(id, without.clone());
            ok(&payload::contact(state, &without))
        }
        ("GET", ["conversations"]) => {
            let conversations: Vec<Value> = state
                .conversations_of_contact
                .get(&id)
                .into_iter()
                .flatten()
                .rev()
                .take(20)
                .filter_map(|conversation| state.conversations.get(&(request.account, *conversation)))
                .map(|conversation| payload::conversation(state, conversation))
                .collect();
            ok(&json!({"payload": conversations}))
        }
        ("GET", ["contactable_inboxes"]) => {
            let links: Vec<Value> = state
                .links(id)
                .map(|link| payload::contact_inbox_summary(state, link))
                .collect();
            ok(&json!({"payload": links}))
        }
        ("POST", ["contact_inboxes"]) => {
            let members = request.members()?;
            let inbox = number(&members, "inbox_id").ok_or_else(missing)?;
            let inbox = state.inbox(request.account, inbox).ok_or_else(missing)?.id;
            let link = state
                .link(id, inbox, text(&members, "source_id"))
                .ok_or_else(|| unprocessable("source_id should be unique"))?;
            ok(&payload::contact_inbox_summary(state, &link))
        }
        _ => Err(missing()),
    }
}

fn update(state: &mut ChatwootState, request: &Request<'_>, mut contact: ContactView) -> Handled {
    let before = contact.clone();
    let (members, files) = request.form()?;
    if let Some(name) = text(&members, "name") {
        contact.name = name;
    }
    for (key, column) in [
        ("phone_number", &mut contact.phone_number),
        ("identifier", &mut contact.identifier),
        ("email", &mut contact.email),
    ] {
        if members.contains_key(key) {
            *column = text(&members, key);
        }
    }
    merge(
        &mut contact.custom_attributes,
        attributes(&members, "custom_attributes"),
    );
    merge(
        &mut contact.additional_attributes,
        attributes(&members, "additional_attributes"),
    );
    if members.contains_key("blocked") {
        contact.blocked = flag(&members, "blocked");
    }
    if let Some(avatar) = text(&members, "avatar_url") {
        contact.thumbnail = avatar;
    }
    check(state, &contact, Some(contact.id))?;
    keep_avatar(state, &mut contact, files);
    store(request.hub, state, &before, &contact);
    ok(&json!({"payload": payload::contact(state, &contact)}))
}

/// An uploaded picture takes the place of the one there was.
fn keep_avatar(state: &mut ChatwootState, contact: &mut ContactView, files: Vec<multipart::File>) {
    if let Some(avatar) = files.into_iter().find(|file| file.field == "avatar") {
        let id = state.next_id();
        contact.thumbnail = files::keep(state, id, avatar);
    }
}

/// Stores a changed contact and tells of it what is different.
fn store(hub: &Arc<Hub>, state: &mut ChatwootState, before: &ContactView, contact: &ContactView) {
    forget_unique(state, before);
    remember_unique(state, contact);
    state.contacts.insert(contact.id, contact.clone());
    let changed: Vec<Value> = [
        ("name", json!(before.name), json!(contact.name)),
        (
            "phone_number",
            json!(before.phone_number),
            json!(contact.phone_number),
        ),
        ("identifier", json!(before.identifier), json!(contact.identifier)),
        ("email", json!(before.email), json!(contact.email)),
        (
            "custom_attributes",
            json!(before.custom_attributes),
            json!(contact.custom_attributes),
        ),
        ("blocked", json!(before.blocked), json!(contact.blocked)),
    ]
    .into_iter()
    .filter(|(_, before, now)| before != now)
    .map(|(key, before, now)| json!({key: {"previous_value": before, "current_value": now}}))
    .collect();
    if !changed.is_empty() {
        webhook::contact_event(
            hub,
            state,
            contact,
            "contact_updated",
            Some(Value::Array(changed)),
        );
    }
}

/// The contact goes, and everything of it.
pub(super) fn delete(state: &mut ChatwootState, contact: &ContactView) {
    forget_unique(state, contact);
    state.forget_contact(contact.account_id, contact.id);
    state.contacts.remove(&contact.id);
}

pub(super) fn merge_two(state: &mut ChatwootState, request: &Request<'_>) -> Handled {
    let members = request.members()?;
    let named = |state: &ChatwootState, key: &str| {
        number(&members, key)
            .and_then(|id| state.contact(request.account, id))
            .cloned()
            .ok_or_else(missing)
    };
    let (base, mergee) = (
        named(state, "base_contact_id")?,
        named(state, "mergee_contact_id")?,
    );
    if base.id == mergee.id {
        return Err(unprocessable("contact does not exist"));
    }
    let merged = merge_contacts(request.hub, state, base, &mergee);
    ok(&payload::contact(state, &merged))
}

/// The mergee's links and conversations are the base's from now on, and what the base lacks comes from the mergee.
pub(super) fn merge_contacts(
    hub: &Arc<Hub>,
    state: &mut ChatwootState,
    base: ContactView,
    mergee: &ContactView,
) -> ContactView {
    for id in state.links_of_contact.remove(&mergee.id).unwrap_or_default() {
        if let Some(link) = state.contact_inboxes.get_mut(&id) {
            link.contact_id = base.id;
        }
        state.links_of_contact.entry(base.id).or_default().push(id);
    }
    for id in state
        .conversations_of_contact
        .remove(&mergee.id)
        .unwrap_or_default()
    {
        if let Some(conversation) = state.conversations.get_mut(&(base.account_id, id)) {
            conversation.contact_id = base.id;
        }
        state
            .conversations_of_contact
            .entry(base.id)
            .or_default()
            .push(id);
    }
    forget_unique(state, mergee);
    state.contacts.remove(&mergee.id);
    let mut merged = base.clone();
    if merged.name.is_empty() {
        merged.name.clone_from(&mergee.name);
    }
    for (own, other) in [
        (&mut merged.phone_number, &mergee.phone_number),
        (&mut merged.identifier, &mergee.identifier),
        (&mut merged.email, &mergee.email),
    ] {
        if own.is_none() {
            own.clone_from(other);
        }
    }
    for (key, value) in &mergee.custom_attributes {
        merged
            .custom_attributes
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    store(hub, state, &base, &merged);
    merged
}

fn merge(into: &mut Map<String, Value>, new: Map<String, Value>) {
    into.extend(new);
}

/// The phone must be E.164 with its plus, and nothing unique may belong to another contact.
fn check(state: &ChatwootState, contact: &ContactView, own_id: Option<u64>) -> Result<(), Answer> {
    if let Some(phone) = &contact.phone_number {
        let digits = phone.strip_prefix('+').unwrap_or_default();
        let starts_well = digits
            .bytes()
            .next()
            .is_some_and(|first| (b'1'..=b'9').contains(&first));
        let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
        if !starts_well || !plain || !(2..=15).contains(&digits.len()) {
            return Err(invalid("Phone number should be in e164 format", "phone_number"));
        }
    }
    for (key, word) in UNIQUE {
        let Some(value) = unique_value(contact, key) else {
            continue;
        };
        let owner = state.taken.get(&(contact.account_id, key, value));
        if owner.is_some() && owner.copied() != own_id {
            return Err(invalid(&format!("{word} has already been taken"), key));
        }
    }
    Ok(())
}

fn unique_value(contact: &ContactView, key: &str) -> Option<String> {
    let value = match key {
        "phone_number" => &contact.phone_number,
        "identifier" => &contact.identifier,
        _ => &contact.email,
    };
    value.as_ref().map(|value| value.to_lowercase())
}

fn remember_unique(state: &mut ChatwootState, contact: &ContactView) {
    for (key, _) in UNIQUE {
        if let Some(value) = unique_value(contact, key) {
            state.taken.insert((contact.account_id, key, value), contact.id);
        }
    }
}

fn forget_unique(state: &mut ChatwootState, contact: &ContactView) {
    for (key, _) in UNIQUE {
        if let Some(value) = unique_value(contact, key) {
            state.taken.remove(&(contact.account_id, key, value));
        }
    }
}

fn page(state: &ChatwootState, request: &Request<'_>, matches: impl Fn(&ContactView) -> bool) -> Handled {
    let account = request.account;
    let matching = state
        .contacts
        .values()
        .filter(|contact| contact.account_id == account && matches(contact));
    page_of(state, request, matching)
}

fn page_of<'a>(
    state: &ChatwootState,
    request: &Request<'_>,
    matching: impl Iterator<Item = &'a ContactView>,
) -> Handled {
    let page = request.call.query_number("page").unwrap_or(1).max(1);
    let matching: Vec<&ContactView> = matching.collect();
    let skip = usize::try_from(page - 1)
        .unwrap_or(usize::MAX)
        .saturating_mul(PAGE);
    let payload: Vec<Value> = matching
        .iter()
        .skip(skip)
        .take(PAGE)
        .map(|contact| payload::contact(state, contact))
        .collect();
    let more = matching.len() > skip.saturating_add(PAGE);
    ok(&json!({
        "meta": {"count": matching.len(), "current_page": page, "has_more": more}, "payload": payload,
    }))
}
