//! People who use the dashboard.

use std::fmt;
use std::str::FromStr;

use crate::words::words;

words! {
    /// What somebody may do.
    Role, "role" {
        /// Everything, for every tenant.
        Superadmin = "superadmin",
        /// Everything, for exactly one tenant.
        TenantAdmin = "tenant_admin",
    }
}

/// An e-mail address that somebody signs in with: 3 to 254 printable ASCII characters with one `@`, in lower case.
/// Not proof that mail arrives there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

/// A text that is no e-mail address. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an e-mail address has the form name@host and at most 254 ASCII characters")]
pub struct InvalidEmailAddress;

impl EmailAddress {
    /// Longest accepted address, in characters.
    pub const MAX_LENGTH: usize = 254;

    /// Reads an address; blanks around it are dropped, capitals become small.
    ///
    /// # Errors
    /// [`InvalidEmailAddress`].
    pub fn parse(text: &str) -> Result<Self, InvalidEmailAddress> {
        let text = text.trim();
        let (name, host) = text.split_once('@').ok_or(InvalidEmailAddress)?;
        let fits = text.len() <= Self::MAX_LENGTH
            && !name.is_empty()
            && !host.is_empty()
            && !host.contains('@')
            && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidEmailAddress)
        }
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EmailAddress {
    type Err = InvalidEmailAddress;

    fn from_str(text: &str) -> Result<Self, InvalidEmailAddress> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_is_one_address() {
        assert_eq!(
            EmailAddress::parse(" Rara@Desa.ID ").unwrap().as_str(),
            "rara@desa.id"
        );
        for wrong in [
            "",
            "@",
            "rara",
            "rara@",
            "@desa.id",
            "a@b@c",
            "ra ra@desa.id",
            "rara@desa\0",
            "ré@desa.id",
        ] {
            assert_eq!(EmailAddress::parse(wrong), Err(InvalidEmailAddress), "{wrong:?}");
        }
        assert!(EmailAddress::parse(&format!("{}@b", "a".repeat(254))).is_err());
    }

    #[test]
    fn roles_keep_their_names() {
        for &role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
    }
}
