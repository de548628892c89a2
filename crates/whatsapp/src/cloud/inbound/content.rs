//! What a message says: the object under the name of its type becomes [`MessageContent`].

use std::fmt::Write as _;

use domain::message::{
    ContactCard, GraphFile, Media, MediaId, MediaKind, MediaSource, MessageContent, Sha256,
};
use domain::text::{RawJson, Text};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{contact_card, scalar, wire};

/// Longest form that is taken apart, in bytes. A longer one is kept as a text.
const MAX_FORM: usize = 64 * 1024;
/// Most fields of a form that people are shown.
const MAX_FIELDS: usize = 50;
/// Most goods of an order that people are shown.
const MAX_GOODS: usize = 100;
/// Longest shown value of a field, in characters.
const MAX_VALUE: usize = 500;
/// The field of a form that ties it to what we sent. Nothing for people.
const FLOW_TOKEN: &str = "flow_token";

/// Cleans texts and remembers whether one had to be cut.
#[derive(Default)]
pub(super) struct Cutter {
    pub(super) truncated: bool,
}

impl Cutter {
    pub(super) fn optional(&mut self, text: &wire::Loose<'_>) -> Option<Text> {
        let (text, truncated) = Text::cut(text.filled()?, Text::MAX_CHARS);
        self.truncated |= truncated;
        (!text.is_empty()).then_some(text)
    }

    fn some<T>(&mut self, mut list: Vec<T>, most: usize) -> Vec<T> {
        self.truncated |= list.len() > most;
        list.truncate(most);
        list
    }
}

/// `None`: the type is not known, or what stands under its name is not what it promises. `depth` 1 is inside an edit.
pub(super) fn read(message: &wire::Message<'_>, cutter: &mut Cutter, depth: u8) -> Option<MessageContent> {
    match message.kind.text()? {
        "text" => {
            let words: wire::Words<'_> = wire::object(message.text?.get())?;
            let text = cutter.optional(&words.body)?;
            Some(MessageContent::Text { text })
        }
        "image" => media(MediaKind::Image, message.image?, cutter),
        "video" => media(MediaKind::Video, message.video?, cutter),
        "audio" => media(MediaKind::Audio, message.audio?, cutter),
        "document" => media(MediaKind::Document, message.document?, cutter),
        "sticker" => media(MediaKind::Sticker, message.sticker?, cutter),
        "location" => location(message.location?, cutter),
        "contacts" => contacts(message.contacts?, cutter),
        "interactive" => interactive(message.interactive?, cutter),
        "button" => button(message.button?, cutter),
        "order" => order(message.order?, cutter),
        "reaction" => {
            let reaction: wire::Reaction<'_> = wire::object(message.reaction?.get())?;
            Some(MessageContent::Reaction {
                target: scalar::message_id(&reaction.message_id).ok()?,
                emoji: reaction.emoji.filled().and_then(|emoji| Text::label(emoji, 64)),
            })
        }
        "edit" if depth == 0 => {
            let change: wire::EditOrRevoke<'_> = wire::object(message.edit?.get())?;
            let content = read(&edited(message)?, cutter, depth + 1)?;
            Some(MessageContent::Edit {
                target: scalar::message_id(&change.original_message_id).ok()?,
                content: Box::new(content),
            })
        }
        "revoke" if depth == 0 => {
            let change: wire::EditOrRevoke<'_> = wire::object(message.revoke?.get())?;
            Some(MessageContent::Revoke {
                target: scalar::message_id(&change.original_message_id).ok()?,
            })
        }
        _ => None,
    }
}

/// The new content inside an edit.
pub(super) fn edited<'a>(message: &wire::Message<'a>) -> Option<wire::Message<'a>> {
    let change: wire::EditOrRevoke<'a> = wire::object(message.edit?.get())?;
    wire::object(change.message?.get())
}

fn media(kind: MediaKind, raw: &RawValue, cutter: &mut Cutter) -> Option<MessageContent> {
    let file: wire::File<'_> = wire::object(raw.get())?;
    let media_kind = if kind == MediaKind::Audio && file.voice.is_true() {
        MediaKind::Voice
    } else {
        kind
    };
    let sha256 = file.sha256.filled().and_then(|hash| Sha256::parse(hash).ok());
    let source = scalar::text(&file.id)
        .and_then(|id| MediaId::parse(id.into_owned()).ok())
        .map(|id| MediaSource::Graph(GraphFile { id, sha256 }));
    Some(MessageContent::Media(Media {
        media_kind,
        caption: cutter.optional(&file.caption),
        mime_type: file
            .mime_type
            .filled()
            .and_then(|declared| Text::label(declared, Media::MAX_MIME_TYPE)),
        file_name: file
            .filename
            .filled()
            .and_then(|name| Text::label(name, Media::MAX_FILE_NAME)),
        size: file.file_size.size(),
        seconds: None,
        sha256: sha256.map(Sha256::to_base64),
        sources: source.into_iter().collect(),
    }))
}

fn location(raw: &RawValue, cutter: &mut Cutter) -> Option<MessageContent> {
    let place: wire::Location<'_> = wire::object(raw.get())?;
    Some(MessageContent::Location {
        latitude: scalar::degrees(&place.latitude, 90.0)?,
        longitude: scalar::degrees(&place.longitude, 180.0)?,
        name: cutter.optional(&place.name),
        address: cutter.optional(&place.address),
        live: false,
    })
}

