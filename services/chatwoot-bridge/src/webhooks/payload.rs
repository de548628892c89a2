//! Chatwoot's webhook JSON (contract 2.7 to 2.9). Only top-level fields speak of the event's own message:
//! `conversation.messages[0]` may be another one.

use domain::address::{ChatAddress, PhoneNumber};
use serde_json::{Map, Value};

use super::event::{Malformed, OUR_MARK};
use crate::flows::accept_reply::Reply;

/// What a webhook is about.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Nothing that goes to WhatsApp; the word says why.
    Ignored(&'static str),
    /// An agent, a bot or an automation wrote to the person.
    Reply(AgentReply),
}

/// A reply and where it was written.
#[derive(Debug, Clone)]
pub struct AgentReply {
    /// Chatwoot's account id.
    pub account_id: i64,
    /// Chatwoot's inbox id.
    pub inbox_id: i64,
    /// The message.
    pub reply: Reply,
}

/// Reads a webhook.
///
/// # Errors
/// [`Malformed`].
pub fn read(body: &[u8]) -> Result<Notice, Malformed> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Malformed::NotJson)?;
    let Value::Object(event) = value else {
        return Err(Malformed::NotAnObject);
    };
    Ok(read_event(&event).map_or_else(Notice::Ignored, Notice::Reply))
}

fn read_event(event: &Map<String, Value>) -> Result<AgentReply, &'static str> {
    let text = |key: &str| event.get(key).and_then(Value::as_str);
    if text("event") != Some("message_created") {
        return Err("other_event");
    }
    // The type is a word in webhooks and a number in nested messages; here only the word is at home.
    if !matches!(text("message_type"), Some("outgoing" | "template")) {
        return Err("not_outgoing");
    }
    // Anything but a plain "no" may be a note among agents.
    if !matches!(
        event.get("private"),
        None | Some(Value::Null | Value::Bool(false))
    ) {
        return Err("private");
    }
    if text("source_id").is_some_and(|mark| mark.starts_with(OUR_MARK)) {
        return Err("echo");
    }
    let conversation = event.get("conversation").and_then(Value::as_object);
    Ok(AgentReply {
        inbox_id: inbox_id(event).ok_or("no_inbox_id")?,
        account_id: account_id(event).ok_or("no_account_id")?,
        reply: Reply {
            message_id: event.get("id").and_then(id).ok_or("no_message_id")?,
            conversation_id: conversation
                .and_then(|it| it.get("id"))
                .and_then(id)
                .ok_or("no_conversation_id")?,
            content: text("content").map(str::to_owned),
            has_attachments: event
                .get("attachments")
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty()),
            to: conversation.and_then(destination),
        },
    })
}

/// Ids are whole positive numbers and nothing that merely begins like one.
fn id(value: &Value) -> Option<i64> {
    value.as_i64().filter(|id| *id > 0)
}

fn inbox_id(event: &Map<String, Value>) -> Option<i64> {
    let nested = |outer: &str, inner: &str| event.get(outer)?.get(inner).and_then(id);
    nested("inbox", "id")
        .or_else(|| event.get("inbox_id").and_then(id))
        .or_else(|| nested("conversation", "inbox_id"))
        .or_else(|| nested("contact_inbox", "inbox_id"))
        .or_else(|| nested("current_conversation", "inbox_id"))
}

fn account_id(event: &Map<String, Value>) -> Option<i64> {
    let account = |value: &Value| value.get("account")?.get("id").and_then(id);
    let first_message = |value: &Value| value.get("messages")?.get(0)?.get("account_id").and_then(id);
    event
        .get("account")
        .and_then(|it| it.get("id"))
        .and_then(id)
        .or_else(|| event.get("conversation").and_then(account))
        .or_else(|| event.get("messages")?.get(0)?.get("account_id").and_then(id))
        .or_else(|| event.get("conversation").and_then(first_message))
}

