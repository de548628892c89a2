//! WhatsApp API servers: which kinds there are and how one is named.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// A kind of WhatsApp API.
    Provider, "provider" {
        /// The wuzapi family, reached through wa-support-gateway.
        Genfity = "genfity",
        /// go-whatsapp-web-multidevice.
        Gowa = "gowa",
        /// Meta's Graph API.
        Cloud = "cloud",
    }
}

/// The name under which an endpoint is configured (`Primary`). Its URL and credentials live in the environment only.
///
/// 1 to 64 ASCII letters, digits, `_` or `-`, because it is also a part of variable names and metric labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointName(String);

/// A text that cannot name an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an endpoint name has 1 to 64 letters, digits, _ or -")]
pub struct InvalidEndpointName;

impl EndpointName {
    /// Longest accepted name, in characters.
    pub const MAX_LENGTH: usize = 64;

    /// Reads a name.
    ///
    /// # Errors
    /// [`InvalidEndpointName`] when empty, too long or with another character.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidEndpointName> {
        let text = text.into();
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        {
            Ok(Self(text))
        } else {
            Err(InvalidEndpointName)
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EndpointName {
    type Err = InvalidEndpointName;

    fn from_str(text: &str) -> Result<Self, InvalidEndpointName> {
        Self::parse(text)
    }
}

impl TryFrom<String> for EndpointName {
    type Error = InvalidEndpointName;

    fn try_from(text: String) -> Result<Self, InvalidEndpointName> {
        Self::parse(text)
    }
}

impl From<EndpointName> for String {
    fn from(name: EndpointName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_keep_their_names() {
        for &provider in Provider::ALL {
            assert_eq!(provider.as_str().parse(), Ok(provider));
            assert_eq!(serde_json::to_value(provider).unwrap(), provider.as_str());
        }
        assert!("Genfity".parse::<Provider>().is_err());
    }

    #[test]
    fn endpoint_names_fit_into_variables_and_labels() {
        assert!(EndpointName::parse("Primary").is_ok());
        for wrong in ["", "a b", "a.b", "é", &"x".repeat(65)] {
            assert_eq!(EndpointName::parse(wrong), Err(InvalidEndpointName));
        }
    }
}
