//! Chatwoot's webhooks about an inbox that speaks for an account of ours: what of them concerns WhatsApp.
//!
//! Only top-level fields speak of the event's own message: `conversation.messages[0]` may be another one (contract 2.9).

use database::DatabaseError;
use domain::address::{ChatAddress, PhoneNumber};
use serde_json::Value;
use tenant_isolation::TenantScope;

use super::Tools;
use super::accept_reply::{Acceptance, Reply, Signals, accept_reply};
use super::agent_parts::Written;
use super::delete_reply::accept_delete;
use super::retry_reply::accept_retry;
use crate::store::inboxes::Inbox;
use crate::webhooks::book::KnownRoute;
use crate::webhooks::event::{Incoming, OUR_MARK};

/// Takes one event of a route whose target is an account; a second time is as good as once.
///
/// # Errors
/// [`DatabaseError`]: nothing was accepted.
pub async fn take(
    tools: &Tools,
    to: &KnownRoute,
    event: &Incoming,
    signals: &Signals,
) -> Result<Acceptance, DatabaseError> {
    let Some(inbox) = &to.link else {
        return Ok(Acceptance::Ignored("no_inbox"));
    };
    // Every message tells its account; one that does not is somebody's invention.
    if event.event.account_id.is_none() {
        return Ok(Acceptance::Ignored("no_account_id"));
    }
    let request_id = event.request_id.clone();
    take_body(tools, &to.scope, inbox, &event.body, request_id, signals).await
}

/// Takes the body of an event.
///
/// # Errors
/// [`DatabaseError`]: nothing was accepted.
pub async fn take_body(
    tools: &Tools,
    scope: &TenantScope,
    inbox: &Inbox,
    body: &[u8],
    request_id: Option<String>,
    signals: &Signals,
) -> Result<Acceptance, DatabaseError> {
    match read(body) {
        Wish::Send(reply) => accept_reply(tools, scope, inbox, &reply, request_id, signals).await,
        Wish::Delete(about) => accept_delete(tools, scope, inbox, &about, request_id, signals).await,
        Wish::SendAgain(about) => accept_retry(tools, scope, inbox, &about, request_id, signals).await,
        Wish::Nothing(why) => Ok(Acceptance::Ignored(why)),
    }
}

/// An agent's message that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AboutReply {
    /// Its id in Chatwoot.
    pub message_id: i64,
    /// The conversation's display id.
    pub conversation_id: i64,
    /// To whom, where the conversation tells.
    pub to: Option<ChatAddress>,
}

/// What a webhook asks of us.
#[derive(Debug, Clone)]
pub enum Wish {
    /// An agent, a bot or an automation wrote to the person.
    Send(Reply),
    /// A message is gone in Chatwoot.
    Delete(AboutReply),
    /// A message changed, and nothing is wrong with it: it may have been asked for again.
    SendAgain(AboutReply),
    /// Nothing; the word says why.
    Nothing(&'static str),
}

/// Reads a webhook. What is no webhook asks for nothing.
#[must_use]
pub fn read(body: &[u8]) -> Wish {
    let Ok(event) = serde_json::from_slice::<Value>(body) else {
        return Wish::Nothing("not_json");
    };
    read_event(&event).unwrap_or_else(Wish::Nothing)
}

fn read_event(event: &Value) -> Result<Wish, &'static str> {
    let text = |key: &str| event.get(key).and_then(Value::as_str);
    let is_new = match text("event") {
        Some("message_created") => true,
        Some("message_updated") => false,
        _ => return Err("other_event"),
    };
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
    let conversation = event.get("conversation").ok_or("no_conversation_id")?;
    let about = AboutReply {
        message_id: event.get("id").and_then(id).ok_or("no_message_id")?,
        conversation_id: conversation.get("id").and_then(id).ok_or("no_conversation_id")?,
        to: destination(conversation),
    };
    let attribute = |key: &str| event.get("content_attributes").and_then(|all| all.get(key));
    let is_deleted = match attribute("deleted") {
        Some(Value::Bool(deleted)) => *deleted,
        Some(Value::String(word)) => word == "true",
        _ => false,
    };
    let has_error = attribute("external_error").is_some_and(|error| !error.is_null() && error != "");
    if is_deleted {
        return Ok(Wish::Delete(about));
    }
    if is_new {
        return Ok(Wish::Send(Reply {
            message_id: about.message_id,
            conversation_id: about.conversation_id,
            written: Written::read(event),
            to: about.to,
        }));
    }
    if has_error {
        return Err("has_an_error");
    }
    Ok(Wish::SendAgain(about))
}

