//! Who may administer, and how often it is looked whether Chatwoot still sends here.

use std::time::Duration;

use runtime::config::SettingsReader;
use secrecy::{ExposeSecret as _, SecretString};

/// Passwords that stand in examples, the predecessor's default first (contract 1.4).
const KNOWN_PASSWORDS: [&str; 4] = ["yourpassword", "admin", "password", "changeme"];
const LEAST_BYTES: usize = 10;

/// Settings of `/admin`.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// Name of the one user.
    pub user: String,
    /// Without it nobody gets in.
    pub password: Option<SecretString>,
    /// Between two looks at what Chatwoot has as a route's webhook.
    pub drift_every: Duration,
}

impl AdminSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let user: Option<String> = reader.with_default(
            "BASIC_AUTH_USER",
            "admin",
            "Who may use `/admin`, by HTTP Basic auth",
        );
        let password: Option<SecretString> = reader.optional(
            "BASIC_AUTH_PASS",
            "That user's password, of at least 10 bytes; without it `/admin` is shut",
        );
        let development: Option<bool> = reader.with_default(
            "DEVELOPMENT",
            "false",
            "Whether a password that stands in examples, or is short, will do",
        );
        let seconds: Option<u32> = reader.with_default(
            "DRIFT_CHECK_SECONDS",
            "900",
            "How often it is looked whether Chatwoot still sends a route's events here, in seconds",
        );
        let (user, development, seconds) = (user?, development?, seconds?);
        if user.contains(':') {
            reader.problem("BASIC_AUTH_USER", "must be without a colon");
            return None;
        }
        if let Some(password) = &password
            && !development
            && is_weak(password.expose_secret())
        {
            reader.problem(
                "BASIC_AUTH_PASS",
                "must have at least 10 bytes and stand in no example, but for DEVELOPMENT=true",
            );
            return None;
        }
        if seconds < 10 {
            reader.problem("DRIFT_CHECK_SECONDS", "must be at least 10");
            return None;
        }
        Some(Self {
            user,
            password,
            drift_every: Duration::from_secs(seconds.into()),
        })
    }
}

fn is_weak(password: &str) -> bool {
    password.len() < LEAST_BYTES || KNOWN_PASSWORDS.contains(&password.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<AdminSettings, String> {
        let mut reader = SettingsReader::from_map(values.iter().copied());
        let settings = AdminSettings::take(&mut reader);
        reader.finish(|| settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_password_out_of_an_example_ends_the_start_and_is_not_repeated() {
        for weak in ["yourpassword", "YourPassword", "changeme", "tiny-9-by"] {
            let said = read(&[("BASIC_AUTH_PASS", weak)]).unwrap_err();
            assert!(said.contains("BASIC_AUTH_PASS") && !said.contains(weak), "{said}");
            assert!(read(&[("BASIC_AUTH_PASS", weak), ("DEVELOPMENT", "true")]).is_ok());
        }
        assert!(read(&[("BASIC_AUTH_PASS", "long enough")]).is_ok());
        assert!(read(&[("BASIC_AUTH_USER", "a:b")]).is_err());
    }

    #[test]
    fn nothing_has_to_be_set() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.user, "admin");
        assert!(settings.password.is_none());
    }
}
