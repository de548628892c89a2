//! What Meta checks about a body before it takes it (contract 3.1 and 3.2).

use std::collections::HashSet;

use serde_json::Value;

use super::errors::Refusal;

type Checked = Result<(), Refusal>;

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipient {
    /// As it was written.
    pub(super) input: String,
    /// Digits, a group or a user id.
    pub(super) id: String,
    pub(super) kind: RecipientKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecipientKind {
    Phone,
    Group,
    User,
    /// A user id where a phone belongs: taken, and never heard of again.
    Nobody,
}

pub(super) fn recipient(body: &Value) -> Result<Recipient, Refusal> {
    let to = body["to"].as_str().filter(|to| !to.is_empty());
    let user = body["recipient"].as_str().filter(|user| !user.is_empty());
    let (input, kind) = match (to, user, body["recipient_type"].as_str()) {
        (Some(group), _, Some("group")) => (group, RecipientKind::Group),
        (_, _, Some(other)) if other != "individual" && other != "group" => {
            return Err(wrong("recipient_type", "must be one of individual, group"));
        }
        (Some(to), ..) if is_phone(to) => (to, RecipientKind::Phone),
        (Some(to), ..) if is_user(to) => (to, RecipientKind::Nobody),
        (Some(_), ..) => return Err(wrong("to", "is not a phone number")),
        (None, Some(user), _) if is_user(user) => (user, RecipientKind::User),
        (None, Some(_), _) => return Err(wrong("recipient", "is not a user id")),
        (None, None, _) => return Err(needs("to")),
    };
    let id = if kind == RecipientKind::Phone {
        input.chars().filter(char::is_ascii_digit).collect()
    } else {
        input.to_owned()
    };
    Ok(Recipient {
        input: input.to_owned(),
        id,
        kind,
    })
}

fn is_phone(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let others = text
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '(' | ')' | '-'));
    others && (5..=20).contains(&digits)
}

fn is_user(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.contains('.') && text.len() <= 160 && text.chars().all(allowed)
}

/// The message's own object.
pub(super) fn message(body: &Value) -> Checked {
    if let Some(data) = body.get("biz_opaque_callback_data") {
        let data = data
            .as_str()
            .ok_or_else(|| wrong("biz_opaque_callback_data", "must be a string"))?;
        most("biz_opaque_callback_data", data, 512)?;
    }
    let kind = super::faults::message_type(body);
    if let Some(context) = body.get("context") {
        text(context, "message_id", "context['message_id']", 4_096)?;
    }
    let object = &body[kind];
    let known = [
        "text",
        "template",
        "image",
        "video",
        "audio",
        "document",
        "sticker",
        "location",
        "contacts",
        "interactive",
        "reaction",
    ];
    if !known.contains(&kind) {
        let names = known.join(", ");
        return Err(param(
            "type",
            &format!("must be one of {{{names}}} - got \"{kind}\"."),
        ));
    }
    if object.is_null() {
        return Err(needs(kind));
    }
    match kind {
        "text" => text(object, "body", "text['body']", 4_096),
        "template" => template(object),
        "image" | "video" | "audio" | "document" | "sticker" => media(kind, object),
        "location" => location(object),
        "contacts" => contacts(object),
        "reaction" => reaction(object),
        _ => interactive(object),
    }
}

fn template(object: &Value) -> Checked {
    text(object, "name", "template['name']", 512)?;
    text(&object["language"], "code", "template['language']['code']", 32)?;
    let Some(components) = object.get("components") else {
        return Ok(());
    };
    for component in list(components, "template['components']", 0, 64)? {
        match component["type"].as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("button") => {
                let index = &component["index"];
                let number = index.as_u64().or_else(|| index.as_str()?.parse().ok());
                if number.is_none_or(|number| number > 9) {
                    return Err(wrong(
                        "template['components']['index']",
                        "must be between 0 and 9",
                    ));
                }
                text(component, "sub_type", "template['components']['sub_type']", 32)?;
            }
            Some("header" | "body" | "carousel" | "limited_time_offer") => {}
            _ => {
                return Err(wrong(
                    "template['components']['type']",
                    "must be one of header, body, button, carousel",
                ));
            }
        }
        for parameter in component["parameters"].as_array().into_iter().flatten() {
            let kind = parameter["type"]
                .as_str()
                .ok_or_else(|| needs("template['components']['parameters']['type']"))?;
            if kind != "payload" && parameter.get(kind).is_none() && kind != "action" {
                return Err(needs(&format!("template['components']['parameters']['{kind}']")));
            }
            if let Some(words) = parameter["text"].as_str().filter(|_| kind == "text")
                && (words.is_empty() || words.contains(['\n', '\t']) || words.contains("     "))
            {
                return Err(Refusal::because(
                    132_012,
                    "Param text cannot be empty or have new-line/tab characters or more than 4 consecutive spaces",
                ));
            }
        }
    }
    Ok(())
}

