//! A server's URL given in parts, so that nobody has to encode a password by hand.

use super::SettingsReader;

/// The variables that together say what a URL says.
#[derive(Debug)]
pub struct UrlParts {
    /// The variable of the whole URL.
    pub url: &'static str,
    scheme: &'static str,
    host: &'static str,
    host_meaning: &'static str,
    port: (&'static str, &'static str),
    user: &'static str,
    password: &'static str,
    /// What stands behind the slash.
    path: &'static str,
    /// A password that is encoded already.
    encoded_password: Option<&'static str>,
    /// What stands behind the question mark: a parameter, its variable and what that is for.
    parameters: &'static [(&'static str, &'static str, &'static str)],
    /// Somebody else in the same place: host, port and path are another URL's, whose they are described as.
    shares_place: bool,
}

/// The service's database.
pub const DATABASE: UrlParts = UrlParts {
    url: "DATABASE_URL",
    scheme: "postgres",
    host: "DATABASE_HOST",
    host_meaning: "In place of `DATABASE_URL`: the server's name or IP address",
    port: ("DATABASE_PORT", "5432"),
    user: "DATABASE_USER",
    password: "DATABASE_PASSWORD",
    path: "DATABASE_NAME",
    encoded_password: Some("POSTGRES_PASSWORD_URLENCODED"),
    parameters: &[
        (
            "sslmode",
            "DATABASE_SSLMODE",
            "`verify-full` (or `require`, which is the same here): connections are encrypted, the server's certificate and name checked; \
             `disable` or none: plain",
        ),
        (
            "sslrootcert",
            "DATABASE_SSLROOTCERT",
            "File (PEM) of the authorities that may have signed the server's certificate; those of the machine without it",
        ),
    ],
    shares_place: false,
};

/// The same database, as whoever migrates.
pub const MIGRATE_DATABASE: UrlParts = UrlParts {
    url: "MIGRATE_DATABASE_URL",
    user: "MIGRATE_DATABASE_USER",
    password: "MIGRATE_DATABASE_PASSWORD",
    encoded_password: None,
    shares_place: true,
    ..DATABASE
};

/// Redis.
pub const REDIS: UrlParts = UrlParts {
    url: "REDIS_URL",
    scheme: "redis",
    host: "REDIS_HOST",
    host_meaning: "In place of `REDIS_URL`: the server's name or IP address",
    port: ("REDIS_PORT", "6379"),
    user: "REDIS_USER",
    password: "REDIS_PASSWORD",
    path: "REDIS_DATABASE",
    encoded_password: None,
    parameters: &[],
    shares_place: false,
};

/// RabbitMQ.
pub const RABBITMQ: UrlParts = UrlParts {
    url: "RABBITMQ_URL",
    scheme: "amqp",
    host: "RABBITMQ_HOST",
    host_meaning: "In place of `RABBITMQ_URL`: the server's name or IP address",
    port: ("RABBITMQ_PORT", "5672"),
    user: "RABBITMQ_USER",
    password: "RABBITMQ_PASSWORD",
    path: "RABBITMQ_VHOST",
    encoded_password: None,
    parameters: &[],
    shares_place: false,
};

impl SettingsReader {
    /// Makes the URL of its parts, if they are set and it is not. To be called before the URL is asked for.
    pub fn url_of_parts(&mut self, parts: &UrlParts) {
        self.describe_parts(parts);
        // In a shared place only who somebody is says that these parts are meant.
        let telling = if parts.shares_place {
            parts.user
        } else {
            parts.host
        };
        if !self.is_set(telling) {
            return self.refuse_lone_parameters(parts);
        }
        if self.is_set(parts.url) {
            let rule = format!("is set, and {telling} as well: give the URL or its parts");
            return self.problem(parts.url, &rule);
        }
        if let Some(url) = self.assembled(parts) {
            self.set(parts.url, url);
        }
    }

    /// Beside a whole URL they would be without effect, and somebody believes that they have one.
    fn refuse_lone_parameters(&mut self, parts: &UrlParts) {
        if parts.shares_place || !self.is_set(parts.url) {
            return;
        }
        for (parameter, name, _) in parts.parameters {
            if self.is_set(name) {
                let rule = format!("is set beside {}: write it there, as ?{parameter}=…", parts.url);
                self.problem(name, &rule);
            }
        }
    }

    fn describe_parts(&mut self, parts: &UrlParts) {
        let UrlParts { port, path, .. } = *parts;
        if !parts.shares_place {
            self.describe_part(parts.host, "none", parts.host_meaning);
            self.describe_part(port.0, port.1, "Its port");
            let path_meaning = match parts.scheme {
                "postgres" => "Its database",
                "redis" => "Its database's number; 0 without it",
                _ => "Its vhost; `/` without it",
            };
            self.describe_part(path, "none", path_meaning);
            for (_, name, meaning) in parts.parameters {
                self.describe_part(name, "none", meaning);
            }
        }
        self.describe_part(parts.user, "none", "Who logs in there");
        self.describe_part(
            parts.password,
            "none",
            "That one's password, as it is: nothing is encoded",
        );
        if let Some(encoded) = parts.encoded_password {
            self.describe_part(
                encoded,
                "none",
                "The same password, percent-encoded already; either of them",
            );
        }
    }

