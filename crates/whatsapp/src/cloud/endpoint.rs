//! Where the Graph API is, which version of it is called, and with which token.

use std::fmt;
use std::time::Duration;

use domain::ids::PhoneNumberId;
use reqwest::{Client, ClientBuilder, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Origin, Url};

use crate::credentials::{InvalidCredential, SessionToken};
use crate::genfity::{Endpoint, InvalidEndpoint};

/// Some hosts of Meta's refuse calls of nobody.
const USER_AGENT: &str = concat!("kanal/", env!("CARGO_PKG_VERSION"));

/// Whose addresses of files may be given our token.
const MEDIA_HOSTS: [&str; 2] = ["graph.facebook.com", "lookaside.fbsbx.com"];

/// Where the Graph API is, and how long a call may take.
#[derive(Clone)]
pub struct GraphEndpoint {
    place: Endpoint,
    access_token: SecretString,
    /// Whose addresses of files may be given our token besides Meta's own.
    media_origins: Vec<Origin>,
}

impl GraphEndpoint {
    /// Where Meta is.
    pub const DEFAULT_BASE: &str = "https://graph.facebook.com";
    /// The version that is called where nobody says another.
    pub const DEFAULT_VERSION: &str = "v22.0";

    /// The Graph API under a base URL, with the token of whoever has none of their own. A base that ends in a version
    /// (`…/v23.0`) is called in that version, any other in [`Self::DEFAULT_VERSION`]. Connecting may take 5 seconds, a
    /// whole call 30.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] for anything but a plain http or https prefix, or for a token that fits into no header.
    pub fn new(base: Url, access_token: SecretString) -> Result<Self, InvalidEndpoint> {
        let token = access_token.expose_secret();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidEndpoint::Credential);
        }
        let origin = base.origin();
        let place = Endpoint::new(base.clone())?;
        let last = base
            .path_segments()
            .and_then(|mut parts| parts.rfind(|part| !part.is_empty()))
            .map(is_version);
        let place = if last == Some(true) {
            place
        } else {
            Endpoint::new(place.address(&[Self::DEFAULT_VERSION])?)?
        };
        Ok(Self {
            place,
            access_token,
            // The token goes to this server with every call.
            media_origins: vec![origin],
        })
    }

    /// Files may come from there, too.
    #[must_use]
    pub fn with_media_origin(mut self, place: &Url) -> Self {
        self.media_origins.push(place.origin());
        self
    }

    /// Sets how long a whole call may take. Keep it below the lease of whoever calls.
    #[must_use]
    pub fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.place = self.place.with_total_timeout(timeout);
        self
    }

    /// Sets how long connecting may take.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.place = self.place.with_connect_timeout(timeout);
        self
    }

    pub(crate) const fn access_token(&self) -> &SecretString {
        &self.access_token
    }

    pub(super) const fn total_timeout(&self) -> Duration {
        self.place.total_timeout()
    }

    pub(crate) fn address(&self, path: &[&str]) -> Result<Url, InvalidEndpoint> {
        self.place.address(path)
    }

    /// May a file be fetched from there with a token in hand? Meta's answers name the address, and an answer is data.
    pub(super) fn may_fetch(&self, url: &Url) -> bool {
        let bare = url.username().is_empty() && url.password().is_none();
        let metas = url.scheme() == "https"
            && url.port().is_none()
            && url.host_str().is_some_and(|host| MEDIA_HOSTS.contains(&host));
        bare && (metas || self.media_origins.contains(&url.origin()))
    }

    /// No proxy from the environment, no redirects and no repetition: the token goes to this server only, and a message
    /// goes out once.
    pub(super) fn client(&self) -> ClientBuilder {
        Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(self.place.connect_timeout())
            .pool_idle_timeout(Duration::from_secs(30))
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
    }
}

