//! Ways to break a webhook that are alike for all providers.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::provider::{Broken, Posted};

/// Fields of an event that can be broken, wherever a provider has them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    Kind,
    Session,
    MessageId,
    Chat,
    /// The object that tells what happened.
    Event,
}

pub(crate) fn with_body(webhook: &Posted, body: impl Into<Bytes>) -> Posted {
    Posted {
        body: body.into(),
        ..webhook.clone()
    }
}

/// What breaks any webhook in the same way.
pub(crate) fn anybodys(webhook: &Posted, how: Broken) -> Option<Posted> {
    let typed = |content_type: Option<&str>| Posted {
        content_type: content_type.map(str::to_owned),
        ..webhook.clone()
    };
    match how {
        Broken::Empty => Some(with_body(webhook, Bytes::new())),
        Broken::NoContentType => Some(typed(None)),
        Broken::StrangeContentType => Some(typed(Some("text/plain; charset=utf-8"))),
        Broken::NotUtf8 => {
            let mut body = webhook.body.to_vec();
            body.push(0xff);
            Some(with_body(webhook, body))
        }
        _ => None,
    }
}

/// A name that no session has.
pub(crate) fn name(how: Broken) -> String {
    match how {
        Broken::LongSession => "x".repeat(300),
        _ => "desa\u{7}contoh".to_owned(),
    }
}

/// Breaks the event; `path` says where a field is.
pub(crate) fn change(event: &mut Value, how: Broken, path: impl Fn(Field) -> &'static [&'static str]) {
    let (field, value) = match how {
        Broken::NoKind => (Field::Kind, None),
        Broken::LongSession | Broken::ControlInSession => (Field::Session, Some(json!(name(how)))),
        Broken::NoMessageId => (Field::MessageId, None),
        Broken::LongMessageId => (Field::MessageId, Some(json!("3".repeat(300)))),
        Broken::NoChat => (Field::Chat, None),
        Broken::OddChat => (Field::Chat, Some(json!("nobody at all"))),
        Broken::NoEvent => (Field::Event, Some(json!(["a list"]))),
        _ => {
            event["padding"] = json!(" ".repeat(16 * 1024 * 1024));
            return;
        }
    };
    let path = path(field);
    let (last, parents) = path.split_last().unwrap();
    let parent = parents.iter().fold(event, |place, key| &mut place[*key]);
    let parent = parent.as_object_mut().unwrap();
    match value {
        Some(value) => drop(parent.insert((*last).to_owned(), value)),
        None => assert!(parent.remove(*last).is_some(), "there is no {last} to take away"),
    }
}
