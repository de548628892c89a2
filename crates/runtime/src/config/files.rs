//! `NAME_FILE`: a variable whose value is in a file, as Docker, Kubernetes and systemd hand out secrets.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use super::ENV_FILE_VARIABLE;

/// More is no setting.
const LONGEST: u64 = 64 * 1024;

/// The names whose `_FILE` could not be used, with what is wrong; a mistake once somebody asks for the name.
pub(super) type Mistakes = BTreeMap<String, String>;

/// Puts the contents of files where the variables are that they stand for.
pub(super) fn take(values: &mut BTreeMap<String, String>) -> Mistakes {
    let named: Vec<(String, String)> = values
        .iter()
        .filter_map(|(name, path)| Some((stands_for(name)?.to_owned(), path.trim().to_owned())))
        .filter(|(_, path)| !path.is_empty())
        .collect();
    let mut mistakes = Mistakes::new();
    for (name, path) in named {
        if values.get(&name).is_some_and(|value| !value.trim().is_empty()) {
            let rule = format!("is set, and {name}_FILE as well: keep one of them");
            mistakes.insert(name, rule);
            continue;
        }
        match read(Path::new(&path)) {
            Ok(value) => drop(values.insert(name, value)),
            Err(why) => {
                let rule = format!("{name}_FILE names {path}, which {why}");
                mistakes.insert(name, rule);
            }
        }
    }
    mistakes
}

/// The variable whose value the file holds. Files of AWS' tools and our own file of variables are something else.
pub(super) fn stands_for(name: &str) -> Option<&str> {
    let known = name.strip_suffix("_FILE")?;
    (name != ENV_FILE_VARIABLE && !known.is_empty() && !known.starts_with("AWS_")).then_some(known)
}

fn read(path: &Path) -> Result<String, &'static str> {
    // A pipe or a device could keep us waiting for ever.
    if !path.metadata().map_err(|_| "cannot be read")?.is_file() {
        return Err("is not a file");
    }
    let file = std::fs::File::open(path).map_err(|_| "cannot be read")?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| "cannot be read")?;
    if bytes.len() as u64 > LONGEST {
        return Err("has more than 64 KiB");
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    // Editors and `echo` end a file with a line's end; all else belongs to the value.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.trim().is_empty() {
        return Err("is empty");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret as _, SecretString};

    use super::super::SettingsReader;

    fn file(content: &[u8]) -> String {
        let path = std::env::temp_dir().join(format!("kanal-secret-{}", uuid::Uuid::now_v7()));
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn mistakes(values: &[(&str, &str)], name: &'static str) -> String {
        let mut reader = SettingsReader::from_map(values.iter().copied());
        let value: Option<SecretString> = reader.required(name, "");
        reader.finish(|| value).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_value_comes_from_its_file_without_the_lines_end() {
        for content in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            let path = file(content.as_bytes());
            let mut reader = SettingsReader::from_map([("KEY_FILE", path.as_str()), ("KEY", "")]);
            let key: Option<SecretString> = reader.required("KEY", "");
            assert_eq!(key.unwrap().expose_secret(), "s3cret");
            assert!(reader.finish(|| Some(())).is_ok());
        }
        let path = file(b"one\n\n");
        let mut reader = SettingsReader::from_map([("LIST_FILE", path.as_str())]);
        assert_eq!(reader.optional_text("LIST", "").as_deref(), Some("one\n"));
    }

    #[test]
    fn what_cannot_be_the_value_is_a_mistake_and_is_not_shown() {
        let good = file(b"s3cret");
        let both = mistakes(&[("KEY", "s3cret-too"), ("KEY_FILE", &good)], "KEY");
        assert!(both.contains("KEY_FILE as well"), "{both}");
        for (path, why) in [
            (file(&vec![b'a'; 64 * 1024 + 1]), "more than 64 KiB"),
            (file(b"\xff\xfes3cret"), "not UTF-8"),
            (file(b"\n"), "is empty"),
            ("/no/such/file".to_owned(), "cannot be read"),
            ("/dev/null".to_owned(), "is not a file"),
        ] {
            let said = mistakes(&[("KEY_FILE", &path)], "KEY");
            assert!(said.contains(why) && said.contains(&path), "{said}");
            assert!(!said.contains("s3cret") && !said.contains("is not set"), "{said}");
        }
        assert!(!both.contains("s3cret"), "{both}");
    }

    #[test]
    fn files_of_others_are_nobodys_business() {
        let mut reader = SettingsReader::from_map([
            ("SSL_CERT_FILE", "/no/such/file"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/file"),
        ]);
        assert_eq!(reader.optional::<String>("KEY", ""), None);
        assert!(reader.finish(|| Some(())).is_ok());
    }

    #[test]
    fn a_settings_file_may_name_files_too() {
        let secret = file(b"s3cret\n");
        let toml = file(format!("key_file = \"{secret}\"").as_bytes());
        let mut reader = SettingsReader::from_file_and_map(std::path::Path::new(&toml), []);
        assert_eq!(reader.required::<String>("KEY", "").as_deref(), Some("s3cret"));
        assert!(reader.finish(|| Some(())).is_ok());
    }
}
