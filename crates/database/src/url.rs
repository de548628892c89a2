//! Where a database is and who we are there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, Connection, Socket};

use crate::tls::{self, Tls};

/// A `postgres://` URL. Its password is never printed. Reading it reads the file that its `sslrootcert` names.
#[derive(Clone)]
pub struct DatabaseUrl {
    text: SecretString,
    user: String,
    password: SecretString,
    shown: String,
    tls: Tls,
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

    /// Are connections encrypted, and refused otherwise?
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.is_on()
    }

    /// Do connections stay within this machine, as far as the URL tells?
    pub(crate) fn is_local(&self) -> bool {
        self.options().is_ok_and(|options| {
            let mut hosts = options.get_hosts().iter();
            let local = hosts.all(|host| match host {
                Host::Tcp(name) => {
                    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
                }
                Host::Unix(_) => true,
            });
            local && options.get_hostaddrs().iter().all(IpAddr::is_loopback)
        })
    }

    /// Does the same place let this role in with this password?
    pub(crate) async fn lets_in(&self, role: &str, password: &SecretString) -> bool {
        let Ok(mut options) = self.options() else {
            return false;
        };
        options.user(role).password(password.expose_secret());
        self.connect(options).await.is_ok()
    }

    pub(crate) fn options(&self) -> Result<Config, tokio_postgres::Error> {
        self.text.expose_secret().parse()
    }

    /// Connects with [`Self::options`], changed or not. Every connection is made here, so that none forgets to be encrypted.
    pub(crate) async fn connect(
        &self,
        options: Config,
    ) -> Result<(Client, Connection<Socket, tls::Stream>), tokio_postgres::Error> {
        self.tls.connect(options).await
    }
}

/// A text that is no database's URL. Says what would be right, never the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    /// Not a URL, of something else, or with a parameter that the driver does not know.
    #[error("{}", DatabaseUrl::EXPECTED)]
    NotAUrl,
    /// Modes that do without TLS or without a check when they please are not spoken.
    #[error(
        "has an sslmode that is not spoken: disable is plain; require and verify-full encrypt, and check the server's \
         certificate and name"
    )]
    Mode,
    /// Whoever names authorities does not want a plain connection.
    #[error("has an sslrootcert but no sslmode; say sslmode=verify-full as well")]
    RootsWithoutTls,
    /// The authorities cannot be read.
    #[error("has an sslrootcert that names {path}, which {why}")]
    Roots {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody could have signed the server's certificate.
    #[error(
        "wants TLS, and this machine has no list of authorities: install ca-certificates, or name a file in sslrootcert"
    )]
    NoSystemRoots,
    /// The TLS library was built without what it needs.
    #[error("wants TLS, which this build cannot speak")]
    NoTls,
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let mut url = url::Url::parse(text).map_err(|_| InvalidDatabaseUrl::NotAUrl)?;
        let ours = take_our_parameters(&mut url);
        let value = |name: &str| {
            let last = ours.iter().rev().find(|(key, _)| key == name);
            last.map(|(_, value)| value.as_str())
        };
        let tls = Tls::read(value(MODE), value(ROOTS))?;
        Self::read(&url, tls).ok_or(InvalidDatabaseUrl::NotAUrl)
    }
}

const MODE: &str = "sslmode";
const ROOTS: &str = "sslrootcert";
/// The original services carried their schema as `?schema=…`; ours is fixed.
const SCHEMA: &str = "schema";

/// Takes the parameters out of which the driver knows nothing, or not enough.
fn take_our_parameters(url: &mut url::Url) -> Vec<(String, String)> {
    // As in libpq a plus is a plus.
    let query = url.query().unwrap_or_default().replace('+', "%2B");
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let (ours, drivers): (Vec<&str>, Vec<&str>) = pairs.partition(|pair| {
        let key = pair.split('=').next().unwrap_or_default();
        [MODE, ROOTS, SCHEMA].contains(&key)
    });
    url.set_query((!drivers.is_empty()).then(|| drivers.join("&")).as_deref());
    url::form_urlencoded::parse(ours.join("&").as_bytes())
        .into_owned()
        .collect()
}

impl DatabaseUrl {
    /// What a right URL looks like, for whoever reads it as a setting.
    pub const EXPECTED: &'static str = "must be a postgres://user:password@host:port/database URL";

    fn read(url: &url::Url, tls: Tls) -> Option<Self> {
        let options: Config = url.as_str().parse().ok()?;
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
            tls,
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

    fn read(parameters: &str) -> Result<DatabaseUrl, InvalidDatabaseUrl> {
        format!("postgres://u:s3cret@db/kanal{parameters}").parse()
    }

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

    #[test]
    fn the_drivers_own_parameters_reach_it_as_they_are() {
        let url = read("?sslmode=disable&options=-c%20work_mem%3D1MB&schema=x&application_name=a+b").unwrap();
        let options = url.options().unwrap();
        assert_eq!(options.get_options(), Some("-c work_mem=1MB"));
        assert_eq!(options.get_application_name(), Some("a+b"));
    }

    #[test]
    fn only_modes_that_keep_their_word_are_spoken() {
        for plain in ["", "?sslmode=disable"] {
            assert!(!read(plain).unwrap().is_encrypted(), "{plain}");
        }
        for tls in ["?sslmode=require", "?sslmode=verify-full&sslrootcert=system"] {
            assert!(read(tls).unwrap().is_encrypted(), "{tls}");
        }
        for mode in ["allow", "prefer", "verify-ca", "VERIFY-FULL", "", "s3cret"] {
            let refused = read(&format!("?sslmode={mode}")).unwrap_err();
            assert_eq!(refused, InvalidDatabaseUrl::Mode, "{mode}");
            assert!(!refused.to_string().contains("s3cret"), "{refused}");
        }
        for plain in ["?sslrootcert=/ca.pem", "?sslmode=disable&sslrootcert=/ca.pem"] {
            assert_eq!(read(plain).unwrap_err(), InvalidDatabaseUrl::RootsWithoutTls);
        }
    }

    #[test]
    fn authorities_that_cannot_be_read_are_a_mistake_of_the_settings() {
        let garbage = tempfile::NamedTempFile::new().unwrap();
        let path = garbage.path().to_str().unwrap();
        for (content, why) in [
            ("", "has no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "cannot be read",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "is not PEM",
            ),
        ] {
            std::fs::write(path, content).unwrap();
            let refused = read(&format!("?sslmode=verify-full&sslrootcert={path}")).unwrap_err();
            let said = refused.to_string();
            assert!(said.contains(path) && said.contains(why), "{said}");
        }
        garbage.as_file().set_len(2 * 1024 * 1024).unwrap();
        let refused = read(&format!("?sslmode=verify-full&sslrootcert={path}")).unwrap_err();
        assert!(refused.to_string().contains("1 MiB"), "{refused}");
        for (path, why) in [("/no/such+file.pem", "cannot be read"), ("/etc", "is not a file")] {
            let refused = read(&format!("?sslmode=require&sslrootcert={path}")).unwrap_err();
            assert!(
                refused.to_string().contains(&format!("{path}, which {why}")),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_stays_on_this_machine_is_told_by_the_host() {
        for (host, local) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("%2Fvar%2Frun%2Fpostgresql", true),
            ("10.0.0.7", false),
            ("localhost.example.org", false),
            ("localhost,db.example.org", false),
        ] {
            let url: DatabaseUrl = format!("postgres://u:p@{host}/kanal").parse().unwrap();
            assert_eq!(url.is_local(), local, "{host}");
        }
        assert!(!read("?hostaddr=127.0.0.1").unwrap().is_local());
    }
}