    fn assembled(&mut self, parts: &UrlParts) -> Option<String> {
        let host = self.text(parts.host);
        let Some(host) = host.filter(|host| is_host(host)) else {
            self.problem(
                parts.host,
                "must be a host's name or IP address, without port and scheme",
            );
            return None;
        };
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host
        };
        let port = self.text(parts.port.0).unwrap_or_else(|| parts.port.1.to_owned());
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            self.problem(parts.port.0, "must be a port's number");
            return None;
        }
        let user = self
            .text(parts.user)
            .map(|user| encoded(&user))
            .unwrap_or_default();
        let password = self.password(parts)?;
        let login = match (user.is_empty(), password.is_empty()) {
            (true, true) => String::new(),
            (false, true) => format!("{user}@"),
            (_, false) => format!("{user}:{password}@"),
        };
        let path = self.text(parts.path).map(|path| encoded(&path));
        if path.is_none() && parts.scheme == "postgres" {
            self.problem(parts.path, "is not set; must be the database's name");
            return None;
        }
        let path = path.map(|path| format!("/{path}")).unwrap_or_default();
        let given = parts.parameters.iter().filter_map(|(parameter, name, _)| {
            let value = self.text(name)?;
            Some(format!("{parameter}={}", encoded(&value)))
        });
        let query = given.collect::<Vec<_>>().join("&");
        let query = if query.is_empty() {
            query
        } else {
            format!("?{query}")
        };
        Some(format!("{}://{login}{host}:{port}{path}{query}", parts.scheme))
    }

    /// The password for a URL. `None`: there is one too many, or it is not what it says.
    fn password(&mut self, parts: &UrlParts) -> Option<String> {
        // Blanks at its ends may be part of it.
        let plain = self.untrimmed(parts.password).map(encoded);
        let given = parts
            .encoded_password
            .and_then(|name| Some((name, self.text(name)?)));
        match (plain, given) {
            (Some(_), Some((name, _))) => {
                let rule = format!("is set, and {} as well: keep one of them", parts.password);
                self.problem(name, &rule);
                None
            }
            (_, Some((name, text))) if !is_encoded(&text) => {
                self.problem(
                    name,
                    "must be percent-encoded; DATABASE_PASSWORD takes the password as it is",
                );
                None
            }
            (_, Some((_, text))) => Some(text),
            (plain, None) => Some(plain.unwrap_or_default()),
        }
    }
}

fn is_host(host: &str) -> bool {
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    is_address
        || (host.len() <= 253
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)))
}

const fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Every byte that could mean something in a URL as `%XX`.
fn encoded(text: &str) -> String {
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stands_for_itself(byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

/// Nothing in it ends the password early, and every `%` begins an escape.
fn is_encoded(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            // What RFC 3986 lets a password hold unescaped.
            other => stands_for_itself(other) || b"!$&'()*+,;=:".contains(&other),
        };
        if !fits {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(parts: &UrlParts, values: &[(&str, &str)]) -> Result<Option<String>, String> {
        let mut reader = SettingsReader::from_map(values.iter().copied());
        reader.url_of_parts(parts);
        let url: Option<String> = reader.optional(parts.url, "");
        reader.finish(|| Some(url)).map_err(|error| error.to_string())
    }

    #[test]
    fn parts_become_the_url_and_nothing_has_to_be_encoded() {
        let password = " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~%41 ";
        let made = url(
            &DATABASE,
            &[
                ("DATABASE_HOST", "::1"),
                ("DATABASE_NAME", "a/b?c"),
                ("DATABASE_USER", "a@b"),
                ("DATABASE_PASSWORD", password),
            ],
        )
        .unwrap()
        .unwrap();
        let read = url::Url::parse(&made).unwrap();
        assert_eq!((read.host_str(), read.port()), (Some("[::1]"), Some(5432)));
        assert!(
            made.ends_with("/a%2Fb%3Fc") && made.starts_with("postgres://a%40b:"),
            "{made}"
        );
        assert!(
            made.contains(":%20%21%22%23%24%25%26") && made.contains("%2541%20@"),
            "{made}"
        );
        let redis = [
            ("REDIS_HOST", "cache"),
            ("REDIS_PASSWORD", "p@ss"),
            ("REDIS_PORT", "7000"),
        ];
        assert_eq!(
            url(&REDIS, &redis).unwrap().as_deref(),
            Some("redis://:p%40ss@cache:7000")
        );
        let rabbit = [
            ("RABBITMQ_HOST", "mq"),
            ("RABBITMQ_USER", "k"),
            ("RABBITMQ_PASSWORD", "/"),
            ("RABBITMQ_VHOST", "/"),
        ];
        assert_eq!(
            url(&RABBITMQ, &rabbit).unwrap().as_deref(),
            Some("amqp://k:%2F@mq:5672/%2F")
        );
    }

    #[test]
    fn who_migrates_is_somebody_else_in_the_same_place() {
        let mut values = vec![
            ("DATABASE_HOST", "db"),
            ("DATABASE_NAME", "kanal"),
            ("DATABASE_USER", "channel_service"),
            ("DATABASE_PASSWORD", "one"),
        ];
        assert_eq!(url(&MIGRATE_DATABASE, &values).unwrap(), None);
        values.extend([
            ("MIGRATE_DATABASE_USER", "admin"),
            ("MIGRATE_DATABASE_PASSWORD", "t%o"),
        ]);
        let made = url(&MIGRATE_DATABASE, &values).unwrap();
        assert_eq!(made.as_deref(), Some("postgres://admin:t%25o@db:5432/kanal"));
    }

    #[test]
    fn how_the_connection_is_encrypted_goes_along_for_everybody_in_the_place() {
        let parts = [
            ("DATABASE_HOST", "db"),
            ("DATABASE_NAME", "kanal"),
            ("DATABASE_SSLMODE", "verify-full"),
            ("DATABASE_SSLROOTCERT", "/etc/a b+c.pem"),
            ("MIGRATE_DATABASE_USER", "admin"),
        ];
        const QUERY: &str = "db:5432/kanal?sslmode=verify-full&sslrootcert=%2Fetc%2Fa%20b%2Bc.pem";
        let made = url(&DATABASE, &parts).unwrap().unwrap();
        assert_eq!(made, format!("postgres://{QUERY}"));
        let made = url(&MIGRATE_DATABASE, &parts).unwrap().unwrap();
        assert_eq!(made, format!("postgres://admin@{QUERY}"));
        // Beside a whole URL nobody would heed them.
        for name in ["DATABASE_SSLMODE", "DATABASE_SSLROOTCERT"] {
            let said = url(
                &DATABASE,
                &[("DATABASE_URL", "postgres://x"), (name, "verify-full")],
            )
            .unwrap_err();
            assert!(
                said.contains(&format!("{name}: is set beside DATABASE_URL")),
                "{said}"
            );
        }
    }

    #[test]
    fn a_password_that_is_encoded_already_stays_so() {
        let place = [
            ("DATABASE_HOST", "db"),
            ("DATABASE_NAME", "kanal"),
            ("DATABASE_USER", "u"),
        ];
        let with = |more: &[(&'static str, &'static str)]| url(&DATABASE, &[&place[..], more].concat());
        let made = with(&[("POSTGRES_PASSWORD_URLENCODED", "p%40s%25s")]).unwrap();
        assert_eq!(made.as_deref(), Some("postgres://u:p%40s%25s@db:5432/kanal"));
        let raw = with(&[("POSTGRES_PASSWORD_URLENCODED", "s3cret@x")]).unwrap_err();
        assert!(
            raw.contains("percent-encoded") && !raw.contains("s3cret"),
            "{raw}"
        );
        assert!(with(&[("POSTGRES_PASSWORD_URLENCODED", "s3cret%4")]).is_err());
        let both = with(&[("POSTGRES_PASSWORD_URLENCODED", "a"), ("DATABASE_PASSWORD", "a")]);
        assert!(both.unwrap_err().contains("keep one"));
        // Beside a whole URL, whose password it is already, it says nothing.
        let whole = [
            ("DATABASE_URL", "postgres://x"),
            ("POSTGRES_PASSWORD_URLENCODED", "a@"),
        ];
        assert_eq!(url(&DATABASE, &whole).unwrap().as_deref(), Some("postgres://x"));
    }

    #[test]
    fn mistakes_name_the_part() {
        for (values, name) in [
            (
                vec![("DATABASE_HOST", "db:5432"), ("DATABASE_NAME", "k")],
                "DATABASE_HOST",
            ),
            (
                vec![("DATABASE_HOST", "u@db"), ("DATABASE_NAME", "k")],
                "DATABASE_HOST",
            ),
            (
                vec![
                    ("DATABASE_HOST", "db"),
                    ("DATABASE_NAME", "k"),
                    ("DATABASE_PORT", "0"),
                ],
                "DATABASE_PORT",
            ),
            (vec![("DATABASE_HOST", "db")], "DATABASE_NAME"),
            (
                vec![("DATABASE_HOST", "db"), ("DATABASE_URL", "postgres://x")],
                "DATABASE_URL",
            ),
        ] {
            let said = url(&DATABASE, &values).unwrap_err();
            assert!(said.contains(&format!("{name}:")), "{said}");
        }
    }
}
