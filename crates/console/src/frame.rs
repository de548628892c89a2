//! What stands around every page: navigation, who is signed in, language and theme, and what was just done.

use crate::{Language, Look, Theme, assets};

/// The skeleton of one page, for the template's field `frame`.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// The reader's language.
    pub l: Language,
    /// Light or dark.
    pub theme: Theme,
    /// What the console calls itself.
    pub app: &'static str,
    /// What stands before the addresses of assets and the switch; empty or a path without a slash at its end.
    pub base: &'static str,
    /// Where the name of the console leads.
    pub home: &'static str,
    /// What every form that changes something sends as `csrf`.
    pub csrf: String,
    /// Who is signed in.
    pub who: Option<Person>,
    /// Whose page it is.
    pub tenant: Option<TenantHead>,
    /// Where one can go.
    pub nav: Vec<NavSection>,
    /// Where an id can be looked up; empty for nowhere.
    pub find: &'static str,
    /// What was just done.
    pub said: Option<Notice>,
    /// The page's own path, to come back to after a switch.
    pub here: String,
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct Person {
    /// What to call them.
    pub name: String,
    /// What they may do, in their language.
    pub role: &'static str,
    /// Where they change their own things.
    pub account: Option<&'static str>,
    /// Where the form that ends the session is sent.
    pub log_out: Option<&'static str>,
}

/// Whose page it is.
#[derive(Debug, Clone)]
pub struct TenantHead {
    /// Its id.
    pub id: String,
    /// What people call it; its id where nobody gave it a name.
    pub name: String,
    /// Nothing is sent for it.
    pub suspended: bool,
}

/// Some entries of the navigation that belong together.
#[derive(Debug, Clone)]
pub struct NavSection {
    /// What they are about, where that has to be said.
    pub heading: Option<String>,
    /// The entries.
    pub items: Vec<NavItem>,
}

/// An entry of the navigation.
#[derive(Debug, Clone)]
pub struct NavItem {
    /// Where it leads.
    pub href: String,
    /// What it says.
    pub label: String,
    /// The page belongs to it.
    pub active: bool,
}

/// How something is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It went well.
    Ok,
    /// Mind something.
    Warn,
    /// It went wrong.
    Bad,
}

impl Tone {
    /// The class of a notice or a badge.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// What is said on top of a page.
#[derive(Debug, Clone)]
pub struct Notice {
    /// How it is meant.
    pub tone: Tone,
    /// The words.
    pub text: String,
}

impl Frame {
    /// A skeleton without navigation, in the reader's language.
    #[must_use]
    pub fn plain(look: Look, app: &'static str, base: &'static str, home: &'static str) -> Self {
        Self {
            l: look.l,
            theme: look.theme,
            app,
            base,
            home,
            ..Self::default()
        }
    }

    /// The same page with something said on top.
    #[must_use]
    pub fn saying(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.said = Some(Notice {
            tone,
            text: text.into(),
        });
        self
    }

    /// The address of an asset.
    #[must_use]
    pub fn asset(&self, name: &str) -> String {
        assets::url(self.base, name)
    }

    /// Every language, for the switch.
    #[must_use]
    pub const fn languages(&self) -> [Language; 2] {
        Language::ALL
    }

    /// Every theme, for the switch.
    #[must_use]
    pub const fn themes(&self) -> [Theme; 3] {
        Theme::ALL
    }
}
