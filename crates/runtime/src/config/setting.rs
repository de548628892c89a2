//! The types that a setting can be of.

use std::str::FromStr;

use secrecy::SecretString;

/// A type that can be a setting.
pub trait Setting: Sized {
    /// What a right value looks like: the text of the mistake. Never holds the value.
    const EXPECTED: &'static str;

    /// Reads the trimmed, non-empty text.
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! number_setting {
    ($($number:ty),*) => {$(
        impl Setting for $number {
            const EXPECTED: &'static str = "must be a whole number in range";

            fn from_text(text: &str) -> Option<Self> {
                <$number>::from_str(text).ok()
            }
        }
    )*};
}

number_setting!(u16, u32, u64, usize);

impl Setting for String {
    const EXPECTED: &'static str = "must be a text";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Setting for SecretString {
    const EXPECTED: &'static str = "must be a secret text";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self::from(text))
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "must be true or false";

    fn from_text(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Some(true),
            "false" | "0" | "off" | "no" => Some(false),
            _ => None,
        }
    }
}

impl Setting for std::net::IpAddr {
    const EXPECTED: &'static str = "must be an IP address";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// An `http` or `https` base URL without a query; kept without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(url::Url);

impl BaseUrl {
    /// The URL without a trailing slash, ready to have a path that begins with `/` put behind it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The parsed URL.
    #[must_use]
    pub const fn url(&self) -> &url::Url {
        &self.0
    }
}

impl Setting for BaseUrl {
    const EXPECTED: &'static str = "must be an http:// or https:// URL without user, query and fragment";

    fn from_text(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        plain.then_some(Self(url))
    }
}

/// A duration in whole milliseconds; the variable's name ends in `_MS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Milliseconds(pub std::time::Duration);

impl Setting for Milliseconds {
    const EXPECTED: &'static str = "must be a whole number of milliseconds between 1 and 86400000";

    fn from_text(text: &str) -> Option<Self> {
        let ms = u64::from_str(text)
            .ok()
            .filter(|ms| (1..=86_400_000).contains(ms))?;
        Some(Self(std::time::Duration::from_millis(ms)))
    }
}
