//! The two languages of the pages. Both texts stand side by side where they are used, so neither is forgotten.

use actix_web::HttpRequest;
use actix_web::http::header::ACCEPT_LANGUAGE;

/// In which language somebody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Bahasa Indonesia.
    #[default]
    Id,
    /// English.
    En,
}

/// Remembers the choice.
pub(crate) const COOKIE: &str = "kanal_lang";

impl Language {
    /// Every language, as the switch offers them.
    pub const ALL: [Self; 2] = [Self::Id, Self::En];

    /// What was chosen, else what the browser prefers, else Indonesian.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let chosen = request.cookie(COOKIE);
        if let Some(chosen) = chosen.and_then(|cookie| Self::of_code(cookie.value())) {
            return chosen;
        }
        let accepted = request.headers().get(ACCEPT_LANGUAGE);
        accepted
            .and_then(|value| value.to_str().ok())
            .and_then(Self::preferred)
            .unwrap_or_default()
    }

    /// The language of a code such as `en`.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }

    /// Its code, for `lang` attributes.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::En => "en",
        }
    }

    /// Its name, in itself.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "Bahasa Indonesia",
            Self::En => "English",
        }
    }

    /// Is this the other one? For templates, which compare badly.
    #[must_use]
    pub fn is(self, other: &Self) -> bool {
        self == *other
    }

    /// The text in this language.
    #[must_use]
    pub const fn t<'a>(self, en: &'a str, id: &'a str) -> &'a str {
        match self {
            Self::En => en,
            Self::Id => id,
        }
    }

    /// The best of a header like `en-GB,en;q=0.9,id;q=0.8` that we have. `in` is the old code of Indonesian; who reads
    /// only languages that we do not have reads English rather than Indonesian.
    fn preferred(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        let mut named = false;
        for entry in header.split(',').take(20) {
            let mut parts = entry.split(';');
            let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
            let weight = parts
                .find_map(|part| part.trim().strip_prefix("q="))
                .map_or(Some(1.0), |weight| weight.parse().ok())
                .unwrap_or(0.0);
            let is_tag = !tag.is_empty()
                && tag
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            // Neither what is no language nor `*`, which is any.
            if !is_tag || weight <= 0.0 {
                continue;
            }
            named = true;
            let language = match tag.split('-').next() {
                Some("id" | "in" | "ms" | "jv" | "su") => Self::Id,
                Some("en") => Self::En,
                _ => continue,
            };
            if best.is_none_or(|(known, _)| weight > known) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
            .or_else(|| named.then_some(Self::En))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_is_asked_for_the_language_it_likes_best() {
        for (header, expected) in [
            ("en-GB,en;q=0.9,id;q=0.8", Some(Language::En)),
            ("id-ID,id;q=0.9,en;q=0.8", Some(Language::Id)),
            ("en;q=0.3, in;q=0.7", Some(Language::Id)),
            ("jv", Some(Language::Id)),
            ("de-DE,de;q=0.9", Some(Language::En)),
            ("de, id;q=0.1", Some(Language::Id)),
            ("en;q=0, id;q=0", None),
            ("*", None),
            ("", None),
            (";;,q=,;q=x", None),
        ] {
            assert_eq!(Language::preferred(header), expected, "{header:?}");
        }
    }
}
