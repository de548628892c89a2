//! Settings from files and the environment, read once, all mistakes reported together.
//!
//! `KANAL_CONFIG` may name a TOML file whose keys are the variables' names in lower case, `KANAL_ENV_FILE` a file of
//! `NAME=value` lines; that one wins over the other, and the environment over both. In place of any variable `NAME_FILE` may
//! name a file that holds its value. A service reads its variables through a [`SettingsReader`], which remembers every variable it was
//! asked for (so the README's table can be checked against the code) and every mistake it met (so an operator
//! fixes all of them in one go). Values are never printed, because any of them may be a secret.

mod files;
pub mod url_parts;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use secrecy::SecretString;

use crate::env_file;

/// Names the optional TOML file.
pub const FILE_VARIABLE: &str = "KANAL_CONFIG";
/// Names the optional file of `NAME=value` lines.
pub const ENV_FILE_VARIABLE: &str = "KANAL_ENV_FILE";

/// A variable a service reads: for the documentation and its check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Name in the environment.
    pub name: &'static str,
    /// What happens without it: a default, `required` or `none`.
    pub default: String,
    /// One sentence for operators.
    pub meaning: &'static str,
}

/// One thing that is wrong with one setting. Shows the name and the rule, never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Name in the environment, or of the file.
    pub name: String,
    /// What is wrong and what would be right.
    pub rule: String,
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidSettings {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings have {} mistake(s):", self.problems.len())?;
        for problem in &self.problems {
            write!(f, "\n  {}: {}", problem.name, problem.rule)?;
        }
        Ok(())
    }
}

/// Hands out settings and collects what is wrong with them.
pub struct SettingsReader {
    values: BTreeMap<String, String>,
    /// The environment and the file that stands in for it, under the names as they are written.
    environment: BTreeMap<String, String>,
    from_file: Vec<String>,
    /// What is wrong with a `NAME_FILE`, by the name.
    unusable_files: files::Mistakes,
    variables: Vec<Variable>,
    problems: Vec<Problem>,
}

