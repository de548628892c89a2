//! Other services of the installation, which prove themselves by a key and then name the tenant they work for.
//!
//! The original has one key for everybody and every tenant. Ours may have more: a key of its own for each caller,
//! limited to the tenants it has business with (channel-service contract 9.A3).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use domain::ids::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::scope::TenantScope;

/// A caller whose key was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalCaller {
    name: String,
    tenants: Option<BTreeSet<TenantId>>,
}

/// The caller's key is not for this tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is not for this tenant")]
pub struct NotForThisTenant;

impl InternalCaller {
    /// What operators call it, for the audit log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// May it work for every tenant? Only then may it ask without naming one.
    #[must_use]
    pub const fn is_for_all(&self) -> bool {
        self.tenants.is_none()
    }

    /// The tenants its key is limited to; `None` when it may work for every one.
    #[must_use]
    pub const fn limited_to(&self) -> Option<&BTreeSet<TenantId>> {
        self.tenants.as_ref()
    }

    /// The scope of the tenant it names.
    ///
    /// # Errors
    /// [`NotForThisTenant`] when its key is limited to others.
    pub fn scope(&self, tenant: TenantId) -> Result<TenantScope, NotForThisTenant> {
        match &self.tenants {
            Some(own) if !own.contains(&tenant) => Err(NotForThisTenant),
            _ => Ok(TenantScope::new(tenant)),
        }
    }
}

/// The keys of all callers. `Debug` shows names only.
#[derive(Clone)]
pub struct CallerKeys(Vec<CallerKey>);

#[derive(Clone)]
struct CallerKey {
    caller: InternalCaller,
    hash: KeyHash,
}

impl CallerKeys {
    /// The name of the caller that holds the shared key.
    pub const SHARED: &str = "internal";

    /// The shared key, which is good for every tenant, and keys limited to some.
    #[must_use]
    pub fn new(shared: &SecretString, limited: LimitedKeys) -> Self {
        let shared = CallerKey {
            caller: InternalCaller {
                name: Self::SHARED.to_owned(),
                tenants: None,
            },
            hash: KeyHash::of(shared.expose_secret()),
        };
        Self(std::iter::once(shared).chain(limited.0).collect())
    }

    /// Whose key this is. Takes as long for a wrong key as for a right one.
    #[must_use]
    pub fn caller(&self, presented: &str) -> Option<&InternalCaller> {
        let place = place_of(self.0.iter().map(|key| &key.hash), presented)?;
        self.0.get(place).map(|key| &key.caller)
    }
}

impl fmt::Debug for CallerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|key| &key.caller.name))
            .finish()
    }
}

/// What of a key is kept.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyHash([u8; 32]);

impl KeyHash {
    pub(crate) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

/// Where in the list the presented key stands. Looks at all of them, whatever it finds.
pub(crate) fn place_of<'a>(keys: impl Iterator<Item = &'a KeyHash>, presented: &str) -> Option<usize> {
    let presented = KeyHash::of(presented);
    let mut found = u64::MAX;
    for (place, key) in (0_u64..).zip(keys) {
        let same: Choice = key.0.ct_eq(&presented.0);
        found.conditional_assign(&place, same);
    }
    usize::try_from(found).ok().filter(|_| found != u64::MAX)
}

/// Keys that are good for some tenants only, as an operator writes them:
/// `name:key:tenant,tenant;name:key:tenant`.
#[derive(Clone, Default)]
pub struct LimitedKeys(Vec<CallerKey>);

/// A text that is no list of keys. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", LimitedKeys::EXPECTED)]
pub struct InvalidLimitedKeys;

impl LimitedKeys {
    /// What a right value looks like.
    pub const EXPECTED: &str = "must be `name:key:tenant,tenant`, more of them behind `;`; names differ, keys have at least 16 characters";
}

impl FromStr for LimitedKeys {
    type Err = InvalidLimitedKeys;

    fn from_str(text: &str) -> Result<Self, InvalidLimitedKeys> {
        let mut keys: Vec<CallerKey> = Vec::new();
        for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
            let mut parts = entry.splitn(3, ':');
            let (Some(name), Some(key), Some(tenants)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(InvalidLimitedKeys);
            };
            let tenants = tenants.split(',').map(|tenant| TenantId::parse(tenant.trim()));
            let tenants: BTreeSet<TenantId> = tenants
                .collect::<Result<_, _>>()
                .map_err(|_| InvalidLimitedKeys)?;
            let known = keys.iter().any(|known| known.caller.name == name) || name == CallerKeys::SHARED;
            if name.is_empty() || known || key.len() < 16 {
                return Err(InvalidLimitedKeys);
            }
            keys.push(CallerKey {
                caller: InternalCaller {
                    name: name.to_owned(),
                    tenants: Some(tenants),
                },
                hash: KeyHash::of(key),
            });
        }
        Ok(Self(keys))
    }
}

impl fmt::Debug for LimitedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LimitedKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(limited: &str) -> CallerKeys {
        CallerKeys::new(&SecretString::from("shared-key-of-all"), limited.parse().unwrap())
    }

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    #[test]
    fn the_shared_key_is_good_for_every_tenant() {
        let keys = keys("");
        let caller = keys.caller("shared-key-of-all").unwrap();
        assert!(caller.is_for_all() && caller.limited_to().is_none());
        assert_eq!(
            caller.scope(tenant("desa-a")).unwrap().tenant().as_str(),
            "desa-a"
        );
        for wrong in ["", "shared-key-of-al", "shared-key-of-alL", "shared-key-of-all "] {
            assert!(keys.caller(wrong).is_none());
        }
    }

    #[test]
    fn a_limited_key_makes_no_scope_of_another_tenant() {
        let keys = keys("ai:0123456789abcdef:desa-a,desa-b; notify:fedcba9876543210:desa-c");
        let caller = keys.caller("0123456789abcdef").unwrap();
        assert_eq!((caller.name(), caller.is_for_all()), ("ai", false));
        assert!(caller.scope(tenant("desa-b")).is_ok());
        assert_eq!(caller.scope(tenant("desa-c")), Err(NotForThisTenant));
        let own = caller.limited_to().unwrap();
        assert!(own.iter().map(TenantId::as_str).eq(["desa-a", "desa-b"]));
        assert_eq!(keys.caller("fedcba9876543210").unwrap().name(), "notify");
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused_and_never_shown() {
        for wrong in [
            "ai",
            "ai:0123456789abcdef",
            "ai:short:desa-a",
            ":0123456789abcdef:desa-a",
            "ai:0123456789abcdef:a b",
            "internal:0123456789abcdef:desa-a",
            "ai:0123456789abcdef:a;ai:0123456789abcdeg:b",
        ] {
            assert!(wrong.parse::<LimitedKeys>().is_err(), "{wrong}");
        }
        let shown = format!("{:?}", keys("ai:0123456789abcdef:desa-a"));
        assert_eq!(shown, r#"["internal", "ai"]"#);
    }
}
