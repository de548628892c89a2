//! What the services ask of a provider when they want to show a person: the picture that the person shows of themselves.
//!
//! Nothing depends on it. Where it cannot be had, the person is shown without.

use domain::address::ChatAddress;
use futures_util::future::BoxFuture;
use url::Url;

use crate::credentials::SessionToken;
use crate::genfity::CallError;

/// One provider's way of finding pictures.
pub trait FindPicture: Send + Sync {
    /// Asks for the picture that this session sees of a person. `None`: there is none, or it is not shown to this session.
    fn find<'a>(
        &'a self,
        credentials: &'a SessionToken,
        of: &'a ChatAddress,
    ) -> BoxFuture<'a, Result<Option<Picture>, PictureError>>;

    /// Is this an address of the provider's own server?
    fn is_own(&self, url: &Url) -> bool;
}

/// A person's picture, as the provider names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// WhatsApp's id of it: another picture has another one. `None`: it was not told.
    pub id: Option<String>,
    /// Where it lies, for some hours. Somebody else's word: to be checked before it is dialled.
    pub url: String,
}

impl std::fmt::Debug for Picture {
    /// Whoever has the address sees the person.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picture").finish_non_exhaustive()
    }
}

/// Why nobody knows whether there is a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the picture cannot be asked for: {reason}")]
pub struct PictureError {
    /// Why, as a stable code.
    pub reason: &'static str,
}

impl PictureError {
    pub(crate) const NOT_SENDABLE: Self = Self {
        reason: "not_sendable",
    };
}

/// What a picture's id and address may be at most, in bytes.
const LONGEST: usize = 4096;

/// What the servers answer with: both give whatsmeow's words on.
#[derive(serde::Deserialize)]
pub(crate) struct Told {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    url: Option<String>,
}

impl Told {
    /// The picture, if it is one. An answer without an address tells of none.
    pub(crate) fn picture(self) -> Option<Picture> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty() && text.len() <= LONGEST);
        Some(Picture {
            id: filled(self.id).filter(|id| !id.contains('\0')),
            url: filled(self.url)?,
        })
    }
}

/// Servers say with an error that there is no picture, or that a person hides it; those are answers.
pub(crate) fn not_found(error: &CallError) -> Result<Option<Picture>, PictureError> {
    let reason = match error {
        CallError::Refused { said, .. } => {
            let said = said.as_str().to_lowercase();
            let is_answer = ["no avatar", "profile picture"]
                .iter()
                .any(|words| said.contains(words));
            if is_answer {
                return Ok(None);
            }
            "refused"
        }
        CallError::Unreachable { .. } => "unreachable",
        CallError::NoAnswer { .. } => "no_answer",
        CallError::Unreadable { .. } => "unreadable_answer",
        CallError::Credential { .. } => PictureError::NOT_SENDABLE.reason,
    };
    Err(PictureError { reason })
}

/// Does the address lead to the server whose base this is?
pub(crate) fn is_at(base: &Url, url: &Url) -> bool {
    base.scheme() == url.scheme()
        && base.host_str().is_some()
        && base.host_str() == url.host_str()
        && base.port_or_known_default() == url.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_servers_own_by_scheme_host_and_port() {
        let base = Url::parse("http://gowa.example:3000/base").unwrap();
        let own = |url: &str| is_at(&base, &Url::parse(url).unwrap());
        assert!(own("http://gowa.example:3000/statics/a.jpg"));
        for other in [
            "https://gowa.example:3000/a.jpg",
            "http://gowa.example/a.jpg",
            "http://gowa.example:3000@evil.example/a.jpg",
            "http://evil.example:3000/a.jpg",
            "data:image/png;base64,AAAA",
        ] {
            assert!(!own(other), "{other}");
        }
    }

    #[test]
    fn an_answer_without_an_address_tells_of_no_picture() {
        let told = |json: &str| serde_json::from_str::<Told>(json).unwrap().picture();
        for none in [
            "{}",
            r#"{"id":"1"}"#,
            r#"{"url":""}"#,
            r#"{"url":null,"id":null}"#,
        ] {
            assert_eq!(told(none), None, "{none}");
        }
        let picture = told(r#"{"url":"https://pps.whatsapp.net/a.jpg","id":"","type":"image"}"#).unwrap();
        assert_eq!(
            (picture.id, picture.url.as_str()),
            (None, "https://pps.whatsapp.net/a.jpg")
        );
    }
}
