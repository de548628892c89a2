//! The sample webhooks: `s…` from the wa-server contract, `c…` from the channel-service contract, `x…` our own.

use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;
use whatsapp::error::{MalformedWebhook, Unusable};
use whatsapp::event::InboundEvent;
use whatsapp::genfity::{Unverified, Verified};

pub(crate) const JSON: Option<&str> = Some("application/json");
pub(crate) const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

/// When every test's webhook reaches us.
pub(crate) fn now() -> DateTime<Utc> {
    "2026-03-03T00:00:00Z".parse().unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
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

/// A sample as it is sent in JSON mode.
pub(crate) fn json_body(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap()
}

/// The same sample as it is sent in form mode: the names become fields of their own.
pub(crate) fn form_body(name: &str) -> String {
    let mut event: Value = serde_json::from_str(&json_body(name)).unwrap();
    let object = event.as_object_mut().unwrap();
    let instance_name = object.remove("instanceName");
    let user_id = object.remove("userID");
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair(
        "instanceName",
        instance_name.as_ref().and_then(Value::as_str).unwrap_or_default(),
    );
    form.append_pair("jsonData", &event.to_string());
    form.append_pair(
        "userID",
        user_id.as_ref().and_then(Value::as_str).unwrap_or_default(),
    );
    form.finish()
}

pub(crate) fn read(content_type: Option<&str>, body: &str) -> Result<Unverified, MalformedWebhook> {
    Unverified::read(content_type, Bytes::copy_from_slice(body.as_bytes()))
}

pub(crate) fn accept(content_type: Option<&str>, body: &str) -> Verified {
    read(content_type, body).unwrap().verify(None, &[]).unwrap()
}

/// A sample's event, the same in both modes.
pub(crate) fn event(name: &str) -> Result<InboundEvent, Unusable> {
    let json = accept(JSON, &json_body(name)).parse(now());
    let form = accept(FORM, &form_body(name)).parse(now());
    assert_eq!(picture(&json), picture(&form), "{name}: the modes differ");
    json
}

/// A comparable picture of an event, words included. What is kept raw differs in bytes between the modes.
fn picture(event: &Result<InboundEvent, Unusable>) -> String {
    match event {
        Ok(InboundEvent::Message(message)) => serde_json::to_string(message).unwrap(),
        Ok(InboundEvent::Unknown(unknown)) => format!("unknown {:?}", unknown.type_name),
        other => format!("{other:?}"),
    }
}
