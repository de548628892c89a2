//! Settings from files and the environment, read once, all mistakes reported together.
//!
//! `KANAL_CONFIG` may name a TOML file whose keys are the variables' names in lower case, `KANAL_ENV_FILE` a file of
//! `NAME=value` lines; that one wins over the other, and the environment over both. In place of any variable `NAME_FILE` may
//! name a file that holds its value. A service reads its variables through a [`SettingsReader`], which remembers every variable it was
//! asked for (so the README's table can be checked against the code) and every mistake it met (so an operator
//! fixes all of them in one go). Values are never printed, because any of them may be a secret.

mod files;
mod setting;
mod sources;
pub mod url_parts;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub use setting::{BaseUrl, Milliseconds, Setting};
pub use sources::{ENV_FILE_VARIABLE, FILE_VARIABLE};

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
    use secrecy::SecretString;

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
}
