//! The dashboard's API.

use runtime::config::SettingsReader;

/// How people are served.
#[derive(Debug, Clone, Copy)]
pub struct DashboardSettings {
    /// Cookies only travel over TLS.
    pub secure_cookies: bool,
    /// Serve the pages that describe the API.
    pub docs: bool,
}

impl DashboardSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let secure_cookies = reader.with_default(
            "COOKIE_SECURE",
            "true",
            "The dashboard's cookie only travels over HTTPS; `false` for a machine of one's own",
        );
        let docs = reader.with_default(
            "API_DOCS",
            "false",
            "Serve `/api-docs/` and `/api-docs.json`, which describe every route",
        );
        Some(Self {
            secure_cookies: secure_cookies?,
            docs: docs?,
        })
    }
}
