//! Pictures that people show of themselves.

use std::num::NonZeroU32;
use std::time::Duration;

use runtime::config::{Setting, SettingsReader};
use url::Url;

/// Whether, how often and where from they are fetched.
#[derive(Debug, Clone)]
pub struct PictureSettings {
    /// After how long a chat's picture is looked at again. `None`: never at all.
    pub every: Option<Duration>,
    /// Looks of this process in a minute.
    pub per_minute: NonZeroU32,
    /// Largest picture that is kept, in bytes.
    pub limit: u64,
    /// Where they may lie, besides on the server of the account's endpoint.
    pub hosts: PictureHosts,
}

/// Hosts by name, and by the domain they are in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PictureHosts(Vec<String>);

impl PictureHosts {
    /// May a picture lie here? Only behind TLS.
    #[must_use]
    pub fn allow(&self, url: &Url) -> bool {
        let Some(host) = url.host_str().filter(|_| url.scheme() == "https") else {
            return false;
        };
        self.0.iter().any(|known| match known.strip_prefix('*') {
            Some(domain) => host.len() > domain.len() && host.ends_with(domain),
            None => host == known,
        })
    }
}

impl Setting for PictureHosts {
    const EXPECTED: &'static str = "must be host names, or `*.domain`, separated by commas";

    fn from_text(text: &str) -> Option<Self> {
        let one = |name: &str| {
            let name = name.trim().to_ascii_lowercase();
            let bare = name.strip_prefix("*.").unwrap_or(&name);
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
            (!bare.is_empty() && !bare.starts_with('.') && bare.chars().all(is_name)).then_some(name)
        };
        text.split(',').map(one).collect::<Option<Vec<_>>>().map(Self)
    }
}

impl PictureSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let days: Option<u32> = reader.with_default(
            "PROFILE_PICTURE_DAYS",
            "7",
            "Days after which a person's profile picture is looked at again, when they write; 0: never at all",
        );
        let per_minute: Option<u32> = reader.with_default(
            "PROFILE_PICTURES_PER_MINUTE",
            "60",
            "Profile pictures that one process asks providers for in a minute",
        );
        let limit: Option<u64> = reader.with_default(
            "PROFILE_PICTURE_LIMIT_BYTES",
            "2097152",
            "Largest profile picture that is kept",
        );
        let hosts = reader.with_default(
            "PROFILE_PICTURE_HOSTS",
            "*.whatsapp.net",
            "Hosts that profile pictures are fetched from over https, besides the endpoint's own: names, or `*.domain`, separated by commas",
        );
        let per_minute = NonZeroU32::new(per_minute?);
        if per_minute.is_none() || limit == Some(0) {
            reader.problem(
                "PROFILE_PICTURES_PER_MINUTE, PROFILE_PICTURE_LIMIT_BYTES",
                "must each be at least 1",
            );
        }
        Some(Self {
            every: Some(days?)
                .filter(|days| *days > 0)
                .map(|days| Duration::from_secs(u64::from(days) * 24 * 60 * 60)),
            per_minute: per_minute?,
            limit: limit?,
            hosts: hosts?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_lies_on_a_named_host_behind_tls() {
        let hosts = PictureHosts::from_text("*.whatsapp.net, cdn.example").unwrap();
        let allowed = |url: &str| hosts.allow(&Url::parse(url).unwrap());
        assert!(allowed("https://pps.whatsapp.net/v/a.jpg?oh=1") && allowed("https://cdn.example/a"));
        for foreign in [
            "http://pps.whatsapp.net/a.jpg",
            "https://whatsapp.net/a.jpg",
            "https://evilwhatsapp.net/a.jpg",
            "https://pps.whatsapp.net.evil.example/a.jpg",
            "https://a.cdn.example/a",
            "https://169.254.169.254/a",
            "file:///etc/passwd",
        ] {
            assert!(!allowed(foreign), "{foreign}");
        }
        for wrong in ["", "*", "*.", "a b", "https://x.example", "a,,b"] {
            assert_eq!(PictureHosts::from_text(wrong), None, "{wrong}");
        }
    }
}
