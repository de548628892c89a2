//! News about accounts and numbers, and what people want to be sent.

use chrono::{DateTime, Utc};
use domain::address::ChatAddress;
use domain::ids::WabaId;
use domain::text::{RawJson, Text};
use serde_json::value::RawValue;

use super::{Found, Item, happened, scalar, unit, wire};
use crate::cloud::{
    AccountEvent, AccountUpdate, Alert, MarketingPreference, QualityUpdate, Restriction, What,
};
use crate::error::Unusable;

/// Most restrictions kept of one update.
const MAX_RESTRICTIONS: usize = 32;

/// What reading a field's value gave, with the number it is about as people write it. `Ok(None)`: a kind of it that is
/// not read.
pub(super) type Managed = (Option<Text>, Result<Option<What>, Unusable>);

/// `None` when the field is none of these.
pub(super) fn read(field: &str, raw: &RawValue, at: Option<DateTime<Utc>>) -> Option<Managed> {
    let event = match field {
        "account_alerts" => alert,
        "account_review_update" => review,
        "account_update" => changed,
        "business_capability_update" => capability,
        "phone_number_name_update" => display_name,
        "security" => security,
        "phone_number_quality_update" => {
            let Some(value) = wire::object::<wire::Account<'_>>(raw.get()) else {
                return Some((None, Err(Unusable::Shape)));
            };
            let what = quality(&value, at).ok_or(Unusable::Shape).map(Some);
            return Some((unit::display(&value.display_phone_number), what));
        }
        _ => return None,
    };
    let Some(value) = wire::object::<wire::Account<'_>>(raw.get()) else {
        return Some((None, Err(Unusable::Shape)));
    };
    let what = event(&value, raw)
        .map(|event| Some(What::Account(Box::new(AccountUpdate { at, event }))))
        .ok_or(Unusable::Shape);
    Some((unit::display(&value.display_phone_number), what))
}

/// The business account that news of a partner are about: what they came under is the partner's own.
pub(super) fn named_waba(field: &str, raw: &RawValue) -> Option<WabaId> {
    if field != "account_update" {
        return None;
    }
    let value: wire::Account<'_> = wire::object(raw.get())?;
    let info: wire::WabaInfo<'_> = scalar::part(value.waba_info);
    WabaId::parse(scalar::text(&info.waba_id)?.into_owned()).ok()
}

fn alert(value: &wire::Account<'_>, _: &RawValue) -> Option<AccountEvent> {
    let info: wire::Alert<'_> = wire::object(value.alert_info?.get())?;
    Some(AccountEvent::Alert(Alert {
        entity_type: scalar::word(&value.entity_type),
        entity_id: scalar::word(&value.entity_id),
        severity: scalar::word(&info.alert_severity),
        status: scalar::word(&info.alert_status),
        alert_type: scalar::word(&info.alert_type),
        description: scalar::sentence(&info.alert_description),
    }))
}

fn review(value: &wire::Account<'_>, _: &RawValue) -> Option<AccountEvent> {
    Some(AccountEvent::Review {
        decision: scalar::word(&value.decision)?,
    })
}

fn changed(value: &wire::Account<'_>, raw: &RawValue) -> Option<AccountEvent> {
    let ban: wire::Ban<'_> = scalar::part(value.ban_info);
    let violation: wire::Violation<'_> = scalar::part(value.violation_info);
    let restrictions = value.restriction_info.and_then(|raw| wire::list(raw.get()));
    let restrictions = restrictions.unwrap_or_default().into_iter();
    Some(AccountEvent::Changed {
        event: scalar::word(&value.event)?,
        ban_state: scalar::word(&ban.waba_ban_state),
        ban_date: scalar::word(&ban.waba_ban_date),
        violation: scalar::word(&violation.violation_type),
        restrictions: restrictions
            .take(MAX_RESTRICTIONS)
            .filter_map(|raw| {
                let restriction: wire::Restriction<'_> = wire::object(raw.get())?;
                Some(Restriction {
                    kind: scalar::word(&restriction.restriction_type)?,
                    expires_at: scalar::time(&restriction.expiration),
                })
            })
            .collect(),
        details: RawJson::keep(raw.get()),
    })
}

fn capability(value: &wire::Account<'_>, raw: &RawValue) -> Option<AccountEvent> {
    let per_business = &value.max_phone_numbers_per_business;
    Some(AccountEvent::Capability {
        daily_conversations: scalar::word(&value.max_daily_conversations_per_business)
            .or_else(|| scalar::word(&value.max_daily_conversation_per_phone)),
        phone_numbers: per_business
            .size()
            .or_else(|| value.max_phone_numbers_per_waba.size()),
        details: RawJson::keep(raw.get()),
    })
}

fn display_name(value: &wire::Account<'_>, _: &RawValue) -> Option<AccountEvent> {
    Some(AccountEvent::DisplayName {
        decision: scalar::word(&value.decision)?,
        requested: scalar::sentence(&value.requested_verified_name),
        reason: scalar::word(&value.rejection_reason).filter(|reason| reason.as_str() != "NONE"),
    })
}

fn security(value: &wire::Account<'_>, _: &RawValue) -> Option<AccountEvent> {
    Some(AccountEvent::Security {
        event: scalar::word(&value.event)?,
        requester: scalar::word(&value.requester),
    })
}

fn quality(value: &wire::Account<'_>, at: Option<DateTime<Utc>>) -> Option<What> {
    Some(What::Quality(Box::new(QualityUpdate {
        event: scalar::word(&value.event)?,
        daily_conversations: scalar::word(&value.max_daily_conversations_per_business)
            .or_else(|| scalar::word(&value.current_limit)),
        previous: scalar::word(&value.old_limit),
        at,
    })))
}

/// An element of `user_preferences`.
pub(super) fn preference(raw: &RawValue, now: DateTime<Utc>) -> Item {
    let preference: wire::Preference<'_> = wire::object(raw.get()).ok_or(Unusable::Shape)?;
    let user = scalar::user(&preference.user_id);
    let person = scalar::phone(&preference.wa_id)
        .map(ChatAddress::Phone)
        .or_else(|| user.clone().map(ChatAddress::User))
        .ok_or(Unusable::Chat)?;
    let category = scalar::word(&preference.category).ok_or(Unusable::Shape)?;
    let value = preference.value.filled().ok_or(Unusable::Shape)?;
    let time = scalar::text(&preference.timestamp).unwrap_or_default();
    let key = unit::key("preference", &[person.as_str(), category.as_str(), value, &time]);
    let stopped = match value {
        "stop" => true,
        "resume" => false,
        other => return Ok((key, Found::Unread(format!("user_preferences.{other}")))),
    };
    let preference = MarketingPreference {
        person,
        user,
        category,
        stopped,
        detail: scalar::sentence(&preference.detail),
        at: happened(&preference.timestamp, now),
    };
    Ok((key, Found::What(What::Preference(Box::new(preference)))))
}