impl SettingsReader {
    /// Reads the process environment and the files that `KANAL_CONFIG` and `KANAL_ENV_FILE` name. Called once more, it
    /// sees what the files hold then.
    #[must_use]
    pub fn from_process() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::from_environment(
            environment,
            std::env::vars_os().any(|(name, value)| name.to_str().is_none() || value.to_str().is_none()),
        )
    }

    /// As [`Self::from_process`], with a map that stands for the environment.
    #[must_use]
    pub fn from_map_and_its_files<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::from_environment(owned(values), false)
    }

    fn from_environment(mut environment: BTreeMap<String, String>, unreadable: bool) -> Self {
        let named = |variable: &str| {
            let path = environment.get(variable).map(|path| path.trim());
            path.filter(|path| !path.is_empty()).map(PathBuf::from)
        };
        let (toml, env_file) = (named(FILE_VARIABLE), named(ENV_FILE_VARIABLE));
        let read =
            env_file.map(|path| env_file::read(&path).map_err(|error| format!("{} {error}", path.display())));
        let mut mistake = None;
        match read {
            Some(Ok(values)) => {
                for (name, value) in values {
                    // A variable that is there and empty says nothing.
                    let known = environment.entry(name).or_default();
                    if known.trim().is_empty() {
                        *known = value;
                    }
                }
            }
            Some(Err(rule)) => mistake = Some(rule),
            None => {}
        }
        let mut reader = Self::load(toml.as_deref(), environment);
        if unreadable {
            reader.problem("environment", "holds a variable that is not UTF-8");
        }
        if let Some(rule) = mistake {
            reader.problem(ENV_FILE_VARIABLE, &rule);
        }
        reader
    }

    /// Takes the settings from a map, as tests and the documentation check do.
    #[must_use]
    pub fn from_map<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::load(None, owned(values))
    }

    /// Takes the settings from a file and a map that stands for the environment.
    #[must_use]
    pub fn from_file_and_map<const N: usize>(file: &Path, values: [(&str, &str); N]) -> Self {
        Self::load(Some(file), owned(values))
    }

    fn load(file: Option<&Path>, environment: BTreeMap<String, String>) -> Self {
        let mut reader = Self {
            values: BTreeMap::new(),
            environment,
            from_file: Vec::new(),
            unusable_files: files::Mistakes::new(),
            variables: Vec::new(),
            problems: Vec::new(),
        };
        if let Some(path) = file {
            let source = config::File::from(path).format(config::FileFormat::Toml);
            match config::Config::builder().add_source(source).build() {
                Ok(file) => {
                    reader.take(file, path);
                    reader.from_file = reader.values.keys().cloned().collect();
                }
                // The library's text may quote the file, and the file may hold secrets: only say where to look.
                Err(_) => reader.problem(
                    FILE_VARIABLE,
                    &format!("{} cannot be read as TOML", path.display()),
                ),
            }
        }
        let environment = reader.environment.iter();
        let upper = environment.map(|(name, value)| (name.to_ascii_uppercase(), value.clone()));
        let upper: BTreeMap<String, String> = upper.collect();
        reader.values.extend(upper);
        reader.unusable_files = files::take(&mut reader.values);
        drop(files::take(&mut reader.environment));
        reader
    }

    fn take(&mut self, loaded: config::Config, origin: &Path) {
        let Ok(values) = loaded.try_deserialize::<BTreeMap<String, config::Value>>() else {
            self.problem(
                FILE_VARIABLE,
                &format!("{} is not a flat table", origin.display()),
            );
            return;
        };
        for (name, value) in values {
            let name = name.to_ascii_uppercase();
            match value.into_string() {
                Ok(text) => drop(self.values.insert(name, text)),
                Err(_) => self.problem(
                    &name,
                    "must be a text, a number or true/false, not a table or list",
                ),
            }
        }
    }

    /// A setting without which the service cannot run.
    pub fn required<T: Setting>(&mut self, name: &'static str, meaning: &'static str) -> Option<T> {
        self.describe(name, "required".to_owned(), meaning);
        let value = self.text(name);
        if value.is_none() && !self.has_problem(name) {
            self.problem(name, &format!("is not set; {}", T::EXPECTED));
        }
        self.parse(name, value)
    }

    /// A setting without which the service cannot run, of a type that another crate reads. `expected` says what a
    /// right value looks like; of a wrong one its own error does, which must not hold the value.
    pub fn required_as<T: FromStr<Err: fmt::Display>>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        meaning: &'static str,
    ) -> Option<T> {
        self.describe(name, "required".to_owned(), meaning);
        let text = self.text(name);
        if text.is_none() && !self.has_problem(name) {
            self.problem(name, expected);
        }
        self.parse_as(name, &text?)
    }

    /// A setting that may be missing, of a type that another crate reads. Its error must not hold the value.
    pub fn optional_as<T: FromStr<Err: fmt::Display>>(
        &mut self,
        name: &'static str,
        meaning: &'static str,
    ) -> Option<T> {
        self.describe(name, "none".to_owned(), meaning);
        let text = self.text(name)?;
        self.parse_as(name, &text)
    }

    fn parse_as<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        text.parse::<T>()
            .map_err(|error| self.problem(name, &error.to_string()))
            .ok()
    }

    /// A setting that may be missing.
    pub fn optional<T: Setting>(&mut self, name: &'static str, meaning: &'static str) -> Option<T> {
        self.describe(name, "none".to_owned(), meaning);
        let value = self.text(name);
        self.parse(name, value)
    }

    /// A setting with a default, given as an operator would write it.
    pub fn with_default<T: Setting>(
        &mut self,
        name: &'static str,
        default: &str,
        meaning: &'static str,
    ) -> Option<T> {
        self.describe(name, format!("`{default}`"), meaning);
        let value = self.text(name).unwrap_or_else(|| default.to_owned());
        self.parse(name, Some(value))
    }

    /// Did somebody say anything about this one, or does its default count?
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// A setting with a grammar of its own, which may be missing: its text as it stands, blanks and lines included.
    pub fn optional_text(&mut self, name: &'static str, meaning: &'static str) -> Option<String> {
        self.describe(name, "none".to_owned(), meaning);
        self.untrimmed(name).map(str::to_owned)
    }

    /// The text of a setting, without asking for it: for what has to be known before the settings are read.
    #[must_use]
    pub fn untrimmed(&self, name: &str) -> Option<&str> {
        let text = self.values.get(name)?;
        (!text.trim().is_empty()).then_some(text.as_str())
    }

    /// A variable of the environment, or of the file that stands in for it, that is no setting of ours. Never empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        let text = self.environment.get(name)?;
        (!text.is_empty()).then_some(text.as_str())
    }

    /// Notes a rule over several settings that does not hold.
    pub fn problem(&mut self, name: &str, rule: &str) {
        self.problems.push(Problem {
            name: name.to_owned(),
            rule: rule.to_owned(),
        });
    }

    /// Every variable that was asked for, in order.
    #[must_use]
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Ends the reading: `build` makes the settings out of what was read; `None` from any field is a mistake that
    /// has been noted already.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake, keys of the file that nobody reads among them.
    pub fn finish<T>(mut self, build: impl FnOnce() -> Option<T>) -> Result<T, InvalidSettings> {
        let unread: Vec<String> = self
            .from_file
            .iter()
            .filter(|name| {
                !self.is_known(name) && !files::stands_for(name).is_some_and(|name| self.is_known(name))
            })
            .cloned()
            .collect();
        for name in unread {
            self.problem(
                &name.to_ascii_lowercase(),
                "is in the file, but no setting has this name",
            );
        }
        match build() {
            Some(settings) if self.problems.is_empty() => Ok(settings),
            _ => Err(InvalidSettings {
                problems: self.problems,
            }),
        }
    }

    /// As [`Self::finish`], for a command that needs a part of its service's settings: what else the file holds is
    /// the service's business.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake in what was read.
    pub fn finish_part<T>(mut self, build: impl FnOnce() -> Option<T>) -> Result<T, InvalidSettings> {
        self.from_file.clear();
        self.finish(build)
    }

    fn is_known(&self, name: &str) -> bool {
        self.variables.iter().any(|known| known.name == name)
    }

    fn has_problem(&self, name: &str) -> bool {
        self.problems.iter().any(|problem| problem.name == name)
    }

    /// A part of something whose whole is asked for afterwards.
    fn describe_part(&mut self, name: &'static str, default: &str, meaning: &'static str) {
        let default = if default == "none" {
            default.to_owned()
        } else {
            format!("`{default}`")
        };
        self.describe(name, default, meaning);
    }

    fn set(&mut self, name: &str, value: String) {
        self.values.insert(name.to_owned(), value);
    }

    fn describe(&mut self, name: &'static str, default: String, meaning: &'static str) {
        if let Some(rule) = self.unusable_files.remove(name) {
            self.problem(name, &rule);
        }
        self.variables.push(Variable {
            name,
            default,
            meaning,
        });
    }

    fn text(&self, name: &str) -> Option<String> {
        self.values
            .get(name)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    fn parse<T: Setting>(&mut self, name: &'static str, value: Option<String>) -> Option<T> {
        let parsed = T::from_text(&value?);
        if parsed.is_none() {
            self.problem(name, T::EXPECTED);
        }
        parsed
    }
}

