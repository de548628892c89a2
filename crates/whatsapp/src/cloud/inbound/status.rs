//! Statuses: how far our messages went.

use chrono::{DateTime, Utc};
use domain::address::ChatAddress;
use domain::delivery::{Report, Stage};
use domain::text::Text;
use serde_json::value::RawValue;

use super::{Found, Item, happened, message, scalar, unit, wire};
use crate::cloud::{Conversation, GraphError, Pricing, StatusUpdate, What};
use crate::error::Unusable;

pub(super) fn read(raw: &RawValue, now: DateTime<Utc>) -> Item {
    let status: wire::Status<'_> = wire::object(raw.get()).ok_or(Unusable::Shape)?;
    let id = scalar::message_id(&status.id)?;
    let word = status.status.filled().ok_or(Unusable::Shape)?;
    let participant = scalar::phone(&status.recipient_participant_id)
        .map(ChatAddress::Phone)
        .or_else(|| scalar::user(&status.recipient_participant_user_id).map(ChatAddress::User));
    // In a group one kind of status comes once for every member: the member belongs to the key.
    let key = unit::key(
        "status",
        &[
            id.as_str(),
            word,
            &scalar::text(&status.recipient_participant_id)
                .or_else(|| scalar::text(&status.recipient_participant_user_id))
                .unwrap_or_default(),
            &scalar::text(&status.timestamp).unwrap_or_default(),
        ],
    );
    let report = match word {
        "sent" => Report::Reached(Stage::Sent),
        "delivered" => Report::Reached(Stage::Delivered),
        "read" => Report::Reached(Stage::Read),
        "played" => Report::Reached(Stage::Played),
        "failed" => Report::Failed,
        other => return Ok((key, Found::Unread(format!("status.{other}")))),
    };
    let recipient_user = scalar::user(&status.recipient_user_id);
    let recipient = if status.recipient_type.text() == Some("group") {
        scalar::text(&status.recipient_id).and_then(|id| message::group(&id).ok())
    } else {
        scalar::phone(&status.recipient_id)
            .map(ChatAddress::Phone)
            .or_else(|| recipient_user.clone().map(ChatAddress::User))
    };
    let update = StatusUpdate {
        id,
        callback: status
            .biz_opaque_callback_data
            .filled()
            .map(|data| Text::cut(data, StatusUpdate::MAX_CALLBACK).0),
        report,
        at: happened(&status.timestamp, now),
        recipient,
        recipient_user,
        participant,
        errors: status
            .errors
            .map(|raw| GraphError::read_list(raw.get()))
            .unwrap_or_default(),
        pricing: status.pricing.and_then(pricing),
        conversation: status.conversation.and_then(conversation),
    };
    Ok((key, Found::What(What::Status(Box::new(update)))))
}

fn pricing(raw: &RawValue) -> Option<Pricing> {
    let pricing: wire::Pricing<'_> = wire::object(raw.get())?;
    Some(Pricing {
        billable: pricing.billable.flag(),
        model: scalar::word(&pricing.pricing_model),
        kind: scalar::word(&pricing.kind),
        category: scalar::word(&pricing.category),
    })
}

fn conversation(raw: &RawValue) -> Option<Conversation> {
    let conversation: wire::Conversation<'_> = wire::object(raw.get())?;
    let origin: wire::Origin<'_> = scalar::part(conversation.origin);
    Some(Conversation {
        id: scalar::word(&conversation.id),
        origin: scalar::word(&origin.kind),
        expires_at: scalar::time(&conversation.expiration_timestamp),
    })
}
