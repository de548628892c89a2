//! What the outside sees of the service besides its routes.

use std::str::FromStr;

use runtime::config::SettingsReader;

/// Pages and browsers.
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// Are the pages served that describe every route?
    pub docs: bool,
    /// Web pages that may call `/v1` and `/wa` from a browser.
    pub origins: Origins,
}

impl HttpSettings {
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let docs = reader.with_default(
            "API_DOCS",
            "false",
            "Serve `/api-docs/` and `/api-docs.json`, which describe every route",
        );
        let origins: Option<Origins> = reader.optional_as(
            "CORS_ALLOWED_ORIGINS",
            "Web pages that may call `/v1` and `/wa` from a browser; nobody without it",
        );
        Some(Self {
            docs: docs?,
            origins: origins.unwrap_or_default(),
        })
    }
}

/// Origins of web pages, as browsers write them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// No page.
    #[default]
    None,
    /// Every page, as the original has it (contract §5).
    All,
    /// These pages.
    Listed(Vec<String>),
}

/// A text that is no list of origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", Origins::EXPECTED)]
pub struct InvalidOrigins;

impl Origins {
    /// What a right value looks like.
    pub const EXPECTED: &str =
        "must be `*`, or origins such as https://panel.example.id, more of them behind `,`";

    /// What a page of this origin is told; `None` when it may not call.
    #[must_use]
    pub fn allowed<'a>(&self, origin: &'a str) -> Option<&'a str> {
        match self {
            Self::None => None,
            Self::All => Some("*"),
            Self::Listed(origins) => origins.iter().any(|known| known == origin).then_some(origin),
        }
    }
}

impl FromStr for Origins {
    type Err = InvalidOrigins;

    fn from_str(text: &str) -> Result<Self, InvalidOrigins> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let origins: Vec<String> = parts
            .map(|part| {
                let url = url::Url::parse(part).map_err(|_| InvalidOrigins)?;
                // An origin has no path; what is written with one would never be met.
                let origin = url.origin();
                let same = origin.is_tuple() && origin.ascii_serialization() == part;
                same.then(|| part.to_owned()).ok_or(InvalidOrigins)
            })
            .collect::<Result<_, _>>()?;
        if origins.is_empty() {
            return Err(InvalidOrigins);
        }
        Ok(Self::Listed(origins))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_allowed() {
        let listed: Origins = " https://panel.example.id, http://localhost:5173 "
            .parse()
            .unwrap();
        assert_eq!(
            listed.allowed("https://panel.example.id"),
            Some("https://panel.example.id")
        );
        for stranger in [
            "https://panel.example.id.evil.id",
            "http://panel.example.id",
            "null",
            "*",
        ] {
            assert_eq!(listed.allowed(stranger), None, "{stranger}");
        }
        assert_eq!(Origins::None.allowed("https://panel.example.id"), None);
        assert_eq!(
            "*".parse::<Origins>().unwrap().allowed("https://any.id"),
            Some("*")
        );
        for wrong in [
            "",
            ",",
            "panel.example.id",
            "https://panel.example.id/",
            "null",
            "https://a.id,*",
        ] {
            assert!(wrong.parse::<Origins>().is_err(), "{wrong}");
        }
    }
}
