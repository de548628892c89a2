//! Where a database is and who we are there.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

/// A `postgres://` URL. Its password is never printed.
#[derive(Clone)]
pub struct DatabaseUrl {
    text: SecretString,
    user: String,
    password: SecretString,
    shown: String,
}

impl DatabaseUrl {
    /// The login role.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The login role's password.
    #[must_use]
    pub const fn password(&self) -> &SecretString {
        &self.password
    }

    /// Does the same place let this role in with this password?
    pub(crate) async fn lets_in(&self, role: &str, password: &SecretString) -> bool {
        let Ok(mut options) = self.options() else {
            return false;
        };
        options.user(role).password(password.expose_secret());
        options.connect(tokio_postgres::NoTls).await.is_ok()
    }

    pub(crate) fn options(&self) -> Result<tokio_postgres::Config, tokio_postgres::Error> {
        self.text.expose_secret().parse()
    }
}

/// A text that is no database's URL. Says what would be right, never what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", DatabaseUrl::EXPECTED)]
pub struct InvalidDatabaseUrl;

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        Self::read(text).ok_or(InvalidDatabaseUrl)
    }
}

impl DatabaseUrl {
    /// What a right URL looks like, for whoever reads it as a setting.
    pub const EXPECTED: &'static str = "must be a postgres://user:password@host:port/database URL";

    fn read(text: &str) -> Option<Self> {
        let mut url = url::Url::parse(text).ok()?;
        // The original services carried their schema as `?schema=…`, which the driver does not know; ours is fixed.
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(key, _)| key != "schema")
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
        let options: tokio_postgres::Config = url.as_str().parse().ok()?;
        let user = options.get_user()?.to_owned();
        let password = String::from_utf8(options.get_password().unwrap_or_default().to_vec()).ok()?;
        let shown = format!(
            "postgres://{user}@{}:{}/{}",
            url.host_str()?,
            url.port().unwrap_or(5432),
            options.get_dbname().unwrap_or_default()
        );
        let text = SecretString::from(url.as_str());
        Some(Self {
            text,
            user,
            password: SecretString::from(password),
            shown,
        })
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown_and_the_originals_schema_parameter_is_dropped() {
        let url = "postgres://channel:p%40ss@db:5433/kanal?schema=channel"
            .parse::<DatabaseUrl>()
            .unwrap();
        assert_eq!(format!("{url:?}"), "postgres://channel@db:5433/kanal");
        assert_eq!(url.password().expose_secret(), "p@ss");
        assert!(url.options().is_ok());
        assert!("mysql://a:b@c/d".parse::<DatabaseUrl>().is_err());
    }
}
