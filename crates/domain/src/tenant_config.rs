//! How an endpoint is used for a tenant: the settings, what they are when nobody chose, and their bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A setting that is a whole number. The bounds stand in the table's checks, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// What it is called on the wire and in the table.
    pub name: &'static str,
    /// What it is when nobody chose.
    pub usual: i32,
    /// The least it may be.
    pub least: i32,
    /// The most it may be.
    pub most: i32,
}

/// How long to wait before a dropped session is connected again for the first time, in seconds.
pub const RECONNECT_INTERVAL: Setting = Setting::new("reconnect_interval", 30, 1, 3600);
/// How often the tenant's endpoint is checked, in seconds.
pub const HEALTH_CHECK_INTERVAL: Setting = Setting::new("health_check_interval", 60, 1, 3600);
/// How often a delivery that failed is tried again.
pub const WEBHOOK_RETRIES: Setting = Setting::new("webhook_retries", 3, 0, 20);
/// How long one call of the provider may take, in seconds.
pub const MESSAGE_TIMEOUT: Setting = Setting::new("message_timeout", 30, 1, 120);

/// A number outside a setting's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} must be within {} and {}", .0.name, .0.least, .0.most)]
pub struct OutOfBounds(pub Setting);

impl Setting {
    const fn new(name: &'static str, usual: i32, least: i32, most: i32) -> Self {
        Self {
            name,
            usual,
            least,
            most,
        }
    }

    /// Reads a number.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    pub fn check(self, number: i64) -> Result<i32, OutOfBounds> {
        i32::try_from(number)
            .ok()
            .filter(|number| (self.least..=self.most).contains(number))
            .ok_or(OutOfBounds(self))
    }
}

/// How an endpoint is used for a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantSettings {
    /// A session that dropped is connected again without anybody asking.
    pub auto_reconnect: bool,
    /// [`RECONNECT_INTERVAL`].
    pub reconnect_interval: i32,
    /// [`HEALTH_CHECK_INTERVAL`].
    pub health_check_interval: i32,
    /// [`WEBHOOK_RETRIES`].
    pub webhook_retries: i32,
    /// [`MESSAGE_TIMEOUT`].
    pub message_timeout: i32,
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            auto_reconnect: true,
            reconnect_interval: RECONNECT_INTERVAL.usual,
            health_check_interval: HEALTH_CHECK_INTERVAL.usual,
            webhook_retries: WEBHOOK_RETRIES.usual,
            message_timeout: MESSAGE_TIMEOUT.usual,
        }
    }
}

impl TenantSettings {
    /// [`RECONNECT_INTERVAL`].
    #[must_use]
    pub fn reconnect_interval(&self) -> Duration {
        seconds(self.reconnect_interval)
    }

    /// [`HEALTH_CHECK_INTERVAL`].
    #[must_use]
    pub fn health_check_interval(&self) -> Duration {
        seconds(self.health_check_interval)
    }

    /// [`WEBHOOK_RETRIES`].
    #[must_use]
    pub fn webhook_retries(&self) -> u32 {
        u32::try_from(self.webhook_retries).unwrap_or(0)
    }

    /// [`MESSAGE_TIMEOUT`].
    #[must_use]
    pub fn message_timeout(&self) -> Duration {
        seconds(self.message_timeout)
    }
}

/// Settings that are to change. `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettingsChange {
    /// See [`TenantSettings::auto_reconnect`].
    pub auto_reconnect: Option<bool>,
    /// [`RECONNECT_INTERVAL`].
    pub reconnect_interval: Option<i32>,
    /// [`HEALTH_CHECK_INTERVAL`].
    pub health_check_interval: Option<i32>,
    /// [`WEBHOOK_RETRIES`].
    pub webhook_retries: Option<i32>,
    /// [`MESSAGE_TIMEOUT`].
    pub message_timeout: Option<i32>,
}

impl SettingsChange {
    /// What becomes of these settings.
    #[must_use]
    pub fn apply(&self, to: TenantSettings) -> TenantSettings {
        TenantSettings {
            auto_reconnect: self.auto_reconnect.unwrap_or(to.auto_reconnect),
            reconnect_interval: self.reconnect_interval.unwrap_or(to.reconnect_interval),
            health_check_interval: self.health_check_interval.unwrap_or(to.health_check_interval),
            webhook_retries: self.webhook_retries.unwrap_or(to.webhook_retries),
            message_timeout: self.message_timeout.unwrap_or(to.message_timeout),
        }
    }
}

/// No setting of these is below zero.
fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_two_ends_and_says_which_it_is() {
        for setting in [
            RECONNECT_INTERVAL,
            HEALTH_CHECK_INTERVAL,
            WEBHOOK_RETRIES,
            MESSAGE_TIMEOUT,
        ] {
            let (least, most) = (i64::from(setting.least), i64::from(setting.most));
            assert_eq!(setting.check(least), Ok(setting.least));
            assert_eq!(setting.check(most), Ok(setting.most));
            for wrong in [least - 1, most + 1, i64::MIN, i64::MAX] {
                let error = setting.check(wrong).unwrap_err();
                assert!(error.to_string().starts_with(setting.name), "{error}");
            }
            assert!(setting.check(i64::from(setting.usual)).is_ok());
        }
    }

    #[test]
    fn what_is_not_given_stays() {
        let settings = TenantSettings {
            webhook_retries: 7,
            ..TenantSettings::default()
        };
        let change = SettingsChange {
            message_timeout: Some(5),
            ..SettingsChange::default()
        };
        let changed = change.apply(settings);
        assert_eq!(
            (changed.webhook_retries(), changed.message_timeout()),
            (7, Duration::from_secs(5))
        );
    }
}
