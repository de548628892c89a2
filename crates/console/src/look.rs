//! How somebody wants the pages to look: which language, light or dark. Kept in cookies, switched by a form.

use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::cookie::time::Duration as CookieTime;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::LOCATION;
use actix_web::{FromRequest, HttpRequest, HttpResponse, dev};

use crate::Language;
use crate::language::COOKIE as LANGUAGE_COOKIE;

const THEME_COOKIE: &str = "kanal_theme";
/// A choice is remembered for a year.
const REMEMBERED: CookieTime = CookieTime::days(365);
/// Longest path that somebody is sent back to.
const LONGEST_PATH: usize = 1_000;

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the device is set.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// Every theme, as the switch offers them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// Its word, in the cookie and on the page.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn name(self, l: &Language) -> &'static str {
        match self {
            Self::Auto => l.t("As the device", "Ikut perangkat"),
            Self::Light => l.t("Light", "Terang"),
            Self::Dark => l.t("Dark", "Gelap"),
        }
    }

    /// Is this the other one? For templates, which compare badly.
    #[must_use]
    pub fn is(self, other: &Self) -> bool {
        self == *other
    }

    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.word() == word)
    }
}

/// Language and theme of whoever asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// The language.
    pub l: Language,
    /// The theme.
    pub theme: Theme,
}

impl Look {
    /// What the request says of it.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let theme = request.cookie(THEME_COOKIE);
        Self {
            l: Language::of(request),
            theme: theme
                .and_then(|cookie| Theme::of_word(cookie.value()))
                .unwrap_or_default(),
        }
    }
}

impl FromRequest for Look {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _payload: &mut dev::Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

/// Takes a choice of the switch (`language`, `theme`) and sends the browser back to `back`, or to `home` where that is
/// no path of ours. Changes nothing but how pages look, so it asks for no proof of who wants it.
#[must_use]
pub fn switch(language: Option<&str>, theme: Option<&str>, back: Option<&str>, home: &str) -> HttpResponse {
    let back = back.filter(|path| own_path(path)).unwrap_or(home);
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((LOCATION, back.to_owned()));
    if let Some(language) = language.and_then(Language::of_code) {
        answer.cookie(remember(LANGUAGE_COOKIE, language.code()));
    }
    if let Some(theme) = theme.and_then(Theme::of_word) {
        answer.cookie(remember(THEME_COOKIE, theme.word()));
    }
    answer.finish()
}

fn remember(name: &'static str, value: &'static str) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(REMEMBERED)
        .finish()
}

/// Is this a path of this host, to which somebody may be sent? `//host` and `/\host` are other hosts to browsers, and
/// they pass over tabs and line ends.
#[must_use]
pub fn own_path(path: &str) -> bool {
    let mut bytes = path.bytes();
    path.len() <= LONGEST_PATH
        && bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_our_own_are_gone_to() {
        for path in ["/", "/dashboard", "/dashboard/t/desa-1/chats?after=3#end"] {
            assert!(own_path(path), "{path}");
        }
        for path in [
            "",
            "dashboard",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/a\r\nset-cookie: b",
            "javascript:alert(1)",
            "/é",
        ] {
            assert!(!own_path(path), "{path:?}");
        }
        assert!(!own_path(&format!("/{}", "a".repeat(LONGEST_PATH))));
    }
}
