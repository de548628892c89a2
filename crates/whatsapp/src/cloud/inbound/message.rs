//! Messages, echoes of what the tenant wrote by hand, and notices about people, which come as messages.

use chrono::{DateTime, Utc};
use domain::address::{ChatAddress, PhoneNumber, UserId};
use domain::message::{
    Direction, Forwarded, InboundMessage, MessageContent, MessageOrigin, ProductReference, Quoted,
};
use domain::text::{RawJson, Text};
use serde_json::value::RawValue;

use super::content::{self, Cutter};
use super::people::Person;
use super::{Found, Item, happened, scalar, unit, wire};
use crate::cloud::{Identity, IdentityChange, What};
use crate::error::Unusable;
use crate::event::{InboundEvent, Keep, SkipReason};

/// Longest kept product id, in characters.
const MAX_PRODUCT: usize = 128;

/// A chat was opened for the first time. Nobody wrote anything.
const REQUEST_WELCOME: &str = "request_welcome";

/// A conversation with one person, or a group.
struct Partner {
    chat: ChatAddress,
    phone: Option<PhoneNumber>,
    user: Option<UserId>,
}

/// An element of `messages`, written by `writer` as far as the webhook says more about them. `errors` say why a message
/// has nothing to say.
pub(super) fn read(
    raw: &RawValue,
    writer: Option<&Person<'_>>,
    errors: Option<&RawValue>,
    now: DateTime<Utc>,
    keep: Keep,
) -> Item {
    let message: wire::Message<'_> = wire::object(raw.get()).ok_or(Unusable::Shape)?;
    match message.kind.text() {
        Some("system") => return system(&message, writer, now),
        Some(REQUEST_WELCOME) => {
            let id = scalar::message_id(&message.id)?;
            let key = unit::key("message", &[id.as_str()]);
            return Ok((key, Found::Unread(REQUEST_WELCOME.to_owned())));
        }
        _ => {}
    }
    let person = person(&message.from, &message.from_user_id, writer);
    let sender = person.as_ref().ok().map(|person| person.chat.clone());
    let name = writer.and_then(|writer| writer.name.clone());
    let partner = in_group(&message).unwrap_or(person)?;
    let whole = Whole {
        raw,
        message: &message,
        errors,
        now,
        keep,
    };
    whole.read(Direction::Inbound, partner, sender, name)
}

/// An element of `message_echoes`: the tenant wrote to `partner`.
pub(super) fn read_echo(
    raw: &RawValue,
    partner: Option<&Person<'_>>,
    now: DateTime<Utc>,
    keep: Keep,
) -> Item {
    let message: wire::Message<'_> = wire::object(raw.get()).ok_or(Unusable::Shape)?;
    let sender = scalar::phone(&message.from).map(ChatAddress::Phone);
    let partner = in_group(&message).unwrap_or_else(|| person(&message.to, &message.to_user_id, partner))?;
    let whole = Whole {
        raw,
        message: &message,
        errors: None,
        now,
        keep,
    };
    whole.read(Direction::Outbound, partner, sender, None)
}

/// The phone number wins, so that one person is one chat whichever ids came today. What is no number is never made one.
fn person(
    phone: &wire::Loose<'_>,
    user: &wire::Loose<'_>,
    known: Option<&Person<'_>>,
) -> Result<Partner, Unusable> {
    let phone = scalar::phone(phone).or_else(|| known.and_then(|known| known.phone.clone()));
    let user = scalar::user(user).or_else(|| known.and_then(|known| known.user.clone()));
    let chat = match (&phone, &user) {
        (Some(phone), _) => ChatAddress::Phone(phone.clone()),
        (None, Some(user)) => ChatAddress::User(user.clone()),
        (None, None) => return Err(Unusable::Chat),
    };
    Ok(Partner { chat, phone, user })
}

/// The group a message was written in, where it was.
fn in_group(message: &wire::Message<'_>) -> Option<Result<Partner, Unusable>> {
    let id = scalar::text(&message.group_id)?;
    Some(group(&id).map(|chat| Partner {
        chat,
        phone: None,
        user: None,
    }))
}

/// Meta's id of a group, as an address.
pub(super) fn group(id: &str) -> Result<ChatAddress, Unusable> {
    match ChatAddress::parse(&format!("{id}@g.us")) {
        Ok(chat @ ChatAddress::Group(_)) => Ok(chat),
        Ok(_) | Err(_) => Err(Unusable::Chat),
    }
}

struct Whole<'m, 'a> {
    raw: &'m RawValue,
    message: &'m wire::Message<'a>,
    errors: Option<&'m RawValue>,
    now: DateTime<Utc>,
    keep: Keep,
}

