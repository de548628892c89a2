//! The URL of a route: what may be in it, and how much of it may be shown.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::outbound_url::{OutboundPolicy, OutboundRefusal};

/// Stands for what is not shown.
pub const HIDDEN: &str = "***";
/// Longest URL, in bytes.
const LONGEST: usize = 2_048;

/// A web address with whatever secrets it carries: user and password become Basic auth, the query goes along.
#[derive(Clone)]
pub struct TargetUrl(Url);

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TargetUrl").field(&self.shown()).finish()
    }
}

/// Why a text is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// It cannot be read.
    #[error("must be a whole URL, such as https://gowa.example/chatwoot/webhook")]
    Unreadable,
    /// Too long.
    #[error("must have at most 2048 characters")]
    TooLong,
    /// It holds our own sign for what is not shown.
    #[error("has *** where a secret stands; write the secret, or send back exactly what is shown to keep it")]
    Hidden,
    /// It may not be dialled.
    #[error(transparent)]
    NotDialled(OutboundRefusal),
}

impl TargetUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`InvalidTarget`].
    pub fn parse(text: &str) -> Result<Self, InvalidTarget> {
        if text.len() > LONGEST {
            return Err(InvalidTarget::TooLong);
        }
        let mut url = Url::parse(text.trim()).map_err(|_| InvalidTarget::Unreadable)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidTarget::NotDialled(OutboundRefusal::Scheme));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(InvalidTarget::Unreadable);
        }
        // Stays with whoever asks; nobody is ever sent it.
        url.set_fragment(None);
        let is_hidden = |pair: &str| pair.split_once('=').map_or(pair, |(_, value)| value) == HIDDEN;
        if url.username() == HIDDEN
            || url.password() == Some(HIDDEN)
            || url.query().is_some_and(|query| query.split('&').any(is_hidden))
        {
            return Err(InvalidTarget::Hidden);
        }
        Ok(Self(url))
    }

    /// The same with these credentials in place of whatever it carries.
    ///
    /// # Errors
    /// [`InvalidTarget::Unreadable`] where the URL takes none.
    pub fn with_credentials(mut self, user: &str, password: &SecretString) -> Result<Self, InvalidTarget> {
        let set = self.0.set_username(user);
        set.and_then(|()| self.0.set_password(Some(password.expose_secret())))
            .map_err(|()| InvalidTarget::Unreadable)?;
        Ok(self)
    }

    /// Checks what can be checked without asking a name server.
    ///
    /// # Errors
    /// [`InvalidTarget::NotDialled`].
    pub fn check(&self, policy: &OutboundPolicy) -> Result<(), InvalidTarget> {
        policy.check_link(&self.bare()).map_err(InvalidTarget::NotDialled)
    }

    /// As [`Self::check`], and by what its name leads to now.
    ///
    /// # Errors
    /// [`InvalidTarget::NotDialled`].
    pub async fn check_name(&self, policy: &OutboundPolicy) -> Result<(), InvalidTarget> {
        policy
            .check_for_others(&self.bare())
            .await
            .map_err(InvalidTarget::NotDialled)
    }

    /// What is dialled: without user and password.
    #[must_use]
    pub fn bare(&self) -> Url {
        let mut bare = self.0.clone();
        // A web address takes both.
        let _taken = bare.set_username("").and_then(|()| bare.set_password(None));
        bare
    }

    /// All of it, to be sealed.
    #[must_use]
    pub fn whole(&self) -> SecretString {
        SecretString::from(self.0.as_str())
    }

    /// What people may see: neither password nor any value of the query. A user without a password is one.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.0)
    }
}

/// An address that somebody else has written down, as far as it may be shown.
#[must_use]
pub fn shown_of(text: &str) -> String {
    match Url::parse(text.trim()) {
        Ok(url) if url.has_host() => shown(&url),
        _ => "(no URL)".to_owned(),
    }
}

fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let user = match (url.username(), url.password()) {
        ("", None) => String::new(),
        (_, None) => format!("{HIDDEN}@"),
        (user, Some(_)) => format!("{user}:{HIDDEN}@"),
    };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    };
    let query = url.query().filter(|query| !query.is_empty()).map(|query| {
        let pairs: Vec<String> = query.split('&').map(hidden).collect();
        format!("?{}", pairs.join("&"))
    });
    format!(
        "{}://{user}{host}{port}{}{}",
        url.scheme(),
        url.path(),
        query.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_secret() {
        for (whole, expected) in [
            ("https://gowa.example/hook", "https://gowa.example/hook"),
            (
                "https://u:p%40ss@gowa.example:8443/hook?secret=abc&x=1#f",
                "https://u:***@gowa.example:8443/hook?secret=***&x=***",
            ),
            ("https://token@gowa.example/?abc", "https://***@gowa.example/?***"),
            ("http://[2001:db8::1]:8080/", "http://[2001:db8::1]:8080/"),
        ] {
            let target = TargetUrl::parse(whole).unwrap();
            assert_eq!(target.shown(), expected);
            let debug = format!("{target:?}");
            assert!(!debug.contains("abc") && !debug.contains("p%40ss"), "{debug}");
        }
        assert_eq!(shown_of("nonsense"), "(no URL)");
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        for wrong in [
            "not a url",
            "",
            "file:///etc/passwd",
            "ftp://h/x",
            "javascript:alert(1)",
            "/webhook",
        ] {
            assert!(TargetUrl::parse(wrong).is_err(), "{wrong}");
        }
        for hidden in [
            "https://u:***@h/x",
            "https://h/x?secret=***",
            "https://token@h/x",
            "https://h/x?a=b&c",
            "https://h/?abc",
            "https://u:p@h/?a=b=c",
        ] {
            let hidden = shown_of(hidden);
            let hidden = hidden.as_str();
            assert_eq!(
                TargetUrl::parse(hidden).unwrap_err(),
                InvalidTarget::Hidden,
                "{hidden}"
            );
        }
        let closed = OutboundPolicy::default();
        for private in [
            "http://u:p@127.0.0.1/x",
            "http://[::1]/",
            "http://169.254.169.254/",
        ] {
            let refused = TargetUrl::parse(private).unwrap().check(&closed);
            assert_eq!(
                refused,
                Err(InvalidTarget::NotDialled(OutboundRefusal::Private)),
                "{private}"
            );
        }
    }

    #[test]
    fn credentials_take_the_place_of_those_in_the_url() {
        let url = TargetUrl::parse("https://old:old@h.example/x?a=b").unwrap();
        let url = url.with_credentials("new", &SecretString::from("p:@/")).unwrap();
        assert_eq!(
            url.whole().expose_secret(),
            "https://new:p%3A%40%2F@h.example/x?a=b"
        );
        assert_eq!(url.bare().as_str(), "https://h.example/x?a=b");
    }
}