impl fmt::Debug for SettingsReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsReader")
            .field("variables", &self.variables)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

fn owned<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let values = values.into_iter();
    values
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A type that can be a setting.
pub trait Setting: Sized {
    /// What a right value looks like: the text of the mistake. Never holds the value.
    const EXPECTED: &'static str;

    /// Reads the trimmed, non-empty text.
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! number_setting {
    ($($number:ty),*) => {$(
        impl Setting for $number {
            const EXPECTED: &'static str = "must be a whole number in range";

            fn from_text(text: &str) -> Option<Self> {
                <$number>::from_str(text).ok()
            }
        }
    )*};
}

number_setting!(u16, u32, u64, usize);

impl Setting for String {
    const EXPECTED: &'static str = "must be a text";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Setting for SecretString {
    const EXPECTED: &'static str = "must be a secret text";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self::from(text))
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "must be true or false";

    fn from_text(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Some(true),
            "false" | "0" | "off" | "no" => Some(false),
            _ => None,
        }
    }
}

impl Setting for std::net::IpAddr {
    const EXPECTED: &'static str = "must be an IP address";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// An `http` or `https` base URL without a query; kept without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(url::Url);

impl BaseUrl {
    /// The URL without a trailing slash, ready to have a path that begins with `/` put behind it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The parsed URL.
    #[must_use]
    pub const fn url(&self) -> &url::Url {
        &self.0
    }
}

impl Setting for BaseUrl {
    const EXPECTED: &'static str = "must be an http:// or https:// URL without user, query and fragment";

    fn from_text(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        plain.then_some(Self(url))
    }
}

/// A duration in whole milliseconds; the variable's name ends in `_MS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Milliseconds(pub std::time::Duration);

impl Setting for Milliseconds {
    const EXPECTED: &'static str = "must be a whole number of milliseconds between 1 and 86400000";

