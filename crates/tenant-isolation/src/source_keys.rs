//! Other services that own customers: a key proves which source speaks, and a source works for its own customers only
//! (wa-support-gateway contract 3.1).

use std::fmt;
use std::str::FromStr;

use domain::ids::TenantId;

use crate::caller::{KeyHash, place_of};
use crate::scope::TenantScope;

/// A service whose key was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceCaller {
    source: Option<String>,
}

impl SourceCaller {
    /// Whose customers it may work for; `None` for a global key, which may work for everybody's.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// What operators call it, for the audit log.
    #[must_use]
    pub fn name(&self) -> &str {
        self.source.as_deref().unwrap_or("global")
    }

    /// May it work for customers of this source?
    #[must_use]
    pub fn may_work_for(&self, source: &str) -> bool {
        self.source.as_deref().is_none_or(|own| own == source)
    }

    /// The scope of the customer it names. Whose customer that is stands in the customer's own row: ask
    /// [`Self::may_work_for`] in the transaction that works for it, before anything is shown or changed.
    #[must_use]
    pub const fn scope(&self, customer: TenantId) -> TenantScope {
        TenantScope::new(customer)
    }
}

/// The keys of all sources: `INTERNAL_API_KEYS`, entries `source:key` and bare global keys, separated by commas.
/// `Debug` shows sources only.
#[derive(Clone, Default)]
pub struct SourceKeys(Vec<(SourceCaller, KeyHash)>);

/// A text that is no list of keys. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", SourceKeys::EXPECTED)]
pub struct InvalidSourceKeys;

impl SourceKeys {
    /// What a right value looks like.
    pub const EXPECTED: &str = "must be `source:key` or `key`, more of them behind `,`; neither half may be empty, keys are printable ASCII and all differ";

    /// Whose key this is. Takes as long for a wrong key as for a right one.
    #[must_use]
    pub fn caller(&self, presented: &str) -> Option<&SourceCaller> {
        let place = place_of(self.0.iter().map(|(_, hash)| hash), presented)?;
        self.0.get(place).map(|(caller, _)| caller)
    }
}

impl FromStr for SourceKeys {
    type Err = InvalidSourceKeys;

    fn from_str(text: &str) -> Result<Self, InvalidSourceKeys> {
        let mut keys: Vec<(SourceCaller, KeyHash)> = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (source, key) = match entry.split_once(':') {
                Some((source, key)) => (Some(source.trim()), key.trim()),
                None => (None, entry),
            };
            let usable = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
            if source.is_some_and(str::is_empty) || !usable {
                return Err(InvalidSourceKeys);
            }
            let hash = KeyHash::of(key);
            // One key for two sources would be read as the one that stands first, and nobody would know.
            if keys.iter().any(|(_, known)| *known == hash) {
                return Err(InvalidSourceKeys);
            }
            let source = source.map(str::to_owned);
            keys.push((SourceCaller { source }, hash));
        }
        Ok(Self(keys))
    }
}

impl fmt::Debug for SourceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(caller, _)| caller.name()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_its_source_and_a_bare_one_for_all() {
        let keys: SourceKeys = " app:first-key , desk:with:colons,, bare-key ,app:second"
            .parse()
            .unwrap();
        let source = |key: &str| keys.caller(key).map(|caller| caller.source().map(str::to_owned));
        assert_eq!(source("first-key"), Some(Some("app".to_owned())));
        assert_eq!(source("second"), Some(Some("app".to_owned())));
        assert_eq!(source("with:colons"), Some(Some("desk".to_owned())));
        assert_eq!(source("bare-key"), Some(None));
        for wrong in ["", "app:first-key", "first-ke", "first-key ", "desk"] {
            assert_eq!(source(wrong), None, "{wrong}");
        }
        let app = keys.caller("second").unwrap();
        assert!(app.may_work_for("app") && !app.may_work_for("desk") && !app.may_work_for(""));
        assert!(keys.caller("bare-key").unwrap().may_work_for("desk"));
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused_and_never_shown() {
        for wrong in [
            ":key",
            "app:",
            "app: ",
            ":",
            "app:a b",
            "app:one,desk:one",
            "k,k",
            "app:k\u{7f}",
        ] {
            assert!(wrong.parse::<SourceKeys>().is_err(), "{wrong}");
        }
        let keys: SourceKeys = "app:s3cret,s3cret-too".parse().unwrap();
        assert_eq!(format!("{keys:?}"), r#"["app", "global"]"#);
        assert!("".parse::<SourceKeys>().unwrap().caller("").is_none());
    }
}