fn contacts(raw: &RawValue, cutter: &mut Cutter) -> Option<MessageContent> {
    let cards = wire::list(raw.get())?;
    let contacts: Vec<ContactCard> = cutter
        .some(cards, MessageContent::MAX_CONTACTS)
        .into_iter()
        .filter_map(|raw| contact_card::read(raw, cutter))
        .collect();
    (!contacts.is_empty()).then_some(MessageContent::Contacts { contacts })
}

fn interactive(raw: &RawValue, cutter: &mut Cutter) -> Option<MessageContent> {
    let answer: wire::Interactive<'_> = wire::object(raw.get())?;
    match answer.kind.text()? {
        "button_reply" => choice(answer.button_reply?, cutter),
        "list_reply" => choice(answer.list_reply?, cutter),
        "nfm_reply" => form(answer.nfm_reply?, cutter),
        "call_permission_reply" => {
            let raw = answer.call_permission_reply?;
            let permission: wire::CallPermission<'_> = wire::object(raw.get())?;
            let response = scalar::word(&permission.response)?;
            Some(MessageContent::InteractiveReply {
                title: Text::from(format!("Call permission: {}", response.as_str())),
                id: Some(response),
                data: Some(RawJson::keep(raw.get())),
            })
        }
        _ => None,
    }
}

fn choice(raw: &RawValue, cutter: &mut Cutter) -> Option<MessageContent> {
    let choice: wire::Choice<'_> = wire::object(raw.get())?;
    let id = cutter.optional(&choice.id);
    let title = cutter.optional(&choice.title).or_else(|| id.clone())?;
    let described = choice.description.filled().is_some();
    Some(MessageContent::InteractiveReply {
        id,
        title,
        data: described.then(|| RawJson::keep(raw.get())),
    })
}

/// The quick reply of a template. Its payload is what a button's id is elsewhere.
fn button(raw: &RawValue, cutter: &mut Cutter) -> Option<MessageContent> {
    let button: wire::Button<'_> = wire::object(raw.get())?;
    let id = cutter.optional(&button.payload);
    let title = cutter.optional(&button.text).or_else(|| id.clone())?;
    Some(MessageContent::InteractiveReply {
        id,
        title,
        data: None,
    })
}

/// A filled-in form. What was filled in is JSON inside a text, written by the person's phone.
fn form(raw: &RawValue, cutter: &mut Cutter) -> Option<MessageContent> {
    let reply: wire::FormReply<'_> = wire::object(raw.get())?;
    let mut words = cutter
        .optional(&reply.body)
        .or_else(|| cutter.optional(&reply.name))
        .map_or_else(String::new, Text::into_string);
    let filled_in = reply.response_json.filled();
    let data = filled_in.map(|text| {
        if text.len() > MAX_FORM {
            cutter.truncated = true;
            return RawJson::keep(&Value::from(Text::cut(text, MAX_FORM).0.into_string()).to_string());
        }
        RawJson::keep(text)
    });
    // Nothing was filled in.
    let data = data.filter(|data| !data.as_value().is_null());
    if let Some(Value::Object(fields)) = data.as_ref().map(RawJson::as_value) {
        let fields = fields.iter().filter(|(name, _)| *name != FLOW_TOKEN);
        for (name, value) in fields.take(MAX_FIELDS) {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let (value, _) = Text::cut(&value, MAX_VALUE);
            let _ = write!(words, "\n{name}: {}", value.as_str());
        }
    }
    let title = Text::from(words.trim().to_owned());
    if title.is_empty() && data.is_none() {
        return None;
    }
    Some(MessageContent::InteractiveReply {
        id: None,
        title: if title.is_empty() {
            Text::new("[form]")
        } else {
            title
        },
        data,
    })
}

fn order(raw: &RawValue, cutter: &mut Cutter) -> Option<MessageContent> {
    let order: wire::Order<'_> = wire::object(raw.get())?;
    let goods = order.product_items.and_then(|raw| wire::list(raw.get()))?;
    let mut words = String::from("🛒");
    for raw in cutter.some(goods, MAX_GOODS) {
        let item: wire::OrderItem<'_> = wire::object(raw.get())?;
        let product = scalar::word(&item.product_retailer_id)?;
        // Prices are decimal: as written, never through a binary fraction.
        let quantity = number(item.quantity).unwrap_or("?");
        let _ = write!(words, "\n{quantity} × {}", product.as_str());
        if let Some(price) = number(item.item_price) {
            let currency = scalar::word(&item.currency).unwrap_or_default();
            let _ = write!(words, " ({price} {})", currency.as_str());
        }
    }
    if let Some(note) = cutter.optional(&order.text) {
        words.push('\n');
        words.push_str(note.as_str());
    }
    Some(MessageContent::InteractiveReply {
        id: None,
        title: Text::from(words.replacen("🛒\n", "🛒 ", 1)),
        data: Some(RawJson::keep(raw.get())),
    })
}

fn number(raw: Option<&RawValue>) -> Option<&str> {
    let number = raw?.get().trim_matches('"');
    let fits = (1..=32).contains(&number.len())
        && number
            .bytes()
            .all(|b| b.is_ascii_digit() || b".-+eE".contains(&b));
    fits.then_some(number)
}