/// The source id that we gave, else the number, else the identifier (contract 2.9). Only people: an address of
/// another kind here is somebody's invention.
fn destination(conversation: &Map<String, Value>) -> Option<ChatAddress> {
    let person = |text: &str| ChatAddress::parse(text).ok().filter(ChatAddress::is_direct);
    let at = |outer: &str, inner: &str| conversation.get(outer)?.get(inner)?.as_str();
    let sender = conversation.get("meta").and_then(|meta| meta.get("sender"));
    let of_sender = |key: &str| sender?.get(key)?.as_str();
    let number = |text: &str| {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        PhoneNumber::parse(&digits).ok().map(ChatAddress::from)
    };
    at("contact_inbox", "source_id")
        .and_then(person)
        .or_else(|| {
            of_sender("phone_number")
                .filter(|text| text.starts_with('+'))
                .and_then(number)
        })
        .or_else(|| of_sender("identifier").and_then(person))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "event": "message_created", "id": 9001, "message_type": "outgoing", "private": false,
            "content": "Halo kak", "source_id": null, "account": {"id": 3}, "inbox": {"id": 42},
            "conversation": {"id": 317, "inbox_id": 42, "contact_inbox": {"source_id": "628123450001@s.whatsapp.net"},
                "messages": [{"id": 8999, "content": "lain", "account_id": 3}],
                "meta": {"sender": {"phone_number": "+628999", "identifier": null}}},
        })
    }

    fn with(changes: &[(&str, Value)]) -> Value {
        let mut event = event();
        for (pointer, value) in changes {
            *event.pointer_mut(pointer).unwrap() = value.clone();
        }
        event
    }

    fn reply(event: &Value) -> AgentReply {
        match read(event.to_string().as_bytes()).unwrap() {
            Notice::Reply(reply) => reply,
            Notice::Ignored(why) => panic!("ignored: {why}"),
        }
    }

    fn ignored(event: &Value) -> &'static str {
        match read(event.to_string().as_bytes()).unwrap() {
            Notice::Reply(_) => panic!("not ignored"),
            Notice::Ignored(why) => why,
        }
    }

    #[test]
    fn an_agents_message_is_read_from_the_top_level() {
        let read = reply(&event());
        assert_eq!((read.account_id, read.inbox_id), (3, 42));
        assert_eq!((read.reply.message_id, read.reply.conversation_id), (9001, 317));
        assert_eq!(read.reply.content.as_deref(), Some("Halo kak"));
        assert_eq!(read.reply.to.unwrap().as_str(), "628123450001@s.whatsapp.net");
        assert!(!read.reply.has_attachments);
        assert_eq!(
            reply(&with(&[("/message_type", json!("template"))]))
                .reply
                .message_id,
            9001
        );
    }

    #[test]
    fn notes_incoming_echoes_and_other_events_stay_here() {
        for (pointer, value, why) in [
            ("/event", json!("message_updated"), "other_event"),
            ("/message_type", json!("incoming"), "not_outgoing"),
            ("/message_type", json!("activity"), "not_outgoing"),
            ("/message_type", json!(1), "not_outgoing"),
            ("/private", json!(true), "private"),
            ("/private", json!("true"), "private"),
            ("/source_id", json!("WAID:3EB0AAAA0001"), "echo"),
            ("/id", json!("9001"), "no_message_id"),
            ("/id", json!(7.5), "no_message_id"),
            ("/conversation/id", json!(null), "no_conversation_id"),
        ] {
            assert_eq!(ignored(&with(&[(pointer, value)])), why, "{pointer}");
        }
    }

    #[test]
    fn ids_are_looked_for_along_the_chain_and_strictly() {
        let moved = with(&[("/inbox", json!(null)), ("/account", json!(null))]);
        let found = reply(&moved);
        assert_eq!((found.inbox_id, found.account_id), (42, 3));
        let zz = with(&[
            ("/inbox/id", json!("7zz")),
            ("/conversation/inbox_id", json!(7.5)),
        ]);
        assert_eq!(ignored(&zz), "no_inbox_id");
    }

    #[test]
    fn a_destination_is_a_person() {
        let source = "/conversation/contact_inbox/source_id";
        let phone = "/conversation/meta/sender/phone_number";
        let identifier = "/conversation/meta/sender/identifier";
        let to = |changes: &[(&str, Value)]| reply(&with(changes)).reply.to.map(|to| to.as_str().to_owned());
        let random = json!("0f7f3c2e-random");
        assert_eq!(
            to(&[(source, random.clone())]).as_deref(),
            Some("628999@s.whatsapp.net")
        );
        assert_eq!(
            to(&[(source, json!("190000000000001@lid"))]).as_deref(),
            Some("190000000000001@lid")
        );
        let by_identifier = [
            (source, random.clone()),
            (phone, json!(null)),
            (identifier, json!("190000000000001@lid")),
        ];
        assert_eq!(to(&by_identifier).as_deref(), Some("190000000000001@lid"));
        assert_eq!(
            to(&[(source, json!("a@mail.example")), (phone, json!(null))]),
            None
        );
        assert_eq!(
            to(&[(source, json!("123456789@g.us")), (phone, json!("0812 34"))]),
            None
        );
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        for body in ["", "x", "{", "{\"event\":"] {
            assert_eq!(read(body.as_bytes()).unwrap_err(), Malformed::NotJson, "{body}");
        }
        for body in ["null", "[]", "1", "\"x\""] {
            assert_eq!(
                read(body.as_bytes()).unwrap_err(),
                Malformed::NotAnObject,
                "{body}"
            );
        }
        assert!(matches!(read(b"{}"), Ok(Notice::Ignored("other_event"))));
    }
}
