//! What happened, in the words of the port: what the table compares.

use domain::message::{Direction, InboundMessage, Media, MessageContent};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use whatsapp::courtesy::NotShown;
use whatsapp::download::DownloadError;
use whatsapp::error::MalformedWebhook;
use whatsapp::event::{InboundEvent, Receipt, SessionEvent};
use whatsapp::port::SendOutcome;
use whatsapp::session::SessionFailure;

use crate::provider::{FILE, Shown, Taken};

/// The provider tells of no such thing.
pub(crate) const NOT_TOLD: &str = "not told";

/// An outcome. Ids are not shown: who makes them differs, and a case of its own looks at them.
pub(crate) fn outcome(outcome: &SendOutcome) -> String {
    match outcome {
        SendOutcome::Accepted { .. } => "accepted".to_owned(),
        SendOutcome::RetryLater { reason, after, .. } => match after {
            Some(after) => format!("retry {reason} in {} s", after.as_secs()),
            None => format!("retry {reason}"),
        },
        SendOutcome::RateLimited { after, .. } => format!("limited {} s", after.as_secs()),
        SendOutcome::Rejected { reason, .. } => format!("rejected {reason}"),
        SendOutcome::Unknown { reason, .. } => format!("unknown {reason}"),
    }
}

/// What a phone shows.
pub(crate) fn phone(messages: &[Shown]) -> String {
    if messages.is_empty() {
        return "nothing shown".to_owned();
    }
    let each = messages.iter().map(|message| {
        let mut text = message.what.clone();
        if let Some(quoted) = &message.quoted {
            text.push_str(&format!(" answering {quoted}"));
        }
        if message.edited {
            text.push_str(" (edited)");
        }
        if message.deleted {
            text.push_str(" (deleted)");
        }
        if let Some(reaction) = &message.reaction {
            text.push_str(&format!(" with {reaction}"));
        }
        text
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Words on a phone; long ones are counted only.
pub(crate) fn text(text: &str) -> String {
    match text.chars().count() {
        0..=80 => format!("'{text}'"),
        length => format!("{length} characters"),
    }
}

/// A place on a phone.
pub(crate) fn place(latitude: &Value, longitude: &Value, name: &str) -> String {
    let number = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("place {} {} {name}", number(latitude), number(longitude))
        .trim_end()
        .to_owned()
}

/// Did the file arrive as it was?
pub(crate) fn whole(sha256: &str) -> &'static str {
    if hex::encode(Sha256::digest(FILE)) == sha256 {
        "whole"
    } else {
        "damaged"
    }
}

/// A file on its way out, as the phone gets it: what sort, its type, its words, its name, its bytes.
pub(crate) fn file(kind: &str, mime: &str, caption: &str, name: &str, bytes: &str) -> String {
    let essence = mime.split(';').next().unwrap_or_default();
    let mut text = format!("{kind} {essence} {bytes}");
    if !caption.is_empty() {
        text.push_str(&format!(" '{caption}'"));
    }
    if !name.is_empty() {
        text.push_str(&format!(" named {name}"));
    }
    text
}

/// What a session's call came to.
pub(crate) fn failure(failure: &SessionFailure) -> String {
    failure.reason.as_str().to_owned()
}

pub(crate) fn not_shown(error: NotShown) -> String {
    match error {
        NotShown::NotOnWhatsApp => "not on whatsapp",
        NotShown::NotSendable => "not sendable",
        NotShown::NoAnswer => "no answer",
        NotShown::Refused(_) => "refused",
    }
    .to_owned()
}

pub(crate) fn no_file(error: &DownloadError) -> String {
    match error {
        DownloadError::Later { reason, after } => match after {
            Some(after) => format!("later {reason} in {} s", after.as_secs()),
            None => format!("later {reason}"),
        },
        DownloadError::Never { reason } => format!("never {reason}"),
    }
}

/// What a webhook says.
pub(crate) fn taken(taken: &Taken) -> String {
    match taken {
        // Where the event is a text inside of a form, the same is said of that text.
        Taken::Malformed(MalformedWebhook::JsonDataNotJson) => "malformed not_json".to_owned(),
        Taken::Malformed(why) => format!("malformed {}", why.code()),
        Taken::Refused(why) => format!("refused {}", why.code()),
        Taken::Event { event: Ok(event), .. } => self::event(event),
        Taken::Event {
            event: Err(unusable), ..
        } => format!("quarantine {}", unusable.code()),
    }
}

pub(crate) fn event(event: &InboundEvent) -> String {
    match event {
        InboundEvent::Message(message) => self::message(message),
        InboundEvent::Receipt(receipt) => self::receipt(receipt),
        InboundEvent::Sent(_) => "echo".to_owned(),
        InboundEvent::Session(SessionEvent::PairSuccess { phone, .. }) => {
            let phone = phone.as_ref().map_or("nobody", |phone| phone.as_str());
            format!("session pair_success {phone}")
        }
        InboundEvent::Session(change) => format!("session {}", change.as_str()),
        InboundEvent::Skipped(place) => format!("skipped {}", place.as_str()),
        InboundEvent::Ignored { .. } => "ignored".to_owned(),
        InboundEvent::Unknown(_) => "unknown, kept".to_owned(),
    }
}

fn message(message: &InboundMessage) -> String {
    let way = match message.direction {
        Direction::Inbound => "from",
        Direction::Outbound => "own to",
    };
    let mut text = format!("{way} {}: {}", message.chat.as_str(), content(&message.content));
    if let Some(quoted) = &message.quoted {
        let words = quoted.text.as_ref().map_or("", |text| text.as_str());
        text.push_str(&format!(" answering {} '{words}'", quoted.provider_message_id));
    }
    if message.truncated {
        text.push_str(" (cut)");
    }
    text
}

fn content(content: &MessageContent) -> String {
    match content {
        MessageContent::Text { text } => self::text(text.as_str()),
        MessageContent::Media(media) => self::media(media),
        MessageContent::Location {
            latitude,
            longitude,
            name,
            live,
            ..
        } => {
            let name = name.as_ref().map_or("", |name| name.as_str());
            let sort = if *live { "live place" } else { "place" };
            format!("{sort} {latitude} {longitude} {name}")
        }
        MessageContent::Contacts { contacts } => {
            let cards = contacts.iter().map(|card| card.display_name.as_str());
            format!("cards {}", cards.collect::<Vec<_>>().join(", "))
        }
        MessageContent::Reaction { target, emoji } => {
            format!(
                "reaction {} to {target}",
                emoji.as_ref().map_or("none", |emoji| emoji.as_str())
            )
        }
        MessageContent::Poll { question, .. } => format!("poll '{}'", question.as_str()),
        MessageContent::PollVote { target } => format!("vote in {target}"),
        MessageContent::Edit { target, content } => format!("edit of {target}: {}", self::content(content)),
        MessageContent::Revoke { target } => format!("deletion of {target}"),
        MessageContent::InteractiveReply { title, .. } => format!("choice '{}'", title.as_str()),
        MessageContent::Template { template } => format!("template {}", template.name.as_str()),
        MessageContent::Interactive { interactive } => {
            format!("interactive '{}'", interactive.text_for_humans().as_str())
        }
        MessageContent::Unsupported { .. } => "kept raw".to_owned(),
    }
}

fn media(media: &Media) -> String {
    let mut text = media.media_kind.as_str().to_owned();
    if let Some(caption) = &media.caption {
        text.push_str(&format!(" '{}'", caption.as_str()));
    }
    if let Some(name) = &media.file_name {
        text.push_str(&format!(" named {}", name.as_str()));
    }
    text
}

fn receipt(receipt: &Receipt) -> String {
    let ids: Vec<&str> = receipt.ids.iter().map(|id| id.as_str()).collect();
    let by = if receipt.from_me { "own device, " } else { "" };
    let kind = format!("{:?}", receipt.kind).to_lowercase();
    format!("{kind} {} by {by}{}", ids.join(" "), receipt.chat.as_str())
}
