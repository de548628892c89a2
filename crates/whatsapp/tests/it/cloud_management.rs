//! What Meta tells of an account, its numbers and its templates.

use serde_json::{Value, json};
use whatsapp::cloud::{AccountEvent, TemplateChange, What};

use crate::cloud_samples::{field, only};

#[test]
fn every_management_field_is_read() {
    let said = |name: &str, value: Value| only(field(name, &value)).what.unwrap();
    let What::Account(update) = said(
        "phone_number_name_update",
        json!({"display_phone_number": "6221550001111", "decision": "REJECTED",
            "requested_verified_name": "Kantor", "rejection_reason": "NAME_X"}),
    ) else {
        panic!()
    };
    assert!(matches!(update.event, AccountEvent::DisplayName { .. }));
    for (name, value) in [
        ("account_review_update", json!({"decision": "APPROVED"})),
        ("security", json!({"event": "PIN_CHANGED", "requester": "123"})),
        (
            "business_capability_update",
            json!({"max_daily_conversations_per_business": 2000, "max_phone_numbers_per_waba": 25}),
        ),
        (
            "account_update",
            json!({"event": "PARTNER_REMOVED", "waba_info": {"waba_id": "1"}}),
        ),
    ] {
        assert!(matches!(said(name, value), What::Account(_)), "{name}");
    }
    let template = json!({"message_template_id": 1, "message_template_name": "a", "message_template_language": "id",
        "previous_quality_score": "GREEN", "new_quality_score": "RED", "previous_category": "UTILITY",
        "new_category": "MARKETING", "category_update_timestamp": 1_763_600_000, "message_template_element": "Halo"});
    for (name, want) in [
        ("message_template_quality_update", "quality"),
        ("message_template_components_update", "components"),
        ("template_category_update", "category"),
    ] {
        let What::Template(update) = said(name, template.clone()) else {
            panic!("{name}")
        };
        let kind = match update.change {
            TemplateChange::Status { .. } => "status",
            TemplateChange::Quality { .. } => "quality",
            TemplateChange::Components { .. } => "components",
            TemplateChange::Category { .. } => "category",
        };
        assert_eq!(kind, want);
    }
    let number = only(field(
        "phone_number_quality_update",
        &json!({"display_phone_number": "6221550001111", "event": "FLAGGED", "current_limit": "TIER_1K", "old_limit": "TIER_10K"}),
    ));
    assert_eq!(number.display_number.unwrap().as_str(), "6221550001111");
    let Ok(What::Quality(quality)) = number.what else {
        panic!()
    };
    assert_eq!(quality.daily_conversations.unwrap().as_str(), "TIER_1K");
}