/// Ids are whole positive numbers and nothing that merely begins like one.
fn id(value: &Value) -> Option<i64> {
    value.as_i64().filter(|id| *id > 0)
}

/// The source id that we gave, else the number, else the identifier (contract 2.9). Only people: an address of
/// another kind here is somebody's invention.
fn destination(conversation: &Value) -> Option<ChatAddress> {
    let person = |text: &str| ChatAddress::parse(text).ok().filter(ChatAddress::is_direct);
    let source = conversation
        .get("contact_inbox")
        .and_then(|it| it.get("source_id"));
    let sender = conversation.get("meta").and_then(|meta| meta.get("sender"));
    let of_sender = |key: &str| sender.and_then(|sender| sender.get(key)).and_then(Value::as_str);
    let number = |text: &str| {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        PhoneNumber::parse(&digits).ok().map(ChatAddress::from)
    };
    source
        .and_then(Value::as_str)
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
            "content_attributes": {"in_reply_to": 8990},
            "conversation": {"id": 317, "inbox_id": 42, "contact_inbox": {"source_id": "628123450001@s.whatsapp.net"},
                "messages": [{"id": 8999, "content": "lain", "account_id": 3, "attachments": [{"file_type": "image"}]}],
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

    fn wish(event: &Value) -> Wish {
        read(event.to_string().as_bytes())
    }

    #[test]
    fn an_agents_message_is_read_from_the_top_level() {
        for kind in ["outgoing", "template"] {
            let Wish::Send(reply) = wish(&with(&[("/message_type", json!(kind))])) else {
                panic!("not to be sent");
            };
            assert_eq!((reply.message_id, reply.conversation_id), (9001, 317));
            assert_eq!(reply.written.content.as_deref(), Some("Halo kak"));
            assert_eq!(reply.written.in_reply_to, Some(8990));
            assert_eq!(reply.to.unwrap().as_str(), "628123450001@s.whatsapp.net");
            assert!(reply.written.attachments.is_empty());
            assert_eq!(reply.written.automatic, kind == "template");
        }
    }

    #[test]
    fn what_is_no_agents_message_asks_for_nothing() {
        for (pointer, value) in [
            ("/event", json!("conversation_updated")),
            ("/event", json!(null)),
            ("/message_type", json!("incoming")),
            ("/message_type", json!("activity")),
            ("/message_type", json!(1)),
            ("/private", json!(true)),
            ("/private", json!("true")),
            ("/source_id", json!("WAID:3EB0AAAA0001")),
            ("/id", json!("9001")),
            ("/id", json!(7.5)),
            ("/conversation/id", json!(null)),
            ("/conversation", json!(null)),
        ] {
            let wish = wish(&with(&[(pointer, value)]));
            assert!(matches!(wish, Wish::Nothing(_)), "{pointer}: {wish:?}");
        }
        for body in ["", "x", "null", "[]", "{}"] {
            assert!(matches!(read(body.as_bytes()), Wish::Nothing(_)), "{body}");
        }
    }

    #[test]
    fn changes_delete_or_ask_again_or_nothing() {
        let updated = |attributes: Value| {
            wish(&with(&[
                ("/event", json!("message_updated")),
                ("/content_attributes", attributes),
            ]))
        };
        for deleted in [json!(true), json!("true")] {
            assert!(
                matches!(updated(json!({"deleted": deleted})), Wish::Delete(about) if about.message_id == 9001)
            );
        }
        for free in [
            json!({}),
            json!(null),
            json!({"external_error": null}),
            json!({"deleted": false}),
        ] {
            assert!(matches!(updated(free), Wish::SendAgain(about) if about.conversation_id == 317));
        }
        assert!(matches!(
            updated(json!({"external_error": "x"})),
            Wish::Nothing(_)
        ));
    }

    #[test]
    fn a_destination_is_a_person() {
        let source = "/conversation/contact_inbox/source_id";
        let phone = "/conversation/meta/sender/phone_number";
        let identifier = "/conversation/meta/sender/identifier";
        let to = |changes: &[(&str, Value)]| match wish(&with(changes)) {
            Wish::Send(reply) => reply.to.map(|to| to.as_str().to_owned()),
            _ => panic!("not to be sent"),
        };
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
}