    fn from_text(text: &str) -> Option<Self> {
        let ms = u64::from_str(text)
            .ok()
            .filter(|ms| (1..=86_400_000).contains(ms))?;
        Some(Self(std::time::Duration::from_millis(ms)))
    }
}

/// The variables as rows of a Markdown table; `README.md` is checked against it.
#[must_use]
pub fn markdown_table(variables: &[Variable]) -> String {
    let mut table = String::from("| variable | default | meaning |\n|---|---|---|\n");
    for variable in variables {
        table.push_str(&format!(
            "| `{}` | {} | {} |\n",
            variable.name, variable.default, variable.meaning
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn all_mistakes_come_out_together_and_no_value_does() {
        let mut reader = SettingsReader::from_map([("PORT", "s3cret-port"), ("BASE", "ftp://u:s3cret@host")]);
        let port: Option<u16> = reader.with_default("PORT", "3001", "the port");
        let url: Option<BaseUrl> = reader.required("BASE", "the base");
        let key: Option<SecretString> = reader.required("KEY", "the key");
        let error = reader.finish(|| Some((port?, url?, key?))).unwrap_err();
        assert_eq!(
            error.problems.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
            ["PORT", "BASE", "KEY"]
        );
        assert!(!error.to_string().contains("s3cret"));
    }

    #[test]
    fn a_secret_that_looks_like_a_number_stays_as_it_is() {
        let mut reader = SettingsReader::from_map([("KEY", "00123")]);
        assert_eq!(reader.required::<String>("KEY", "").as_deref(), Some("00123"));
    }

    #[test]
    fn a_file_of_variables_stands_in_for_the_environment_and_is_read_anew() {
        let dir = std::env::temp_dir().join(format!("kanal-config-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, toml) = (dir.join(".env"), dir.join("kanal.toml"));
        std::fs::write(&path, "PORT=7\nHOST=::1\nLIST='[\n1]'\nlower=x\n").unwrap();
        std::fs::write(&toml, "host = \"::2\"\nbase = \"b\"\n").unwrap();
        let read = || {
            SettingsReader::from_map_and_its_files([
                (ENV_FILE_VARIABLE, path.to_str().unwrap()),
                (FILE_VARIABLE, toml.to_str().unwrap()),
                ("PORT", "1"),
            ])
        };
        let mut reader = read();
        assert_eq!(
            reader.required::<u16>("PORT", ""),
            Some(1),
            "the environment wins"
        );
        assert_eq!(reader.required::<String>("HOST", "").as_deref(), Some("::1"));
        assert_eq!(reader.required::<String>("BASE", "").as_deref(), Some("b"));
        assert_eq!(reader.optional_text("LIST", "").as_deref(), Some("[\n1]"));
        assert_eq!(
            (reader.variable("lower"), reader.variable("LOWER")),
            (Some("x"), None)
        );
        assert!(!format!("{reader:?}").contains("::1"));
        assert!(
            reader.finish(|| Some(())).is_ok(),
            "what else is in it is no mistake"
        );

        std::fs::write(&path, "HOST=::3\n").unwrap();
        assert_eq!(read().required::<String>("HOST", "").as_deref(), Some("::3"));
        std::fs::write(&path, "HOST=::3\ns3cret").unwrap();
        let error = read().finish(|| Some(())).unwrap_err();
        assert_eq!(error.problems[0].name, ENV_FILE_VARIABLE);
        assert!(error.to_string().contains("line 2") && !error.to_string().contains("s3cret"));
    }

    #[test]
    fn the_environment_wins_over_the_file_and_unknown_keys_of_the_file_are_named() {
        let dir = std::env::temp_dir().join(format!("kanal-config-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("kanal.toml");
        writeln!(
            std::fs::File::create(&path).unwrap(),
            "port = 1\nhost = \"::1\"\nprot = 2"
        )
        .unwrap();
        let mut reader = SettingsReader::from_file_and_map(&path, [("PORT", "7")]);
        let port: Option<u16> = reader.required("PORT", "");
        let host: Option<String> = reader.required("HOST", "");
        assert_eq!((port, host.as_deref()), (Some(7), Some("::1")));
        let error = reader.finish(|| Some(())).unwrap_err();
        assert_eq!(error.problems.len(), 1);
        assert_eq!(error.problems[0].name, "prot");
        assert!(
            SettingsReader::from_file_and_map(&path, [])
                .finish_part(|| Some(()))
                .is_ok()
        );
    }
}
