//! News about templates.

use chrono::{DateTime, Utc};
use domain::text::{RawJson, Text};
use serde_json::value::RawValue;

use super::account::Managed;
use super::{scalar, wire};
use crate::cloud::{GraphError, TemplateChange, TemplateUpdate, What};
use crate::error::Unusable;

/// `None` when the field is none of these.
pub(super) fn read(field: &str, raw: &RawValue, at: Option<DateTime<Utc>>) -> Option<Managed> {
    let change = match field {
        "message_template_status_update" => status,
        "message_template_quality_update" => quality,
        "message_template_components_update" => components,
        "template_category_update" => category,
        _ => return None,
    };
    let what = template(raw, at, change).ok_or(Unusable::Shape).map(Some);
    Some((None, what))
}

type ReadChange = fn(&wire::Template<'_>, &RawValue) -> Option<TemplateChange>;

fn template(raw: &RawValue, at: Option<DateTime<Utc>>, change: ReadChange) -> Option<What> {
    let value: wire::Template<'_> = wire::object(raw.get())?;
    let id = scalar::large(value.message_template_id);
    let name = scalar::sentence(&value.message_template_name);
    // Nobody could say which template it is about.
    if id.is_none() && name.is_none() {
        return None;
    }
    Some(What::Template(Box::new(TemplateUpdate {
        id,
        name,
        language: scalar::word(&value.message_template_language),
        at,
        change: change(&value, raw)?,
    })))
}

fn status(value: &wire::Template<'_>, _: &RawValue) -> Option<TemplateChange> {
    let rejection: wire::Explanation<'_> = scalar::part(value.rejection_info);
    let other: wire::Explanation<'_> = scalar::part(value.other_info);
    let disabled: wire::Explanation<'_> = scalar::part(value.disable_info);
    let words = [
        &rejection.reason,
        &rejection.recommendation,
        &other.title,
        &other.description,
    ];
    let words: Vec<&str> = words.into_iter().filter_map(|words| words.filled()).collect();
    let (explanation, _) = Text::cut(&words.join(". "), GraphError::MAX_WORDS);
    Some(TemplateChange::Status {
        event: scalar::word(&value.event)?,
        category: scalar::word(&value.message_template_category),
        reason: scalar::word(&value.reason).filter(|reason| reason.as_str() != "NONE"),
        explanation: (!explanation.is_empty()).then_some(explanation),
        disabled_from: scalar::word(&disabled.disable_date),
    })
}

fn quality(value: &wire::Template<'_>, _: &RawValue) -> Option<TemplateChange> {
    Some(TemplateChange::Quality {
        previous: scalar::word(&value.previous_quality_score),
        now: scalar::word(&value.new_quality_score)?,
    })
}

fn components(_: &wire::Template<'_>, raw: &RawValue) -> Option<TemplateChange> {
    Some(TemplateChange::Components {
        components: RawJson::keep(raw.get()),
    })
}

fn category(value: &wire::Template<'_>, _: &RawValue) -> Option<TemplateChange> {
    let change = TemplateChange::Category {
        previous: scalar::word(&value.previous_category),
        now: scalar::word(&value.new_category),
        correct: scalar::word(&value.correct_category),
        changes_at: scalar::time(&value.category_update_timestamp),
    };
    Some(change)
}