impl fmt::Debug for GraphEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphEndpoint")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// `v22.0`.
fn is_version(part: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    part.strip_prefix('v')
        .and_then(|version| version.split_once('.'))
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

/// A business number and the token it is used with. What an account's session token is with other providers: the number's
/// id, and behind a colon the account's own access token where it has one.
pub struct NumberCredentials {
    number: PhoneNumberId,
    access_token: Option<SecretString>,
}

impl NumberCredentials {
    /// A number, with its own access token or with the endpoint's.
    #[must_use]
    pub const fn new(number: PhoneNumberId, access_token: Option<SecretString>) -> Self {
        Self { number, access_token }
    }

    /// Reads what [`Self::to_session_token`] wrote. `None`: it is none.
    #[must_use]
    pub fn parse(token: &SessionToken) -> Option<Self> {
        let (number, access_token) = match token.expose().split_once(':') {
            Some((number, own)) if !own.is_empty() => (number, Some(SecretString::from(own))),
            Some(_) => return None,
            None => (token.expose(), None),
        };
        Some(Self {
            number: PhoneNumberId::parse(number).ok()?,
            access_token,
        })
    }

    /// As an account keeps it.
    ///
    /// # Errors
    /// [`InvalidCredential`] when the token has characters that fit into no header, or is too long.
    pub fn to_session_token(&self) -> Result<SessionToken, InvalidCredential> {
        match &self.access_token {
            Some(own) => SessionToken::new(format!("{}:{}", self.number.as_str(), own.expose_secret())),
            None => SessionToken::new(self.number.as_str()),
        }
    }

    /// The number's id.
    #[must_use]
    pub const fn number(&self) -> &PhoneNumberId {
        &self.number
    }

    /// The token its calls are made with.
    pub(super) fn bearer<'a>(&'a self, endpoint: &'a GraphEndpoint) -> &'a SecretString {
        self.access_token.as_ref().unwrap_or(&endpoint.access_token)
    }
}

impl fmt::Debug for NumberCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NumberCredentials")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(base: &str) -> GraphEndpoint {
        GraphEndpoint::new(base.parse().unwrap(), SecretString::from("EAAGrahasia")).unwrap()
    }

    #[test]
    fn the_version_is_the_bases_or_ours() {
        for (base, address) in [
            (
                GraphEndpoint::DEFAULT_BASE,
                "https://graph.facebook.com/v22.0/1/messages",
            ),
            (
                "https://graph.facebook.com/v23.0/",
                "https://graph.facebook.com/v23.0/1/messages",
            ),
            (
                "http://127.0.0.1:8090/graph",
                "http://127.0.0.1:8090/graph/v22.0/1/messages",
            ),
        ] {
            assert_eq!(
                endpoint(base).address(&["1", "messages"]).unwrap().as_str(),
                address
            );
        }
    }

    #[test]
    fn the_token_goes_to_metas_own_hosts_only() {
        let meta = endpoint(GraphEndpoint::DEFAULT_BASE);
        let local = endpoint("http://127.0.0.1:8090/graph")
            .with_media_origin(&"http://127.0.0.1:8091".parse().unwrap());
        for (url, of_meta, of_local) in [
            (
                "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1",
                true,
                true,
            ),
            ("https://graph.facebook.com/x", true, true),
            ("http://lookaside.fbsbx.com/x", false, false),
            ("https://lookaside.fbsbx.com:8443/x", false, false),
            ("https://lookaside.fbsbx.com.example.test/x", false, false),
            ("https://user@lookaside.fbsbx.com/x", false, false),
            ("https://evil.example/lookaside.fbsbx.com", false, false),
            ("http://127.0.0.1:8090/graph/media/1", false, true),
            ("http://127.0.0.1:8091/x", false, true),
            ("http://127.0.0.1:8092/x", false, false),
            ("file:///etc/passwd", false, false),
        ] {
            let url: Url = url.parse().unwrap();
            assert_eq!(
                (meta.may_fetch(&url), local.may_fetch(&url)),
                (of_meta, of_local),
                "{url}"
            );
        }
    }

    #[test]
    fn a_session_token_is_a_number_and_perhaps_its_own_token() {
        let read = |text: &str| NumberCredentials::parse(&SessionToken::new(text).unwrap());
        let common = endpoint(GraphEndpoint::DEFAULT_BASE);
        let bare = read("110987650000222").unwrap();
        assert_eq!(bare.bearer(&common).expose_secret(), "EAAGrahasia");
        let own = read("110987650000222:EAAGown:x").unwrap();
        assert_eq!(own.bearer(&common).expose_secret(), "EAAGown:x");
        assert_eq!(own.number().as_str(), "110987650000222");
        assert_eq!(
            own.to_session_token().unwrap().expose(),
            "110987650000222:EAAGown:x"
        );
        assert!(!format!("{own:?} {common:?}").contains("EAAG"));
        for wrong in ["wat_x", "110987650000222:", ":EAAG", "+62:EAAG"] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