impl Whole<'_, '_> {
    fn read(
        &self,
        direction: Direction,
        partner: Partner,
        sender: Option<ChatAddress>,
        push_name: Option<Text>,
    ) -> Item {
        let id = scalar::message_id(&self.message.id)?;
        let mut cutter = Cutter::default();
        let content = content::read(self.message, &mut cutter, 0).unwrap_or_else(|| self.unsupported());
        let list = match direction {
            Direction::Inbound => "message",
            Direction::Outbound => "echo",
        };
        let key = match &content {
            // A reaction and its removal may come under one id.
            MessageContent::Reaction { target, emoji } => {
                let emoji = emoji.as_ref().map(Text::as_str).unwrap_or_default();
                let time = scalar::text(&self.message.timestamp).unwrap_or_default();
                unit::key("reaction", &[list, id.as_str(), target.as_str(), emoji, &time])
            }
            _ => unit::key(list, &[id.as_str()]),
        };
        if matches!(partner.chat, ChatAddress::Group(_)) && !self.keep.groups {
            let skipped = InboundEvent::Skipped(SkipReason::Group);
            return Ok((key, Found::What(What::Event(skipped))));
        }
        let (quoted, origin) = self.context();
        let message = InboundMessage {
            provider_message_id: id,
            chat: partner.chat,
            chat_phone: partner.phone,
            chat_lid: None,
            chat_user: partner.user,
            direction,
            sender,
            push_name,
            sent_at: happened(&self.message.timestamp, self.now),
            content,
            quoted,
            truncated: cutter.truncated,
            origin,
        };
        Ok((
            key,
            Found::What(What::Event(InboundEvent::Message(Box::new(message)))),
        ))
    }

    /// What it answers and how it came to be written. An unreadable context costs the context, never the message.
    fn context(&self) -> (Option<Quoted>, MessageOrigin) {
        let inside = content::edited(self.message);
        let context = self
            .message
            .context
            .or_else(|| inside.and_then(|message| message.context));
        let context: wire::Context<'_> = scalar::part(context);
        let quoted = scalar::message_id(&context.id).ok().map(|id| Quoted {
            provider_message_id: id,
            participant: scalar::phone(&context.from).map(ChatAddress::Phone),
            text: None,
        });
        let forwarded = if context.frequently_forwarded.is_true() {
            Some(Forwarded::Often)
        } else {
            context.forwarded.is_true().then_some(Forwarded::Once)
        };
        let product: wire::Product<'_> = scalar::part(context.referred_product);
        let label = |id: &wire::Loose<'_>| Text::label(&scalar::text(id)?, MAX_PRODUCT);
        let product = label(&product.product_retailer_id).map(|product_id| ProductReference {
            catalog_id: label(&product.catalog_id),
            product_id,
        });
        let referral = self
            .message
            .referral
            .filter(|raw| raw.get().starts_with('{'))
            .map(|raw| RawJson::keep(raw.get()));
        let origin = MessageOrigin {
            forwarded,
            referral,
            product,
        };
        (quoted, origin)
    }

    /// A message with an id is never dropped for what it says: it is kept raw, with the errors that explain it.
    fn unsupported(&self) -> MessageContent {
        let inner: wire::Unsupported<'_> = scalar::part(self.message.unsupported);
        let name = inner.kind.filled().or(self.message.kind.filled());
        let type_name = name.and_then(|name| Text::label(name, MessageContent::MAX_TYPE_NAME));
        let raw = match self.errors {
            Some(errors) => RawJson::keep(&format!(
                "{{\"message\":{},\"errors\":{}}}",
                self.raw.get(),
                errors.get()
            )),
            None => RawJson::keep(self.raw.get()),
        };
        MessageContent::Unsupported {
            type_name: type_name.unwrap_or_else(|| Text::new("empty")),
            raw,
        }
    }
}

/// A person has another number, another id or another phone. The names changed over the years.
fn system(message: &wire::Message<'_>, known: Option<&Person<'_>>, now: DateTime<Utc>) -> Item {
    let id = scalar::message_id(&message.id)?;
    let key = unit::key("message", &[id.as_str()]);
    let system: wire::System<'_> = scalar::part(message.system);
    let kind = system.kind.text().unwrap_or_default();
    let phone = scalar::phone(&message.from);
    let user = scalar::user(&system.user_id);
    let change = match kind {
        "user_changed_number" | "customer_changed_number" => Identity::Number {
            old: phone.clone().or_else(|| scalar::phone(&system.customer)),
            new: scalar::phone(&system.wa_id).or_else(|| scalar::phone(&system.new_wa_id)),
            user,
        },
        "user_changed_user_id" | "customer_changed_user_id" => Identity::User {
            old: scalar::user(&system.previous_user_id).or_else(|| scalar::user(&message.from_user_id)),
            new: user,
        },
        "user_identity_changed" | "customer_identity_changed" => {
            let keys: wire::IdentityKeys<'_> = scalar::part(message.identity);
            Identity::Keys {
                hash: scalar::word(&keys.hash).or_else(|| scalar::word(&system.identity)),
            }
        }
        other => return Ok((key, Found::Unread(format!("system.{other}")))),
    };
    let before = match &change {
        Identity::Number { old, .. } => old.clone().map(ChatAddress::Phone),
        Identity::User { old, .. } => old.clone().map(ChatAddress::User),
        Identity::Keys { .. } => None,
    };
    // Under the number where there is one: that is the chat.
    let person = phone
        .map(ChatAddress::Phone)
        .or(before)
        .or_else(|| {
            person(&message.from, &message.from_user_id, known)
                .ok()
                .map(|person| person.chat)
        })
        .ok_or(Unusable::Chat)?;
    let change = IdentityChange {
        id,
        person,
        change,
        words: scalar::sentence(&system.body),
        at: happened(&message.timestamp, now),
    };
    Ok((key, Found::What(What::Identity(Box::new(change)))))
}
