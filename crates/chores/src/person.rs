//! One person of a tenant: whom somebody means who names one, and every name they have.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use domain::address::{ChatAddress, PhoneNumber};
use runtime::encryption::KeyRing;
use tenant_isolation::TenantScope;

/// The number behind what people type: `628…`, `+62 8…`, `08…`. One without its country is one of Indonesia's. `None`: it is
/// no number.
#[must_use]
pub fn typed_number(typed: &str) -> Option<PhoneNumber> {
    let typed = typed.trim();
    let is_number = !typed.is_empty()
        && typed
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '.' | '(' | ')'));
    if !is_number {
        return None;
    }
    let digits: String = typed.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.strip_prefix('0') {
        Some(rest) => format!("62{rest}"),
        None => digits,
    };
    PhoneNumber::parse(&digits).ok()
}

/// What stands for a person in the audit log: the same for the same name, and nobody finds the number by trying all.
#[must_use]
pub fn pseudonym(keys: &KeyRing, scope: &TenantScope, who: &ChatAddress) -> String {
    let message = format!("{}/{}", scope.tenant(), who.as_str());
    let signed = keys
        .signing_keys("people in the audit log")
        .sign(message.as_bytes());
    let mut text = "person ".to_owned();
    for byte in signed.iter().flatten().take(12) {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Every name by which the tenant knows a person. No `Debug`: they stay out of logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Numbers, digits only.
    pub phones: BTreeSet<String>,
    /// Hidden ids, as `contact_lids` has them: the digits of WhatsApp's, the address of Meta's.
    pub hidden: BTreeSet<String>,
    /// Addresses that are neither, as they are: visitors of the tenant's page.
    pub others: BTreeSet<String>,
}

impl Names {
    /// The one name that a caller knows.
    #[must_use]
    pub fn of(address: &ChatAddress) -> Self {
        let mut names = Self::default();
        names.add_address(address.as_str());
        names
    }

    /// One more name: an address of WhatsApp's, or what else a person is called by.
    pub fn add_address(&mut self, address: &str) {
        match address.rsplit_once('@') {
            Some((digits, "s.whatsapp.net")) => self.phones.insert(digits.to_owned()),
            Some((digits, "lid")) => self.hidden.insert(digits.to_owned()),
            Some((_, "bsuid")) => self.hidden.insert(address.to_owned()),
            _ => self.others.insert(address.to_owned()),
        };
    }

    /// Is this one of them? An address, or a number in any spelling.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        match text.rsplit_once('@') {
            Some((digits, "s.whatsapp.net")) => self.phones.contains(digits),
            Some((digits, "lid")) => self.hidden.contains(digits),
            Some((_, "bsuid")) => self.hidden.contains(text),
            Some(_) => self.others.contains(text),
            None => typed_number(text).map_or_else(
                || self.others.contains(text),
                |number| self.phones.contains(number.as_str()),
            ),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.phones.len() + self.hidden.len() + self.others.len()
    }

    /// The addresses of their chats.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let phones = self
            .phones
            .iter()
            .map(|digits| format!("{digits}@s.whatsapp.net"));
        let hidden = self.hidden.iter().map(|id| {
            if id.contains('@') {
                id.clone()
            } else {
                format!("{id}@lid")
            }
        });
        phones.chain(hidden).chain(self.others.iter().cloned()).collect()
    }

    /// How other services name them: the digits of a number, else the address.
    #[must_use]
    pub fn identifiers(&self) -> Vec<String> {
        let addresses = self.addresses();
        let numbered = |address: &String| !address.ends_with("@s.whatsapp.net");
        self.phones
            .iter()
            .cloned()
            .chain(addresses.into_iter().filter(numbered))
            .collect()
    }

    /// The numbers, for a query.
    #[must_use]
    pub fn phones(&self) -> Vec<&str> {
        self.phones.iter().map(String::as_str).collect()
    }

    /// The hidden ids, for a query.
    #[must_use]
    pub fn hidden(&self) -> Vec<&str> {
        self.hidden.iter().map(String::as_str).collect()
    }

    /// A regular expression of Postgres' for texts that name them: as JSON, as a form, as `encode(…, 'escape')` writes bytes. A
    /// number is not found inside a longer one, but is behind an escape that ends with digits.
    #[must_use]
    pub fn pattern(&self) -> String {
        let national = self.phones.iter().filter_map(|digits| digits.strip_prefix("62"));
        let national: Vec<String> = national.map(|rest| format!("0{rest}")).collect();
        let ids = self.hidden.iter().map(|id| id.split('@').next().unwrap_or(id));
        let others = self.others.iter().map(String::as_str);
        let all = self.phones.iter().map(String::as_str).chain(ids).chain(others);
        let all: Vec<String> = all
            .chain(national.iter().map(String::as_str))
            .map(in_any_spelling)
            .collect();
        format!(
            "(^|[^0-9]|%(25)*[0-9A-Fa-f]{{2}}|u[0-9A-Fa-f]{{4}}|\\\\[0-7]{{3}})({})($|[^0-9])",
            all.join("|")
        )
    }
}