fn media(kind: &str, object: &Value) -> Checked {
    let place = |member: &str| format!("{kind}['{member}']");
    match (object["id"].as_str(), object["link"].as_str()) {
        (Some(id), None) if !id.is_empty() => {}
        (None, Some(link)) if link.starts_with("http://") || link.starts_with("https://") => {}
        (None, Some(_)) => return Err(wrong(&place("link"), "is not a valid URI")),
        (Some(_), Some(_)) => return Err(wrong(kind, "give only one of id and link")),
        _ => return Err(needs(&place("id"))),
    }
    if let Some(caption) = object.get("caption") {
        if matches!(kind, "audio" | "sticker") {
            return Err(param(
                &place("caption"),
                &format!("is not supported for type {kind}"),
            ));
        }
        most(&place("caption"), caption.as_str().unwrap_or_default(), 1_024)?;
    }
    if object.get("filename").is_some() && kind != "document" {
        return Err(param(
            &place("filename"),
            &format!("is not supported for type {kind}"),
        ));
    }
    Ok(())
}

fn location(object: &Value) -> Checked {
    for (member, bound) in [("latitude", 90.0), ("longitude", 180.0)] {
        let place = format!("location['{member}']");
        let value = &object[member];
        if value.is_null() {
            return Err(needs(&place));
        }
        let number = value.as_f64().or_else(|| value.as_str()?.parse::<f64>().ok());
        if !number.is_some_and(|number| number.abs() <= bound) {
            return Err(wrong(&place, "is out of range"));
        }
    }
    Ok(())
}

fn contacts(object: &Value) -> Checked {
    for contact in list(object, "contacts", 1, 257)? {
        let name = &contact["name"];
        text(
            name,
            "formatted_name",
            "contacts['name']['formatted_name']",
            1_024,
        )?;
        let parts = ["first_name", "last_name", "middle_name", "suffix", "prefix"];
        if !parts.iter().any(|part| name[*part].is_string()) {
            return Err(needs("contacts['name']['first_name']"));
        }
    }
    Ok(())
}

fn reaction(object: &Value) -> Checked {
    text(object, "message_id", "reaction['message_id']", 4_096)?;
    match object["emoji"].as_str() {
        Some(emoji) if emoji.chars().count() <= 16 && !emoji.chars().any(|c| c.is_ascii_alphabetic()) => {
            Ok(())
        }
        Some(_) => Err(wrong("reaction['emoji']", "is not an emoji")),
        None => Err(needs("reaction['emoji']")),
    }
}

fn interactive(object: &Value) -> Checked {
    let kind = object["type"]
        .as_str()
        .ok_or_else(|| needs("interactive['type']"))?;
    let longest = if kind == "list" { 4_096 } else { 1_024 };
    let bodyless = matches!(
        kind,
        "product" | "voice_call" | "call_permission_request" | "carousel"
    );
    if !bodyless || !object["body"].is_null() {
        text(&object["body"], "text", "interactive['body']['text']", longest)?;
    }
    if let Some(footer) = object.get("footer") {
        text(footer, "text", "interactive['footer']['text']", 60)?;
    }
    if let Some(header) = object.get("header") {
        let of = header["type"].as_str().unwrap_or_default();
        let text_only = matches!(kind, "list" | "product_list");
        match of {
            "text" => text(header, "text", "interactive['header']['text']", 60)?,
            "image" | "video" | "document" if !text_only => media(of, &header[of])?,
            _ => return Err(wrong("interactive['header']['type']", "does not fit")),
        }
    }
    let action = &object["action"];
    if action.is_null() {
        return Err(needs("interactive['action']"));
    }
    match kind {
        "button" => buttons(action),
        "list" => rows(action),
        "cta_url" => {
            let place = "interactive['action']['parameters']";
            text(&action["parameters"], "display_text", place, 20)?;
            text(&action["parameters"], "url", place, 2_000)
        }
        "flow" => flow(&action["parameters"]),
        "product" => text(action, "catalog_id", "interactive['action']['catalog_id']", 64).and_then(|()| {
            text(
                action,
                "product_retailer_id",
                "interactive['action']['product_retailer_id']",
                256,
            )
        }),
        "product_list" => {
            if object["header"]["type"] != "text" {
                return Err(needs("interactive['header']"));
            }
            text(action, "catalog_id", "interactive['action']['catalog_id']", 64)?;
            let place = "interactive['action']['sections']";
            let mut products = 0;
            for section in list(&action["sections"], place, 1, 10)? {
                products += list(&section["product_items"], place, 1, 30)?.len();
            }
            bound(place, products, 30)
        }
        "location_request_message" if action["name"] == "send_location" => Ok(()),
        "location_request_message" => Err(wrong("interactive['action']['name']", "must be send_location")),
        "catalog_message"
        | "carousel"
        | "address_message"
        | "call_permission_request"
        | "voice_call"
        | "request_contact_info" => Ok(()),
        _ => Err(wrong("interactive['type']", "is not supported")),
    }
}

