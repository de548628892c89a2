//! The dashboard's API.

use runtime::config::SettingsReader;

/// How people are served.
#[derive(Debug, Clone, Copy)]
pub struct DashboardSettings {
    /// Cookies only travel over TLS.
    pub secure_cookies: bool,
}

impl DashboardSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let secure_cookies = reader.with_default(
            "COOKIE_SECURE",
            "true",
            "The dashboard's cookie only travels over HTTPS; `false` for a machine of one's own",
        );
        Some(Self {
            secure_cookies: secure_cookies?,
        })
    }
}