/// The part of a pattern that finds a name. Nobody escapes letters and digits; of a mark it depends on who wrote the text. The
/// backslash of an escape is doubled in bytes, and itself escaped in a form; so is the per cent sign of a form in a form.
fn in_any_spelling(name: &str) -> String {
    let mut pattern = String::new();
    for mark in name.chars() {
        if mark.is_ascii_alphanumeric() || !mark.is_ascii() {
            pattern.push(mark);
            continue;
        }
        let code = u32::from(mark);
        let digits = |width: usize| {
            let digits = format!("{code:0width$X}");
            let any_case = digits.chars().map(|digit| match digit {
                '0'..='9' => digit.to_string(),
                _ => format!("[{digit}{}]", digit.to_ascii_lowercase()),
            });
            any_case.collect::<String>()
        };
        // Writing to a text cannot fail.
        let _ = write!(
            pattern,
            "(\\{mark}|%(25)*{}|(\\\\+|%(25)*5[Cc])u{})",
            digits(2),
            digits(4)
        );
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_number_is_one() {
        for spelling in [
            "6281290000011",
            "+62 812-9000-0011",
            "081290000011",
            " 0812 9000 0011 ",
        ] {
            let number = typed_number(spelling).unwrap();
            assert_eq!(number.as_str(), "6281290000011", "{spelling}");
        }
        for other in ["", "+", "0", "12", "halo", "6281290000011@s.whatsapp.net"] {
            assert!(typed_number(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_person_is_looked_for_by_every_name_and_never_inside_a_longer_number() {
        let mut names = Names::of(&ChatAddress::parse("6281290000011@s.whatsapp.net").unwrap());
        names.add_address("204466881133557@lid");
        names.add_address("ID.908@bsuid");
        assert_eq!(
            names.addresses(),
            [
                "6281290000011@s.whatsapp.net",
                "204466881133557@lid",
                "ID.908@bsuid"
            ]
        );
        assert_eq!(
            names.identifiers(),
            ["6281290000011", "204466881133557@lid", "ID.908@bsuid"]
        );
        for name in [
            "+62 812-9000-0011",
            "6281290000011@s.whatsapp.net",
            "204466881133557@lid",
            "ID.908@bsuid",
        ] {
            assert!(names.has(name), "{name}");
        }
        for other in [
            "62812900000112",
            "204466881133557",
            "6281290000011@lid",
            "",
            "ID.908",
        ] {
            assert!(!names.has(other), "{other}");
        }
        assert_eq!(
            names.pattern(),
            "(^|[^0-9]|%(25)*[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|\\\\[0-7]{3})\
             (6281290000011|204466881133557|ID(\\.|%(25)*2[Ee]|(\\\\+|%(25)*5[Cc])u002[Ee])908|081290000011)($|[^0-9])"
        );
    }
}
