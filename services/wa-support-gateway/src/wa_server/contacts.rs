//! The people a session knows, as the WA server lists them (contract §7.9, W-07).

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{ForwardError, WaServer, secret_header};

/// Longest answer that is read.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
/// Most people of one session.
const MOST: usize = 100_000;
/// Longest refusal that is passed on.
const REFUSAL_LIMIT: usize = 64 * 1024;
/// The list comes out of the WA server's own database.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest address and name that are kept, in characters.
const LONGEST: usize = 255;

/// A person as the WA server lists them. Nothing in it is more than Postgres takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedContact {
    pub(crate) jid: String,
    pub(crate) name: String,
    /// Empty for whoever is known by a hidden id only.
    pub(crate) phone: String,
    /// The entry as it came, as JSON.
    pub(crate) raw: String,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ContactsError {
    /// The WA server did not answer as it should.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// It refused, in its own words.
    #[error("the WA server answers {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The whole body.
        body: Bytes,
    },
    /// Its answer is no list of people, or a longer one than anybody has.
    #[error("the WA server's list of contacts cannot be read")]
    Unreadable,
}

impl WaServer {
    /// Asks for everybody the session knows.
    pub(crate) async fn contacts(&self, token: &SecretString) -> Result<Vec<ListedContact>, ContactsError> {
        let Some(token) = secret_header(token) else {
            tracing::error!("a stored session token cannot be sent as a header");
            return Err(ForwardError::Unavailable.into());
        };
        let request = self
            .client
            .get(self.url("/user/contacts"))
            .timeout(CALL_TIMEOUT)
            .header("token", token);
        let answer = request.send().await.map_err(super::classify)?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(ForwardError::Redirected.into());
        }
        let limit = if status.is_success() {
            ANSWER_LIMIT
        } else {
            REFUSAL_LIMIT
        };
        let mut body = Vec::new();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(super::classify)?;
            if body.len() + piece.len() > limit {
                return Err(ContactsError::Unreadable);
            }
            body.extend_from_slice(&piece);
        }
        if !status.is_success() {
            return Err(ContactsError::Refused {
                status: status.as_u16(),
                body: body.into(),
            });
        }
        // A long list takes its time to read; requests of others go on meanwhile.
        tokio::task::spawn_blocking(move || read(&body))
            .await
            .ok()
            .flatten()
            .ok_or(ContactsError::Unreadable)
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The people in an answer: a map by address as the WA server has it, or a list.
fn read(body: &[u8]) -> Option<Vec<ListedContact>> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    let data = envelope.data.get();
    let mut contacts = Vec::new();
    if data.starts_with('[') {
        for entry in serde_json::from_str::<Vec<&RawValue>>(data).ok()? {
            let entry = fields(entry.get());
            let jid = first(&entry, &["jid", "id"]);
            contacts.extend(listed(&jid, entry));
        }
    } else {
        for (jid, entry) in serde_json::from_str::<HashMap<String, &RawValue>>(data).ok()? {
            contacts.extend(listed(&jid, fields(entry.get())));
        }
    }
    // One address, one person: a list may name somebody twice, and cleaned addresses may meet.
    contacts.sort_by(|one, other| one.jid.cmp(&other.jid));
    contacts.dedup_by(|one, other| one.jid == other.jid);
    (contacts.len() <= MOST).then_some(contacts)
}

