//! Where settings come from: the environment, a TOML file, a file of variables, or a map in place of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{SettingsReader, files};
use crate::env_file;

/// Names the optional TOML file.
pub const FILE_VARIABLE: &str = "KANAL_CONFIG";
/// Names the optional file of `NAME=value` lines.
pub const ENV_FILE_VARIABLE: &str = "KANAL_ENV_FILE";

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
}

fn owned<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let values = values.into_iter();
    values
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

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
