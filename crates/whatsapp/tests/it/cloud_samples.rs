//! The Cloud API contract's own samples: whole bodies, and messages, statuses and changes that are put into one.

use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use whatsapp::cloud::{Signed, Update, What, sign, verify};
use whatsapp::credentials::WebhookKey;
use whatsapp::error::MalformedWebhook;
use whatsapp::event::{InboundEvent, Keep};

pub(crate) const WABA: &str = "210987650000111";
pub(crate) const NUMBER: &str = "110987650000222";

/// When every test's webhook reaches us.
pub(crate) fn now() -> DateTime<Utc> {
    "2025-11-21T00:00:00Z".parse().unwrap()
}

pub(crate) fn secret() -> WebhookKey {
    WebhookKey::new("0123456789abcdef0123456789abcdef").unwrap()
}

pub(crate) fn signed(body: impl Into<Bytes>) -> Signed {
    let body = body.into();
    let signature = sign(&secret(), &body);
    verify(body, Some(&signature), &[secret()]).unwrap()
}

pub(crate) fn read(body: impl Into<Bytes>) -> Result<Vec<Update>, MalformedWebhook> {
    signed(body).updates(now())
}

pub(crate) fn read_groups(body: impl Into<Bytes>) -> Vec<Update> {
    let keep = Keep {
        groups: true,
        ..Keep::default()
    };
    signed(body).updates_with(now(), keep).unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures-cloud")
}

/// Every sample's name.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// A sample as a whole body.
pub(crate) fn body(name: &str) -> String {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    match name.split_once('-').unwrap().0 {
        "body" => text,
        "change" => change(&text),
        "message" => message(&text),
        "status" => status(&text),
        other => panic!("what is a {other}?"),
    }
}

pub(crate) fn change(change: &str) -> String {
    format!(r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{WABA}","changes":[{change}]}}]}}"#)
}

/// A change of a field with a value.
pub(crate) fn field(field: &str, value: &Value) -> String {
    change(&json!({"field": field, "value": value}).to_string())
}

/// A change of the field `messages` with these members besides the metadata.
pub(crate) fn value(members: &str) -> String {
    change(&format!(
        r#"{{"field":"messages","value":{{"messaging_product":"whatsapp",
            "metadata":{{"display_phone_number":"6221550001111","phone_number_id":"{NUMBER}"}},{members}}}}}"#
    ))
}

/// One message, written by Sari as far as the contact beside it tells.
pub(crate) fn message(message: &str) -> String {
    value(&format!(
        r#""contacts":[{{"profile":{{"name":"Sari Wulandari"}},"wa_id":"628110000001"}}],"messages":[{message}]"#
    ))
}

pub(crate) fn status(status: &str) -> String {
    value(&format!(r#""statuses":[{status}]"#))
}

/// The one update of a body that holds one.
pub(crate) fn only(body: impl Into<Bytes>) -> Update {
    let mut updates = read(body).unwrap();
    assert_eq!(updates.len(), 1, "{updates:?}");
    updates.remove(0)
}

/// Everything an update says, as JSON.
pub(crate) fn shown(update: &Update) -> Value {
    let what = match &update.what {
        Ok(what) => said(what),
        Err(unusable) => json!({"unusable": unusable.code()}),
    };
    json!({
        "waba": update.waba, "number": update.number, "display_number": update.display_number,
        "field": update.field, "key": update.key, "what": what,
    })
}

fn said(what: &What) -> Value {
    match what {
        What::Event(InboundEvent::Message(message)) => json!({"message": message}),
        What::Event(InboundEvent::Skipped(reason)) => json!({"skipped": reason.as_str()}),
        What::Event(other) => panic!("{other:?} does not come from this provider"),
        What::Status(status) => json!({"status": status}),
        What::Identity(change) => json!({"identity": change}),
        What::Notice(errors) => json!({"notice": errors}),
        What::Account(update) => json!({"account": update}),
        What::Template(update) => json!({"template": update}),
        What::Quality(update) => json!({"quality": update}),
        What::Preference(preference) => json!({"preference": preference}),
        What::Unknown(unknown) => json!({"unknown": unknown.type_name}),
    }
}