fn buttons(action: &Value) -> Checked {
    let place = "interactive['action']['buttons']";
    let (mut titles, mut ids) = (HashSet::new(), HashSet::new());
    for button in list(&action["buttons"], place, 1, 3)? {
        let reply = &button["reply"];
        text(reply, "id", &format!("{place}['reply']['id']"), 256)?;
        text(reply, "title", &format!("{place}['reply']['title']"), 20)?;
        if !titles.insert(reply["title"].as_str()) || !ids.insert(reply["id"].as_str()) {
            return Err(wrong(place, "must differ from each other"));
        }
    }
    Ok(())
}

fn rows(action: &Value) -> Checked {
    text(action, "button", "interactive['action']['button']", 20)?;
    let place = "interactive['action']['sections']";
    let sections = list(&action["sections"], place, 1, 10)?;
    let (mut count, mut ids) = (0, HashSet::new());
    for section in sections {
        if sections.len() > 1 || section.get("title").is_some() {
            text(section, "title", &format!("{place}['title']"), 24)?;
        }
        for row in list(&section["rows"], &format!("{place}['rows']"), 1, 10)? {
            text(row, "id", &format!("{place}['rows']['id']"), 200)?;
            text(row, "title", &format!("{place}['rows']['title']"), 24)?;
            if row.get("description").is_some_and(|words| *words != "") {
                text(row, "description", &format!("{place}['rows']['description']"), 72)?;
            }
            if !ids.insert(row["id"].as_str()) {
                return Err(wrong(place, "must differ from each other"));
            }
            count += 1;
        }
    }
    bound(place, count, 10)
}

fn flow(parameters: &Value) -> Checked {
    let place = |member: &str| format!("interactive['action']['parameters']['{member}']");
    text(
        parameters,
        "flow_message_version",
        &place("flow_message_version"),
        8,
    )?;
    text(parameters, "flow_cta", &place("flow_cta"), 60)?;
    match (
        parameters["flow_id"].is_string(),
        parameters["flow_name"].is_string(),
    ) {
        (true, false) | (false, true) => {}
        _ => return Err(needs(&place("flow_id"))),
    }
    let action = parameters["flow_action"].as_str().unwrap_or("navigate");
    match action {
        "navigate" => Ok(()),
        "data_exchange" if parameters.get("flow_action_payload").is_none() => Ok(()),
        "data_exchange" => Err(wrong(&place("flow_action_payload"), "only goes with navigate")),
        _ => Err(wrong(&place("flow_action"), "must be navigate or data_exchange")),
    }
}

/// A member that must be there, be words, and not too many.
fn text(object: &Value, member: &str, place: &str, longest: usize) -> Checked {
    match object.get(member) {
        Some(Value::String(words)) if !words.is_empty() => most(place, words, longest),
        Some(Value::String(_)) | None | Some(Value::Null) => Err(needs(place)),
        Some(_) => Err(wrong(place, "must be a string")),
    }
}

fn most(place: &str, words: &str, longest: usize) -> Checked {
    if words.chars().count() > longest {
        let reason = format!("must be at most {longest} characters long.");
        return Err(param(place, &reason));
    }
    Ok(())
}

fn list<'a>(value: &'a Value, place: &str, least: usize, most: usize) -> Result<&'a Vec<Value>, Refusal> {
    let all = value.as_array().ok_or_else(|| needs(place))?;
    if all.len() < least {
        return Err(needs(place));
    }
    bound(place, all.len(), most)?;
    Ok(all)
}

fn bound(place: &str, count: usize, most: usize) -> Checked {
    if count > most {
        return Err(wrong(
            place,
            &format!("has {count} entries, at most {most} are allowed"),
        ));
    }
    Ok(())
}

fn needs(place: &str) -> Refusal {
    if matches!(place, "to" | "messaging_product") {
        return Refusal {
            message: Some(format!("(#100) The parameter {place} is required.")),
            ..Refusal::new(100)
        };
    }
    Refusal::because(131_008, format!("Parameter {place} is required"))
}

fn wrong(place: &str, why: &str) -> Refusal {
    Refusal::because(131_009, format!("Parameter {place} {why}"))
}

fn param(place: &str, why: &str) -> Refusal {
    Refusal {
        message: Some(format!("(#100) Param {place} {why}")),
        ..Refusal::because(100, format!("Param {place} {why}"))
    }
}
