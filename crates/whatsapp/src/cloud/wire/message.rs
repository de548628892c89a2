//! Messages, echoes and statuses.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Loose;

/// An element of `messages` or `message_echoes`, and the new content inside an edit. What it says stands under the name
/// of its type.
#[derive(Deserialize)]
pub(in crate::cloud) struct Message<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) from: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) from_user_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) to: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) to_user_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) group_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) timestamp: Loose<'a>,
    #[serde(borrow, default, rename = "type")]
    pub(in crate::cloud) kind: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) context: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) referral: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) image: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) video: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) audio: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) document: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) sticker: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) location: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) contacts: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) interactive: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) button: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) order: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) reaction: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) system: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) identity: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) edit: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) revoke: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) unsupported: Option<&'a RawValue>,
}

/// What a message answers, or how it came.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Context<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) from: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) forwarded: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) frequently_forwarded: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) referred_product: Option<&'a RawValue>,
}

/// A product of a catalogue.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Product<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) catalog_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) product_retailer_id: Loose<'a>,
}

/// Words.
#[derive(Deserialize)]
pub(in crate::cloud) struct Words<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) body: Loose<'a>,
}

/// A file.
#[derive(Deserialize)]
pub(in crate::cloud) struct File<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) caption: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) filename: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) mime_type: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) sha256: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) file_size: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) voice: Loose<'a>,
}

/// A place.
#[derive(Deserialize)]
pub(in crate::cloud) struct Location<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) latitude: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) longitude: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) address: Loose<'a>,
}

/// A contact card.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Card<'a> {
    #[serde(borrow)]
    pub(in crate::cloud) name: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) org: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(in crate::cloud) birthday: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) vcard: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) phones: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) emails: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) urls: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) addresses: Option<&'a RawValue>,
}

/// A card's name.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct CardName<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) formatted_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) first_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) middle_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) last_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) prefix: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) suffix: Loose<'a>,
}

/// Where a card's person works.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct CardWork<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) company: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) department: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) title: Loose<'a>,
}

/// An element of a card's `phones`, `emails`, `urls` or `addresses`.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct CardEntry<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(in crate::cloud) kind: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) phone: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) wa_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) email: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) url: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) street: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) city: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) state: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) zip: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) country: Loose<'a>,
}

/// An answer to something interactive. What was answered stands under the name of its type.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Interactive<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(in crate::cloud) kind: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) button_reply: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) list_reply: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) nfm_reply: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) call_permission_reply: Option<&'a RawValue>,
}

/// A button or list row.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Choice<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) title: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) description: Loose<'a>,
}

/// A filled-in form.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct FormReply<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) body: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) response_json: Loose<'a>,
}

/// May the tenant call?
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct CallPermission<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) response: Loose<'a>,
}

/// The quick reply of a template.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Button<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) payload: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) text: Loose<'a>,
}

/// An order of goods.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Order<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) text: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) product_items: Option<&'a RawValue>,
}

/// One line of an order. Quantities and prices are decimal numbers: kept as they are written.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct OrderItem<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) product_retailer_id: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) quantity: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) item_price: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(in crate::cloud) currency: Loose<'a>,
}

/// An emoji under a message.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Reaction<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) message_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) emoji: Loose<'a>,
}

/// A notice about a person. The older names stand beside the newer ones.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct System<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(in crate::cloud) kind: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) body: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) wa_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) new_wa_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) customer: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) identity: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) user_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) previous_user_id: Loose<'a>,
}

/// A person's keys.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct IdentityKeys<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) hash: Loose<'a>,
}

/// An earlier message was changed or deleted.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct EditOrRevoke<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) original_message_id: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) message: Option<&'a RawValue>,
}

/// What a message was that cannot be told.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Unsupported<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(in crate::cloud) kind: Loose<'a>,
}

/// An element of `statuses`.
#[derive(Deserialize)]
pub(in crate::cloud) struct Status<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) status: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) timestamp: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) recipient_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) recipient_user_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) recipient_type: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) recipient_participant_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) recipient_participant_user_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) biz_opaque_callback_data: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) conversation: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) pricing: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) errors: Option<&'a RawValue>,
}

/// The conversation of a status.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Conversation<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) expiration_timestamp: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) origin: Option<&'a RawValue>,
}

/// What began a conversation.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Origin<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(in crate::cloud) kind: Loose<'a>,
}

/// What a status' message costs.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Pricing<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) billable: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) pricing_model: Loose<'a>,
    #[serde(borrow, default, rename = "type")]
    pub(in crate::cloud) kind: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) category: Loose<'a>,
}

/// An element of `user_preferences`.
#[derive(Deserialize)]
pub(in crate::cloud) struct Preference<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) wa_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) user_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) category: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) value: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) detail: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) timestamp: Loose<'a>,
}
