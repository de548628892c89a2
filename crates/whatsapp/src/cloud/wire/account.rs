//! `value` of the fields about accounts, numbers and templates. One struct has the keys of several fields, where they
//! mean the same in each.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Loose;

/// About an account or a number.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Account<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) display_phone_number: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) event: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) decision: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) requester: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) requested_verified_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) rejection_reason: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) entity_type: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) entity_id: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) alert_info: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) waba_info: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) ban_info: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) violation_info: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) restriction_info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(in crate::cloud) max_daily_conversations_per_business: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) max_daily_conversation_per_phone: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) max_phone_numbers_per_business: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) max_phone_numbers_per_waba: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) current_limit: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) old_limit: Loose<'a>,
}

/// `alert_info`.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Alert<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) alert_severity: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) alert_status: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) alert_type: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) alert_description: Loose<'a>,
}

/// `waba_info`.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct WabaInfo<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) waba_id: Loose<'a>,
}

/// `ban_info`.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Ban<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) waba_ban_state: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) waba_ban_date: Loose<'a>,
}

/// `violation_info`.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Violation<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) violation_type: Loose<'a>,
}

/// An element of `restriction_info`.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Restriction<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) restriction_type: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) expiration: Loose<'a>,
}

/// About a template.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Template<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) event: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) message_template_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(in crate::cloud) message_template_name: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) message_template_language: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) message_template_category: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) reason: Loose<'a>,
    #[serde(borrow)]
    pub(in crate::cloud) disable_info: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) other_info: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(in crate::cloud) rejection_info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(in crate::cloud) previous_quality_score: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) new_quality_score: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) previous_category: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) new_category: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) correct_category: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) category_update_timestamp: Loose<'a>,
}

/// Why a template is not what it was: `disable_info`, `other_info` and `rejection_info` in one.
#[derive(Default, Deserialize)]
pub(in crate::cloud) struct Explanation<'a> {
    #[serde(borrow, default)]
    pub(in crate::cloud) disable_date: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) title: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) description: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) reason: Loose<'a>,
    #[serde(borrow, default)]
    pub(in crate::cloud) recommendation: Loose<'a>,
}
