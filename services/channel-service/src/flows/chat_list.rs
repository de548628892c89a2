//! A tenant's list of chats as people look through it: page by page, filtered, searched.

use database::{Database, DatabaseError};
use domain::text::Text;
use tenant_isolation::{TenantScope, TenantTransaction};

use crate::store::chat_list::{self, Among, ListedRow, Place};

/// Chats of one page.
pub const PAGE: i64 = 30;
/// A number has at least so many digits; what is shorter is looked for as a word.
const SHORTEST_NUMBER: usize = 4;

/// What somebody looks for: their words, which no log and no address may show. `Debug` shows their length only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought(Text);

impl Sought {
    /// Longest search, in characters.
    pub const MAX_CHARS: usize = 100;

    /// Reads what was typed. A number may be written as at home (`0812…`), with the country's code (`62812…`, `+62 812-…`) or
    /// without both (`812…`).
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        let typed = Text::label(typed, Self::MAX_CHARS)?;
        let is_mark = |c: char| c.is_whitespace() || c.is_ascii_punctuation();
        if typed.as_str().chars().all(is_mark) {
            return None;
        }
        Some(Self(typed))
    }

    /// As it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// What is looked for in the place of it.
    fn words(&self) -> String {
        let typed = self.as_str();
        let digits: String = typed.chars().filter(char::is_ascii_digit).collect();
        let is_number = digits.len() >= SHORTEST_NUMBER
            && typed
                .chars()
                .all(|c| c.is_ascii_digit() || c.is_whitespace() || "+-().".contains(c));
        if !is_number {
            typed.to_owned()
        } else if let Some(national) = digits.strip_prefix('0') {
            format!("62{national}")
        } else if digits.starts_with('8') && !typed.starts_with('+') {
            format!("62{digits}")
        } else {
            digits
        }
    }
}

/// A page of the list.
#[derive(Default)]
pub struct Page {
    /// The chats, newest first.
    pub chats: Vec<ListedRow>,
    /// Where the next page begins, if there is one.
    pub next: Option<Place>,
    /// Another one than before, when something about the newest chats is another.
    pub mark: String,
}

/// A page of the tenant's chats after a place.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    db: &Database,
    scope: &TenantScope,
    sought: Option<&Sought>,
    among: Among,
    after: Place,
) -> Result<Page, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "page of chats").await?;
    // Before the rows: what changes between the two is then seen as a change.
    let mark = chat_list::mark(&mut tx, PAGE).await?;
    let mut chats = match sought {
        Some(sought) => chat_list::find(&mut tx, &sought.words(), among, after, PAGE + 1).await?,
        None => chat_list::page(&mut tx, among, after, PAGE + 1).await?,
    };
    tx.commit().await?;
    let whole = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let is_more = chats.len() > whole;
    chats.truncate(whole);
    let last = chats.last().filter(|_| is_more);
    let next = last.map(|row| Place {
        at: row.chat.last_message_at,
        id: row.chat.id,
    });
    Ok(Page { chats, next, mark })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_however_it_is_written() {
        for typed in [
            "0812 9000-0011",
            "+62 812-9000-0011",
            "6281290000011",
            "812.9000.0011",
            "(0812) 90000011",
        ] {
            assert_eq!(Sought::parse(typed).unwrap().words(), "6281290000011", "{typed}");
        }
        for (typed, words) in [
            ("08129", "628129"),
            ("+81 90", "8190"),
            ("4915", "4915"),
            ("RT 05", "RT 05"),
            ("007", "007"),
            ("  Budi  Santoso ", "Budi  Santoso"),
        ] {
            assert_eq!(Sought::parse(typed).unwrap().words(), words, "{typed}");
        }
    }

    #[test]
    fn nothing_is_looked_for_where_nothing_is_said() {
        for typed in ["", "  ", "-", "%_", " . "] {
            assert_eq!(Sought::parse(typed), None, "{typed:?}");
        }
        let long = "é".repeat(Sought::MAX_CHARS * 3);
        assert_eq!(
            Sought::parse(&long).unwrap().as_str().chars().count(),
            Sought::MAX_CHARS
        );
        assert!(!format!("{:?}", Sought::parse("rahasia")).contains("rahasia"));
    }
}
