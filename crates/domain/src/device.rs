//! What people call a device.

/// A device's name: up to a hundred characters that can be shown on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceName(String);

/// Why a text is no name of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDeviceName {
    /// Nothing, or too much.
    #[error("a device's name has 1 to {} characters", DeviceName::MAX_LENGTH)]
    Length,
    /// It would break a line, or more than that.
    #[error("a device's name has no control characters")]
    Characters,
}

impl DeviceName {
    /// Most characters of a name.
    pub const MAX_LENGTH: usize = 100;

    /// Reads a name; blanks around it are not part of it.
    ///
    /// # Errors
    /// [`InvalidDeviceName`] says which rule was broken.
    pub fn parse(text: &str) -> Result<Self, InvalidDeviceName> {
        let text = text.trim();
        if !(1..=Self::MAX_LENGTH).contains(&text.chars().count()) {
            return Err(InvalidDeviceName::Length);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidDeviceName::Characters);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceName, InvalidDeviceName};

    #[test]
    fn a_name_fits_on_a_line() {
        assert_eq!(
            DeviceName::parse("  Kantor Desa ").unwrap().as_str(),
            "Kantor Desa"
        );
        assert!(DeviceName::parse(&"é".repeat(100)).is_ok());
        for (text, error) in [
            ("", InvalidDeviceName::Length),
            (" \t ", InvalidDeviceName::Length),
            (&"é".repeat(101), InvalidDeviceName::Length),
            ("a\nb", InvalidDeviceName::Characters),
            ("a\0", InvalidDeviceName::Characters),
        ] {
            assert_eq!(DeviceName::parse(text), Err(error), "{text:?}");
        }
    }
}
