//! How much of what we may call is used up, as Meta tells in headers (Cloud API contract 3.7).

use std::collections::HashMap;
use std::time::Duration;

use domain::retry::clamp_retry_after;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::class::ErrorClass;
use crate::port::RateScope;

const BUSINESS: &str = "x-business-use-case-usage";
const APP: &str = "x-app-usage";

/// What the headers of one answer tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Of the app's calls, in percent.
    pub(super) app_percent: Option<u8>,
    /// When the business may call again.
    business_wait: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Percentages {
    call_count: f64,
    total_cputime: f64,
    total_time: f64,
    /// In minutes.
    estimated_time_to_regain_access: f64,
}

impl Percentages {
    fn most(&self) -> f64 {
        self.call_count.max(self.total_cputime).max(self.total_time)
    }
}

impl Usage {
    /// What cannot be read is not told.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let app: Option<Percentages> = text(APP).and_then(|text| serde_json::from_str(text).ok());
        let business: HashMap<String, Vec<Percentages>> = text(BUSINESS)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let minutes = business
            .values()
            .flatten()
            .map(|one| one.estimated_time_to_regain_access)
            .fold(0.0_f64, f64::max);
        Self {
            app_percent: app.map(|app| percent(app.most())),
            business_wait: Duration::try_from_secs_f64(minutes * 60.0)
                .ok()
                .filter(|wait| !wait.is_zero())
                .map(|wait| clamp_retry_after(wait, LONGEST_WAIT)),
        }
    }

    /// How long to wait after a refusal of this class, where the headers say so.
    pub(super) const fn wait_for(&self, class: ErrorClass) -> Option<Duration> {
        match class {
            ErrorClass::Rate(RateScope::App | RateScope::Business) => self.business_wait,
            _ => None,
        }
    }
}

/// Longest wait Meta may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "held within 0 and 255"
)]
fn percent(value: f64) -> u8 {
    value.clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(app: &str, business: &str) -> Usage {
        let mut headers = HeaderMap::new();
        headers.insert(APP, app.parse().unwrap());
        headers.insert(BUSINESS, business.parse().unwrap());
        Usage::read(&headers)
    }

    #[test]
    fn the_longest_wait_and_the_highest_share_count() {
        let usage = read(
            r#"{"call_count":28,"total_time":85.5,"total_cputime":3}"#,
            concat!(
                r#"{"1":[{"type":"whatsapp","call_count":100,"estimated_time_to_regain_access":2}],"#,
                r#""2":[{"estimated_time_to_regain_access":7}]}"#
            ),
        );
        assert_eq!(usage.app_percent, Some(85));
        let business = ErrorClass::Rate(RateScope::Business);
        assert_eq!(usage.wait_for(business), Some(Duration::from_secs(420)));
        assert_eq!(usage.wait_for(ErrorClass::Pair), None);
    }

    #[test]
    fn nonsense_tells_nothing() {
        for (app, business) in [
            ("x", "x"),
            ("[]", "[]"),
            ("{}", r#"{"1":[{}]}"#),
            ("", r#"{"1":{}}"#),
        ] {
            let usage = read(app, business);
            assert_eq!(
                usage.wait_for(ErrorClass::Rate(RateScope::App)),
                None,
                "{app} {business}"
            );
        }
        let far = read("{}", r#"{"1":[{"estimated_time_to_regain_access":1e300}]}"#);
        assert_eq!(far.business_wait, None);
    }
}