/// An entry's fields. One that JSON allows and Postgres does not (half a surrogate pair) is nobody's text: it is left
/// empty, and the person is kept.
fn fields(entry: &str) -> Map<String, Value> {
    match serde_json::from_str(entry).map(without_nul) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn listed(jid: &str, entry: Map<String, Value>) -> Option<ListedContact> {
    let jid = jid.replace('\0', "");
    let jid = jid.trim();
    if jid.is_empty() || jid.chars().count() > LONGEST {
        return None;
    }
    const NAMES: [&str; 6] = [
        "FullName",
        "BusinessName",
        "PushName",
        "FirstName",
        "name",
        "full_name",
    ];
    Some(ListedContact {
        name: first(&entry, &NAMES),
        phone: phone(jid).to_owned(),
        raw: Value::Object(entry).to_string(),
        jid: jid.to_owned(),
    })
}

/// The first of these fields that says something.
fn first(entry: &Map<String, Value>, names: &[&str]) -> String {
    let texts = names.iter().filter_map(|name| entry.get(*name)?.as_str());
    let text = texts.map(str::trim).find(|text| !text.is_empty());
    text.unwrap_or_default().chars().take(LONGEST).collect()
}

/// The number in an address, without the device. A hidden id looks like a number and is none.
fn phone(jid: &str) -> &str {
    let user = jid.strip_suffix("@s.whatsapp.net").unwrap_or_default();
    let number = user.split([':', '.']).next().unwrap_or_default();
    if !number.is_empty() && number.len() <= 32 && number.bytes().all(|byte| byte.is_ascii_digit()) {
        number
    } else {
        ""
    }
}

/// Postgres stores no NUL, in texts as in JSON.
fn without_nul(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "")),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name.replace('\0', ""), without_nul(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_one(jid: &str, entry: &Value) -> ListedContact {
        let body = json!({"code": 200, "data": {jid: entry}, "success": true}).to_string();
        let mut contacts = read(body.as_bytes()).unwrap();
        assert_eq!(contacts.len(), 1);
        contacts.remove(0)
    }

    #[test]
    fn names_and_numbers_are_taken_from_where_they_are() {
        for (entry, name) in [
            (
                json!({"FirstName": "F", "FullName": "Full", "PushName": "P", "BusinessName": "B"}),
                "Full",
            ),
            (
                json!({"FirstName": "F", "FullName": "", "PushName": "P", "BusinessName": "B"}),
                "B",
            ),
            (
                json!({"FirstName": "F", "FullName": " ", "PushName": "P", "BusinessName": ""}),
                "P",
            ),
            (json!({"FirstName": "F", "FullName": null}), "F"),
            (json!({"Found": true}), ""),
            (json!(null), ""),
        ] {
            assert_eq!(read_one("628@s.whatsapp.net", &entry).name, name, "{entry}");
        }
        for (jid, number) in [
            ("6281100000009@s.whatsapp.net", "6281100000009"),
            ("6281100000009:12@s.whatsapp.net", "6281100000009"),
            ("123456789012345@lid", ""),
            ("120363@g.us", ""),
            ("status@broadcast", ""),
            ("x@s.whatsapp.net", ""),
        ] {
            assert_eq!(read_one(jid, &json!({})).phone, number, "{jid}");
        }
    }

    #[test]
    fn what_postgres_does_not_take_is_taken_out() {
        let contact = read_one(
            "62\u{0}8@s.whatsapp.net",
            &json!({"FullName": "A\u{0}b", "x\u{0}": ["\u{0}"]}),
        );
        assert_eq!(
            (contact.jid.as_str(), contact.name.as_str()),
            ("628@s.whatsapp.net", "Ab")
        );
        assert_eq!(contact.raw, r#"{"FullName":"Ab","x":[""]}"#);
        let body =
            br#"{"data":{"628@s.whatsapp.net":{"FullName":"\ud800"},"629@s.whatsapp.net":{"FullName":"B"}}}"#;
        let contacts = read(body).unwrap();
        assert_eq!((contacts[0].raw.as_str(), contacts[1].name.as_str()), ("{}", "B"));
    }

    #[test]
    fn a_list_is_read_too_and_nonsense_is_not() {
        let body = br#"{"data":[{"jid":"628@s.whatsapp.net","name":"A"},{"id":"629@lid"},{"jid":" "},
                        {"jid":"628@s.whatsapp.net","name":"A"}]}"#;
        let contacts = read(body).unwrap();
        let jids: Vec<&str> = contacts.iter().map(|contact| contact.jid.as_str()).collect();
        assert_eq!(jids, ["628@s.whatsapp.net", "629@lid"]);
        for wrong in [
            r#"{"code":200}"#,
            r#"{"data":null}"#,
            r#"{"data":7}"#,
            "",
            "<html>",
            r#"{"data":{"#,
        ] {
            assert!(read(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert_eq!(read(br#"{"data":{}}"#), Some(Vec::new()));
        let many: Map<String, Value> = (0..=MOST).map(|n| (format!("{n}@lid"), json!({}))).collect();
        assert!(read(json!({"data": many}).to_string().as_bytes()).is_none());
    }
}
